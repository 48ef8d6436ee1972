/* The NLL of a Bernoulli by its logit, for a single element. Included once per type (real.h).
 *
 *     term = max(l, 0) - x l + log(1 + exp(-|l|)), l = logit    d/dl = 1/(1 + exp(-l)) - x   d/dx = -l */
#ifndef BERNOULLI_H
#define BERNOULLI_H

#include "scale.h"
#include "wide_scale.h"

/* |l| or, if it is less, the limit, > 0; of a NaN either. By integers, which takes half of what a comparison of floats does (not of SSE2) */
INLINE T RE(size_at_most)(T l, T limit) {
#if REAL == 64 && defined(__SSE2__) && !defined(__SSE4_2__)
    return RE(at_most)(RE(magnitude)(l), limit);
#else
    const I size = RE(bits)(RE(magnitude)(l)), most = RE(bits)(limit);
    return RE(real)(size < most ? size : most);
#endif
}

/* Of e = exp(-|l|): linear + log(1 + e) and 1/(1 + e), from one exponential and one division, for log1p needs no range but (0, 1]. Of a NaN
 * anything.
 *
 *     e = 2^-k exp(f), f = k ln2 - |l|, first as 2^64 e, so that it is rounded once where it is subnormal
 *     float32   log1p(e) = e P(e)
 *     float64   log1p(e) = 2 atanh(s) = e - s (e - z Q(z)), s = e/(2 + e), z = s^2: P would have 22 terms
 *
 * Polynomials for (exp(f) - 1 - f)/f^2 on |f| <= 1.0005 ln2/2, P on [0, 1], Q on [0, 1/9], with the least error relative to exp and log1p
 * (Remez): 2^-28.2 and 2^-57.9, 2^-27.6, 2^-54.2. Errors, in u: e 1.6, log1p 3.7, 1/(1 + e) 3.1 (measured). log1p(1) is log 2. */
typedef struct { T e, sum, inverse; } RE(softplus);

INLINE RE(softplus) RE(add_softplus)(T linear, T l) {
    const T a = RE(size_at_most)(l, REAL == 32 ? 110 : 750), raised = ROUNDER + 64;
    T shifted = FMA(a, -INV_LN2, raised), k = raised - shifted; /* 64 - k in its low bits */
    T f = FMA(k, LN2_LO, FMA(k, LN2_HI, -a)), ff = f * f, even, odd;
#if REAL == 32
    even = FMA(FMA(0x1.6a2414p-10f, ff, 0x1.5558f2p-5f), ff, 0x1.fffffcp-2f);
    odd = FMA(0x1.123a2p-7f, ff, 0x1.555492p-3f);
#else
    even = FMA(FMA(0x1.28ad9b8cf1c12p-22, ff, 0x1.a01999e256f02p-16), ff, 0x1.6c16c18438b79p-10);
    odd = FMA(FMA(0x1.ad7f364a50709p-26, ff, 0x1.71df25b824940p-19), ff, 0x1.a01a012a0d248p-13);
    even = FMA(FMA(even, ff, 0x1.555555555083ep-5), ff, 0x1.000000000000ap-1);
    odd = FMA(FMA(odd, ff, 0x1.1111111127d14p-7), ff, 0x1.55555555554f9p-3);
#endif
    T m = 1 + FMA(ff, FMA(odd, f, even), f);
    T e = RE(real)((I)((U)RE(bits)(m) + ((U)RE(bits)(shifted) << MANTISSA))) * RE(pow2)(-64), one = 1 + e;
#if REAL == 32 /* in one chain: in two, the larger sums would double the error */
    T p = FMA(FMA(FMA(-0x1.a93406p-9f, e, 0x1.453f7p-6f), e, -0x1.d29d2ep-5f), e, 0x1.b25398p-4f);
    p = FMA(FMA(FMA(p, e, -0x1.397574p-3f), e, 0x1.92f69ep-3f), e, -0x1.ff0f88p-3f);
    p = FMA(FMA(FMA(p, e, 0x1.554c8p-2f), e, -0x1.ffffbep-2f), e, 1);
    return (RE(softplus)){e, FMA(e, p, linear), 1 / one};
#else
    T two = 2 + e, inverse = 1 / (one * two), s = (e * one) * inverse, z = s * s, zz = z * z;
    even = FMA(FMA(0x1.6b52a82ee233bp-3, zz, 0x1.163fbc6ede611p-3), zz, 0x1.7462507f2712dp-3);
    odd = FMA(0x1.959b71753bc45p-4, zz, 0x1.3aa91f70800b2p-3);
    even = FMA(FMA(even, zz, 0x1.249249783747ap-2), zz, 0x1.5555555555937p-1);
    odd = FMA(FMA(odd, zz, 0x1.c71c4a686be3ep-3), zz, 0x1.99999998ebbc1p-2);
    return (RE(softplus)){e, linear + FMA(-s, FMA(-z, FMA(odd, z, even), e), e), two * inverse};
#endif
}

/* r = l: the logits take the place of a Gaussian's x, and x that of its scale. `ordinary`: for a tile whose max(l, 0) - x l are all finite
 * (`bad`: this one is not). Any other is found as (1 - x) l or -x l: a factor of 0 makes 0, whatever the other's limit. */
INLINE RE(point) RE(bernoulli)(T l, T x, int ordinary) {
    T linear = FMA(-x, l, RE(at_least)(l, 0));
    const I beyond = RE(is_beyond)(linear);
    if (!ordinary) {
        T slope = l > 0 ? 1 - x : -x, limit = ((slope == 0) & (l == l)) | ((l == 0) & (slope == slope)) ? (T)0 : slope * l;
        linear = beyond ? limit : linear;
    }
    RE(softplus) s = RE(add_softplus)(linear, l);
    RE(point) y = {.term = s.sum, .first = (l > 0 ? s.inverse : s.e * s.inverse) - x, .scale = -l, .bad = beyond};
    if (!ordinary) y.first = l == l ? y.first : l;
    return y;
}

/* ---- as wide numbers ------------------------------------------------------------------------------------------------------ */

#if REAL == 64 /* once */
/* l: the logits; of x slope = 1 - x or -x, which a logit beyond the range of T may meet */
static wide_point careful_bernoulli(const plan *p, const wide_element *e) {
    const double l = double_of(e->r);
    const wide x = wide_times(wide_of(e->raw), wide_of(p->x_scale));
    const wide slope = l > 0 ? wide_plus(wide_of(1), wide_minus(x)) : wide_minus(x);
    const double far = -magnitude_f64(l);
    const point_f64 at_zero = bernoulli_f64(far, 0, 1);
    /* log(1 + e^-|l|) and its derivative, both e^-|l| beyond the range of double */
    const wide rest = far < -700 ? wide_exp(far) : wide_of(at_zero.term), of_rest = far < -700 ? rest : wide_of(at_zero.first);
    return (wide_point){.term = wide_plus(wide_times(slope, wide_of(l)), rest),
                        .first = l > 0 ? wide_plus(slope, wide_minus(of_rest)) : wide_plus(slope, of_rest),
                        .scale = wide_of(-l)};
}
#endif

#endif
