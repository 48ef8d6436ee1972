/* THE MATHS of the discretized Gaussian: minus the log of its probability of a bin, and its derivatives. Included once per type (real.h),
 * after scale.h.
 *
 * Seen from the mean and in units of sigma, the bin is [a, b] = [z - h, z + h], h = bin/(2 sigma), turned so that z >= 0; an open
 * bin is [a, inf), turned so that it is open above, and a may have any sign. phi and Phi are the density and the distribution function of
 * N(0, 1), P = Phi(b) - Phi(a), and t is distributed as N(0, 1) cut to [a, b]:
 *
 *     term = -log P     d/dr = E[t]/sigma,  E[t] = (phi(a) - phi(b))/P
 *                       d/dlog sigma = 1 - E[t^2] = (b phi(b) - a phi(a))/P = kappa - zeta E[t]
 *
 * Differences of Phi are formed nowhere that they cancel. With E = exp(-2y), y = z h, phi(b) is phi(a) E; m(t) = (1 - Phi(t))/phi(t) is
 * Mills' ratio; E and m(b) are 0 for an open bin:
 *
 *     NARROW  y < 1/4, h < 1/2:  P = 2h phi(z) G, G = S + q g1, q = h^2, S = exp(-q/2) sinh(y)/y     kappa = exp(-q/2) cosh(y)/G, zeta = z
 *             E[t] = z (1 - q g1/G),  g1 = 1/2 int s^2 sinh(ys)/(ys) exp(-q s^2/2) ds over [-1, 1]   (by parts: no other integral)
 *     BEYOND  a >= 0:            P = phi(a) D,  D = m(a) - E m(b)                                    kappa = 2h E/D, zeta = a
 *     WITHIN  a < 0:             P = 1 - phi(a) (m(-a) + E m(b)), log1p of it                        kappa = phi(a) 2h E/P, zeta = a
 *
 * (BEYOND the difference multiplies errors by 1/(1 - exp(-1/2)) = 2.5 at most; WITHIN P > 0.34.) Errors, in eps = 2u, of any form of the
 * scale: the term <= 4 max(1, term); E[t] <= 8 of the larger of its parts from t > 0 and from t < 0; 1 - E[t^2] <= 9 max(1, E[t^2]);
 * measured against 60 digits and, of float32, against float64: 3.2, 6.5, 7.1. Mills' ratio: 2.9 ULP.
 *
 * z and h may be wrong by a few u, but a = (r - bin/2)/sigma must come from r with its rounding error (difference_of): u of z is h u of a where
 * a is near 0, and the term's derivative is 0.8 there.
 *
 * Polynomials: tests/coefficients.py. m(t) = N(q)/(1 + t), q = 1 - 2K/(t + K); float32: K = 3, 2^-27; float64: K = 5, 2^-56. g1, sinh(y)/y and
 * cosh(y) on y^2 <= 1/16, q <= 1/4: float32 2^-26, float64 2^-54. */

#undef MILLS_K
#undef CONSTANT
#if REAL == 32
#define MILLS_K 3
#define CONSTANT 0x1.d67f1cp-1f /* log(2 pi)/2 */
#else
#define MILLS_K 5
#define CONSTANT 0x1.d67f1c864beb5p-1
#endif

/* (1 - Phi(t))/phi(t) for t >= 0, also inf */
INLINE T RE(mills)(T t) {
    T q = FMA(-2 * MILLS_K, 1 / (t + MILLS_K), 1), p;
#if REAL == 32
    p = FMA(FMA(FMA(-0x1.e7e54ap-16f, q, 0x1.1fafbp-19f), q, 0x1.f0e40ep-13f), q, 0x1.5f6694p-14f);
    p = FMA(FMA(FMA(p, q, -0x1.513292p-10f), q, -0x1.dd1b32p-11f), q, 0x1.edf91ep-8f);
    p = FMA(FMA(FMA(p, q, 0x1.7e1c44p-9f), q, -0x1.d2ba78p-5f), q, 0x1.cfb3a2p-4f);
    p = FMA(FMA(FMA(p, q, -0x1.516c7ep-5f), q, -0x1.ef86fcp-3f), q, 0x1.37e684p+0f);
#else
    p = FMA(FMA(FMA(-0x1.06ea87375c5b4p-30, q, -0x1.84e4459756919p-31), q, 0x1.7b0f1fc3805e3p-27), q, 0x1.386a441084818p-27);
    p = FMA(FMA(FMA(p, q, -0x1.4d39d50792f0ep-24), q, -0x1.1afe8a6a10ep-24), q, 0x1.082372888b676p-21);
    p = FMA(FMA(FMA(p, q, 0x1.582e3c1549ea5p-22), q, -0x1.b7debee1da49ep-19), q, -0x1.7aabc20eeba8dp-23);
    p = FMA(FMA(FMA(p, q, 0x1.7d010b3c70d15p-16), q, -0x1.a02c43d08b1aap-16), q, -0x1.19cda437ebfdcp-13);
    p = FMA(FMA(FMA(p, q, 0x1.df3ecb4614c01p-12), q, 0x1.47ab73fc90055p-16), q, -0x1.1355f4909ab39p-8);
    p = FMA(FMA(FMA(p, q, 0x1.0bd973acc40a7p-6), q, -0x1.37838b3a20ea3p-5), q, 0x1.f7d96e0d85ca6p-5);
    p = FMA(FMA(FMA(p, q, -0x1.0f103e712ef39p-4), q, 0x1.9ac85788f58b1p-6), q, 0x1.3e97eaf5f2f87p-4);
    p = FMA(FMA(p, q, -0x1.d5fd8ffd0f1aap-3), q, 0x1.28273b50efa76p+0);
#endif
    return p / (1 + t);
}

/* sinh(y)/y and cosh(y) of yy = y^2 <= 1/16 */
INLINE T RE(sinh_ratio)(T yy) {
    T p;
#if REAL == 32
    p = FMA(FMA(0x1.11ad44p-7f, yy, 0x1.55551ap-3f), yy, 1);
#else
    p = FMA(FMA(FMA(0x1.aee8d7466cec2p-26, yy, 0x1.71de27b26ac9cp-19), yy, 0x1.a01a01a284874p-13), yy, 0x1.1111111110ecdp-7);
    p = FMA(FMA(p, yy, 0x1.5555555555556p-3), yy, 1);
#endif
    return p;
}

INLINE T RE(small_cosh)(T yy) {
    T p;
#if REAL == 32
    p = FMA(FMA(FMA(0x1.6ce702p-10f, yy, 0x1.555514p-5f), yy, (T)0.5), yy, 1);
#else
    p = FMA(FMA(FMA(0x1.2850a67dd9b7ap-22, yy, 0x1.a019e3565194ap-16), yy, 0x1.6c16c17003fc1p-10), yy, 0x1.5555555554df8p-5);
    p = FMA(FMA(p, yy, 0x1.0000000000001p-1), yy, 1);
#endif
    return p;
}

/* g1 of yy <= 1/16 and q <= 1/4 */
INLINE T RE(narrow_moment)(T yy, T q) {
    T g0, g1, g2;
#if REAL == 32
    g0 = FMA(FMA(FMA(-0x1.2192a4p-9f, q, 0x1.245646p-6f), q, -0x1.999902p-4f), q, 0x1.555556p-2f);
    g1 = FMA(FMA(0x1.2118ccp-9f, q, -0x1.85caa8p-7f), q, 0x1.1110cp-5f);
    g2 = FMA(-0x1.ce451p-12f, q, 0x1.386eb6p-10f);
    return FMA(FMA(g2, yy, g1), yy, g0);
#else
    T g3, g4;
    g0 = FMA(FMA(FMA(-0x1.7418fd29278d3p-24, q, 0x1.83eba751c1ae7p-20), q, -0x1.5013b62afe361p-16), q, 0x1.f07c1b0b10a22p-13);
    g0 = FMA(FMA(FMA(g0, q, -0x1.2f684bd730c04p-9), q, 0x1.249249249178bp-6), q, -0x1.99999999999cep-4);
    g0 = FMA(g0, q, 0x1.5555555555556p-2);
    g1 = FMA(FMA(FMA(0x1.b14ff35da0791p-23, q, -0x1.83e3de1da7a56p-19), q, 0x1.18102f63c54f7p-15), q, -0x1.4afd64df15f51p-12);
    g1 = FMA(FMA(FMA(g1, q, 0x1.2f684bcbe319cp-9), q, -0x1.86186185f383ep-7), q, 0x1.1111111110e65p-5);
    g2 = FMA(FMA(FMA(-0x1.03c8eb5352e2fp-23, q, 0x1.849bca0a54a55p-20), q, -0x1.c0259b0a7d46ep-17), q, 0x1.8d304df7b5d0fp-14);
    g2 = FMA(FMA(g2, q, -0x1.e573ad3ec8811p-12), q, 0x1.3813813a0519ep-10);
    g3 = FMA(FMA(FMA(-0x1.1881e7d29d128p-22, q, 0x1.ff8db1d01da21p-20), q, -0x1.2e9da2ec5af0dp-17), q, 0x1.71de277585bf6p-16);
    g4 = FMA(FMA(0x1.75ee0ac4054a2p-26, q, -0x1.c74b44e5e0e13p-24), q, 0x1.0d511811da1b3p-22);
    return FMA(FMA(FMA(FMA(g4, yy, g3), yy, g2), yy, g1), yy, g0);
#endif
}

/* term; E[t], to be turned back; 1 - E[t^2] and zeta, for where that overflows */
typedef struct { T term, mean, scale, zeta; I narrow; } RE(cut);

/* z >= 0, h, a as above, 2h = width 2^k with a normal width; NaN, and infinite z, a, h pass to their limits. `excess` is added to the term where
 * the bin is NARROW. */
INLINE RE(cut) RE(discretized)(T z, T a, T h, T width, T k, T excess, I open) {
    const T far = REAL == 32 ? 40 : 350, least = REAL == 32 ? (T)-12.6 : (T)-37; /* exp(-2 far) and phi(least) are nothing beside 1 */
    h = RE(at_most)(RE(at_least)(h, SMALLEST_NORMAL), 1024); /* E = 0 or phi(a) = 0 beyond */
    a = RE(at_least)(a, least);
    T y = z * h, b = z + h, q = h * h, yy = y * y;
    const I narrow = (y < (T)0.25) & (h < (T)0.5) & !open, beyond = a >= 0;
    T E = (open | (y > far)) ? (T)0 : RE(exp_normal)(-2 * RE(at_most)(y, far));
    T e = RE(exp_normal)((T)-0.5 * (narrow ? q : beyond ? (T)0 : a * a));
    /* narrow */
    yy = narrow ? yy : (T)0, q = narrow ? q : (T)0;
    T g1 = RE(narrow_moment)(yy, q), G = FMA(q, g1, e * RE(sinh_ratio)(yy));
    /* beyond and within */
    T phi = a == least ? (T)0 : e * (T)0.3989422804014327, of_a = RE(mills)(RE(magnitude)(a)), of_b = E * RE(mills)(b);
    T weight = beyond ? (T)1 : phi, tail = phi * (of_a + of_b), P = beyond ? of_a - of_b : 1 - tail;
    T rest = (1 - P) - tail; /* what rounding left of the tail */
    T over = 1 / (narrow ? G : P), linear = (weight * 2) * (h * E);
    T kappa = narrow ? e * RE(small_cosh)(yy) * over : linear == 0 ? (T)0 : linear * over;
    RE(cut) c = {.narrow = narrow};
    c.zeta = narrow ? z : a;
    c.mean = narrow ? FMA(-z, q * g1 * over, z) : weight * (1 - E) * over;
    c.scale = FMA(-c.zeta, c.mean, kappa);
    RE(split) v = RE(inexact)(RE(split_exponent)(narrow ? width * G : P, 1), (narrow | beyond) ? (T)0 : rest * over);
    v.real_e += narrow ? k : (T)0;
    T t = narrow ? z : RE(at_least)(a, 0), constant = (narrow | beyond) ? CONSTANT : (T)0;
    c.term = FMA((T)0.5 * t, t, constant - RE(log_of)(v)) + (narrow ? excess : (T)0);
    return c;
}

/* A small integer as T, also where vectors have no such conversion */
INLINE T RE(real_of)(I k) { return RE(real)(k + RE(bits)(ROUNDER)) - ROUNDER; }

/* ---- bins ------------------------------------------------------------------------------------------------------------ */

/* The bin of all elements, finite and > 0: whole = width 2^k, width near 1 */
typedef struct { T whole, width; I k; } RE(bin);

INLINE RE(bin) RE(bin_of)(T bin) {
    RE(split) v = RE(split_exponent)(bin, 0);
    return (RE(bin)){bin, v.m, v.e};
}

/* 1/sigma = i 2^k; log sigma less that of a clamped i 2^k: 0 but for log forms beyond all numbers, and infinite sigma; the limit of sigma as
 * in split.infinite */
typedef struct { T i, excess, infinite; I k; } RE(inverse_std);

INLINE RE(inverse_std) RE(inverse_of_log)(T log_std) {
    const T limit = (T)(1.38 * (EXP_MAX - 1)), clamped = RE(at_least)(RE(at_most)(log_std, limit), -limit);
    RE(inverse_std) s = {.excess = log_std - clamped, .infinite = log_std < INFINITE ? (T)0 : log_std};
    s.i = RE(exp_split)(-clamped, &s.k);
    return s;
}
INLINE RE(inverse_std) RE(inverse_of_linear)(T i, I k, T infinite) {
    return (RE(inverse_std)){infinite == infinite ? i : infinite, infinite, infinite, RE(limit_exponent)(k)};
}
INLINE RE(inverse_std) RE(inverse_of_std)(T raw) {
    RE(split) v = RE(split_exponent)(raw, 0);
    return RE(inverse_of_linear)(1 / v.m, -v.e, v.infinite);
}
INLINE RE(inverse_std) RE(inverse_of_var)(T raw) {
    RE(split) v = RE(split_exponent)(raw, 0);
    I odd = v.e & 1;
    return RE(inverse_of_linear)(ROOT((odd ? (T)0.5 : (T)1) / v.m), (odd - v.e) >> 1, v.infinite);
}
INLINE RE(inverse_std) RE(inverse_of_precision)(T raw) {
    RE(split) v = RE(split_exponent)(raw, 0);
    I odd = v.e & 1;
    return RE(inverse_of_linear)(ROOT(odd ? 2 * v.m : v.m), (v.e - odd) >> 1, -v.infinite);
}

/* d/draw = c (1 - E[t^2])/raw; where that overflows and d/draw need not, E[t] (c zeta/raw), or r^2/2 of a precision (c = -1/2). log forms: raw = 1 */
INLINE T RE(cut_scale)(RE(cut) x, T c, T raw, T of_precision) {
    T scale = (c * x.scale) / raw;
    return x.scale != -INFINITE ? scale : c == (T)-0.5 ? ((T)0.5 * of_precision) * of_precision : -x.mean * (c * x.zeta / raw);
}

/* r = x - mean and what its rounding lost; c as in cut_scale. All is multiplied by 2^(k/2) i 2^(k/2): a half that leaves the range of T does not
 * matter, because the whole does, and a bin that is halved behind the first half loses no digit that shows. */
INLINE RE(point) RE(discretized_of)(T r, T lost, RE(bin) bin, I open_below, I open_above, RE(inverse_std) s, T c, T raw) {
    const I half = s.k >> 1, open = open_below | open_above;
    const T sign = open_above ? (T)1 : open_below ? (T)-1 : r < 0 ? (T)-1 : (T)1;
    const T first = RE(pow2)(half), second = RE(pow2)(s.k - half);
    const T scaled_r = r * first, scaled_half = (T)0.5 * (bin.whole * first), near = (sign * scaled_r - scaled_half) + sign * (lost * first);
    T z = (RE(magnitude)(scaled_r) * s.i) * second, a = (near * s.i) * second, h = (scaled_half * s.i) * second;
    a = s.infinite > 0 ? r * 0 : a; /* NaN of infinite r and sigma */
    RE(cut) x = RE(discretized)(z, a, h, bin.width * s.i, RE(real_of)(s.k + bin.k), s.excess, open);
    RE(point) y = {0};
    y.term = (s.infinite > 0) & (r == r) & !open ? s.infinite : x.term;
    y.first = ((sign * x.mean * first) * s.i) * second;
    y.scale = RE(cut_scale)(x, c, raw, x.narrow ? r : (sign * r - (T)0.5 * bin.whole) + sign * lost);
    return y;
}

#define DISCRETIZED(form, inverse, c, divisor)                                                                                \
    INLINE RE(point) RE(discretized_##form)(T r, T lost, T raw, RE(bin) bin, I open_below, I open_above) {                      \
        return RE(discretized_of)(r, lost, bin, open_below, open_above, inverse, (T)c, divisor);                                \
    }
DISCRETIZED(var, RE(inverse_of_var)(raw), 0.5, raw)
DISCRETIZED(std, RE(inverse_of_std)(raw), 1, raw)
DISCRETIZED(logvar, RE(inverse_of_log)((T)0.5 * raw), 0.5, 1)
DISCRETIZED(logstd, RE(inverse_of_log)(raw), 1, 1)
DISCRETIZED(precision, RE(inverse_of_precision)(raw), -0.5, raw)
#undef DISCRETIZED

/* ---- as wide numbers ------------------------------------------------------------------------------------------------------ */

#if REAL == 64 /* once */
/* Where z^2/2 leaves the range of double, a weight may bring it back.
 * The function of double does the work, as its arguments leave the range of double only where the limit is known.
 * For is_usual(kind, raw), and r finite. */
static wide_point careful_discretized(const plan *p, const wide_element *e) {
    const wide r = e->r;
    const double raw = e->raw, bin = p->parameter[0];
    const int kind = e->kind, open_below = e->x < p->parameter[1], open_above = e->x > p->parameter[2];
    const int open = open_below || open_above, turn = !open_above && (open_below || r.m < 0);
    const wide inverse = inverse_std(kind, raw), half = wide_half(wide_of(bin)), turned = turn ? wide_minus(r) : r;
    const wide slope = wide_half(slope_of_log(kind, raw)); /* d log sigma/d raw */
    const wide z = wide_times(r.m < 0 ? wide_minus(r) : r, inverse), h = wide_times(half, inverse);
    const wide a = wide_times(wide_plus(wide_plus(turned, wide_minus(half)), wide_of(turn ? -e->lost : e->lost)), inverse);
    wide term, mean = a, scale = wide_minus(wide_times(a, a));
    if (a.m > 0 && a.e > 500) {
        term = wide_half(wide_times(a, a)); /* beside which the rest of it is nothing, and E[t] = a */
    } else {
        const double excess = is_log(kind) ? (kind == LOGVAR ? 0.5 : 1) * (raw - within_log(raw)) : 0;
        const cut_f64 x = discretized_f64(double_of(z), double_of(a), double_of(h), h.m, (double)(h.e + 1), excess, -open);
        const int tiny = x.narrow && z.e < -900; /* E[t] = z (1 - h^2/3 + ...) */
        const cut_f64 of_normal = tiny ? discretized_f64(0x1p-900, double_of(a), double_of(h), h.m, 0, 0, 0) : x;
        term = wide_of(x.term);
        mean = tiny ? wide_times(z, wide_scaled(of_normal.mean, 900)) : wide_of(x.mean);
        scale = wide_of(x.scale);
    }
    return (wide_point){.term = term, .first = wide_times(turn ? wide_minus(mean) : mean, inverse), .scale = wide_times(slope, scale)};
}
#endif
