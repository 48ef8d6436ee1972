/* THE MATHS, continued: the KL between two Gaussians, for a single element. Included once per type (real.h), after scale.h.
 *
 *     KL(q||p)  term = (t + h(d))/2, d = s_q - s_p, t = r^2/v_p
 *               d/dmean = r/v_p    d/ds_q = expm1(d)/2     d/ds_p = -(expm1(d) + t)/2
 *
 * Two ways to d. From two scales in linear form: by the exact ratio of the variances, so that d keeps its own relative accuracy where
 * the two nearly agree. From a log form and any other: by the difference of the logs, with its rounding error. Errors, in u, of h:
 * <= 5 and <= 4; of t <= 6. */
#ifndef PAIR_H
#define PAIR_H

#include "kl.h"

/* A scale's part in a pair: d log v/d raw = slope/(m 2^e), and what its gradient takes for expm1(d)/2: half 2^shift, because v_q/v_p
 * may overflow where the gradient does not */
typedef struct { T slope, m, half; I e, shift, linear; } RE(sensitivity);

/* What is common to all pairs of forms: half_h of d = log(v_q/v_p), 1/v_p = i 2^k */
INLINE RE(point) RE(kl_pair)(T r, T half_h, T i, I k, T prior_infinite, RE(sensitivity) q, RE(sensitivity) p) {
    k = k > 4 * (EXP_MAX - 1) ? 4 * (EXP_MAX - 1) : k < -4 * (EXP_MAX - 1) ? -4 * (EXP_MAX - 1) : k;
    I first = k >> 1;
    T part = RE(times_pow2)(r, first) * i, half_t = ((T)0.5 * part) * RE(times_pow2)(r, k - first);
    RE(point) y = {0};
    y.term = half_t + half_h;
    y.first = RE(limit_ratio)(RE(times_pow2)(part, k - first), r, prior_infinite);
    y.scale = q.slope * RE(times_pow2)(q.half / q.m, RE(limit_exponent)(q.shift - q.e));
    /* half_t/raw_p (a precision: of r^2 alone), whose factors overflow only with it; and the other part. Where that is negative, one of
     * them may overflow although the sum does not */
    T by_r = !p.linear ? (prior_infinite == 0 ? half_t : half_t * 0) : p.slope < 0 ? ((T)0.5 * r) * r : ((T)0.5 * y.first) * (RE(times_pow2)(r, RE(limit_exponent)(-p.e)) / p.m);
    T by_d = RE(times_pow2)(p.half / p.m, RE(limit_exponent)(p.shift - p.e));
    T sum = by_r - by_d == INFINITE ? RE(times_pow2)((p.half + half_t) / p.m, RE(limit_exponent)(p.shift - p.e)) : by_d + by_r;
    y.prior = -p.slope * sum;
    return y;
}

/* a + b = sum + error, exactly */
INLINE RE(two) RE(two_sum)(T a, T b) {
    T sum = a + b, part = sum - a;
    return (RE(two)){sum, (a - (sum - part)) + (b - part)};
}

/* (x.hi + x.lo) factor as four terms, the first two and the third and fourth each an exact product */
typedef struct { T term[4]; } RE(four);

INLINE RE(four) RE(expand)(RE(two) x, T factor) {
    RE(four) y;
    y.term[0] = x.hi * factor;
    y.term[1] = RE(product_error)(x.hi, factor, y.term[0]);
    y.term[2] = x.lo * factor;
    y.term[3] = RE(product_error)(x.lo, factor, y.term[2]);
    return y;
}

/* Both in linear form: v_q/v_p = 2^e a/b with a and b exact, because log(v_q/v_p) may be smaller than any rounding error */
INLINE RE(point) RE(kl_linear)(T r, RE(fraction) q, T slope_q, RE(fraction) p, T slope_p) {
    RE(four) a = RE(expand)(q.num, p.den), b = RE(expand)(p.num, q.den);
    I e = q.e - p.e;
    T a0 = a.term[0], b0 = b.term[0], quotient = a0 / b0, product = quotient * b0;
    RE(split) v = RE(split_exponent)(quotient, 1);
    v.e += e;
    v.real_e += (T)e;
    v.ordinary = 0;
    v.infinite = q.infinite - p.infinite;
    v = RE(inexact)(v, (((a0 - product) - RE(product_error)(quotient, b0, product)) + (a.term[1] + a.term[2])
                        - quotient * (b.term[1] + b.term[2])) / a0);
    /* v = 1 + delta where 2^e a is near b: a0 2^e - b0 is exact there, and the rest is summed with its errors */
    T scale = RE(pow2)(e > 4 ? 4 : e < -4 ? -4 : e);
    RE(two) x = RE(two_sum)(a.term[1] * scale, -b.term[1]), y = RE(two_sum)(a.term[2] * scale, -b.term[2]);
    RE(two) xy = RE(two_sum)(x.hi, y.hi), sum = RE(two_sum)(a0 * scale - b0, xy.hi);
    v.delta = (sum.hi + (sum.lo + ((xy.lo + x.lo) + (y.lo + (a.term[3] * scale - b.term[3]))))) / b0;

    RE(expm1_h) h = RE(expm1_and_h_of)(v);
    I far = v.e > 2 * MANTISSA; /* there expm1(d) = v */
    T half = (far ? (T)0.5 * v.m : h.half_expm1) + (v.infinite == v.infinite ? (T)0 : v.infinite);
    I shift = far ? v.e : 0;
    return RE(kl_pair)(r, h.half_h, p.den / p.num.hi, -p.e, p.infinite, (RE(sensitivity)){slope_q, q.raw.m, half, q.raw.e, shift, 1},
                       (RE(sensitivity)){slope_p, p.raw.m, half, p.raw.e, shift, 1});
}

/* ---- both in the same linear form, and ordinary --------------------------------------------------------------------------- */

/* By t = v_q/v_p = y or y^2, y = a/b; inverse: 1/b, to a few u. Where y is between 1/2 and 2 no ratio is formed but x = y - 1 = (a - b)/b,
 * of an exact difference, and
 *
 *     d = log1p(x):  h = x - log1p(x) = -w(x)       d = 2 log1p(x):  h = x^2 - 2 w(x)
 *
 * so that nothing cancels; elsewhere h = t - 1 - log t > 0.19. w as in minus_w (fmath.h), on [-1/2, 1]: Q on [0, 1/9] with the least error
 * relative to w (Remez), 2^-25.2 and 2^-56.8. Errors, in u: expm1(d) <= 3, h <= 7. */
INLINE RE(expm1_h) RE(expm1_and_h_of_ratio)(T a, T b, T inverse, int squared) {
    const I near = (2 * a > b) & (a < 2 * b);
    T x = near ? a - b : a, y;
#if HAS_FMA /* as if divided */
    T first = x * inverse;
    y = FMA(FMA(-first, b, x), inverse, first);
#else
    (void)inverse;
    y = x / b;
#endif
    RE(split) v = RE(split_exponent)(y, 1);
    T f = near ? y : v.m - 1, e = near ? (T)0 : v.real_e;
    T half_square = ((T)0.5 * f) * f, s = f / (2 + f), z = s * s, q;
#if REAL == 32
    q = FMA(FMA(FMA(0x1.1a4026p-2f, z, 0x1.1fb9eep-2f), z, 0x1.99c18ep-2f), z, 0x1.555528p-1f);
#else
    T zz = z * z, even = FMA(FMA(0x1.5e108cd75c5ffp-4, zz, 0x1.10887aed7cbe2p-3), zz, 0x1.745cd3a7b7ff4p-3);
    T odd = FMA(FMA(0x1.54e8752602b50p-3, zz, 0x1.ede0a11af81d7p-4), zz, 0x1.3b1b4bbb8cffbp-3);
    even = FMA(FMA(even, zz, 0x1.2492492281021p-2), zz, 0x1.555555555554cp-1);
    odd = FMA(FMA(odd, zz, 0x1.c71c732fed078p-3), zz, 0x1.999999999c636p-2);
    q = FMA(odd, z, even);
#endif
    T rest = FMA(-s, FMA(z, q, half_square), RE(product_error)((T)0.5 * f, f, half_square));
    T sum = FMA(e, LN2_HI, f), low = FMA(e, LN2_LO, FMA(e, LN2_HI, -sum) + f); /* near: x and 0 */
    T far_expm1 = squared ? RE(product_minus)(y, y, 1) : y - 1;
    RE(expm1_h) of_d;
    if (squared) {
        of_d.half_expm1 = (T)0.5 * (near ? FMA(y, y, 2 * y) : far_expm1);
        of_d.half_h = ((near ? half_square : of_d.half_expm1 - sum) + half_square) + (rest - low);
    } else {
        of_d.half_expm1 = (T)0.5 * (near ? y : far_expm1);
        of_d.half_h = (T)0.5 * (((near ? (T)0 : far_expm1 - sum) + half_square) + (rest - low));
    }
    return of_d;
}

/* Those of which none of the products below leaves the range before an answer does; `bad`: others. 1/a and 1/b by one division */
#undef ALIKE
#define ALIKE(x, a, b, power) \
    const T low_##x = RE(pow2)(-(power)), high_##x = RE(pow2)(power); \
    const T both = 1 / ((a) * (b)), inverse_a = (b) * both, inverse_b = (a) * both; \
    const I bad = RE(mask)(!RE(between)(a, low_##x, high_##x)) | RE(mask)(!RE(between)(b, low_##x, high_##x))

INLINE RE(point) RE(kl_var_var)(T r, T q, T p) {
    ALIKE(var, q, p, POW2_ROOM / 3);
    RE(expm1_h) x = RE(expm1_and_h_of_ratio)(q, p, inverse_b, 0);
    T half_r = (T)0.5 * r, ratio = r * inverse_b;
    return (RE(point)){FMA(half_r, ratio, x.half_h), ratio, x.half_expm1 * inverse_a, -FMA(half_r, ratio, x.half_expm1) * inverse_b, bad};
}

INLINE RE(point) RE(kl_std_std)(T r, T q, T p) {
    ALIKE(std, q, p, POW2_ROOM / 5);
    RE(expm1_h) x = RE(expm1_and_h_of_ratio)(q, p, inverse_b, 1);
    const T exact = FMA(FMA(-inverse_b, p, 1), inverse_b, inverse_b); /* an error of it would count twice in z^2 */
    T z = r * exact, half_z = (T)0.5 * z;
    /* of two products to d/dmean the second brings back what the first loses of a subnormal r */
    const I lost = RE(mask)(RE(between)(RE(magnitude)(r), RE(real)(1), RE(real)(RE(bits)(SMALLEST_NORMAL) - 1)));
    return (RE(point)){FMA(half_z, z, x.half_h), z * exact, 2 * x.half_expm1 * inverse_a, -2 * FMA(half_z, z, x.half_expm1) * inverse_b, bad | lost};
}

INLINE RE(point) RE(kl_precision_precision)(T r, T q, T p) {
    ALIKE(precision, p, q, POW2_ROOM / 3);
    RE(expm1_h) x = RE(expm1_and_h_of_ratio)(p, q, inverse_b, 0);
    T half_r = (T)0.5 * r, ratio = r * p;
    return (RE(point)){FMA(half_r, ratio, x.half_h), ratio, -x.half_expm1 * inverse_b, FMA(half_r, r, x.half_expm1 * inverse_a), bad};
}
#undef ALIKE

/* ---- one in log form, or both ----------------------------------------------------------------------------------------------- */

/* One side of a pair of which one is in log form: half of log v; 1/v = i 2^k */
typedef struct {
    T half_log, i, infinite, slope, m;
    I k, e, linear;
} RE(side);

#undef HALF_LOG_LIMIT
#define HALF_LOG_LIMIT ((T)(1.38 * (EXP_MAX - 1))) /* beyond, four powers of two do not reach */

INLINE RE(side) RE(side_log)(T half_log, T slope) {
    RE(side) x = {half_log, 0, half_log < INFINITE ? (T)0 : half_log, slope, 1, 0, 0, 0};
    x.i = RE(exp_split)(-2 * RE(at_least)(RE(at_most)(half_log, HALF_LOG_LIMIT), -HALF_LOG_LIMIT), &x.k);
    return x;
}

INLINE RE(side) RE(side_linear)(RE(fraction) x, T half_log, T slope) {
    return (RE(side)){half_log, x.den / x.num.hi, x.infinite, slope, x.raw.m, -x.e, x.raw.e, 1};
}

/* Both in log form and ordinary, by half of what room one has (`bad`: they are not); slope = d log v/d raw */
INLINE RE(point) RE(kl_logs)(T r, T raw_q, T slope_q, T raw_p, T slope_p) {
    T half_q = (T)0.5 * slope_q * raw_q, half_p = (T)0.5 * slope_p * raw_p;
    RE(two) d = RE(two_sum)(half_q, -half_p);
    RE(expm1_h) x = RE(expm1_and_h)(2 * d.hi, d.hi, d.lo, 1, 1);
    T ratio = r * RE(exp_normal)(-2 * half_p), half_t = ((T)0.5 * r) * ratio;
    RE(point) y = {half_t + x.half_h, ratio, slope_q * x.half_expm1, -slope_p * (x.half_expm1 + half_t), 0};
    y.bad = (!(RE(magnitude)(half_q) <= LOG_ROOM / 4)) | (!(RE(magnitude)(half_p) <= LOG_ROOM / 4));
    return y;
}

INLINE RE(side) RE(side_var)(T raw) { return RE(side_linear)(RE(fraction_var)(raw, 0), (T)0.5 * RE(log)(raw, 0), 1); }
INLINE RE(side) RE(side_std)(T raw) { return RE(side_linear)(RE(fraction_std)(raw, 0), RE(log)(raw, 0), 2); }
INLINE RE(side) RE(side_logvar)(T raw) { return RE(side_log)((T)0.5 * raw, 1); }
INLINE RE(side) RE(side_logstd)(T raw) { return RE(side_log)(raw, 2); }
INLINE RE(side) RE(side_precision)(T raw) { return RE(side_linear)(RE(fraction_precision)(raw, 0), (T)-0.5 * RE(log)(raw, 0), -1); }

INLINE RE(sensitivity) RE(sensitivity_of)(RE(side) own, T half_expm1, T half_ratio, I shift, I far) {
    return far ? (RE(sensitivity)){own.slope, own.m, half_ratio, own.e, shift, own.linear}
               : (RE(sensitivity)){own.slope, own.m, half_expm1, own.e, 0, own.linear};
}

INLINE RE(point) RE(kl_sides)(T r, RE(side) q, RE(side) p) {
    RE(two) d = RE(two_sum)(q.half_log, -p.half_log); /* halved: it must not overflow */
    I moderate = d.hi < 2 * EXP_MAX && d.hi > -2 * EXP_MAX; /* beyond, the low part is no longer small */
    RE(expm1_h) x = RE(expm1_and_h)(2 * d.hi, d.hi, moderate ? d.lo : (T)0, 1, 0);
    /* for a scale in linear form, from where expm1(d) = v_q/v_p */
    T ratio = (T)0.5 * (p.i / q.i);
    I shift = p.k - q.k, far = d.hi > 20, reached = q.linear || q.half_log < HALF_LOG_LIMIT;
    return RE(kl_pair)(r, x.half_h, p.i, p.k, p.infinite, RE(sensitivity_of)(q, x.half_expm1, ratio, shift, q.linear && far),
                       RE(sensitivity_of)(p, x.half_expm1, ratio, shift, p.linear && far && reached));
}

#endif
