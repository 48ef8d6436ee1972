/* LOCATION-SCALE FAMILIES: a loss that depends on r and sigma through z = r/sigma. A family is one short function, of z and of what else it
 * is told (standard); it answers with its shape. The five forms of the scale follow. Included once per type (real.h).
 *
 *     term = log sigma + g    (without log sigma where LOSSES[].adds_log is 0)    d/dx = (dg/dz)/sigma    d/draw = d/dlog sigma * d log sigma/draw
 *
 * Ordinary scales (scale.h): 1/sigma as a number of T. Others: as i 2^k, and d log sigma/draw as a 2^ka, whose powers are applied to what
 * they multiply in parts, so that nothing on the way is further from 1 than both ends. Errors, in u, beside those of the family: log sigma
 * 1, 1/sigma 2, d log sigma/draw 1. What a family must know: z may be zero where r is not, and infinite. Where a result is infinite or
 * its digits are lost, the element is formed again as wide numbers: the family once more, of wide_standard. */
#ifndef LOCATION_H
#define LOCATION_H

#include "scale.h"
#include "wide_scale.h"

/* x - mean, and over sigma; the first parameter over sigma; x; the number (student's df); the plan's parameters */
typedef struct { T r, z, width, x, number; RE(parameters) parameters; } RE(standard);
typedef struct { T value, slope, of_log; } RE(shape); /* g; dg/dz; d/dlog sigma of log sigma + g, or of g */
typedef RE(shape) (*RE(family))(RE(standard));

/* The same element before its scale is known */
typedef struct { T r, x, number; RE(parameters) parameters; } RE(sample);

/* x i 2^k, i near 1, for |k| <= FAR: subnormal or infinite only as the product is */
#undef FAR
#define FAR (4 * (EXP_MAX - 1))
INLINE T RE(times_far_pow2)(T x, T i, I k) {
    I half = k >> 1, quarter = half >> 1, other = (k - half) >> 1;
    return x * RE(pow2)(quarter) * i * RE(pow2)(half - quarter) * RE(pow2)(other) * RE(pow2)(k - half - other);
}

INLINE RE(point) RE(of_ordinary)(RE(family) f, RE(sample) e, T inverse, T log, T by_raw, int adds_log) {
    RE(shape) g = f((RE(standard)){e.r, e.r * inverse, e.parameters.of[0] * inverse, e.x, e.number, e.parameters});
    return (RE(point)){.term = adds_log ? log + g.value : g.value, .first = g.slope * inverse, .scale = g.of_log * by_raw};
}

/* log sigma, 1/sigma = i 2^k, d log sigma/draw = a 2^ka. limit: 0; +inf where sigma is infinite; -inf where it is 0 in linear form;
 * of NaN all are NaN */
typedef struct { T log, i, a, limit; I k, ka; } RE(sigma);

INLINE RE(point) RE(of_any)(RE(family) f, RE(sample) e, RE(sigma) s, int adds_log) {
    RE(shape) g = f((RE(standard)){e.r, RE(times_far_pow2)(e.r, s.i, s.k), RE(times_far_pow2)(e.parameters.of[0], s.i, s.k), e.x, e.number, e.parameters});
    T nothing = e.r * 0; /* NaN of an infinite r */
    RE(point) y = {0};
    y.term = !adds_log || (g.value == INFINITE && s.log == s.log) ? g.value : s.log + g.value; /* log sigma = -inf: the family wins */
    y.first = s.limit > 0 ? g.slope * 0 : RE(times_far_pow2)(g.slope, s.i, s.k); /* sigma infinite: NaN of an infinite slope */
    y.scale = RE(times_far_pow2)(g.of_log, s.a, s.ka);
    y.scale = s.limit < 0 ? nothing : s.limit > 0 ? y.scale + nothing : y.scale;
    return y;
}

INLINE I RE(far_exponent)(I k) { return k > FAR ? FAR : k < -FAR ? -FAR : k; }

/* x, or NaN if the raw scale is */
INLINE T RE(unless_nan)(T x, RE(split) v) { return v.infinite == v.infinite ? x : v.infinite; }

INLINE RE(sigma) RE(sigma_log)(T log, T a) {
    const T limit = (T)(2.07 * (EXP_MAX - 1)); /* 3 ln2: k stays within FAR, and whatever is not 0 has long left the range of T */
    RE(sigma) s = {.log = log, .a = a, .limit = log == INFINITE ? log : (T)0};
    s.i = RE(exp_split)(-RE(at_least)(RE(at_most)(log, limit), -limit), &s.k);
    return s;
}

INLINE RE(sigma) RE(sigma_std)(T raw) {
    RE(split) v = RE(split_exponent)(raw, 0);
    T i = RE(unless_nan)(1 / v.m, v);
    I k = RE(far_exponent)(-v.e);
    return (RE(sigma)){.log = RE(log_of)(v), .i = i, .k = k, .a = i, .ka = k, .limit = v.infinite};
}

INLINE RE(sigma) RE(sigma_var)(T raw) {
    RE(split) v = RE(split_exponent)(raw, 0);
    I odd = v.e & 1;
    RE(sigma) s = {.log = (T)0.5 * RE(log_of)(v), .k = RE(far_exponent)((odd - v.e) >> 1), .ka = RE(far_exponent)(-v.e), .limit = v.infinite};
    s.i = RE(unless_nan)(ROOT((odd ? (T)0.5 : (T)1) / v.m), v);
    s.a = RE(unless_nan)((T)0.5 / v.m, v);
    return s;
}

INLINE RE(sigma) RE(sigma_precision)(T raw) {
    RE(split) v = RE(split_exponent)(raw, 0);
    I odd = v.e & 1;
    RE(sigma) s = {.log = (T)-0.5 * RE(log_of)(v), .k = RE(far_exponent)((v.e - odd) >> 1), .ka = RE(far_exponent)(-v.e), .limit = -v.infinite};
    s.i = RE(unless_nan)(ROOT(odd ? 2 * v.m : v.m), v);
    s.a = RE(unless_nan)((T)-0.5 / v.m, v);
    return s;
}

INLINE RE(point) RE(location_var)(RE(family) f, RE(sample) e, T raw, int ordinary, int adds_log) {
    T inverse = 1 / raw;
    RE(point) y = RE(of_ordinary)(f, e, ROOT(inverse), (T)0.5 * RE(log)(raw, 1), (T)0.5 * inverse, adds_log);
    return ordinary ? y : RE(either)(RE(ordinary_var)(raw), y, RE(of_any)(f, e, RE(sigma_var)(raw), adds_log));
}

INLINE RE(point) RE(location_std)(RE(family) f, RE(sample) e, T raw, int ordinary, int adds_log) {
    T inverse = 1 / raw;
    RE(point) y = RE(of_ordinary)(f, e, inverse, RE(log)(raw, 1), inverse, adds_log);
    return ordinary ? y : RE(either)(RE(ordinary_std)(raw), y, RE(of_any)(f, e, RE(sigma_std)(raw), adds_log));
}

INLINE RE(point) RE(location_logvar)(RE(family) f, RE(sample) e, T raw, int ordinary, int adds_log) {
    T log = (T)0.5 * raw;
    RE(point) y = RE(of_ordinary)(f, e, RE(exp_normal)(-log), log, (T)0.5, adds_log);
    return ordinary ? y : RE(either)(RE(ordinary_logvar)(raw), y, RE(of_any)(f, e, RE(sigma_log)(log, (T)0.5), adds_log));
}

INLINE RE(point) RE(location_logstd)(RE(family) f, RE(sample) e, T raw, int ordinary, int adds_log) {
    RE(point) y = RE(of_ordinary)(f, e, RE(exp_normal)(-raw), raw, 1, adds_log);
    return ordinary ? y : RE(either)(RE(ordinary_logstd)(raw), y, RE(of_any)(f, e, RE(sigma_log)(raw, 1), adds_log));
}

INLINE RE(point) RE(location_precision)(RE(family) f, RE(sample) e, T raw, int ordinary, int adds_log) {
    RE(point) y = RE(of_ordinary)(f, e, ROOT(raw), (T)-0.5 * RE(log)(raw, 1), (T)-0.5 / raw, adds_log);
    return ordinary ? y : RE(either)(RE(ordinary_precision)(raw), y, RE(of_any)(f, e, RE(sigma_precision)(raw), adds_log));
}

/* ---- as wide numbers ------------------------------------------------------------------------------------------------------ */

#if REAL == 64 /* once */
typedef struct { wide r, z, width; double x, number; const double *parameter; } wide_standard;
typedef struct { wide value, slope, of_log; } wide_shape;
typedef wide_shape (*wide_family)(const wide_standard *);

static wide_point careful_location(const plan *p, const wide_element *e, wide_family f) {
    const wide inverse = inverse_std(e->kind, e->raw);
    const wide_standard at = {e->r, wide_times(e->r, inverse), wide_times(wide_of(p->parameter[0]), inverse), e->x, e->prior, p->parameter};
    const wide_shape g = f(&at);
    const wide log = wide_of(half_log_variance(e->kind, e->raw));
    return (wide_point){.term = p->traits->adds_log ? wide_plus(log, g.value) : g.value,
                        .first = wide_times(g.slope, inverse),
                        .scale = wide_half(wide_times(slope_of_log(e->kind, e->raw), g.of_log))};
}
#endif

#endif
