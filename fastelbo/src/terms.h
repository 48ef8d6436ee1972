/* THE MATHS: one short function per loss and per scale, for a single element. Included once per type (real.h).
 *
 * r = x - mean (the KL: mean - prior_mean), v = variance, s = log v. u is the unit roundoff, 2^-24 or 2^-53.
 *
 *     NLL       term = (s + t)/2, t = r^2/v    (c = log(2 pi)/2 comes once a row)
 *               d/dx = r/v     d/ds = (1 - t)/2      d/dlogstd = 1 - t
 *               d/dv = (1/v - (r/v)^2)/2   d/dstd = 1/std - r^2/std^3   d/dprecision = (r^2 - 1/precision)/2
 *     KL        term = (r^2 + h)/2, h = expm1(s) - s
 *               d/dmean = r    d/ds = expm1(s)/2   d/dv = (v-1)/v/2   d/dstd = (std-1)/std (std+1)
 *               d/dprecision = (precision-1)/precision/precision/2
 *     BERNOULLI term = log(1 + exp(l)) - x l, l = logit    d/dl = 1/(1 + exp(-l)) - x   d/dx = -l
 * (KL between two Gaussians: pair.h.)
 *
 * The forms are those whose intermediates leave the range of T only where a term of the answer does: the plain ones for ordinary
 * scales (below); for others 1/v is never formed, but kept as i 2^k and applied in two halves. Errors, in u: term of the NLL <= 6, its
 * gradients <= 7 (9 and 11 where the scale is not ordinary); h <= 5, of a scale in linear form 6. Domain: var, std, precision > 0
 * (the loops look); NaN propagates; infinite scales give the limit where there is one. */

typedef struct {
    T term, first, scale, prior; /* d/dx or d/dmean; d/d(raw scale); d/d(raw prior scale) */
    I bad; /* of kl_logs (pair.h): not what it is for */
} RE(point);

/* ---- ordinary scales ------------------------------------------------------------------------------------------------ */

/* Those whose v and 1/v are normal numbers with room to spare: nearly all there are. What they need is far shorter, so every
 * function below takes `ordinary`, a constant (and no square is rounded before it is added: of r near 0 it might be subnormal, which
 * costs a hundred cycles): nonzero is for a tile of such scales alone, 0 for any tile. An ordinary element gets
 * the same bits from both, because its tile is an accident. */
#undef LOG_ROOM
#undef POW2_ROOM
#define LOG_ROOM (REAL == 32 ? 80 : 700)
#define POW2_ROOM (REAL == 32 ? 100 : 1000)

/* -1 or 0, as vectors compare: loops collect that without another instruction */
INLINE I RE(mask)(I holds) { return holds ? (I)-1 : (I)0; }
INLINE I RE(within)(T x, T low, T high) { return (x >= low) & (x <= high); }
/* The same of positive limits: of floats as integers, which takes less (also of doubles, but SSE2 cannot compare such integers) */
INLINE I RE(between)(T x, T low, T high) {
#if REAL == 64 && defined(__SSE2__) && !defined(__SSE4_2__)
    return RE(within)(x, low, high);
#else
    const U sign = (U)1 << (8 * sizeof(T) - 1), from = (U)RE(bits)(low), width = (U)RE(bits)(high) - from;
    return (I)((U)RE(bits)(x) - from + sign) <= (I)(width + sign);
#endif
}
INLINE I RE(ordinary_var)(T raw) { return RE(between)(raw, RE(pow2)(-POW2_ROOM), RE(pow2)(POW2_ROOM)); }
INLINE I RE(ordinary_std)(T raw) { return RE(between)(raw, RE(pow2)(-POW2_ROOM / 2), RE(pow2)(POW2_ROOM / 2)); }
INLINE I RE(ordinary_precision)(T raw) { return RE(ordinary_var)(raw); }
INLINE I RE(ordinary_logvar)(T raw) { return RE(magnitude)(raw) <= LOG_ROOM; }
INLINE I RE(ordinary_logstd)(T raw) { return RE(magnitude)(raw) <= LOG_ROOM / 2; }

INLINE RE(point) RE(either)(I first, RE(point) a, RE(point) b) {
    return (RE(point)){first ? a.term : b.term, first ? a.first : b.first, first ? a.scale : b.scale, first ? a.prior : b.prior, 0};
}

/* x 2^k for |k| <= 2 (EXP_MAX - 1) */
INLINE T RE(times_pow2)(T x, I k) {
    I half = k >> 1;
    return x * RE(pow2)(half) * RE(pow2)(k - half);
}

INLINE I RE(limit_exponent)(I k) {
    const I most = 2 * (EXP_MAX - 1);
    return k > most ? most : k < -most ? -most : k;
}

/* r/v, where it is not the ratio because v is infinite, zero or NaN (see split.infinite) */
INLINE T RE(limit_ratio)(T ratio, T r, T infinite) {
    T inverse = infinite > 0 ? (T)0 : -infinite;
    return infinite == 0 ? ratio : r == 0 && infinite == infinite ? r : r * inverse;
}

/* ---- NLL by 1/std = i 2^k: log forms and std ---------------------------------------------------------------------- */

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

/* ---- NLL by 1/v = i 2^k: var and precision ---------------------------------------------------------------------- */

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

/* ---- KL against N(prior_mean, 1) ----------------------------------------------------------------------------------- */

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

/* ---- Bernoulli NLL by logits ------------------------------------------------------------------------------------------- */

/* log(1 + e), 0 <= e <= 1 */
INLINE T RE(log1p_of_unit)(T e) {
    T u = 1 + e;
    return RE(log_of)(RE(inexact)(RE(split_exponent)(u, 1), (e - (u - 1)) / u));
}

/* r = l: the logits take the place of a Gaussian's x, and x that of its scale. A factor of 0 makes 0, whatever the other's limit. */
INLINE RE(point) RE(bernoulli)(T l, T x) {
    T e = RE(exp)(l > 0 ? -l : l), slope = l > 0 ? 1 - x : -x, linear = slope * l;
    RE(point) y = {0};
    y.term = ((slope == 0) | ((l == 0) & (slope == slope)) ? (T)0 : linear) + RE(log1p_of_unit)(e);
    y.first = (l > 0 ? (T)1 : e) / (1 + e) - x;
    y.scale = -l;
    return y;
}
