/* One element of a call, read from the caller's memory, as wide numbers: term and gradients with its weight, where the loops over T would
 * leave the range of T on the way to a number within it. A hundred times slower than they are, for the few elements that ask for it.
 * Errors: a few u of double. Included once, for float64 (real.h). */
#ifndef FASTELBO_CAREFUL_H
#define FASTELBO_CAREFUL_H

#include "constant.h"
#include "tiles.h"

typedef struct {
    wide term, weight, gradient[N_GRADS]; /* each with the weight; not with careful_factor */
    int counted;                          /* where has not removed it */
} careful;

/* The element by the loops for any scale, which know the limits. r = 0 leaves half of h(d) and of expm1(d), times the slopes */
static wide_point by_loop(const plan *p, const wide_element *e) {
    double r = double_of(e->r), zero = 0, term = 0, first = 0, scale = 0, of_prior = 0;
    parameters_f64 parameters;
    memcpy(parameters.of, p->parameter, sizeof parameters.of);
    operands_f64 o = {&r, &zero, &e->raw, &e->prior, &term, &first, &scale, &of_prior, 1, 1, 1, &e->x, &e->lost, &parameters};
    (p->paired ? two_scales_f64[e->kind][p->kind[1]][1][ANY] : one_scale_f64[p->loss][e->kind][3][ANY])(&o);
    return (wide_point){wide_of(term), wide_of(first), wide_of(scale), wide_of(of_prior)};
}

/* ---- an element ------------------------------------------------------------------------------------------------------------ */

static double element_of(const plan *p, int a, ptrdiff_t row, ptrdiff_t col, double absent) {
    const view *v = &p->argument[a];
    double x;
    if (!v->data) return absent;
    pack_f64(v->type, &x, v->data + row_offset(p, v->stride, row) + offset_of(p, v->stride, p->row_dims, p->dims, col), 0, 1);
    return x;
}

/* What an integer beyond 2^53 has more than the double that element_of makes of it */
static double rest_of(const plan *p, int a, ptrdiff_t row, ptrdiff_t col) {
    const view *v = &p->argument[a];
    double x;
    if (!v->data || (v->type % SWAPPED != U64 && v->type % SWAPPED != I64)) return 0;
    packs_f64[REST][v->type](&x, v->data + row_offset(p, v->stride, row) + offset_of(p, v->stride, p->row_dims, p->dims, col), 0, 1, 1, NULL);
    return x;
}

/* x x_scale - y + rest */
static wide careful_difference(const plan *p, double x, double y, double rest) {
    if (rest != 0) return wide_plus(wide_of(x - y), wide_of(rest));
    const int scaled = p->x_scale != 1 && x_of(p) == FIRST;
    const double r = scaled ? product_minus_f64(x, p->x_scale, y) : x - y;
    if (scaled && magnitude_f64(r) < 0x1p-1022 && magnitude_f64(x * p->x_scale) < 0x1p-900) { /* 2^600 of it is not rounded */
        const wide raised = wide_of(product_minus_f64(x * 0x1p600, p->x_scale, y * 0x1p600));
        return (wide){raised.m, raised.e - 600};
    }
    if (r - r == 0) return wide_of(r);
    return wide_plus(scaled ? wide_times(wide_of(x), wide_of(p->x_scale)) : wide_of(x), wide_of(-y));
}

/* What r is rounded by, of a loss that takes it */
static double lost_of(const plan *p, double x, double y, double r) {
    if (!(p->traits->takes & TAKES_LOST)) return 0;
    const difference_f64 d = difference_of_f64(x, p->x_scale, y);
    const double lost = (d.r - r) + d.lost;
    return lost - lost == 0 ? lost : 0;
}

/* Whether min_var lifts this scale */
static int is_floored(const plan *p, double raw) {
    const double v = p->min_var;
    if (!(v > 0)) return 0;
    switch (p->kind[0]) {
        case VAR: return raw >= 0 && raw < v;
        case STD: return raw >= 0 && raw < __builtin_sqrt(v);
        case LOGVAR: return raw < log_f64(v, 0);
        case LOGSTD: return raw < 0.5 * log_f64(v, 0);
        default: return raw > 1 / v;
    }
}

/* The scale that min_var is, of the form that holds it best */
static void floor_of(const plan *p, wide_element *e) {
    const int has_var = p->traits->forms >> VAR & 1;
    e->kind = has_var ? VAR : STD;
    e->raw = has_var ? p->min_var : __builtin_sqrt(p->min_var);
}

static wide_point careful_point(const plan *p, wide_element e) {
    const int floored = is_floored(p, e.raw), scaled = p->traits->forms != 0;
    if (floored) floor_of(p, &e);
    const int usual = e.r.m - e.r.m == 0 && (!scaled || is_usual(e.kind, e.raw)) && (!p->paired || is_usual(p->kind[1], e.prior));
    if (!usual && !scaled) e.raw *= p->x_scale;
    wide_point x = usual ? careful_of[p->loss](p, &e) : by_loop(p, &e);
    if (floored) x.scale = wide_of(0);
    return x;
}

/* A weight as the loops have it: of T, unless T has no normal number for it (NOT_NOTHING) */
static double weight_of(const plan *p, ptrdiff_t row, ptrdiff_t col) {
    const double given = element_of(p, WEIGHT, row, col, 1);
    const float rounded = (float)given;
    const int has_number = __builtin_fabsf(rounded) >= 0x1p-126f && rounded - rounded == 0;
    return p->is_double || !has_number ? given : rounded;
}

SELDOM careful careful_at(const plan *p, ptrdiff_t row, ptrdiff_t col) {
    careful c = {.counted = element_of(p, WHERE, row, col, 1) != 0};
    if (!c.counted) return c;
    const wide weight = wide_of(weight_of(p, row, col));
    const double first = element_of(p, FIRST, row, col, 0), rest = rest_of(p, FIRST, row, col) - rest_of(p, SECOND, row, col);
    const double second = element_of(p, SECOND, row, col, 0), scaled = x_of(p) == FIRST ? first * p->x_scale : first;
    const wide r = careful_difference(p, first, second, rest);
    const wide_element e = {r, p->is_double ? scaled : (float)scaled, element_of(p, SCALE, row, col, 0), element_of(p, PRIOR, row, col, 0),
                            p->kind[0], rest == 0 ? lost_of(p, first, second, double_of(r)) : 0};
    const wide_point x = careful_point(p, e);
    const wide gradient[N_GRADS] = {x.first, wide_minus(x.first), x.scale, x.prior};
    c.term = wide_times(weight, x.term);
    c.weight = weight;
    for (int a = 0; a < N_GRADS; a++) c.gradient[a] = wide_times(weight, gradient[a]);
    return c;
}

/* What `full` adds to an element of a loss with a number for each */
static wide constant_of_number(const plan *p, ptrdiff_t row, ptrdiff_t col) {
    const double number = element_of(p, PRIOR, row, col, 0);
    double constant = 0;
    add_constants_f64[p->loss](&constant, &number, 1, 1);
    return wide_of(constant);
}

/* The factor of gradient a: p->factor might have left the range of double by itself */
static wide careful_factor(const plan *p, int a) {
    const wide factor = wide_over(wide_of(p->numerator), wide_of(p->denominator));
    return p->x_scale != 1 && a == x_of(p) ? wide_times(wide_of(p->x_scale), factor) : factor;
}

#endif
