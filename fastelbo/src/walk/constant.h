/* A scale that is constant along the event, as a row needs it: exp and log once a row, in double for both types, by the same
 * functions as everywhere else. Included once, for float64 (real.h). */
#ifndef FASTELBO_CONSTANT_H
#define FASTELBO_CONSTANT_H

#include "../loops/loops.h"

typedef struct {
    double base, gradient[2];    /* of an element with r = 0: its part of the loss, and d/d(raw scale), d/d(raw prior) */
    double factor, slope;        /* sum r^2/v/2 = factor * sum (r a b)^2/2, or in_double factor * sum r^2; d log v/d raw */
    double plain;                /* = plain * sum r^2; 0: the factor might leave the range of double */
    double a, b, first_slope;    /* 2^k as two factors; r/v = ((r a b) first_slope a) b */
    int bad;
    int limit; /* it, or the prior's, is infinite (1) or NaN (2) */
    int special; /* infinite, or some of the above is, or has lost digits: its elements go one by one (mend.h) */
} row_scale;

#define PLAIN 400 /* 1/std = 2^k beyond this: no plain factor */

static inline double squares_of(const row_scale *s, double sum) { return sum == 0 ? 0 : s->factor * sum; }

/* Without half_log, which takes a logarithm */
#define SIDE(SCALE_, s)                       \
    static side_f64 side_of_##s(double raw) { \
        side_f64 x = side_##s##_f64(raw);     \
        x.half_log = 0;                       \
        return x;                             \
    }
EACH_SCALE(SIDE)
#undef SIDE

static int is_normal(double x) { return x == 0 || (magnitude_f64(x) >= SMALLEST_NORMAL && x - x == 0); }

/* `most`: the exponents that two factors of the computing type reach; kind: of raw, where min_var has not made it a variance */
static row_scale scale_of_row(const plan *p, int kind, double raw, double raw_prior, int64_t most) {
    static side_f64 (*const side[N_SCALES])(double) = {side_of_var, side_of_std, side_of_logvar, side_of_logstd, side_of_precision};
    int paired = p->paired;
    static const parameters_f64 none;
    double zero = 0, first;
    row_scale s = {.factor = 1, .slope = 0, .plain = 0, .a = 1, .b = 1, .first_slope = 1};
    operands_f64 o = {&zero, &zero, &raw, &raw_prior, &s.base, &first, &s.gradient[0], &s.gradient[1], 1, 1, 1, NULL, NULL, &none};
    (paired ? two_scales_f64[kind][p->kind[1]][1][ANY] : one_scale_f64[p->loss][kind][3][ANY])(&o);
    const double sum = raw * 0 + (paired ? raw_prior * 0 : 0);
    s.limit = sum == 0 ? 0 : raw != raw || (paired && raw_prior != raw_prior) ? 2 : 1;
    s.bad = (!is_log(kind) && raw <= 0) || (paired && !is_log(p->kind[1]) && raw_prior <= 0);
    if (!p->divided) {
        if (p->in_double) s.factor = 0.5;
        s.special = s.limit != 2 && !(is_normal(s.base) & is_normal(s.gradient[0]) & (magnitude_f64(s.base) < 0x1p960));
        return s;
    }

    const double own = paired ? raw_prior : raw;
    const int limit = own - own != 0;
    side_f64 v = side[paired ? p->kind[1] : kind](own);
    int64_t k = v.k >> 1;
    s.factor = v.k & 1 ? 2 * v.i : v.i;
    const int far = !(k > -PLAIN && k < PLAIN) || limit;
    s.special = far && (k > most || k < -most || limit);
    const double power = far ? 0 : pow2_f64(k);
    k = k > most ? most : k < -most ? -most : k;
    int one = 2 * (k < 0 ? -k : k) <= most; /* one factor reaches */
    s.a = pow2_f64(one ? k : k >> 1);
    s.b = one ? 1 : pow2_f64(k - (k >> 1));
    s.first_slope = s.factor;
    const double product = far ? s.a * s.b : power; /* in double also where factors of T do not reach */
    double of_squares = s.factor * (0.5 * product) * product;
    if (!far) s.plain = of_squares;
    if (p->in_double) s.factor = of_squares;
    s.slope = v.slope / times_pow2_f64(v.m, limit_exponent_f64(v.e));
    s.special |= !(magnitude_f64(s.base) < 0x1p960); /* times the columns it is a number */
    if (far || paired)
        s.special |= !(is_normal(s.base) & is_normal(s.gradient[0]) & is_normal(s.slope) & (!paired || is_normal(s.gradient[1])));
    if (s.limit == 2) s.special = 0; /* NaN is the limit of all that it is a part of */
    if (own != own) s.factor = s.slope = s.first_slope = own;
    return s;
}

#endif
