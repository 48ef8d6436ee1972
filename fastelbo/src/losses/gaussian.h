/* The NLL of a Gaussian, for a single element. Included once per type (real.h).
 *
 *     term = (s + t)/2, t = r^2/v    (c = log(2 pi)/2 comes once a row)
 *     d/dx = r/v     d/ds = (1 - t)/2      d/dlogstd = 1 - t
 *     d/dv = (1/v - (r/v)^2)/2   d/dstd = 1/std - r^2/std^3   d/dprecision = (r^2 - 1/precision)/2
 *
 * Errors, in u: term <= 6, gradients <= 7 (9 and 11 where the scale is not ordinary). */
#ifndef GAUSSIAN_H
#define GAUSSIAN_H

#include "scale.h"
#include "wide_scale.h"

/* ---- by 1/std = i 2^k: log forms and std ---------------------------------------------------------------------- */

typedef struct { T z, half_t, ratio, inv_std; } RE(standardized); /* r/std, half its square, r/v */

INLINE RE(standardized) RE(standardize)(T r, T i, I k) {
    I half = k >> 1;
    T a = RE(pow2)(half), b = RE(pow2)(k - half);
    RE(standardized) x;
    x.z = ((r * a) * i) * b;
    x.half_t = ((T)0.5 * x.z) * x.z;
    x.ratio = ((x.z * a) * i) * b;
    x.inv_std = (a * i) * b;
    return x;
}

INLINE RE(point) RE(nll_log_ordinary)(T r, T s) {
    T ratio = r * RE(exp_normal)(-s), half_r = (T)0.5 * r;
    return (RE(point)){.term = FMA(half_r, ratio, (T)0.5 * s), .first = ratio, .scale = FMA(-half_r, ratio, (T)0.5)};
}

INLINE RE(point) RE(nll_log_any)(T r, T half_s) {
    const T limit = (T)(1.38 * (EXP_MAX - 1)); /* 2 ln2: k stays within two powers of two, and z^2 has long overflowed */
    I k;
    T i = RE(exp_split)(-RE(at_least)(RE(at_most)(half_s, limit), -limit), &k);
    RE(standardized) x = RE(standardize)(r, i, k);
    T infinite = half_s < INFINITE ? (T)0 : half_s;
    RE(point) y = {0};
    y.term = x.half_t == INFINITE ? x.half_t : half_s + x.half_t; /* logvar = -inf: the exponential wins */
    y.first = RE(limit_ratio)(x.ratio, r, infinite);
    y.scale = (T)0.5 - (infinite == 0 ? x.half_t : x.half_t * 0);
    return y;
}

INLINE RE(point) RE(nll_logvar)(T r, T raw, int ordinary) {
    RE(point) y = RE(nll_log_ordinary)(r, raw);
    return ordinary ? y : RE(either)(RE(ordinary_logvar)(raw), y, RE(nll_log_any)(r, (T)0.5 * raw));
}

INLINE RE(point) RE(nll_logstd)(T r, T raw, int ordinary) {
    RE(point) y = RE(nll_log_ordinary)(r, 2 * raw);
    if (!ordinary) y = RE(either)(RE(ordinary_logstd)(raw), y, RE(nll_log_any)(r, raw));
    y.scale *= 2;
    return y;
}

/* (1/2 - half_t) factor/raw, half_t = r^2/v/2: as the difference inverse - minus, whose parts overflow only with the answer; unless raw
 * is nearly subnormal, and they do */
INLINE T RE(scale_gradient)(T inverse, T minus, T half_t, T factor, T raw, T infinite) {
    T g = inverse < INFINITE && minus < INFINITE ? inverse - minus : (((T)0.5 - half_t) * factor) / raw;
    return infinite == 0 ? g : g * 0 + (infinite == infinite ? (T)0 : infinite);
}

INLINE RE(point) RE(nll_std_any)(T r, T raw) {
    RE(split) v = RE(split_exponent)(raw, 0);
    RE(standardized) x = RE(standardize)(r, 1 / v.m, RE(limit_exponent)(-v.e));
    RE(point) y = {0};
    y.term = RE(log_of)(v) + x.half_t;
    y.first = RE(limit_ratio)(x.ratio, r, v.infinite);
    y.scale = RE(scale_gradient)(x.inv_std, x.z * x.ratio, x.half_t, 2, raw, v.infinite);
    return y;
}

INLINE RE(point) RE(nll_std)(T r, T raw, int ordinary) {
    T inv_std = 1 / raw, z = r * inv_std, ratio = z * inv_std;
    RE(point) y = {.first = ratio, .scale = FMA(-z, ratio, inv_std)};
    y.term = FMA((T)0.5 * z, z, RE(log)(raw, 1));
    return ordinary ? y : RE(either)(RE(ordinary_std)(raw), y, RE(nll_std_any)(r, raw));
}

/* ---- by 1/v = i 2^k: var and precision ---------------------------------------------------------------------- */

INLINE RE(point) RE(nll_var_any)(T r, T raw) {
    RE(split) v = RE(split_exponent)(raw, 0);
    I k = RE(limit_exponent)(-v.e), half = k >> 1;
    T i = 1 / v.m, a = RE(pow2)(half), b = RE(pow2)(k - half);
    T part = (r * a) * i, ratio = part * b, half_t = ((T)0.5 * part) * (r * b);
    RE(point) y = {0};
    y.term = (T)0.5 * RE(log_of)(v) + half_t;
    y.first = RE(limit_ratio)(ratio, r, v.infinite);
    y.scale = RE(scale_gradient)((T)0.5 * ((a * i) * b), ((T)0.5 * ratio) * ratio, half_t, 1, raw, v.infinite);
    return y;
}

INLINE RE(point) RE(nll_var)(T r, T raw, int ordinary) {
    T inverse = 1 / raw, ratio = r * inverse;
    RE(point) y = {.first = ratio, .scale = FMA((T)-0.5 * ratio, ratio, (T)0.5 * inverse)};
    y.term = FMA((T)0.5 * r, ratio, (T)0.5 * RE(log)(raw, 1));
    return ordinary ? y : RE(either)(RE(ordinary_var)(raw), y, RE(nll_var_any)(r, raw));
}

INLINE RE(point) RE(nll_precision_any)(T r, T raw) {
    RE(split) v = RE(split_exponent)(raw, 0);
    I k = RE(limit_exponent)(v.e), half = k >> 1;
    T a = RE(pow2)(half), b = RE(pow2)(k - half);
    T part = (r * a) * v.m, half_t = ((T)0.5 * part) * (r * b), half_square = ((T)0.5 * r) * r, half_inverse = (T)0.5 / raw;
    RE(point) y = {0};
    y.first = RE(limit_ratio)(part * b, r, -v.infinite);
    half_t = v.infinite == 0 ? half_t : r == 0 ? r : r * y.first;
    y.term = half_t == INFINITE ? half_t : half_t - (T)0.5 * RE(log_of)(v); /* precision = inf, a variance of 0 */
    y.scale = raw >= 1 || half_square + half_inverse < INFINITE ? half_square - half_inverse : (half_t - (T)0.5) / raw;
    return y;
}

INLINE RE(point) RE(nll_precision)(T r, T raw, int ordinary) {
    T ratio = r * raw;
    RE(point) y = {.first = ratio, .scale = FMA((T)0.5 * r, r, (T)-0.5 / raw)};
    y.term = FMA((T)0.5 * r, ratio, (T)-0.5 * RE(log)(raw, 1));
    return ordinary ? y : RE(either)(RE(ordinary_precision)(raw), y, RE(nll_precision_any)(r, raw));
}

/* ---- as wide numbers ------------------------------------------------------------------------------------------------------ */

#if REAL == 64 /* once */
static wide_point careful_nll(const plan *p, const wide_element *e) {
    const wide r = e->r;
    const double raw = e->raw;
    const int kind = e->kind;
    (void)p;
    const wide first = wide_times(r, inverse_variance(kind, raw)), half_t = wide_half(wide_times(r, first));
    return (wide_point){.term = wide_plus(wide_of(half_log_variance(kind, raw)), half_t),
                        .first = first,
                        .scale = wide_times(slope_of_log(kind, raw), wide_plus(wide_of(0.5), wide_minus(half_t)))};
}
#endif

#endif
