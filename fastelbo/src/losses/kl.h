/* The KL of a Gaussian from another, for a single element: here from N(prior_mean, 1), and as wide numbers; pair.h has the other in floats.
 * Included once per type (real.h).
 *
 *     term = (r^2 + h)/2, h = expm1(s) - s
 *     d/dmean = r    d/ds = expm1(s)/2   d/dv = (v-1)/v/2   d/dstd = (std-1)/std (std+1)
 *     d/dprecision = (precision-1)/precision/precision/2
 *
 * Errors, in u: h <= 5, of a scale in linear form 6. */
#ifndef KL_H
#define KL_H

#include "scale.h"
#include "wide_scale.h"

/* The variance behind a positive raw scale: as a split number; as (num.hi + num.lo) / den 2^e of the mantissa; d log v/d raw = slope/raw;
 * and half its log */
typedef struct { T hi, lo; } RE(two);

INLINE RE(two) RE(square)(T m) {
    RE(two) x = {m * m, 0};
    x.lo = RE(product_error)(m, m, x.hi);
    return x;
}

typedef struct {
    RE(split) raw;
    RE(two) num;
    T den, infinite;
    I e;
} RE(fraction);

INLINE RE(fraction) RE(fraction_var)(T raw, int ordinary) {
    RE(split) x = RE(split_exponent)(raw, ordinary);
    return (RE(fraction)){x, {x.m, 0}, 1, x.infinite, x.e};
}

INLINE RE(fraction) RE(fraction_std)(T raw, int ordinary) {
    RE(split) x = RE(split_exponent)(raw, ordinary);
    return (RE(fraction)){x, RE(square)(x.m), 1, x.infinite, 2 * x.e};
}

INLINE RE(fraction) RE(fraction_precision)(T raw, int ordinary) {
    RE(split) x = RE(split_exponent)(raw, ordinary);
    return (RE(fraction)){x, {1, 0}, x.m, -x.infinite, -x.e};
}

INLINE RE(split) RE(variance_var)(T raw, int ordinary) { return RE(split_exponent)(raw, ordinary); }

INLINE RE(split) RE(variance_std)(T raw, int ordinary) {
    RE(fraction) x = RE(fraction_std)(raw, ordinary);
    RE(split) v = RE(raised)(RE(split_exponent)(x.num.hi, 1), x.raw, 2);
    T f = x.raw.m - 1;
    v = RE(inexact)(v, x.num.lo / x.num.hi);
    v.delta = FMA(f, f, 2 * f);
    v.infinite = x.infinite;
    v.ordinary = ordinary;
    return v;
}

INLINE RE(split) RE(variance_precision)(T raw, int ordinary) {
    RE(fraction) x = RE(fraction_precision)(raw, ordinary);
    T inverse = 1 / x.den, product = inverse * x.den;
    RE(split) v = RE(raised)(RE(split_exponent)(inverse, 1), x.raw, -1);
    v = RE(inexact)(v, (1 - product) - RE(product_error)(inverse, x.den, product));
    v.delta = v.m == inverse ? (1 - x.den) / x.den : FMA(v.m, v.rho, v.delta); /* an inverse of sqrt(2) is 2m, and e = 0 may be that of m */
    v.ordinary = ordinary;
    v.infinite = x.infinite; /* a variance of zero: log v = -inf */
    return v;
}

INLINE RE(point) RE(kl_of)(T r, RE(expm1_h) x, T scale) {
    RE(point) y = {0};
    y.term = FMA((T)0.5 * r, r, x.half_h);
    y.first = r;
    y.scale = scale;
    return y;
}

INLINE RE(point) RE(kl_logvar)(T r, T raw, int ordinary) {
    RE(expm1_h) x = RE(expm1_and_h)(raw, (T)0.5 * raw, 0, 0, ordinary);
    return RE(kl_of)(r, x, x.half_expm1);
}

INLINE RE(point) RE(kl_logstd)(T r, T raw, int ordinary) {
    RE(expm1_h) x = RE(expm1_and_h)(2 * raw, raw, 0, 0, ordinary);
    return RE(kl_of)(r, x, 2 * x.half_expm1);
}

/* (raw - 1)/raw, with its limit 1 at inf */
INLINE T RE(minus_one_over)(T raw, int ordinary) {
    T c = ordinary ? raw : RE(at_most)(raw, RE(pow2)(EXP_MAX));
    return (c - 1) / c;
}

INLINE RE(point) RE(kl_var)(T r, T raw, int ordinary) {
    RE(expm1_h) x = RE(expm1_and_h_of)(RE(variance_var)(raw, ordinary));
    T c = ordinary ? raw : RE(at_most)(raw, RE(pow2)(EXP_MAX)); /* the limit at inf is 1/2 */
    return RE(kl_of)(r, x, ((T)0.5 * c - (T)0.5) / c);
}

INLINE RE(point) RE(kl_std)(T r, T raw, int ordinary) {
    RE(expm1_h) x = RE(expm1_and_h_of)(RE(variance_std)(raw, ordinary));
    return RE(kl_of)(r, x, RE(minus_one_over)(raw, ordinary) * (raw + 1));
}

INLINE RE(point) RE(kl_precision)(T r, T raw, int ordinary) {
    RE(expm1_h) x = RE(expm1_and_h_of)(RE(variance_precision)(raw, ordinary));
    return RE(kl_of)(r, x, (T)0.5 * RE(minus_one_over)(raw, ordinary) / raw);
}

/* ---- as wide numbers ------------------------------------------------------------------------------------------------------ */

#if REAL == 64 /* once */
/* expm1(d)/2 of d = log(v_q/v_p) near 0, to its own relative accuracy, and half of h(d) */
static wide near_half_expm1(const plan *p, double raw, double prior, wide *half_h) {
    const int q = p->kind[0], of_p = p->kind[1];
    if (of_p != UNIT && !is_log(q) && !is_log(of_p)) {
        const int64_t k = -(inverse_variance(of_p, prior).e >> 1);
        raw = rescaled(q, raw, k), prior = rescaled(of_p, prior, k);
    }
    const wide_element e = {.raw = raw, .prior = prior, .kind = q};
    const wide_point x = by_loop(p, &e);
    const wide half = of_p != UNIT && is_log(of_p) ? wide_minus(wide_over(x.prior, slope_of_log(of_p, 0))) : wide_over(x.scale, slope_of_log(q, raw));
    *half_h = half.e < -400 ? wide_times(half, half) : x.term; /* h(d) = d^2/2 there, and below the range of double */
    return half;
}

static wide_point careful_kl(const plan *p, const wide_element *e) {
    const int q = e->kind, of_p = p->kind[1], unit = !p->paired;
    const wide r = e->r;
    const double raw = e->raw, prior = e->prior;
    const wide inverse = unit ? wide_of(1) : inverse_variance(of_p, prior);
    const wide first = wide_times(r, inverse), half_t = wide_half(wide_times(r, first));
    const double half_d = half_log_variance(q, raw) - (unit ? 0 : half_log_variance(of_p, prior));
    if (half_d - half_d != 0) return by_loop(p, e);
    const int beyond = (is_log(q) && within_log(raw) != raw) || (!unit && is_log(of_p) && within_log(prior) != prior);
    const wide ratio = beyond ? wide_exp(2 * half_d) : wide_over(inverse, inverse_variance(q, raw));
    wide half_h, half_expm1;
    if (magnitude_f64(half_d) < 20) {
        half_expm1 = near_half_expm1(p, raw, prior, &half_h);
    } else {
        half_expm1 = wide_half(wide_plus(ratio, wide_of(-1)));
        half_h = wide_plus(half_expm1, wide_of(-half_d));
    }
    wide_point x = {.term = wide_plus(half_h, half_t), .first = first, .scale = wide_times(slope_of_log(q, raw), half_expm1)};
    if (!unit) x.prior = wide_times(slope_of_log(of_p, prior), wide_minus(wide_plus(half_expm1, half_t)));
    return x;
}
#endif

#endif
