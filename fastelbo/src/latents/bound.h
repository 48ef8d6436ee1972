/* A task of the importance-weighted bound: log (1/S) sum w, the weights w/sum w and (sum w)^2/sum w^2, of log weights. Once per type (real.h).
 *
 * In double: e^(log w - max), and unevaluated sums of two of it, whose rounding is that of the result. Infinite log weights: _objectives.py. */
#ifndef LATENTS_BOUND_H
#define LATENTS_BOUND_H

#include "walk.h"

#if REAL == 64 /* once */
#define HELD 8192 /* weights that are kept for their quotients; beyond them each is computed twice */
#define LEAST_ACROSS 16 /* places that go together where weights are kept */
#define ALONG 32   /* terms of a row from which on vectors run along it, and not across the rows */

typedef struct { double top, total, squares; } bound_of_place;

_Static_assert(TOGETHER * SPAN <= HELD, "terms that go together, and are not kept");

/* e^(x - top), 1 for an infinite x. Of floats none is below 10^-307 but in the sums, where that is nothing beside the largest, 1 */
INLINE double weight_of(double x, double top, int of_floats) {
    const double d = x == (double)INFINITE ? 0 : x - top;
    return of_floats ? exp_normal_f64(at_least_f64(d, -NORMAL_EXP)) : exp_f64(d);
}

/* Selections, as the loop over places has to be one of vectors */
INLINE double bound_value(bound_of_place b, double count) {
    const double value = b.top + log_full_f64(b.total / count), limit = (b.top < 0) | (b.total == b.total) ? b.top : b.total;
    return magnitude_f64(b.top) < (double)INFINITE ? value : limit;
}

/* Of several infinite weights none has a definite share */
INLINE int64_t is_shared(bound_of_place b) { return (b.top == (double)INFINITE) & (b.total > 1); }

INLINE double effective_size(bound_of_place b, double count) {
    const double size = b.total * (b.total / b.squares);
    return is_shared(b) ? (double)__builtin_nan("") : at_least_f64(at_most_f64(size, count), 1); /* rounding makes no more than there are */
}

/* What a weight is multiplied by */
INLINE double share_of(bound_of_place b) { return is_shared(b) ? (double)INFINITE : 1 / b.total; }
#endif

/* NaN wins */
INLINE T RE(larger)(T top, T x) { return (x > top) | (x != x) ? x : top; }

typedef struct {
    RE(latents_work) walk;
    double weight[HELD];
    T terms[TOGETHER][SPAN];
} RE(bound_work);

/* ... of a weight that has none: 0 times infinity is 0 for those that are 0 beside them */
INLINE T RE(weight_out)(double weight, double share) {
    const double x = weight * share;
    return (T)((share == (double)INFINITE) & (weight < 1) ? 0 : share == (double)INFINITE ? x - x : x);
}

/* ---- places across which vectors run ------------------------------------------------------------------------------------------------ */

/* Term t of n places that follow one another along the columns or the last kept axis */
typedef struct { latents_place first; ptrdiff_t n; int axis; } RE(places);

static char *RE(term_of)(const sampling *s, int a, const RE(places) *p, ptrdiff_t t) {
    const latents_place at = {p->first.row, s->by_column ? t : t / s->columns, s->by_column ? p->first.column : t % s->columns};
    return address(s, &s->operand[a], at);
}

/* One of TOGETHER terms */
static const T *RE(log_weights_at)(RE(bound_work) *w, const RE(places) *p, ptrdiff_t t) {
    const view *v = &w->walk.s->operand[LOG_WEIGHTS];
    T *buffer = w->terms[t % TOGETHER];
    const char *place = RE(term_of)(w->walk.s, LOG_WEIGHTS, p, t);
    const ptrdiff_t stride = p->n > 1 ? v->stride[p->axis] : 0;
    if (v->type == NATIVE && stride == sizeof(T) && (uintptr_t)place % sizeof(T) == 0) return (const T *)(const void *)place;
    RE(pack)(v->type, buffer, place, stride, p->n);
    return buffer;
}

static void RE(put_places)(const RE(bound_work) *w, int a, const RE(places) *p, ptrdiff_t t, const T *x) {
    const ptrdiff_t stride = p->n > 1 ? w->walk.s->operand[a].stride[p->axis] : 0;
    char *place = RE(term_of)(w->walk.s, a, p, t);
    if (stride == sizeof(T))
        memcpy(place, x, (size_t)p->n * sizeof(T));
    else
        RE(unpack)(x, place, stride, p->n);
}

static T *RE(room_for_weights)(RE(bound_work) *w, const RE(places) *p, ptrdiff_t t) {
    const int in_line = p->n == 1 || w->walk.s->operand[WEIGHTS].stride[p->axis] == sizeof(T);
    return in_line ? (T *)(void *)RE(term_of)(w->walk.s, WEIGHTS, p, t) : w->walk.buffer[WEIGHTS];
}

/* Some terms' weights, and what they add to the sums and the sums of squares of n places */
INLINE void RE(add_some_weights)(int count, double *const *weights, const T *const *terms, const double *restrict top, double *restrict hi,
                                 double *restrict lo, double *restrict hi2, double *restrict lo2, ptrdiff_t n) {
    double *restrict weight[TOGETHER];
    const T *restrict x[TOGETHER];
    for (int k = 0; k < count; k++) weight[k] = weights[k], x[k] = terms[k];
    _Pragma("omp simd") for (ptrdiff_t i = 0; i < n; i++) {
        pair sum = {hi[i], lo[i]}, squares = {hi2[i], lo2[i]};
        double y[TOGETHER];
        _Pragma("GCC unroll 4") for (int k = 0; k < count; k++) weight[k][i] = y[k] = weight_of(x[k][i], top[i], REAL == 32); /* else no vectors */
        if (REAL == 32 && count == TOGETHER) { /* two roundings of double are nothing to floats */
            sum = added_f64(sum, (y[0] + y[1]) + (y[2] + y[3]));
            squares = added_f64(squares, (y[0] * y[0] + y[1] * y[1]) + (y[2] * y[2] + y[3] * y[3]));
        } else {
            _Pragma("GCC unroll 4") for (int k = 0; k < count; k++) sum = added_f64(sum, y[k]), squares = added_f64(squares, y[k] * y[k]);
        }
        hi[i] = sum.hi, lo[i] = sum.lo, hi2[i] = squares.hi, lo2[i] = squares.lo;
    }
}

static void RE(add_weights)(int count, double *const *weight, const T *const *x, const double *top, double *hi, double *lo, double *hi2,
                            double *lo2, ptrdiff_t n) {
    if (count == TOGETHER)
        RE(add_some_weights)(TOGETHER, weight, x, top, hi, lo, hi2, lo2, n);
    else
        RE(add_some_weights)(1, weight, x, top, hi, lo, hi2, lo2, n);
}

static void RE(bound_across)(RE(bound_work) *w, const RE(places) *p, ptrdiff_t terms) {
    const ptrdiff_t n = p->n;
    const int held = terms <= HELD / LEAST_ACROSS; /* whatever n is: what goes together is the order of sums */
    double *hi = w->walk.hi[0][0], *lo = w->walk.lo[0][0], *hi2 = w->walk.hi[0][1], *lo2 = w->walk.lo[0][1];
    double *top = w->walk.hi[1][0], *share = w->walk.hi[1][1];
    T *value = w->walk.buffer[VALUE], *effective = w->walk.buffer[EFFECTIVE];
    for (ptrdiff_t i = 0; i < n; i++) value[i] = -INFINITE, hi[i] = lo[i] = hi2[i] = lo2[i] = 0;
    for (ptrdiff_t t = 0; t < terms; t++) {
        const T *x = RE(log_weights_at)(w, p, t);
        _Pragma("omp simd") for (ptrdiff_t i = 0; i < n; i++) value[i] = RE(larger)(value[i], x[i]);
    }
    for (ptrdiff_t i = 0; i < n; i++) top[i] = value[i];
    I shared = 0;
    for (ptrdiff_t t = 0, count; t < terms; t += count) {
        double *weight[TOGETHER];
        const T *x[TOGETHER];
        count = terms - t >= TOGETHER ? TOGETHER : 1;
        for (int k = 0; k < count; k++) weight[k] = w->weight + (held ? t + k : k) * n, x[k] = RE(log_weights_at)(w, p, t + k);
        RE(add_weights)((int)count, weight, x, top, hi, lo, hi2, lo2, n);
    }
    _Pragma("omp simd reduction(|:shared)") for (ptrdiff_t i = 0; i < n; i++) {
        const bound_of_place b = {top[i], hi[i] + lo[i], hi2[i] + lo2[i]};
        value[i] = (T)bound_value(b, (double)terms), effective[i] = (T)effective_size(b, (double)terms), share[i] = share_of(b);
        shared |= RE(mask)(is_shared(b) != 0);
    }
    RE(put_places)(w, VALUE, p, 0, value);
    RE(put_places)(w, EFFECTIVE, p, 0, effective);
    for (ptrdiff_t t = 0; t < terms; t++) {
        const double *weight = held ? w->weight + t * n : w->weight;
        if (!held) {
            const T *x = RE(log_weights_at)(w, p, t);
            for (ptrdiff_t i = 0; i < n; i++) w->weight[i] = weight_of(x[i], top[i], REAL == 32);
        }
        T *out = RE(room_for_weights)(w, p, t);
        for (ptrdiff_t i = 0; i < n && shared; i++) out[i] = RE(weight_out)(weight[i], share[i]);
        _Pragma("omp simd") for (ptrdiff_t i = 0; i < (shared ? 0 : n); i++) out[i] = (T)(weight[i] * share[i]);
        if (out == w->walk.buffer[WEIGHTS]) RE(put_places)(w, WEIGHTS, p, t, out);
    }
}

/* ---- a row along which vectors run ---------------------------------------------------------------------------------------------------- */

static double RE(largest)(const T *x, ptrdiff_t n, double top) {
    T found = -INFINITE;
    I none = 0;
    _Pragma("omp simd reduction(max:found) reduction(|:none)") for (ptrdiff_t i = 0; i < n; i++) {
        found = x[i] > found ? x[i] : found;
        none |= RE(mask)(x[i] != x[i]);
    }
    return none ? (double)__builtin_nan("") : larger_f64(top, found);
}

static void RE(weights_along)(double *restrict weight, const T *restrict x, double top, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) weight[i] = weight_of(x[i], top, REAL == 32);
}

static void RE(put_along)(RE(bound_work) *w, ptrdiff_t row, ptrdiff_t from, ptrdiff_t n, const T *x) {
    const sampling *s = w->walk.s;
    latents_place at = {row, from / s->columns, from % s->columns};
    for (ptrdiff_t done = 0, run; done < n; done += run, at.term++, at.column = 0) {
        run = smaller(n - done, s->columns - at.column);
        char *place = address(s, &s->operand[WEIGHTS], at);
        if (column_stride(s, &s->operand[WEIGHTS]) == sizeof(T))
            memcpy(place, x + done, (size_t)run * sizeof(T));
        else
            RE(unpack)(x + done, place, column_stride(s, &s->operand[WEIGHTS]), run);
    }
}

static void RE(bound_along)(RE(bound_work) *w, ptrdiff_t row) {
    const sampling *s = w->walk.s;
    const ptrdiff_t terms = s->terms * s->columns;
    const int held = terms <= HELD;
    double hi[2][SUM_LANES] = {{0}}, lo[2][SUM_LANES] = {{0}}, top = -(double)INFINITE, *square = w->walk.term;
    T *out = w->walk.buffer[WEIGHTS];
    RE(seek)(&w->walk, row, 0);
    for (ptrdiff_t from = 0, n; from < terms; from += n) {
        n = smaller(terms - from, SPAN);
        top = RE(largest)(RE(terms_at)(&w->walk, LOG_WEIGHTS, row, from, n), n, top);
    }
    for (ptrdiff_t from = 0, n; from < terms; from += n) {
        n = smaller(terms - from, SPAN);
        double *weight = w->weight + (held ? from : 0);
        RE(weights_along)(weight, RE(terms_at)(&w->walk, LOG_WEIGHTS, row, from, n), top, n);
        for (ptrdiff_t i = 0; i < n; i++) square[i] = weight[i] * weight[i];
        add_all_f64(hi[0], lo[0], weight, n);
        add_all_f64(hi[1], lo[1], square, n);
    }
    const bound_of_place b = {top, value_of(sum_of_lanes_f64(hi[0], lo[0])), value_of(sum_of_lanes_f64(hi[1], lo[1]))};
    const T value = (T)bound_value(b, (double)terms), effective = (T)effective_size(b, (double)terms);
    memcpy(address(s, &s->operand[VALUE], (latents_place){row, 0, 0}), &value, sizeof value);
    memcpy(address(s, &s->operand[EFFECTIVE], (latents_place){row, 0, 0}), &effective, sizeof effective);
    const double share = share_of(b);
    for (ptrdiff_t from = 0, n; from < terms; from += n) {
        n = smaller(terms - from, SPAN);
        const double *weight = w->weight + (held ? from : 0);
        if (!held) RE(weights_along)(w->weight, RE(terms_at)(&w->walk, LOG_WEIGHTS, row, from, n), top, n);
        _Pragma("omp simd") for (ptrdiff_t i = 0; i < n; i++) out[i] = RE(weight_out)(weight[i], share);
        RE(put_along)(w, row, from, n, out);
    }
}

static void RE(bound_task)(RE(bound_work) *w, latents_place from, latents_place to) {
    const sampling *s = w->walk.s;
    const ptrdiff_t terms = s->by_column ? s->terms : s->terms * s->columns, most = smaller(terms > HELD / LEAST_ACROSS ? SPAN : HELD / terms, SPAN);
    for (latents_place at = from; at.row < to.row;) {
        if (s->by_column) {
            for (at.column = from.column; at.column < to.column;) {
                const RE(places) p = {at, smaller(to.column - at.column, most), s->kept + s->inner};
                RE(bound_across)(w, &p, terms);
                at.column += p.n;
            }
            at.row++;
        } else if (terms >= ALONG) {
            RE(bound_along)(w, at.row++);
        } else {
            const RE(places) p = {at, s->kept == 1 ? smaller(to.row - at.row, most) : 1, 0};
            RE(bound_across)(w, &p, terms);
            at.row += p.n;
        }
    }
}

#endif
