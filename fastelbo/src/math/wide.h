/* Numbers of double's precision whose exponent has no bounds, and their sums: for the few elements and sums whose parts leave the range of
 * a type although the answer, times a weight, 1/N or beta, does not (careful.h). Included once, for float64 (real.h). */
#ifndef FASTELBO_WIDE_H
#define FASTELBO_WIDE_H

#include "fmath.h"
#include "twofold.h"

static wide wide_scaled(double m, int64_t e) {
    if (m == 0 || m - m != 0) return (wide){m, 0};
    if (magnitude_f64(m) < SMALLEST_NORMAL) m *= 0x1p64, e -= 64;
    const int64_t k = (bits_f64(m) >> MANTISSA & (2 * EXP_MAX + 1)) - (EXP_MAX - 1);
    return (wide){real_f64(bits_f64(m) - (k << MANTISSA)), e + k};
}

static wide wide_of(double x) { return wide_scaled(x, 0); }
static inline wide wide_minus(wide x) { return (wide){-x.m, x.e}; }
static inline wide wide_half(wide x) { return wide_scaled(x.m, x.e - 1); }
static wide wide_times(wide a, wide b) { return wide_scaled(a.m * b.m, a.e + b.e); }
static wide wide_over(wide a, wide b) { return wide_scaled(a.m / b.m, a.e - b.e); }

static inline wide wide_size(wide x) { return (wide){magnitude_f64(x.m), x.e}; }

__attribute__((unused)) static wide wide_root(wide x) {
    const int64_t odd = x.e & 1;
    return wide_scaled(__builtin_sqrt(odd ? 2 * x.m : x.m), (x.e - odd) / 2);
}

/* 2^k for k <= 0 */
static double power_down(int64_t k) { return k < 1 - EXP_MAX ? 0 : pow2_f64(k); }

static wide wide_plus(wide a, wide b) {
    if (a.m == 0 || b.m - b.m != 0) return a.m - a.m != 0 ? wide_of(a.m + b.m) : b;
    if (b.m == 0 || a.m - a.m != 0) return a;
    const int64_t e = a.e > b.e ? a.e : b.e;
    return wide_scaled(a.m * power_down(a.e - e) + b.m * power_down(b.e - e), e);
}

/* Rounded once, also where it is subnormal */
static double double_of(wide x) {
    if (x.e > EXP_MAX + 1) return x.m * INFINITE;
    if (x.e < -EXP_MAX - 2 * MANTISSA) return x.m * 0;
    const int64_t half = x.e / 2;
    return x.m * pow2_f64(half) * pow2_f64(x.e - half);
}

__attribute__((unused)) static wide wide_exp(double x) {
    const double limit = 0x1p14; /* beyond, no product of numbers within range comes back into it */
    int64_t k;
    const double m = exp_split_f64(at_least_f64(at_most_f64(x, limit), -limit), &k);
    return wide_scaled(m, k);
}

/* The order of additions is that of the elements; the unit follows the largest */
static void add_wide(wide_sum *sum, wide x) {
    if (x.m == 0) return;
    if (x.m - x.m != 0 || sum->hi - sum->hi != 0) {
        sum->hi += x.m;
        return;
    }
    if (sum->hi == 0) sum->e = x.e;
    if (x.e > sum->e) {
        const double unit = power_down(sum->e - x.e);
        sum->hi *= unit, sum->lo *= unit, sum->e = x.e;
    }
    const pair s = two_sum(sum->hi, x.m * power_down(x.e - sum->e));
    sum->hi = s.hi;
    sum->lo += s.lo;
}

__attribute__((unused)) static wide wide_total(wide_sum sum) { return wide_scaled(value_of((pair){sum.hi, sum.lo}), sum.e); }

static inline void add_sum(wide_sum *sum, wide_sum x) {
    add_wide(sum, wide_scaled(x.hi, x.e));
    if (x.hi - x.hi == 0) add_wide(sum, wide_scaled(x.lo, x.e));
}

static inline int holds_anything(wide_sum sum) { return sum.hi != 0 || sum.lo != 0; }

#endif
