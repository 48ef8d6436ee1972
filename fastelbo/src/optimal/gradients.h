/* w r/variance, element by element, at variances that are known: d/dx times x_scale, and d/d mean with the other sign. Once per type (real.h).
 *
 * r of T is rounded once, and so are factor and product; with weights all products are doubles. What comes out infinite, NaN or may have lost
 * digits on the way, and the elements of a row whose factor T has no normal number for, are formed again as wide numbers. */
#ifndef OPTIMAL_GRADIENTS_H
#define OPTIMAL_GRADIENTS_H

#include "../math/elements.h"
#include "../math/wide.h"
#include "optimal.h"

#if REAL == 64 /* once */
#define STRIP 512 /* elements in flight */

/* Of each row 1/variance/divisor as a double; 0 where that, or times x_scale, is no normal number of the computing type, nor NaN */
static void factors_of_rows(const optimal *o) {
    const double least = o->is_double ? 0x1p-1022 : 0x1p-126, most = o->is_double ? 0x1p1023 : 0x1p127, scale = magnitude_f64(o->x_scale);
    for (ptrdiff_t row = 0; row < o->rows; row++) {
        const double variance = o->variance[row], factor = 1 / (variance * o->divisor);
        const int usual = (!o->exponent || o->exponent[row] == 0) && variance >= 0x1p-1000 && variance <= 0x1p960 && factor >= least && factor <= most
                          && factor * scale >= least && factor * scale <= most;
        o->factor[row] = usual || variance != variance ? factor : 0;
    }
}

/* x x_scale - y, also where that leaves the range of double or is rounded to a subnormal number */
static wide wide_difference(double x, double x_scale, double y) {
    const double r = x_scale == 1 ? x - y : product_minus_f64(x, x_scale, y);
    if (x_scale != 1 && magnitude_f64(r) < 0x1p-1022 && magnitude_f64(x * x_scale) < 0x1p-900) {
        const wide raised = wide_of(product_minus_f64(x * 0x1p600, x_scale, y * 0x1p600));
        return (wide){raised.m, raised.e - 600};
    }
    if (r - r == 0 || x - x != 0 || y - y != 0) return wide_of(r);
    return wide_plus(wide_times(wide_of(x), wide_of(x_scale)), wide_of(-y));
}

/* d/d mean, but for its sign */
static double careful_gradient(const optimal *o, wide r, double weight, double variance, int64_t exponent, int of_x) {
    if (variance - variance != 0) return weight * (double_of(r) / variance); /* infinite, or NaN */
    wide v = wide_of(variance);
    v.e += v.m == 0 ? 0 : exponent;
    wide g = wide_over(wide_over(wide_times(wide_of(weight), r), v), wide_of(o->divisor));
    return double_of(of_x ? wide_times(g, wide_of(o->x_scale)) : g);
}
#endif

typedef struct {
    T x[STRIP], y[STRIP], r[STRIP], out[2][STRIP];
    double weight[STRIP], factor[STRIP], rest[STRIP];
    unsigned char counts[STRIP];
} RE(gradients_work);

/* Where element 0 of a strip lies */
typedef struct { const char *at[N_OF_SUMS]; char *gradient[2]; ptrdiff_t row; } RE(strip_place);

static inline ptrdiff_t RE(step_of)(const optimal *o, int a) { return o->walk_stride[a][o->walk_dims - 1]; }

static int RE(has_long_integers)(const optimal *o) {
    int any = 0;
    for (int a = OF_X; a <= OF_MEAN; a++) any |= o->argument[a].type % SWAPPED == U64 || o->argument[a].type % SWAPPED == I64;
    return any && o->x_scale == 1;
}

static void RE(copy_operands)(const optimal *o, RE(gradients_work) *w, const RE(strip_place) *s, ptrdiff_t n) {
    RE(pack)(o->argument[OF_X].type, w->x, s->at[OF_X], RE(step_of)(o, OF_X), n);
    RE(pack)(o->argument[OF_MEAN].type, w->y, s->at[OF_MEAN], RE(step_of)(o, OF_MEAN), n);
}

/* An x x_scale beyond it, whose r is below the normal numbers, has been subtracted from its like: no digit is missing */
#undef LEAST_SCALED
#define LEAST_SCALED (SMALLEST_NORMAL * RE(pow2)(60))

/* Whether element i has digits missing: of r, or of the product with the factor, before a weight raises it */
static int RE(lacks_digits)(const optimal *o, const RE(gradients_work) *w, ptrdiff_t i, double factor) {
    if (o->x_scale != 1 && w->x[i] != 0 && RE(magnitude)(w->r[i]) < SMALLEST_NORMAL) {
        const wide exact = wide_difference((double)w->x[i], o->x_scale, (double)w->y[i]), have = wide_of((double)w->r[i]);
        if (exact.m != have.m || exact.e != have.e) return 1;
    }
    return REAL == 64 && o->argument[OF_WEIGHT].data && w->r[i] != 0 && magnitude_f64((double)w->r[i] * factor) < 0x1p-1022;
}

/* A strip again, element by element: those that came out infinite or NaN, whose factor is 0, and, if any are `lost`, that lack digits */
SELDOM void RE(mend_strip)(const optimal *o, RE(gradients_work) *w, const RE(strip_place) *s, ptrdiff_t n, int lost, int as_they_lie) {
    const ptrdiff_t by_row = RE(step_of)(o, OF_VARIANCE);
    const int is_long = RE(has_long_integers)(o);
    if (as_they_lie) RE(copy_operands)(o, w, s, n);
    for (ptrdiff_t i = 0; i < n; i++) {
        const ptrdiff_t row = s->row + i * by_row;
        if ((o->argument[OF_WHERE].data && !w->counts[i]) || o->variance[row] != o->variance[row]) continue;
        for (int k = 0; k < 2; k++) {
            const int within = o->factor[row] != 0 && RE(magnitude)(w->out[k][i]) < INFINITE;
            if (!o->gradient[k].data || (within && !(lost && RE(lacks_digits)(o, w, i, o->factor[row] * (k == 0 ? o->x_scale : 1))))) continue;
            const wide r = is_long ? wide_of((double)w->r[i]) : wide_difference((double)w->x[i], o->x_scale, (double)w->y[i]);
            const double g = careful_gradient(o, r, o->argument[OF_WEIGHT].data ? w->weight[i] : 1, o->variance[row], o->exponent ? o->exponent[row] : 0, k == 0);
            w->out[k][i] = (T)(k == 0 ? g : -g);
        }
    }
}

static void RE(subtract)(const T *x, const T *y, T *r, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) r[i] = x[i] - y[i];
}

/* r, weights, and what counts; whether some r may have lost digits */
static int RE(gather_strip)(const optimal *o, RE(gradients_work) *w, const RE(strip_place) *s, ptrdiff_t n, int as_they_lie) {
    I lost = 0;
    if (as_they_lie) {
        RE(subtract)((const T *)(const void *)s->at[OF_X], (const T *)(const void *)s->at[OF_MEAN], w->r, n);
    } else {
        RE(copy_operands)(o, w, s, n);
        if (o->x_scale == 1)
            RE(subtract)(w->x, w->y, w->r, n);
        else
            for (ptrdiff_t i = 0; i < n; i++) {
                w->r[i] = RE(product_minus)(w->x[i], (T)o->x_scale, w->y[i]);
                lost |= (RE(magnitude)(w->r[i]) < SMALLEST_NORMAL) & (RE(magnitude)(w->x[i] * (T)o->x_scale) < LEAST_SCALED) & (w->x[i] != 0) ? -1 : 0;
            }
    }
    for (int a = OF_X; a <= OF_MEAN && REAL == 64 && RE(has_long_integers)(o); a++) { /* what doubles leave of them */
        const int type = o->argument[a].type;
        if (type % SWAPPED != U64 && type % SWAPPED != I64) continue;
        packs_f64[REST][type](w->rest, s->at[a], RE(step_of)(o, a), n, 1, NULL);
        for (ptrdiff_t i = 0; i < n; i++) w->r[i] += (T)(a == OF_X ? w->rest[i] : -w->rest[i]);
    }
    if (s->at[OF_WEIGHT]) pack_f64(o->argument[OF_WEIGHT].type, w->weight, s->at[OF_WEIGHT], RE(step_of)(o, OF_WEIGHT), n);
    if (s->at[OF_WHERE]) {
        const ptrdiff_t step = RE(step_of)(o, OF_WHERE);
        for (ptrdiff_t i = 0; i < n && step == 1; i++) w->counts[i] = s->at[OF_WHERE][i] != 0;
        for (ptrdiff_t i = 0; i < n && step != 1; i++) w->counts[i] = s->at[OF_WHERE][i * step] != 0;
    }
    return lost != 0;
}

/* out = r times factor and weight, 0 where it does not count; 1: some came out infinite or NaN; 2: some may have lost digits */
INLINE int RE(multiply)(const RE(gradients_work) *w, T *restrict out, const double *restrict factor, double sign, ptrdiff_t n, int by_row, int weighted, int masked) {
    const T *restrict r = w->r;
    const double *restrict weight = w->weight;
    I odd = 0;
    int64_t lost = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        const double c = factor[by_row ? i : 0] * sign, product = (double)r[i] * c;
        T g = weighted ? (T)(product * weight[i]) : r[i] * (T)c;
        if (masked) g = w->counts[i] ? g : (T)0;
        /* a product below the normal numbers, of an r that is not 0: the sign bits say so, by which the loop becomes vectors */
        if (weighted && REAL == 64) lost |= (bits_f64(magnitude_f64(product)) - bits_f64(0x1p-1022)) & -bits_f64(magnitude_f64((double)r[i]));
        odd |= RE(magnitude)(g) < INFINITE ? 0 : -1;
        out[i] = g;
    }
    return lost < 0 ? 2 : odd != 0;
}

/* The strip's gradients; what multiply returns */
static int RE(multiply_strip)(const optimal *o, RE(gradients_work) *w, const RE(strip_place) *s, ptrdiff_t n) {
    const ptrdiff_t by_row = RE(step_of)(o, OF_FACTOR);
    const double *factor = o->factor + s->row;
    int odd = 0;
    I none = 0;
    if (by_row > 1) {
        for (ptrdiff_t i = 0; i < n; i++) w->factor[i] = factor[i * by_row];
        factor = w->factor;
    }
    for (int k = 0; k < 2; k++) {
        const double sign = k == 0 ? o->x_scale : -1;
        T *out = w->out[k];
        int found = 0;
        if (!o->gradient[k].data) continue;
        switch ((by_row != 0) | (s->at[OF_WEIGHT] != NULL) << 1 | (s->at[OF_WHERE] != NULL) << 2) {
#define CASE(i) case i: found = RE(multiply)(w, out, factor, sign, n, (i) & 1, (i) & 2, (i) & 4); break;
            CASE(0) CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7)
#undef CASE
        }
        odd = found > odd ? found : odd;
    }
    for (ptrdiff_t i = 0; i < (by_row ? n : 1); i++) none |= (I)(factor[i] == 0);
    return odd ? odd : none != 0;
}

/* Straight from memory to memory: (x - y) c; whether all are numbers */
INLINE int RE(multiply_as_they_lie)(const T *x, const T *y, T *out, const double *factor, double sign, ptrdiff_t n, int by_row) {
    I odd = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        const T g = (x[i] - y[i]) * (T)(factor[by_row ? i : 0] * sign);
        odd |= (RE(magnitude)(g) < INFINITE) & (factor[by_row ? i : 0] != 0) ? 0 : -1;
        out[i] = g;
    }
    return !odd;
}

static int RE(take_strip_as_it_lies)(const optimal *o, const RE(strip_place) *s, ptrdiff_t n) {
    const T *x = (const T *)(const void *)s->at[OF_X], *y = (const T *)(const void *)s->at[OF_MEAN];
    const double *factor = o->factor + s->row;
    const ptrdiff_t by_row = RE(step_of)(o, OF_FACTOR);
    int all = by_row == 1 || (by_row == 0 && factor[0] != 0);
    for (int k = 0; k < 2 && all; k++) {
        T *out = (T *)(void *)s->gradient[k];
        const double sign = k == 0 ? o->x_scale : -1;
        if (out) all = by_row ? RE(multiply_as_they_lie)(x, y, out, factor, sign, n, 1) : RE(multiply_as_they_lie)(x, y, out, factor, sign, n, 0);
    }
    return all;
}

/* x and mean are read where they are: 1; and gradients are written so, too: 2 */
static int RE(lies_as_loops_want)(const optimal *o) {
    const int last = o->walk_dims - 1;
    int all = !o->aliased && o->x_scale == 1;
    for (int a = OF_X; a <= OF_MEAN; a++) {
        all &= o->argument[a].type == NATIVE && RE(step_of)(o, a) == sizeof(T) && (uintptr_t)o->argument[a].data % sizeof(T) == 0;
        for (int i = 0; i < last; i++) all &= o->walk_stride[a][i] % (ptrdiff_t)sizeof(T) == 0;
    }
    if (!all || o->argument[OF_WEIGHT].data || o->argument[OF_WHERE].data) return all;
    for (int k = 0; k < 2; k++) all &= !o->gradient[k].data || o->gradient_stride[k][last] == sizeof(T);
    return all ? 2 : 1;
}

static RE(strip_place) RE(place_of_strip)(const optimal *o, ptrdiff_t row, ptrdiff_t col) {
    const int last = o->walk_dims - 1;
    RE(strip_place) s = {.row = 0};
    ptrdiff_t index[N_OF_OPTIMAL] = {0}, gradient[2] = {0};
    for (int i = last; i >= 0; i--) {
        const ptrdiff_t at = i == last ? col : i == 0 ? row : row % o->walk_shape[i];
        if (i != last) row /= o->walk_shape[i];
        for (int a = 0; a < N_OF_OPTIMAL; a++) index[a] += at * o->walk_stride[a][i];
        for (int k = 0; k < 2; k++) gradient[k] += at * o->gradient_stride[k][i];
    }
    for (int a = 0; a < N_OF_SUMS; a++) s.at[a] = o->argument[a].data ? o->argument[a].data + index[a] : NULL;
    for (int k = 0; k < 2; k++) s.gradient[k] = o->gradient[k].data ? o->gradient[k].data + gradient[k] : NULL;
    s.row = index[OF_FACTOR];
    return s;
}

static void RE(gradient_task)(const optimal *o, ptrdiff_t task, void *memory) {
    RE(gradients_work) *w = memory;
    const ptrdiff_t elements = o->walk_rows * o->walk_columns, columns = o->walk_columns, last = o->walk_dims - 1;
    const ptrdiff_t end = smaller((task + 1) * OPTIMAL_SHARE, elements);
    const int lies = RE(lies_as_loops_want)(o);
    for (ptrdiff_t i = task * OPTIMAL_SHARE, n; i < end; i += n) {
        const ptrdiff_t col = i % columns;
        const RE(strip_place) s = RE(place_of_strip)(o, i / columns, col);
        n = smaller(end - i, columns - col);
        if (lies == 2 && RE(take_strip_as_it_lies)(o, &s, n)) continue;
        n = smaller(n, STRIP);
        const int lost = RE(gather_strip)(o, w, &s, n, lies), odd = RE(multiply_strip)(o, w, &s, n);
        if (odd || lost) RE(mend_strip)(o, w, &s, n, lost || odd == 2, lies);
        for (int k = 0; k < 2; k++) {
            if (!s.gradient[k]) continue;
            if (o->gradient_stride[k][last] == sizeof(T))
                memcpy(s.gradient[k], w->out[k], (size_t)n * sizeof(T));
            else
                RE(unpack)(w->out[k], s.gradient[k], o->gradient_stride[k][last], n);
        }
    }
}

#endif
