/* A task of free bits: sums of KLs, of which each costs at least a floor. Once per type (real.h).
 *
 *     m = (1/divisor) sum kl over the summed axes    cost = max(floor, m)    factor = 1 where m >= floor, else 0
 *
 * for each kept place; and the sum of all costs. Weights, doubles, multiply the KLs before they are added, or the costs and factors: NaN is
 * the weight of what is not there. Places are counted in C order, and so are a place's terms; what is added up together is a matter
 * of shapes alone. In double, whatever the type: at most eight numbers are added plainly; what follows is, of doubles, an unevaluated sum. */
#ifndef LATENTS_FLOOR_H
#define LATENTS_FLOOR_H

#include "../math/transpose.h"
#include "walk.h"

#if REAL == 64 /* once */
#define EIGHT 8             /* terms, or vectors of lanes, that are added plainly */
#define SHORT_SUM EIGHT     /* terms of a place that are summed one by one: lanes would take longer to join */
#define PANEL_SIZE 16384    /* elements of whole rows that lie across memory */
#define LEAST_PANEL_ROWS 8

/* Of a sum, where any of these is infinite or NaN, _free_bits.py sees to it */
INLINE double at_floor(double m, double floor) { return m < floor ? floor : m; }
#endif

typedef struct {
    RE(latents_work) walk;
    double weights[SPAN];
    int panelled;
    ptrdiff_t panel_row, panel_rows; /* that the panel has */
    T terms[EIGHT][SPAN], panel[PANEL_SIZE];
} RE(floor_work);

/* ---- sums ------------------------------------------------------------------------------------------------------------------------ */

INLINE void RE(add_one_to)(double *restrict hi, double *restrict lo, ptrdiff_t i, double x) {
    const pair sum = RE(added)((pair){hi[i], REAL == 64 ? lo[i] : 0}, x);
    hi[i] = sum.hi;
    if (REAL == 64) lo[i] = sum.lo;
}

/* X(0) to X(7). Written out, as an array of them would not be one of vectors */
#define SUM_OF_EIGHT(X) (((X(0) + X(1)) + (X(2) + X(3))) + ((X(4) + X(5)) + (X(6) + X(7))))

/* EIGHT terms of n columns, or one; each by a weight of its own, or by none */
INLINE void RE(add_columns)(int count, int weighted, double *restrict hi, double *restrict lo, const T *const *terms, const double *w, ptrdiff_t n) {
#define TERM(k) const T *restrict x##k = terms[count == EIGHT ? k : 0]; const double w##k = weighted ? w[count == EIGHT ? k : 0] : 1;
    TERM(0) TERM(1) TERM(2) TERM(3) TERM(4) TERM(5) TERM(6) TERM(7)
#undef TERM
#define X(k) (weighted ? x##k[i] * w##k : (double)x##k[i])
    _Pragma("omp simd") for (ptrdiff_t i = 0; i < n; i++) RE(add_one_to)(hi, lo, i, count == EIGHT ? SUM_OF_EIGHT(X) : X(0));
#undef X
}

/* n terms of one place to SUM_LANES lanes; the i-th goes to lane i mod SUM_LANES */
#define ADD_TO_LANES(name, NUMBER, ...)                                                                                   \
    static void RE(name)(double *restrict hi, double *restrict lo, const NUMBER *restrict x, ptrdiff_t n __VA_ARGS__) {    \
        ptrdiff_t i = 0;                                                                                                   \
        for (; i + EIGHT * SUM_LANES <= n; i += EIGHT * SUM_LANES)                                                         \
            _Pragma("omp simd") for (ptrdiff_t l = 0; l < SUM_LANES; l++) RE(add_one_to)(hi, lo, l, SUM_OF_EIGHT(X));      \
        for (; i + SUM_LANES <= n; i += SUM_LANES)                                                                         \
            _Pragma("omp simd") for (ptrdiff_t l = 0; l < SUM_LANES; l++) RE(add_one_to)(hi, lo, l, X(0));                 \
        for (ptrdiff_t l = 0; l < n - i; l++) RE(add_one_to)(hi, lo, l, X(0));                                             \
    }
#define X(k) (double)x[i + (k) * SUM_LANES + l]
ADD_TO_LANES(add_numbers, T)
#if REAL == 32
ADD_TO_LANES(add_doubles, double)
#else
#define add_doubles_f64 add_numbers_f64
#endif
#undef X
#define X(k) at_floor((double)x[i + (k) * SUM_LANES + l], floor)
ADD_TO_LANES(add_costs, T, , double floor)
#undef X
#undef SUM_OF_EIGHT
#undef ADD_TO_LANES

/* ---- where elements are --------------------------------------------------------------------------------------------------------------- */

/* Rows that lie across memory, as those of an array in Fortran order do */
static int RE(is_panelled)(const sampling *s) {
    const view *v = &s->operand[KLS];
    const ptrdiff_t size = sizeof(T), odd = (ptrdiff_t)((uintptr_t)v->data % sizeof(T)) | column_stride(s, v) % size;
    return s->kept == 1 && s->terms == 1 && v->type == NATIVE && !odd && v->stride[0] == size && column_stride(s, v) != size
           && s->columns * LEAST_PANEL_ROWS <= PANEL_SIZE && s->rows >= LEAST_PANEL_ROWS;
}

/* Whether a place is one KL, as it is */
static int RE(is_plain)(const sampling *s) { return s->by_column && s->terms == 1 && !s->weighs_terms && s->divisor == 1; }

/* From a column of a row on, where the rows are in panels */
static const T *RE(in_panel_of_kls)(RE(floor_work) *w, ptrdiff_t row, ptrdiff_t column) {
    const sampling *s = w->walk.s;
    if (row < w->panel_row || row >= w->panel_row + w->panel_rows) {
        const view *v = &s->operand[KLS];
        w->panel_row = row, w->panel_rows = smaller(PANEL_SIZE / s->columns, s->rows - row);
        if (w->panel_rows > LINE) w->panel_rows -= (row + w->panel_rows) % LINE; /* whole cache lines, at best */
        RE(transpose)(v->data + row * v->stride[0], column_stride(s, v), (char *)w->panel, s->columns * (ptrdiff_t)sizeof(T), s->columns, w->panel_rows, 0);
    }
    return w->panel + (row - w->panel_row) * s->columns + column;
}

/* Weights of n places or terms that follow one another from here on along columns */
static void RE(weights_at)(const sampling *s, double *to, latents_place at, ptrdiff_t n) {
    const view *v = &s->operand[SHARES];
    for (ptrdiff_t done = 0, run; done < n; done += run, at.column = 0) {
        run = smaller(n - done, s->columns - at.column);
        pack_f64(v->type, to + done, address(s, v, at), column_stride(s, v), run);
        if (s->by_column) at.row++;
        else at.term++;
    }
}

/* ---- sums of places -------------------------------------------------------------------------------------------------------------------- */

/* n columns of a row, over a part of the terms */
static void RE(sum_columns)(RE(floor_work) *w, ptrdiff_t part, latents_place at, ptrdiff_t n, double *hi, double *lo) {
    static const double none[SPAN];
    const sampling *s = w->walk.s;
    const view *v = &s->operand[KLS];
    const ptrdiff_t size = sizeof(T), begin = s->terms * part / s->parts, end = s->terms * (part + 1) / s->parts;
    const int across = s->inner == 1 && v->type == NATIVE && !w->walk.direct[KLS] && v->stride[s->kept] == size && (uintptr_t)v->data % sizeof(T) == 0;
    RE(seek)(&w->walk, at.row, at.column);
    memset(hi, 0, (size_t)n * sizeof *hi), memset(lo, 0, (size_t)n * sizeof *lo);
    for (ptrdiff_t term = begin, count; term < end; term += count) {
        const T *x[EIGHT];
        double weight[EIGHT];
        count = end - term >= EIGHT ? EIGHT : 1;
        if (across) RE(transpose)(w->walk.here[KLS] + term * size, column_stride(s, v), (char *)w->terms, sizeof *w->terms, n, count, 0);
        for (int k = 0; k < count; k++) {
            x[k] = across ? w->terms[k] : RE(columns_of)(&w->walk, KLS, term + k, 0, n);
            if (x[k] == w->walk.buffer[KLS]) x[k] = memcpy(w->terms[k], x[k], (size_t)n * sizeof(T));
            if (!s->weighs_terms) continue;
            pack_f64(s->operand[SHARES].type, &weight[k], address(s, &s->operand[SHARES], (latents_place){at.row, term + k, at.column}), 0, 1);
            if (weight[k] != weight[k]) x[k] = (const T *)(const void *)none, weight[k] = 0;
        }
        if (count == EIGHT && s->weighs_terms) RE(add_columns)(EIGHT, 1, hi, lo, x, weight, n);
        else if (count == EIGHT) RE(add_columns)(EIGHT, 0, hi, lo, x, weight, n);
        else if (s->weighs_terms) RE(add_columns)(1, 1, hi, lo, x, weight, n);
        else RE(add_columns)(1, 0, hi, lo, x, weight, n);
    }
}

/* A part of a place's terms and columns */
static pair RE(sum_place)(RE(floor_work) *w, ptrdiff_t part, ptrdiff_t row) {
    const sampling *s = w->walk.s;
    const ptrdiff_t length = s->terms * s->columns, tiles = (length + SPAN - 1) / SPAN;
    const ptrdiff_t begin = tiles * part / s->parts * SPAN, end = smaller(length, tiles * (part + 1) / s->parts * SPAN);
    double hi[SUM_LANES] = {0}, lo[SUM_LANES] = {0}, few = 0, *product = w->walk.term;
    if (!w->panelled) RE(seek)(&w->walk, row, 0);
    for (ptrdiff_t from = begin; from < end; from += SPAN) {
        const ptrdiff_t n = smaller(end - from, SPAN);
        const T *x = w->panelled ? RE(in_panel_of_kls)(w, row, from) : RE(terms_at)(&w->walk, KLS, row, from, n);
        if (length <= SHORT_SUM && !s->weighs_terms) {
            for (ptrdiff_t i = 0; i < n; i++) few += x[i];
            return (pair){few, 0};
        }
        if (!s->weighs_terms) {
            RE(add_numbers)(hi, lo, x, n);
            continue;
        }
        RE(weights_at)(s, w->weights, (latents_place){row, from / s->columns, from % s->columns}, n);
        for (ptrdiff_t i = 0; i < n; i++) product[i] = w->weights[i] == w->weights[i] ? x[i] * w->weights[i] : 0;
        RE(add_doubles)(hi, lo, product, n);
    }
    return RE(sum_of_lanes)(hi, lo);
}

/* Places [first, first + n), a part of their terms */
static void RE(sum_places)(RE(floor_work) *w, ptrdiff_t part, ptrdiff_t first, ptrdiff_t n, double *hi, double *lo) {
    const sampling *s = w->walk.s;
    if (!s->by_column) {
        for (ptrdiff_t i = 0; i < n; i++) {
            const pair sum = RE(sum_place)(w, part, first + i);
            hi[i] = sum.hi, lo[i] = sum.lo;
        }
        return;
    }
    latents_place at = {first / s->columns, 0, first % s->columns};
    for (ptrdiff_t done = 0, run; done < n; done += run, at.row++, at.column = 0) {
        run = smaller(n - done, s->columns - at.column);
        RE(sum_columns)(w, part, at, run, hi + done, lo + done);
    }
}

/* KLs that are places themselves, from one on */
static const T *RE(kls_at)(RE(floor_work) *w, ptrdiff_t first, ptrdiff_t n) {
    const sampling *s = w->walk.s;
    latents_place at = {first / s->columns, 0, first % s->columns};
    for (ptrdiff_t done = 0, run; done < n; done += run, at.row++, at.column = 0) {
        run = smaller(n - done, s->columns - at.column);
        if (!w->panelled) RE(seek)(&w->walk, at.row, at.column);
        const T *x = w->panelled ? RE(in_panel_of_kls)(w, at.row, at.column) : RE(columns_of)(&w->walk, KLS, 0, 0, run);
        if (run == n) return x;
        memcpy(w->terms[0] + done, x, (size_t)run * sizeof(T));
    }
    return w->terms[0];
}

/* ---- what they cost --------------------------------------------------------------------------------------------------------------------- */

/* The least T that is no less than the floor */
INLINE T RE(floor_in_type)(double floor) {
    T x = (T)floor;
    I bits;
    memcpy(&bits, &x, sizeof bits);
    bits += x < floor; /* a positive number's successor */
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void RE(factors_of_kls)(T *restrict factor, const T *restrict x, T floor, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) factor[i] = x[i] >= floor;
}

/* The costs of KLs that are places themselves, without weights */
static pair RE(cost_of_kls)(RE(floor_work) *w, ptrdiff_t first, ptrdiff_t n) {
    const T *x = RE(kls_at)(w, first, n);
    double hi[SUM_LANES] = {0}, lo[SUM_LANES] = {0};
    RE(factors_of_kls)((T *)w->walk.s->factor + first, x, RE(floor_in_type)(w->walk.s->floor), n);
    RE(add_costs)(hi, lo, x, n, w->walk.s->floor);
    return RE(sum_of_lanes)(hi, lo);
}

/* The costs of places by their sums, and their factors */
static pair RE(cost_of_places)(RE(floor_work) *w, ptrdiff_t first, ptrdiff_t n, double *restrict hi, const double *restrict lo) {
    const sampling *s = w->walk.s;
    T *restrict factor = (T *)s->factor + first;
    double *restrict cost = w->walk.term, of_lanes[SUM_LANES] = {0}, lower[SUM_LANES] = {0};
    const double floor = s->floor, divisor = s->divisor;
    if (!RE(is_plain)(s))
        for (ptrdiff_t i = 0; i < n; i++) hi[i] = (REAL == 64 && hi[i] - hi[i] == 0 ? hi[i] + lo[i] : hi[i]) / divisor;
    if (s->operand[SHARES].data && !s->weighs_terms) {
        const double *restrict share = w->weights;
        if (s->by_column)
            RE(weights_at)(s, w->weights, (latents_place){first / s->columns, 0, first % s->columns}, n);
        else
            for (ptrdiff_t i = 0; i < n; i++) RE(weights_at)(s, w->weights + i, (latents_place){first + i, 0, 0}, 1);
        for (ptrdiff_t i = 0; i < n; i++) {
            const int there = share[i] == share[i];
            cost[i] = there ? at_floor(hi[i], floor) * share[i] : 0;
            factor[i] = (T)(there & (hi[i] >= floor) ? share[i] : 0);
        }
    } else {
        for (ptrdiff_t i = 0; i < n; i++) {
            cost[i] = at_floor(hi[i], floor);
            factor[i] = hi[i] >= floor;
        }
    }
    RE(add_doubles)(of_lanes, lower, cost, n);
    return RE(sum_of_lanes)(of_lanes, lower);
}

static void RE(floor_task)(const sampling *s, ptrdiff_t task, void *memory) {
    RE(floor_work) *w = memory;
    RE(begin_latents)(s, memory);
    w->panelled = RE(is_panelled)(s), w->panel_rows = 0;
    const ptrdiff_t part = task % s->parts, results = fe_sampling_results(s), first = task / s->parts * s->row_step;
    const ptrdiff_t last = smaller(first + s->row_step, results);
    double *hi = w->walk.hi[0][0], *lo = w->walk.lo[0][0];
    const int plain = RE(is_plain)(s);
    pair cost = {0, 0};
    for (ptrdiff_t place = first, n; place < last; place += n) {
        n = smaller(last - place, SPAN);
        if (plain && !s->operand[SHARES].data) {
            add_pair(&cost, RE(cost_of_kls)(w, place, n));
            continue;
        }
        if (plain) RE(as_doubles)(hi, RE(kls_at)(w, place, n), n);
        else RE(sum_places)(w, part, place, n, hi, lo);
        if (s->parts == 1) add_pair(&cost, RE(cost_of_places)(w, place, n, hi, lo));
        for (ptrdiff_t i = 0; i < n && s->parts > 1; i++) s->waiting[part * results + place + i] = (latents_sum){{hi[i]}, {REAL == 64 ? lo[i] : 0}};
    }
    if (s->parts == 1) s->waiting[task] = (latents_sum){{cost.hi}, {cost.lo}};
}

/* All costs together; those of places whose parts are complete only now */
static double RE(finish_floors)(sampling *s, void *memory) {
    RE(floor_work) *w = memory;
    const ptrdiff_t results = fe_sampling_results(s);
    double *hi = w->walk.hi[0][0], *lo = w->walk.lo[0][0];
    pair total = {0, 0};
    for (ptrdiff_t task = 0; s->parts == 1 && task < s->row_tasks; task++) add_pair(&total, (pair){s->waiting[task].hi[0], s->waiting[task].lo[0]});
    for (ptrdiff_t place = 0, n; s->parts > 1 && place < results; place += n) {
        n = smaller(results - place, SPAN);
        for (ptrdiff_t i = 0; i < n; i++) {
            pair sum = {0, 0};
            for (ptrdiff_t part = 0; part < s->parts; part++) {
                const latents_sum *x = &s->waiting[part * results + place + i];
                add_pair(&sum, (pair){x->hi[0], x->lo[0]});
            }
            hi[i] = value_of(sum), lo[i] = 0;
        }
        RE(begin_latents)(s, memory);
        add_pair(&total, RE(cost_of_places)(w, place, n, hi, lo));
    }
    return value_of(total);
}

#endif
