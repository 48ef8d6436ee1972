/* exp, log, expm1, log1p and the KL's h(s) = exp(s) - 1 - s: branch-free, <= 1.0 ULP (h <= 2.5, of a pair 3), the same bits on every
 * machine with FMA. Included once per type (real.h). Measured over all 2^32 float32 inputs by tests/exhaustive.py; h by
 * tests/test_accuracy.py.
 *
 * Two argument reductions carry everything:
 *     x = k ln2 + f,  |f| <= ln2/2 (expm1 and h: k = 0 for |x| <= 1/2),  exp(x) = 2^k (1 + f + H(f)),  H(f) = exp(f) - 1 - f
 *     v = 2^e m (1 + rho),  m in [sqrt(1/2), sqrt(2)),  log v = e ln2 + f + w(f) + rho,  f = m - 1,  w(f) = log1p(f) - f
 * H and w are computed to a relative accuracy of their own (each is ~ f^2/2), so that what cancels in exp(s) - 1 - s and in
 * v - 1 - log v cancels exactly, before anything is rounded.
 *
 * Polynomials: sollya, fpminimax(F, degree, [|SG...|] or [|D...|], I, absolute) with
 *     R(f) = (exp(f) - 1 - f - f^2/2) / f^3           on |f| <= 1.0005 ln2/2      relative error of H: 2^-27.1, 2^-57.4
 *     G(f) = (exp(f) - 1 - f) / f^2                   on |f| <= 1/2, relative     relative error of H: 2^-24.9, 2^-57.6
 *     L(f) = (log1p(f) - f + f^2/2) / f^3             on [sqrt(1/2)-1, sqrt(2)-1]  float32: 5e-9 relative to log1p
 *     Q(z) = (2 atanh(s)/s - 2)/z, z = s^2, s = f/(2+f)  on [0, 0.1716^2]            float64: 5e-16 relative to Q, 2e-17 to w */
#ifndef FMATH_H
#define FMATH_H

#include "real.h"

/* ---- bits ------------------------------------------------------------------------------------------------------- */

INLINE I RE(bits)(T x) { I i; memcpy(&i, &x, sizeof i); return i; }
INLINE T RE(real)(I i) { T x; memcpy(&x, &i, sizeof x); return x; }

/* |x|; NaN stays NaN */
INLINE T RE(magnitude)(T x) { return RE(real)(RE(bits)(x) & (I)((U)-1 >> 1)); }

/* 2^k for -EXP_MAX < k <= EXP_MAX + 1 (the last is +inf) */
INLINE T RE(pow2)(I k) { return RE(real)((I)((U)(k + EXP_MAX) << MANTISSA)); }

/* x limited from above / below; NaN stays NaN */
INLINE T RE(at_most)(T x, T limit) { return x > limit ? limit : x; }
INLINE T RE(at_least)(T x, T limit) { return x < limit ? limit : x; }

/* a*b = product + error, exactly (Dekker and Veltkamp where there is no FMA; |a|, |b| far from overflow) */
INLINE T RE(product_error)(T a, T b, T product) {
#if HAS_FMA
    return FMA(a, b, -product);
#else
    const T split = (T)(((I)1 << ((MANTISSA + 2) / 2)) + 1);
    T a1 = a * split, b1 = b * split;
    a1 = a1 - (a1 - a);
    b1 = b1 - (b1 - b);
    T a2 = a - a1, b2 = b - b1;
    return ((a1 * b1 - product) + a1 * b2 + a2 * b1) + a2 * b2;
#endif
}

/* x x_scale - mean, rounded once, and what that lost */
typedef struct { T r, lost; } RE(difference);

INLINE RE(difference) RE(difference_of)(T x, T x_scale, T mean) {
    T product = x * x_scale, most = product - mean, back = product - most;
    T rest = ((product - (most + back)) + (back - mean)) + RE(product_error)(x, x_scale, product);
    T r = most + rest, lost = (most - r) + rest;
    return lost - lost == 0 ? (RE(difference)){r, lost} : (RE(difference)){most, 0}; /* infinite */
}

/* a*b - c with one rounding; without FMA two where c is not near a*b */
INLINE T RE(product_minus)(T a, T b, T c) {
#if HAS_FMA
    return FMA(a, b, -c);
#elif REAL == 32
    return (T)((double)a * b - c);
#else
    T product = a * b, error = RE(product_error)(a, b, product), r = product - c;
    return (error - error == 0) & (error != 0) ? r + error : r; /* NaN where a, b or the product is infinite; -0 + 0 is 0 */
#endif
}

/* ---- constants --------------------------------------------------------------------------------------------------- */

#undef LN2_HI
#undef LN2_LO
#undef INV_LN2
#undef ROUNDER
#undef SMALLEST_NORMAL
#undef INFINITE
#undef EXPM1_TOP
#undef EXPM1_BOTTOM
#if REAL == 32
#define LN2_HI 0x1.63p-1f         /* 9 bits: k * LN2_HI is exact for every exponent k */
#define LN2_LO (-0x1.bd0106p-13f) /* ln2 - LN2_HI */
#define INV_LN2 0x1.715476p0f
#define ROUNDER 0x1.8p23f /* x + ROUNDER has x, rounded, in its low bits */
#define SMALLEST_NORMAL 0x1p-126f
#define INFINITE __builtin_inff()
#define EXPM1_TOP 89.6f   /* half of its exponential overflows */
#define EXPM1_BOTTOM -80 /* the exponential no longer shows beside 1, and a quarter of it is a normal number */
#else
#define LN2_HI 0x1.62e42feep-1 /* 32 bits */
#define LN2_LO 0x1.a39ef35793c76p-33
#define INV_LN2 0x1.71547652b82fep0
#define ROUNDER 0x1.8p52
#define SMALLEST_NORMAL 0x1p-1022
#define INFINITE __builtin_inf()
#define EXPM1_TOP 710.7
#define EXPM1_BOTTOM -700
#endif

/* ---- exp, expm1, h: from one reduction ------------------------------------------------------------------------- */

/* x - k LN2_HI, exactly, for |x| <= 2^(MANTISSA-1); NaN passes */
INLINE T RE(remainder)(T x, T *k, I *integer) {
    T shifted = FMA(x, INV_LN2, ROUNDER);
    *k = shifted - ROUNDER;
    *integer = RE(bits)(shifted) - RE(bits)(ROUNDER);
    return FMA(-*k, LN2_HI, x);
}

/* p in exp(f) = 1 + f + f^2/2 + f^3 p */
INLINE T RE(exp_series)(T f) {
    T p;
#if REAL == 32
    p = FMA(FMA(FMA(FMA(0x1.a37c62p-13f, f, 0x1.6d1018p-10f), f, 0x1.110f7ep-7f), f, 0x1.55551ap-5f), f, 0x1.555556p-3f);
#else
    p = 0x1.1f7cb61a276e6p-29;
    p = FMA(FMA(FMA(p, f, 0x1.af3f2e8f8c7d2p-26), f, 0x1.27e4d6411b59fp-22), f, 0x1.71de0a2caacb4p-19);
    p = FMA(FMA(FMA(p, f, 0x1.a01a01a8a36dep-16), f, 0x1.a01a01a9060ccp-13), f, 0x1.6c16c16c15f3ap-10);
    p = FMA(FMA(FMA(p, f, 0x1.1111111110707p-7), f, 0x1.5555555555556p-5), f, 0x1.5555555555556p-3);
#endif
    return p;
}

/* exp(x) = scale * 2^k, scale in [0.70, 1.42]; for |x| <= 2^(MANTISSA-1), so that the caller chooses how 2^k is applied */
INLINE T RE(exp_split)(T x, I *k) {
    T real_k, a = RE(remainder)(x, &real_k, k), f = FMA(-real_k, LN2_LO, a);
    return (T)1 + FMA(f * f, FMA(f, RE(exp_series)(f), (T)0.5), f);
}

/* exp(x) where that is a normal number */
INLINE T RE(exp_normal)(T x) {
    I k;
    T scale = RE(exp_split)(x, &k);
    return RE(real)((I)((U)RE(bits)(scale) + ((U)k << MANTISSA)));
}

/* s = k ln2 + f, where k = 0 for all |s| <= 1/2: so that there h(s) = s tail/2 comes with the relative accuracy of tail. Beyond, plain
 * sums will do: h is more than an eleventh of exp(s), 2^k - 1 - s is exact or nearly so (k = 1 and s < 1/2: it would not be), and
 * what it leaves of f is small. Quarters, because tail = f + f^2 2P needs no product for a half: P(f) = (G(f) - 1/2)/f. */
typedef struct {
    T c, start, f, low, linear, tail; /* 2^k/4, c - 1/4, s - k ln2 and its rounding error, c f, 2 H(f)/f */
    T twice;                          /* 2 where c, and what comes of it, is halved: 2^k/2 might not be finite; otherwise 1 */
} RE(reduced);

INLINE RE(reduced) RE(reduce)(T s, int ordinary) {
    T far = RE(magnitude)(s) > (T)0.5 ? s : (T)0, k;
    I integer;
    RE(remainder)(far, &k, &integer);
    T a = FMA(-k, LN2_HI, s), f = FMA(-k, LN2_LO, a), ff = f * f;
    I large = ordinary ? 0 : integer > EXP_MAX - 8;
    RE(reduced) r = {.c = RE(pow2)(integer - 2 - large), .f = f, .low = FMA(-k, LN2_LO, a - f), .twice = large ? (T)2 : (T)1};
    r.start = r.c - (T)0.25;
    r.linear = r.c * f;
#if REAL == 32
    T even = FMA(FMA(0x1.9f9656p-12f, ff, 0x1.1113a8p-6f), ff, 0x1.555552p-2f);
    T odd = FMA(0x1.6e5dc2p-9f, ff, 0x1.5553eap-4f);
#else
    T even = FMA(FMA(0x1.602918e646ca6p-32, ff, 0x1.ae66d653833bbp-25), ff, 0x1.71de38d2d550dp-18);
    T odd = FMA(FMA(0x1.2017dc79ae798p-28, ff, 0x1.27e4578e2febdp-21), ff, 0x1.a01a01f1eb428p-15);
    even = FMA(FMA(FMA(even, ff, 0x1.a01a01a0dc76ep-12), ff, 0x1.1111111110e84p-6), ff, 0x1.5555555555556p-2);
    odd = FMA(FMA(odd, ff, 0x1.6c16c16c04e6dp-9), ff, 0x1.555555555557ep-4);
#endif
    r.tail = FMA(ff, FMA(odd, f, even), f);
    return r;
}

/* Half of expm1(s) and of h(s): halves, because the KL needs them and they overflow later than the wholes. half = s/2, which is finite
 * where s may not be; `paired`: of s + 2 low. A square of a small s is nowhere rounded before it is added: h = linear tail + 0. */
typedef struct { T half_expm1, half_h; } RE(expm1_h);

INLINE RE(expm1_h) RE(expm1_and_h)(T s, T half, T low, int paired, int ordinary) {
    if (!ordinary) {
        half = RE(at_most)(half, EXPM1_TOP / 2);
        s = RE(at_least)(2 * half, EXPM1_BOTTOM);
    }
    RE(reduced) r = RE(reduce)(s, ordinary);
    T rest = FMA((T)-0.25, s, r.start);
    if (!ordinary) rest = s > EXPM1_BOTTOM ? rest : r.start - (T)0.5 * half;
    rest += r.linear; /* k = 0: exactly 0 */
    RE(expm1_h) result;
    result.half_expm1 = FMA(r.linear, r.tail, FMA(2 * r.c, r.f, 2 * r.c - (T)0.5));
    result.half_h = FMA(r.linear, r.tail, 2 * rest);
    if (paired) { /* the derivative of h is expm1, that of expm1/2 is (expm1 + 1)/2 */
        result.half_h = FMA(2 * low, result.half_expm1, result.half_h);
        result.half_expm1 += FMA(2 * low, result.half_expm1, low);
    }
    if (!ordinary) result.half_expm1 *= r.twice, result.half_h *= r.twice;
    return result;
}

/* ---- log, log1p, and h of a variance --------------------------------------------------------------------------- */

/* A positive number v as 2^e m (1 + rho), m in [sqrt(1/2), sqrt(2)), |rho| <= a few u. Where e = 0, delta = v - 1 to its own relative
 * accuracy. `infinite` is 0, but +inf, -inf or NaN where v is infinite, zero (a precision of inf), NaN; e then is out of range. `exact`,
 * a constant: rho is 0, and what would add it is left out (compilers may not: -0 + 0 is 0). */
typedef struct { T m, rho, delta, infinite, real_e; I e; int ordinary, exact; } RE(split);

INLINE RE(split) RE(split_exponent)(T v, int ordinary) {
    const U root_half = REAL == 32 ? (U)0x3f3504f3 : (U)0x3fe6a09e667f3bcc, bias = (U)EXP_MAX << MANTISSA;
    I subnormal = ordinary ? 0 : v < SMALLEST_NORMAL;
    U i = (U)RE(bits)(subnormal ? v * RE(pow2)(MANTISSA) : v) - root_half, biased = (i + bias) >> MANTISSA;
    RE(split) s = {.rho = 0, .infinite = 0, .ordinary = ordinary, .exact = 1};
    s.m = RE(real)((I)((i & (((U)1 << MANTISSA) - 1)) + root_half));
    s.delta = s.m - 1;
    s.e = (I)biased - EXP_MAX;
#if REAL == 32
    s.real_e = (T)s.e;
#else /* few machines have that instruction */
    s.real_e = RE(real)((I)biased | RE(bits)(RE(pow2)(MANTISSA))) - (RE(pow2)(MANTISSA) + EXP_MAX);
#endif
    if (!ordinary) {
        s.e = v < INFINITE ? s.e - (subnormal ? MANTISSA : 0) : 64 * (EXP_MAX + 1);
        s.real_e = (T)s.e;
        s.infinite = v < INFINITE ? (T)0 : v;
    }
    return s;
}

/* The same number times 1 + rho */
INLINE RE(split) RE(inexact)(RE(split) s, T rho) {
    s.rho = rho;
    s.exact = 0;
    return s;
}

/* The same number, its exponent raised */
INLINE RE(split) RE(raised)(RE(split) s, RE(split) by, int times) {
    s.e += times * by.e;
    s.real_e += (T)times * by.real_e;
    return s;
}

/* -w(f) = f - log1p(f) = half_square + rest, to its own relative accuracy. s = f/(2 + f), to a few u, as float64 asks for it */
INLINE T RE(minus_w_by)(T f, T s, T *rest) {
    T half = (T)0.5 * f, half_square = half * f;
    T error = RE(product_error)(half, f, half_square);
#if REAL == 32
    (void)s;
    T p = FMA(FMA(FMA(-0x1.22450cp-4f, f, 0x1.c447c6p-4f), f, -0x1.ae95cep-4f), f, 0x1.bff2f2p-4f);
    p = FMA(FMA(FMA(p, f, -0x1.fe3492p-4f), f, 0x1.24b9e6p-3f), f, -0x1.555c2ep-3f);
    p = FMA(FMA(FMA(p, f, 0x1.9998cap-3f), f, -0x1.fffff2p-3f), f, 0x1.555556p-2f);
    *rest = FMA(-(f * f * f), p, error);
#else
    /* log1p(f) = 2 atanh(s) = f - f^2/2 + s (f^2/2 + z Q(z)) */
    T z = s * s;
    T q = FMA(FMA(FMA(0x1.2b5e9b5ad1692p-3, z, 0x1.39fddafaa3781p-3), z, 0x1.7462b8b3b0cc1p-3), z, 0x1.c71c62d7ca7ddp-3);
    q = FMA(FMA(FMA(q, z, 0x1.2492492dfa853p-2), z, 0x1.99999999952c1p-2), z, 0x1.5555555555558p-1);
    *rest = FMA(-s, FMA(z, q, half_square), error);
#endif
    return half_square;
}

INLINE T RE(minus_w)(T f, T *rest) { return RE(minus_w_by)(f, REAL == 32 ? (T)0 : f / (2 + f), rest); }

/* log of a split number; +inf, NaN pass. s = (m - 1)/(m + 1), as in minus_w_by */
INLINE T RE(log_by)(RE(split) v, T s) {
    T f = v.m - 1, e = v.real_e, rest;
    T half_square = RE(minus_w_by)(f, s, &rest);
    T sum = FMA(e, LN2_HI, f), low = FMA(e, LN2_HI, -sum) + f;
    T log = sum - (half_square + (rest - (low + (v.exact ? e * LN2_LO : FMA(e, LN2_LO, v.rho)))));
    return v.ordinary ? log : log + v.infinite;
}

INLINE T RE(log_of)(RE(split) v) { return RE(log_by)(v, REAL == 32 ? (T)0 : (v.m - 1) / (2 + (v.m - 1))); }

INLINE T RE(log)(T v, int ordinary) { return RE(log_of)(RE(split_exponent)(v, ordinary)); }

/* expm1(log v)/2 = (v-1)/2 and h(log v)/2 = (v - 1 - log v)/2 of a split number:
 *     e = 0:  h = -w(delta)                             nothing cancels
 *     else:   h = (2^e m - 1) - (e ln2 + f) - w + rho (2^e m - 1),  v outside [0.70, 1.42), h > 0.05 */
INLINE RE(expm1_h) RE(expm1_and_h_of)(RE(split) v) {
    I near = v.e == 0;
    T f = near ? v.delta : v.m - 1, e = v.real_e, rest;
    T half_square = RE(minus_w)(f, &rest);
    T sum = FMA(e, LN2_HI, f), low = FMA(e, LN2_HI, -sum) + f;
    I shift = v.e - 2;
    if (!v.ordinary) shift = shift < 1 - EXP_MAX ? 1 - EXP_MAX : shift > EXP_MAX + 1 ? EXP_MAX + 1 : shift;
    T half_v = 2 * (v.m * RE(pow2)(shift));
    T far_expm1 = half_v - (T)0.5, far_rest = (T)0.5 * (rest - FMA(e, LN2_LO, low));
    T far_most = (far_expm1 - (T)0.5 * sum) + (T)0.5 * half_square;
    if (!v.exact) {
        T correction = v.e < MANTISSA ? v.rho * half_v : (T)0;
        far_rest += correction - (T)0.5 * v.rho;
        far_expm1 += correction;
    }
    T far_h = far_most + far_rest;
    RE(expm1_h) result;
    result.half_expm1 = near ? (T)0.5 * f : far_expm1;
    result.half_h = near ? (T)0.5 * (half_square + rest) : far_h;
    if (!v.ordinary) result.half_h += v.infinite * v.infinite;
    return result;
}

/* ---- the functions themselves, over their whole domain ---------------------------------------------------------- */

INLINE T RE(exp)(T x) {
    const T limit = REAL == 32 ? 110 : 760;
    I k;
    T scale = RE(exp_split)(RE(at_least)(RE(at_most)(x, limit), -limit), &k);
    I half = k >> 1;
    return scale * RE(pow2)(half) * RE(pow2)(k - half);
}

INLINE T RE(expm1)(T x) {
    const T tiny = RE(pow2)(-EXP_MAX / 2); /* below it expm1(x) = x, and x/4 might be subnormal */
    RE(reduced) r = RE(reduce)(RE(at_least)(RE(at_most)(x, EXPM1_TOP), EXPM1_BOTTOM), 0);
    T lost = (r.c - r.start) - (T)0.25; /* of the quarter, beside a large c */
    T half = 2 * r.start + (2 * r.linear + FMA(r.linear, r.tail, 2 * FMA(r.c, r.low, lost)));
    return RE(magnitude)(x) < tiny ? x : 2 * (half * r.twice);
}

INLINE T RE(log_full)(T x) {
    return x > 0 ? RE(log)(x, 0) : x == 0 ? -INFINITE : x - x == 0 || x < 0 ? (x - x) / (x - x) : x;
}

INLINE T RE(log1p)(T x) {
    T u = 1 + x;
    T lost = x < 1 ? x - (u - 1) : 1 - (u - x);
    RE(split) v = RE(inexact)(RE(split_exponent)(u, 0), lost / u);
    return x == 0 ? x : u > 0 && u < INFINITE ? RE(log_of)(v) : u == 0 ? -INFINITE : u < 0 ? (u - u) / (x - x) : u;
}

#endif
