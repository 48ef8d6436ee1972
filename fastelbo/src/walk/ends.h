/* The ends of rows that are whole in a tile, many at a time: their sums, totals, values and the gradients of their scales go through
 * vectors, where finish_row takes them one by one. Whatever is not usual in any of them (a sum that is not settled, a scale that is
 * special, a total near the end of double's range) leaves all of them to it. The bits are the same. Once per type (real.h). */
#ifndef ENDS_H
#define ENDS_H

#include "../sums/many.h"
#include "mend.h"

#if REAL == 64 /* once */
#define FEW_ROWS 8 /* so many, or more, end together */
/* Where a vector holds two doubles alone, the lanes of a row of floats are as fast by themselves if sums.h has a way of their own for them */
#if defined(__SSE2__) && !defined(__AVX__)
#define ONE_BY_ONE 8
#else
#define ONE_BY_ONE 0
#endif
#endif

/* Whether rows of this tile may */
static int RE(end_together)(const RE(work) *w) {
    const plan *p = w->p;
    const RE(tile) *t = &w->tile;
    if (t->rows < FEW_ROWS || t->cols != p->columns || p->sums_only || (w->odd & ODD_MARKS) | w->special) return 0;
    if (REAL == 32 && t->cols == ONE_BY_ONE && !w->weight && !p->constant) return 0;
    return p->reduction == NONE ? !p->other_rows && is_even(p, &p->value) : p->inner == 1;
}

/* Add n totals, from that of a row on, to the sums that rows take turns at */
static void RE(add_totals)(grand_total *to, ptrdiff_t row, const double *total, const double *low, ptrdiff_t n) {
    double hi[SUMS_OF_ROWS], lo[SUMS_OF_ROWS];
    for (int k = 0; k < SUMS_OF_ROWS; k++) hi[k] = to->usual[(row + k) % SUMS_OF_ROWS].hi, lo[k] = to->usual[(row + k) % SUMS_OF_ROWS].lo;
#define ADD(k, i)                                                         \
    {                                                                     \
        const pair s = two_sum(hi[k], total[i]);                          \
        hi[k] = s.hi;                                                     \
        lo[k] = (lo[k] + s.lo) + (REAL == 64 ? low[i] : 0);               \
    }
    ptrdiff_t i = 0;
    for (; i + SUMS_OF_ROWS <= n; i += SUMS_OF_ROWS)
        _Pragma("omp simd") for (int k = 0; k < SUMS_OF_ROWS; k++) ADD(k, i + k)
    for (int k = 0; i + k < n; k++) ADD(k, i + k)
#undef ADD
    for (int k = 0; k < SUMS_OF_ROWS; k++) to->usual[(row + k) % SUMS_OF_ROWS] = (pair){hi[k], lo[k]};
}

/* n rows' values, or their part of the reduced one: rows from the r-th of the tile on */
static void RE(put_totals)(RE(work) *w, ptrdiff_t r, const double *total, const double *low, ptrdiff_t n) {
    plan *p = w->p;
    const ptrdiff_t row = RE(row_of)(p, &w->tile, r);
    if (p->reduction != NONE) {
        RE(add_totals)(&p->totals[w->region.task], row, total, low, n);
        return;
    }
    char *value = RE(place_of_row)(p, &p->value, row);
    const ptrdiff_t stride = stride_of_rows(p, &p->value);
#define EACH_ROW(stride)                                                                    \
    for (ptrdiff_t i = 0; i < n; i++) {                                                     \
        const T x = (T)(REAL == 64 ? value_of((pair){total[i], low[i]}) : total[i]);        \
        memcpy(value + i * (stride), &x, sizeof x);                                         \
    }
    if (stride == (ptrdiff_t)sizeof(T))
        EACH_ROW((ptrdiff_t)sizeof(T))
    else
        EACH_ROW(stride)
#undef EACH_ROW
}

INLINE int64_t RE(all_within)(const double *x, ptrdiff_t n, double least, double below) {
    int64_t all = -1;
    for (ptrdiff_t i = 0; i < n; i++) all &= mask_f64((magnitude_f64(x[i]) < below) & (magnitude_f64(x[i]) >= least));
    return all;
}

/* The weights of n rows from the r-th on */
static const double *RE(weights_of_rows)(RE(work) *w, ptrdiff_t r, ptrdiff_t n) {
    const ptrdiff_t cols = w->tile.cols;
    double *weight = w->weight_of_row, *low = w->low_of_row;
    RE(sum_many)(w->weight + r * cols, n, cols, GROUP(w->p), weight, low, w->part_of_row);
    for (ptrdiff_t i = 0; i < n; i++) weight[i] = REAL == 64 ? value_of((pair){weight[i], low[i]}) : weight[i] + 0; /* -0 is 0 there */
    return weight;
}

/* The values of n rows of one element: its term, and what `each` is the constant of one with weight 1 */
INLINE void RE(put_single)(char *value, ptrdiff_t stride, const T *term, const T *weight, double each, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) {
        const pair total = RE(add_up)((double)term[i], weight ? each * ((double)weight[i] + 0) : each);
        const T x = (T)(REAL == 64 ? value_of(total) : total.hi);
        memcpy(value + i * stride, &x, sizeof x);
    }
}

/* ... straight from the terms, without sums; 0: they are left */
static int RE(end_single)(RE(work) *w, ptrdiff_t r, ptrdiff_t n) {
    const plan *p = w->p;
    const T *term = w->o.term + r, *weight = w->weight && p->constant_of_element != 0 ? w->weight + r : NULL, settled = (T)w->settled;
    const double each = constants_of(p, 1);
    const ptrdiff_t stride = stride_of_rows(p, &p->value), item = sizeof(T);
    char *value = RE(place_of_row)(p, &p->value, RE(row_of)(p, &w->tile, r));
    I odd = 0;
    for (ptrdiff_t i = 0; i < n && !w->weight; i++) odd |= RE(mask)(!(RE(magnitude)(term[i]) < settled));
    if (odd) return 0;
    if (stride == item && weight)
        RE(put_single)(value, item, term, weight, each, n);
    else if (stride == item)
        RE(put_single)(value, item, term, NULL, each, n);
    else
        RE(put_single)(value, stride, term, weight, each, n);
    return 1;
}

/* The same where they are reduced, without weights */
static int RE(reduce_single)(RE(work) *w, ptrdiff_t r, ptrdiff_t n) {
    const plan *p = w->p;
    const T *term = w->o.term + r, settled = (T)(w->settled < 0x1p899 ? w->settled : 0x1p899), least = (T)w->least;
    const double each = constants_of(p, 1);
    I odd = 0;
    for (ptrdiff_t i = 0; i < n; i++) odd |= RE(mask)(!((RE(magnitude)(term[i]) < settled) & (RE(magnitude)(term[i]) >= least)));
    if (odd) return 0;
    for (ptrdiff_t i = 0, some; i < n; i += some) {
        double *total = w->total_of_row, *low = w->low_of_row;
        some = smaller(n - i, ROWS_TOGETHER);
        for (ptrdiff_t k = 0; k < some; k++) {
            const pair sum = RE(add_up)((double)term[i + k], each);
            total[k] = sum.hi;
            if (REAL == 64) low[k] = sum.lo;
        }
        RE(add_totals)(&p->totals[w->region.task], RE(row_of)(p, &w->tile, r + i), total, low, some);
    }
    return 1;
}

/* Rows from the r-th on, n <= ROWS_TOGETHER, of these sums of terms; 0: they are left */
static int RE(end_sums)(RE(work) *w, ptrdiff_t r, double *total, double *low, const double *weight, ptrdiff_t n) {
    const plan *p = w->p;
    const double each = p->constant_of_element, constants = constants_of(p, (double)w->tile.cols);
    /* with weights all that is odd is marked */
    if (!weight && !RE(all_within)(total, n, p->reduction == NONE ? 0 : w->least, w->settled)) return 0;
#define ADD(constants)                                                                          \
    for (ptrdiff_t i = 0; i < n; i++) {                                                         \
        const pair sum = RE(add_up)(total[i], constants);                                       \
        total[i] = sum.hi;                                                                      \
        if (REAL == 64) low[i] = sum.lo + low[i];                                               \
    }
    if (weight && each != 0)
        ADD(each * weight[i])
    else
        ADD(constants)
#undef ADD
    if (p->reduction != NONE && !RE(all_within)(total, n, 0, 0x1p900)) return 0;
    RE(put_totals)(w, r, total, low, n);
    return 1;
}

/* Rows from the r-th on, n <= ROWS_TOGETHER unless they are single elements, of terms; 0: they are left */
static int RE(end_terms)(RE(work) *w, ptrdiff_t r, ptrdiff_t n) {
    const plan *p = w->p;
    const ptrdiff_t cols = w->tile.cols;
    if (cols == 1 && p->reduction == NONE) return RE(end_single)(w, r, n);
    const double *weight = w->weight ? RE(weights_of_rows)(w, r, n) : NULL;
    double *total = w->squares_of_row, *low = w->low_of_row;
    RE(sum_many)(w->o.term + r * cols, n, cols, GROUP(p), total, low, w->part_of_row);
    return RE(end_sums)(w, r, total, low, weight, n);
}

/* ---- rows under scales that are constant along them ---------------------------------------------------------------------------- */

/* The gradients of the scales (a = SCALE), or the prior's, of n rows from the r-th on; 0: they are not all numbers, or lose digits */
static int RE(gradients_of_rows)(RE(work) *w, int a, ptrdiff_t r, const double *squares, const double *weight, ptrdiff_t n) {
    const plan *p = w->p;
    const row_scale *s = RE(scale_of)(w, r);
    const ptrdiff_t step = p->uniform ? 0 : 1;
    const int by_squares = a == (p->paired ? PRIOR : SCALE), direct = p->collect[a].mode == DIRECT;
    const double factor = direct ? p->factor : 1, least = direct ? 0x1p-1022 : 0, cols = (double)w->tile.cols;
    double *g = w->gradient_of_row[a - SCALE];
    int64_t all = -1;
    for (ptrdiff_t i = 0; i < n; i++) {
        const row_scale *of_row = s + i * step;
        const double count = weight ? weight[i] : cols;
        double x = count != 0 ? count * of_row->gradient[a - SCALE] : 0;
        x = by_squares && of_row->slope != 0 ? x - squares[i] * of_row->slope : x;
        g[i] = x * factor;
        const double size = magnitude_f64(g[i]);
        all &= mask_f64((size < (double)INFINITE) & ((size >= least) | (g[i] == 0)));
    }
    return all != 0;
}

/* ... that gradients_of_rows has found: each is an output, or part of one sum for all rows */
static void RE(put_gradients)(RE(work) *w, int a, ptrdiff_t r, ptrdiff_t n) {
    plan *p = w->p;
    const collector *c = &p->collect[a];
    const double *g = w->gradient_of_row[a - SCALE];
    const ptrdiff_t row = RE(row_of)(p, &w->tile, r), stride = stride_of_rows(p, &p->gradient[a]);
    if (c->mode != DIRECT) {
        double *at = RE(accumulator)(p, w->region, c);
        for (ptrdiff_t i = 0; i < n; i++) RE(accumulate_one)(c->low, at + (row + i * p->inner) % TURNS, g[i]);
        return;
    }
    char *to = RE(place_of_row)(p, &p->gradient[a], row);
    for (ptrdiff_t i = 0; i < n; i++) {
        const T x = (T)g[i];
        memcpy(to + i * stride, &x, sizeof x);
    }
}

/* Whether the gradients of constant scales that are wanted can be had so */
static int RE(put_together)(const plan *p) {
    int all = 1;
    for (int a = SCALE; a <= PRIOR; a++)
        all &= !p->gradient[a].data || (p->collect[a].mode == DIRECT ? is_even(p, &p->gradient[a]) : p->collect[a].turns);
    return all;
}

/* The totals of n rows from the r-th on, of squares in nats; 0: some are near the end of double's range */
static int RE(total_squares)(RE(work) *w, ptrdiff_t r, const double *squares, const double *weight, double *total, double *low, ptrdiff_t n) {
    const plan *p = w->p;
    const row_scale *s = RE(scale_of)(w, r);
    const ptrdiff_t step = p->uniform ? 0 : 1;
    const double each = p->constant_of_element, cols = (double)w->tile.cols;
    for (ptrdiff_t i = 0; i < n; i++) {
        const double count = weight ? weight[i] : cols, base = count != 0 ? count * s[i * step].base : 0;
        const pair loss = RE(add_up)(base, squares[i]), sum = RE(add_up)(loss.hi, each != 0 ? each * count : 0);
        total[i] = sum.hi;
        if (REAL == 64) low[i] = sum.lo + loss.lo;
    }
    return RE(all_within)(total, n, 0, 0x1p900) != 0;
}

/* Rows from the r-th on, n <= ROWS_TOGETHER, of squares in nats; 0: they are left */
static int RE(end_squares)(RE(work) *w, ptrdiff_t r, const double *squares, const double *weight, ptrdiff_t n) {
    const plan *p = w->p;
    double *total = w->total_of_row, *low = w->low_of_row;
    if (w->unusual || !RE(put_together)(p)) return 0;
    for (int a = SCALE; a <= PRIOR; a++)
        if (p->gradient[a].data && !RE(gradients_of_rows)(w, a, r, squares, weight, n)) return 0;
    if (!RE(total_squares)(w, r, squares, weight, total, low, n)) return 0;
    RE(put_totals)(w, r, total, low, n);
    for (int a = SCALE; a <= PRIOR; a++)
        if (p->gradient[a].data) RE(put_gradients)(w, a, r, n);
    return 1;
}

/* The same of terms that are squares */
static int RE(end_terms_of_squares)(RE(work) *w, ptrdiff_t r, ptrdiff_t n) {
    const ptrdiff_t cols = w->tile.cols;
    const row_scale *s = RE(scale_of)(w, r);
    const ptrdiff_t step = w->p->uniform ? 0 : 1;
    const double *weight = w->weight ? RE(weights_of_rows)(w, r, n) : NULL;
    double *sum = w->squares_of_row, *low = w->low_of_row;
    if (w->unusual) return 0;
    for (ptrdiff_t i = 0; i < n && w->fused; i++) {
        const pair squares = RE(sum_of_squares)(w->squares, (r + i) * cols, cols, GROUP(w->p));
        sum[i] = squares.hi, low[i] = squares.lo;
    }
    if (!w->fused) RE(sum_many)(w->o.term + r * cols, n, cols, GROUP(w->p), sum, low, w->part_of_row);
    if (!weight && !RE(all_within)(sum, n, 0, w->settled)) return 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        if (REAL == 64) sum[i] = value_of((pair){sum[i], low[i]});
        sum[i] = squares_of(s + i * step, sum[i]);
    }
    return RE(end_squares)(w, r, sum, weight, n);
}

/* Rows from the r-th on, by their terms; how many there were: none, if any of them is not usual */
static ptrdiff_t RE(end_many)(RE(work) *w, ptrdiff_t r) {
    const int single = w->tile.cols == 1 && !w->p->constant, reduced = single && w->p->reduction != NONE;
    const ptrdiff_t n = smaller(w->tile.rows - r, single && !(reduced && w->weight) ? MOST_ROWS : ROWS_TOGETHER);
    if (reduced && !w->weight) return RE(reduce_single)(w, r, n) ? n : 0;
    return (w->p->constant ? RE(end_terms_of_squares) : RE(end_terms))(w, r, n) ? n : 0;
}

#endif
