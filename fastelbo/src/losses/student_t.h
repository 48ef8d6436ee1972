/* THE MATHS of Student's t, for a single element. Included once per type (real.h), after scale.h.
 *
 * r = x - mean, s the scale (not the standard deviation), nu = df > 0, z = r/s, t = z^2/nu. u is the unit roundoff, 2^-24 or 2^-53.
 *
 *     NLL = c + log s + value     value = (nu+1)/2 log1p(t)     c = lgamma(nu/2) - lgamma((nu+1)/2) + log(pi nu)/2
 *     d/dx = slope/s              slope = (nu+1) z/(nu + z^2) = (z + z/nu)/(1 + t)
 *     d/dlog s = log_scale = 1 - z slope = (1 - z^2)/(1 + t)      d/ds = log_scale/s
 *
 * Limits: nu = inf is the Gaussian (z^2/2, z, 1 - z^2, c = log(2 pi)/2); r = +-inf: value inf, slope 0, log_scale -nu; s = 0: d/dx =
 * (nu+1)/r, log_scale -nu. NaN propagates.
 *
 * Two ways, as in scale.h: of ordinary z and nu by the plain forms. Of any others r, 1/s and nu are taken apart into mantissa and exponent,
 * because z, z^2, t and the slope may leave the range of T where the answer does not: z = 1e60 and nu = 3 make a value of 550.
 *
 * Errors, in u, at most 8: of |log s| + value, of d/dx, of the larger term of d/ds and d/dlog s, those of (1 - z^2)/(1 + t) (found: 6.2, 6.5,
 * 7.1). c: <= 4 u c, 3 ULP (found: 3.6, 2.7). A subnormal nu is exact in all but d/ds, which has its digits. */

typedef struct { T value, first, log_scale; } RE(student); /* first: d/dx */

/* log1p(t) = log((one + t) 2^k) and 1/(one + t); one = 1 and k = 0, or t is divided by 2^k and so is `one`. float64: by one division,
 * 1/(m (1 + m)), where the logarithm takes another */
typedef struct { T log, inverse; } RE(log_and_inverse);

INLINE RE(log_and_inverse) RE(log_of_sum)(T one, T t, T k) {
    T sum = one + t, high = t > one ? t : one, low = t > one ? one : t, lost = low - (sum - high), inverse, s;
    RE(split) v = RE(split_exponent)(sum, 1);
#if REAL == 32
    inverse = 1 / sum, s = 0;
#else
    T next = 1 + v.m, over = 1 / (v.m * next);
    inverse = (next * over) * RE(pow2)(-v.e), s = ((v.m - 1) * v.m) * over;
#endif
    v = RE(inexact)(v, lost * inverse);
    v.real_e += k;
    return (RE(log_and_inverse)){RE(log_by)(v, s), inverse};
}

/* ---- ordinary z and nu ------------------------------------------------------------------------------------------------ */

/* Those by whose quotient and squares nothing overflows, and no digit of z is lost; a large nu does no harm, nor inf */
#undef STUDENT_T_ROOM
#define STUDENT_T_ROOM (REAL == 32 ? 40 : 300)
INLINE I RE(ordinary_student_t)(T r, T z, T df) {
    const T most = RE(pow2)(STUDENT_T_ROOM), size = RE(magnitude)(z);
    return (size <= most) & ((size >= SMALLEST_NORMAL) | (r == 0)) & (df >= 1 / most);
}

INLINE RE(student) RE(student_t_ordinary)(T z, T inverse_scale, T df) {
    T ratio = z * (1 / df), t = z * ratio, linear = z + ratio; /* 1/df once, where there is one for all */
    RE(log_and_inverse) x = RE(log_of_sum)(1, t, 0);
    I small = t < RE(pow2)(-MANTISSA - 3); /* log1p(t) = t, which may be subnormal */
    return (RE(student)){.value = small ? ((T)0.5 * linear) * z : FMA((T)0.5 * df, x.log, (T)0.5 * x.log),
                         .first = linear * x.inverse * inverse_scale,
                         .log_scale = FMA(-z, z, 1) * x.inverse};
}

/* ---- any ---------------------------------------------------------------------------------------------------------------- */

/* x >= 0 as m 2^e. Exponents are kept as T, because few machines convert or compare 64-bit integers in vectors. That of 0 is so low, that of
 * inf so high that it outweighs all others */
typedef struct { T m, e; } RE(binary);
#undef BEYOND
#define BEYOND ((T)(16 * EXP_MAX))

INLINE RE(split) RE(split_positive)(T x) {
    I subnormal = x < SMALLEST_NORMAL;
    RE(split) v = RE(split_exponent)(subnormal ? x * RE(pow2)(MANTISSA) : x, 1);
    v.real_e -= subnormal ? (T)MANTISSA : (T)0;
    return v;
}

INLINE RE(binary) RE(binary_of)(T x, T beyond) {
    RE(split) v = RE(split_positive)(x);
    return (RE(binary)){x > 0 ? v.m : (T)0, x > 0 ? x < INFINITE ? v.real_e : beyond : -beyond};
}

/* 2^k of an integer -EXP_MAX < k <= EXP_MAX */
INLINE T RE(pow2_of)(T k) { return RE(real)((I)((U)RE(bits)(k + (ROUNDER + EXP_MAX)) << MANTISSA)); }

/* m 2^k, m near 1 or 0 */
INLINE T RE(scaled_by)(T m, T k) {
    const T most = 2 * (EXP_MAX - 1);
    k = RE(at_least)(RE(at_most)(k, most), -most);
    T half = ((T)0.5 * k + ROUNDER) - ROUNDER;
    return m * RE(pow2_of)(half) * RE(pow2_of)(k - half);
}

/* s = exp(excess) 2^-e/m; excess is 0 unless 1/t or t has long been 0. t = q 2^k; where k > 0 it is far, and all is divided by 2^k */
INLINE RE(student) RE(student_t_any)(T r, RE(binary) inverse_scale, T excess, T log_s, T df) {
    T size = df != df ? df : log_s != log_s ? log_s : RE(magnitude)(r);
    RE(binary) a = RE(binary_of)(size, BEYOND), n = RE(binary_of)(df, 4 * BEYOND), n1 = RE(binary_of)(df + 1, 4 * BEYOND);
    a.m *= inverse_scale.m, a.e += inverse_scale.e; /* |z| */
    T ratio = a.m / n.m, q = ratio * a.m, k = 2 * a.e - n.e;
    I far = k > 0;
    T one = far ? RE(scaled_by)(1, -k) : (T)1, near_t = q * RE(pow2_of)(far ? (T)0 : RE(at_least)(k, 1 - EXP_MAX));
    RE(log_and_inverse) x = RE(log_of_sum)(one, near_t, far ? k : (T)0);
    T log = x.log - (far ? 2 * excess : (T)0), z = RE(scaled_by)(a.m, a.e);

    RE(student) y;
    y.value = k < -MANTISSA - 4 ? RE(scaled_by)((T)0.5 * q * n1.m, k + n1.e) : log == INFINITE ? log : FMA((T)0.5 * df, log, (T)0.5 * log);
    y.first = RE(scaled_by)(ratio * n1.m * x.inverse * inverse_scale.m, inverse_scale.e + n1.e + (far ? -a.e : a.e - n.e));
    /* z^2 one = nu q; z^2 may overflow where the answer, a seventh of it or more, does not */
    y.log_scale = far ? FMA(-df, q * x.inverse, one * x.inverse) : 8 * (FMA((T)-0.125 * z, z, (T)0.125) * x.inverse);
    y.value = size < INFINITE ? y.value : size;
    y.first = r < 0 ? -y.first : y.first;
    T undefined = size == INFINITE ? log_s == INFINITE ? size - size : (T)0 : size * 0; /* NaN, where there is no limit in r and s */
    y.first = undefined == 0 || (size == size && df < INFINITE) ? y.first : undefined;
    y.log_scale = undefined == 0 ? y.log_scale : undefined;
    return y;
}

/* ---- the scale, and its logarithm --------------------------------------------------------------------------------------- */

INLINE I RE(ordinary_student_t_std)(T r, T raw, T df) { return RE(ordinary_std)(raw) & RE(ordinary_student_t)(r, r * (1 / raw), df); }
INLINE I RE(ordinary_student_t_logstd)(T r, T raw, T df) {
    return RE(ordinary_logstd)(raw) & RE(ordinary_student_t)(r, r * RE(exp_normal)(-raw), df);
}

INLINE RE(point) RE(student_t_std)(T r, T raw, T df, int ordinary) {
    T inverse = 1 / raw, z = r * inverse;
    RE(student) x = RE(student_t_ordinary)(z, inverse, df);
    RE(point) plain = {.term = RE(log)(raw, 1) + x.value, .first = x.first, .scale = x.log_scale * inverse};
    if (ordinary) return plain;
    RE(split) v = RE(split_positive)(raw);
    T log_s = raw < INFINITE ? RE(log_of)(v) : raw;
    RE(student) y = RE(student_t_any)(r, (RE(binary)){1 / v.m, raw < INFINITE ? -v.real_e : -2 * BEYOND}, 0, log_s, df);
    T scale = y.log_scale > -INFINITE ? y.log_scale / raw : -z * y.first; /* -z slope may overflow where it does not over s */
    RE(point) any = {.term = y.value == INFINITE ? y.value : log_s + y.value, .first = y.first, .scale = scale};
    return RE(either)(RE(ordinary_student_t_std)(r, raw, df), plain, any);
}

INLINE RE(point) RE(student_t_logstd)(T r, T raw, T df, int ordinary) {
    T inverse = RE(exp_normal)(-raw);
    RE(student) x = RE(student_t_ordinary)(r * inverse, inverse, df);
    RE(point) plain = {.term = raw + x.value, .first = x.first, .scale = x.log_scale};
    if (ordinary) return plain;
    const T limit = (T)(1.38 * (EXP_MAX - 1)); /* 2 ln2 */
    T within = RE(at_least)(RE(at_most)(raw, limit), -limit);
    I k;
    T m = RE(exp_split)(-within, &k), e = RE(real)(RE(bits)(ROUNDER) + k) - ROUNDER;
    RE(student) y = RE(student_t_any)(r, (RE(binary)){m, e}, raw - within, raw, df);
    RE(point) any = {.term = y.value == INFINITE ? y.value : raw + y.value, .first = y.first, .scale = y.log_scale};
    return RE(either)(RE(ordinary_student_t_logstd)(r, raw, df), plain, any);
}

/* ---- the constant ------------------------------------------------------------------------------------------------------ */

/* c(nu) = log(2 pi)/2 + y P(y) - log(1 - y)/2, y = 2/(2 + nu): what is left of c is smooth in y, from nu = 0 (y = 1) to inf (y = 0). P by
 * interpolation at Chebyshev's points, with an error of y P <= 8e-9 and 4e-17 */
INLINE T RE(student_t_constant)(T df) {
    T y = 2 / (2 + df), p;
#if REAL == 32
    p = FMA(FMA(-0x1.df489ep-9f, y, 0x1.4eb6eap-7f), y, -0x1.042808p-6f);
    p = FMA(FMA(FMA(p, y, 0x1.0227eep-7f), y, -0x1.3a00aap-7f), y, -0x1.d3ab32p-7f);
    p = FMA(FMA(FMA(p, y, -0x1.81b40ap-5f), y, -0x1.ffefcep-4f), y, -0x1.80001ap-2f);
#else
    p = FMA(FMA(-0x1.1b2834b9ea2c1p-15, y, 0x1.b71dcfc1ad2bep-12), y, -0x1.4bcc589734bd8p-9);
    p = FMA(FMA(FMA(p, y, 0x1.3e6fc90d756e6p-7), y, -0x1.ae397797f0d59p-6), y, 0x1.aed2f745ddf8ap-5);
    p = FMA(FMA(FMA(p, y, -0x1.48ebbef4eb380p-4), y, 0x1.839dc509c146ap-4), y, -0x1.5fa6829e1b73dp-4);
    p = FMA(FMA(FMA(p, y, 0x1.de7777e39f3a8p-5), y, -0x1.c6aa045681b2ap-6), y, 0x1.d21672f24e589p-8);
    p = FMA(FMA(FMA(p, y, -0x1.84f96a4e522afp-13), y, -0x1.a57c7ccb75ce6p-13), y, -0x1.32a5545ae71f6p-9);
    p = FMA(FMA(FMA(p, y, -0x1.54dbdab5b502ep-9), y, -0x1.3337558ee30cap-8), y, -0x1.ffffe7f828373p-7);
    p = FMA(FMA(FMA(p, y, -0x1.8000002a737ecp-5), y, -0x1.ffffffffb2addp-4), y, -0x1.8000000000191p-2);
#endif
    RE(split) rest = RE(split_positive)(df > 2 ? 2 - 2 * y : df * y); /* twice 1 - y */
    rest.real_e -= 1;
    return (T)0.91893853320467274178 + FMA(p, y, (T)-0.5 * RE(log_of)(rest));
}

/* ---- as wide numbers ------------------------------------------------------------------------------------------------------ */

#if REAL == 64 /* once */
/* Errors: a few u of double. */

/* log(1 + t), t >= 0 */
static wide wide_log1p(wide t) {
    if (t.e < -60) return t;
    if (t.e > 60) return wide_of(log_f64(t.m, 1) + (double)t.e * 0.69314718055994530942);
    return wide_of(log1p_f64(double_of(t)));
}

/* Of a finite z and df > 0, which may be infinite */
static wide_shape wide_student_t(const wide_standard *at) {
    const wide z = at->z;
    const double df = at->number;
    const wide one = wide_of(1), nu = wide_of(df), square = wide_times(z, z), t = wide_over(square, nu), sum = wide_plus(one, t);
    const wide linear = wide_plus(z, wide_over(z, nu));
    const wide twice = t.m == 0 || t.e < -60 ? wide_times(linear, z) : wide_times(wide_plus(nu, one), wide_log1p(t));
    return (wide_shape){.value = wide_half(twice),
                        .slope = wide_over(linear, sum),
                        .of_log = wide_over(wide_plus(one, wide_minus(square)), sum)};
}

/* inverse_std stops at exp(2^14), where the term goes on as (df + 1) log|r/s| */
static wide_point careful_student_t(const plan *p, const wide_element *e) {
    wide_point x = careful_location(p, e, wide_student_t);
    const double beyond = is_log(e->kind) ? within_log(e->raw) - e->raw : 0;
    if (beyond > 0 && e->r.m != 0) x.term = wide_plus(x.term, wide_times(wide_plus(wide_of(e->prior), wide_of(1)), wide_of(beyond)));
    return x;
}
#endif
