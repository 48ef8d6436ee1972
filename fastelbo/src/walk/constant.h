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

#define SCALES_AT_ONCE 16

/* Of several rows: raw scales; what the loop makes of them, and of r = 0 */
typedef struct { double raw[SCALES_AT_ONCE], prior[SCALES_AT_ONCE], base[SCALES_AT_ONCE], gradient[2][SCALES_AT_ONCE]; } raw_scales;

static void scales_by_loop(const plan *p, int kind, raw_scales *x, ptrdiff_t n) {
    static const parameters_f64 none;
    static const double zeros[SCALES_AT_ONCE];
    double first[SCALES_AT_ONCE];
    operands_f64 o = {zeros, zeros, x->raw, x->prior, x->base, first, x->gradient[0], x->gradient[1], 1, 1, n, NULL, NULL, &none};
    (p->paired ? two_scales_f64[kind][p->kind[1]][1][ANY] : one_scale_f64[p->loss][kind][3][ANY])(&o);
}

/* The i-th of them. `most`: the exponents that two factors of the computing type reach; kind: of raw, where min_var has not made it a variance */
static void scale_from(const plan *p, int kind, const raw_scales *x, ptrdiff_t i, int64_t most, row_scale *to) {
    static side_f64 (*const side[N_SCALES])(double) = {side_of_var, side_of_std, side_of_logvar, side_of_logstd, side_of_precision};
    const int paired = p->paired;
    const double raw = x->raw[i], raw_prior = x->prior[i];
    row_scale s = {.base = x->base[i], .gradient = {x->gradient[0][i], paired ? x->gradient[1][i] : 0}, .factor = 1, .a = 1, .b = 1, .first_slope = 1};
    const double sum = raw * 0 + (paired ? raw_prior * 0 : 0);
    s.limit = sum == 0 ? 0 : raw != raw || (paired && raw_prior != raw_prior) ? 2 : 1;
    s.bad = (!is_log(kind) && raw <= 0) || (paired && !is_log(p->kind[1]) && raw_prior <= 0);
    if (!p->divided) {
        if (p->in_double) s.factor = 0.5;
        s.special = s.limit != 2 && !(is_normal(s.base) & is_normal(s.gradient[0]) & (magnitude_f64(s.base) < 0x1p960));
        *to = s;
        return;
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
    *to = s;
}

/* ---- usual scales of many rows, in vectors ---------------------------------------------------------------------------------- */

/* What scale_from takes of side_of_..., of each row */
typedef struct { double i[SCALES_AT_ONCE], slope[SCALES_AT_ONCE]; int64_t k[SCALES_AT_ONCE]; } raw_sides;

#define SIDES(SCALE_, s)                                                                 \
    static void sides_of_##s(const double *restrict raw, raw_sides *restrict y) {        \
        for (int j = 0; j < SCALES_AT_ONCE; j++) {                                       \
            const side_f64 x = side_of_##s(raw[j]);                                      \
            y->i[j] = x.i, y->k[j] = x.k;                                                \
            y->slope[j] = x.slope / times_pow2_f64(x.m, limit_exponent_f64(x.e));        \
        }                                                                                \
    }
EACH_SCALE(SIDES)
#undef SIDES

/* The scales of n rows as scale_from has them, to the bit, where none is but usual: a number, whose 1/std is a power of two that one factor
 * of the computing type reaches, times a number near 1. Else 0. (All of x is gone through: what is beyond n are numbers, or nothing.) */
static int usual_scales(const plan *p, int kind, const raw_scales *x, ptrdiff_t n, int64_t most, row_scale *to) {
    static void (*const sides[N_SCALES])(const double *, raw_sides *) = {sides_of_var, sides_of_std, sides_of_logvar, sides_of_logstd, sides_of_precision};
    const int64_t reach = most / 2 < PLAIN ? most / 2 : PLAIN - 1;
    raw_sides y;
    double of_squares[SCALES_AT_ONCE], factor[SCALES_AT_ONCE], power[SCALES_AT_ONCE];
    if (!p->divided || p->paired) return 0;
    sides[kind](x->raw, &y);
    int64_t all = -1;
    for (int j = 0; j < SCALES_AT_ONCE; j++) {
        const int64_t k = y.k[j] >> 1;
        factor[j] = y.k[j] & 1 ? 2 * y.i[j] : y.i[j];
        power[j] = pow2_f64(k);
        of_squares[j] = factor[j] * (0.5 * power[j]) * power[j];
        const int64_t usual = mask_f64((k <= reach) & (k >= -reach) & (magnitude_f64(x->base[j]) < 0x1p960) & (x->raw[j] - x->raw[j] == 0))
                              & mask_f64(is_log(kind) | (x->raw[j] > 0));
        all &= usual | mask_f64(j >= n);
    }
    if (!all) return 0;
    for (ptrdiff_t j = 0; j < n; j++)
        to[j] = (row_scale){.base = x->base[j], .gradient = {x->gradient[0][j], 0}, .factor = p->in_double ? of_squares[j] : factor[j], .slope = y.slope[j],
                            .plain = of_squares[j], .a = power[j], .b = 1, .first_slope = factor[j]};
    return 1;
}

static row_scale scale_of_row(const plan *p, int kind, double raw, double raw_prior, int64_t most) {
    raw_scales x = {.raw = {raw}, .prior = {raw_prior}};
    row_scale s;
    scales_by_loop(p, kind, &x, 1);
    scale_from(p, kind, &x, 0, most, &s);
    return s;
}

#endif
