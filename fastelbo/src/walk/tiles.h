/* Between memory of any layout and contiguous tiles of T. Included once per type (real.h). */
#ifndef TILES_H
#define TILES_H

#include "../math/elements.h"

/* ---- positions -------------------------------------------------------------------------------------------------- */

#if REAL == 64 /* once */
/* Offset of the index-th element of axes [from, to), in C order */
static ptrdiff_t offset_of(const plan *p, const ptrdiff_t *stride, int from, int to, ptrdiff_t index) {
    ptrdiff_t offset = 0;
    if (to - from == 1) return index * stride[from];
    for (int i = to - 1; i >= from; i--) {
        offset += index % p->shape[i] * stride[i];
        index /= p->shape[i];
    }
    return offset;
}

static ptrdiff_t row_offset(const plan *p, const ptrdiff_t *stride, ptrdiff_t row) {
    return offset_of(p, stride, 0, p->row_dims, row);
}

/* The run of evenly spaced elements that begins at column `col` and has at most `most`: its offset, stride and length */
typedef struct { ptrdiff_t offset, stride, length; } run;

static run run_at(const plan *p, const ptrdiff_t *stride, ptrdiff_t col, ptrdiff_t most) {
    if (p->dims == p->row_dims) return (run){0, 0, most};
    int last = p->dims - 1;
    ptrdiff_t left = p->shape[last] - col % p->shape[last];
    return (run){offset_of(p, stride, p->row_dims, p->dims, col), stride[last], left < most ? left : most};
}

/* How a view's elements lie, in C order: `length` of them evenly spaced, and `count` such runs, until that begins anew elsewhere */
typedef struct { ptrdiff_t length, stride, count, step; } spacing;

static spacing spacing_of(const plan *p, const ptrdiff_t *stride) {
    spacing s = {1, 0, 1, 0};
    int i = p->dims - 1;
    if (i >= 0) s.length = p->shape[i], s.stride = stride[i], i--;
    for (; i >= 0 && stride[i] == s.stride * s.length; i--) s.length *= p->shape[i];
    if (i >= 0) s.count = p->shape[i], s.step = stride[i], i--;
    for (; i >= 0 && stride[i] == s.step * s.count; i--) s.count *= p->shape[i];
    return s;
}

/* Whether a tile's rows are evenly spaced in a view, by the last of the outer axes' stride: a tile may go on across these axes, unless the
 * inner ones are walked for each group of them */
static int is_even(const plan *p, const view *v) {
    int even = 1;
    for (int i = 1; i < p->outer_dims && p->inner == 1; i++) even &= v->stride[i - 1] == v->stride[i] * p->shape[i];
    return even;
}

static ptrdiff_t stride_of_rows(const plan *p, const view *v) { return p->outer_dims ? v->stride[p->outer_dims - 1] : 0; }
#endif

/* ---- tiles ------------------------------------------------------------------------------------------------------ */

/* `rows` rows, `row` and on along the outer rows (every inner-th), of each the columns [col, col + cols); either one row or whole
 * events. slab: the first one's place in its group */
typedef struct { ptrdiff_t row, rows, col, cols, slab; } RE(tile);

static inline ptrdiff_t RE(row_of)(const plan *p, const RE(tile) *t, ptrdiff_t i) { return t->row + i * p->inner; }

/* Whether the tile's elements follow one another in C order */
static int RE(is_range)(const plan *p, const RE(tile) *t) { return t->rows == 1 || p->inner == 1; }

/* As RE(dense), across several axes */
static __attribute__((noinline)) char *RE(dense_range)(const plan *p, const view *v, const RE(tile) *t, ptrdiff_t size) {
    const spacing s = spacing_of(p, v->stride);
    const ptrdiff_t at = t->row * p->columns + t->col, n = t->rows * t->cols;
    if (n == 0) return v->data;
    return n == 1 || (s.stride == size && at % s.length + n <= s.length) ? v->data + offset_of(p, v->stride, 0, p->dims, at) : NULL;
}

/* Where the tile lies in v if its elements, of so many bytes, follow one another there; else NULL */
static char *RE(dense)(const plan *p, const view *v, const RE(tile) *t, ptrdiff_t size) {
    if ((p->outer_dims > 1 || p->dims - p->row_dims > 1) && RE(is_range)(p, t)) return RE(dense_range)(p, v, t, size);
    int follow = t->rows == 1 || v->stride[p->outer_dims - 1] == t->cols * size;
    int dense = t->cols == 1 || (p->dims - p->row_dims == 1 && v->stride[p->dims - 1] == size);
    if (!follow || !dense) return NULL;
    return v->data + row_offset(p, v->stride, t->row) + (t->col ? run_at(p, v->stride, t->col, 1).offset : 0);
}

/* The same if it can be used as it is: T, aligned */
static T *RE(in_place)(const plan *p, const view *v, const RE(tile) *t) {
    char *data = v->type == NATIVE ? RE(dense)(p, v, t, sizeof(T)) : NULL;
    return (uintptr_t)data % sizeof(T) ? NULL : (T *)(void *)data;
}

/* As packs has it of T itself, but every second element, or backwards, in vectors: with strides that are no constants there are none */
static void RE(pack_native)(T *restrict dst, const char *restrict src, ptrdiff_t stride, ptrdiff_t n, T factor, const T *less) {
    const ptrdiff_t size = sizeof(T);
    const T *from = (const T *)(const void *)src;
    if ((uintptr_t)src % sizeof(T) == 0 && stride == 2 * size)
        for (ptrdiff_t i = 0; i < n; i++) dst[i] = from[2 * i];
    else if ((uintptr_t)src % sizeof(T) == 0 && stride == -size)
        for (ptrdiff_t i = 0; i < n; i++) dst[i] = from[-i];
    else
        RE(packs)[CONVERTED][NATIVE](dst, src, stride, n, factor, less);
}

/* n numbers, each `each` times, up to `end`; a whole vector of each where there is room, which the next one writes over */
static void RE(spread)(T *dst, const T *end, const T *x, ptrdiff_t n, ptrdiff_t each) {
    for (ptrdiff_t i = 0; i < n; i++, dst += each) {
        const T number = x[i];
        if (each <= LANES && end - dst >= LANES)
            for (int l = 0; l < LANES; l++) dst[l] = number;
        else
            for (ptrdiff_t c = 0; c < each; c++) dst[c] = number;
    }
}

typedef void (*RE(packing))(T *, const char *, ptrdiff_t, ptrdiff_t, T, const T *);

/* n whole runs from `src` on; less: of all of dst */
static void RE(copy_runs)(RE(packing) pack, const spacing *s, const char *src, ptrdiff_t n, T *dst, T factor, const T *less) {
    enum { SOME = 64 };
    T number[SOME];
    const ptrdiff_t each = s->length;
    if (n > 1 && s->step == 0 && !less) { /* the first, again and again */
        pack(dst, src, s->stride, each, factor, less);
        for (ptrdiff_t done = each, all = n * each; done < all; done *= 2)
            memcpy(dst + done, dst, (size_t)(all - done < done ? all - done : done) * sizeof *dst);
    } else if (n > 1 && s->stride == 0 && !less) {
        for (ptrdiff_t i = 0; i < n; i += SOME) {
            const ptrdiff_t some = n - i < SOME ? n - i : SOME;
            pack(number, src + i * s->step, s->step, some, factor, less);
            RE(spread)(dst + i * each, dst + n * each, number, some, each);
        }
    } else {
        for (ptrdiff_t i = 0; i < n; i++) pack(dst + i * each, src + i * s->step, s->stride, each, factor, less ? less + i * each : NULL);
    }
}

/* n elements, in C order, from the at-th on */
static void RE(copy_range)(RE(packing) pack, const plan *p, const view *v, ptrdiff_t at, ptrdiff_t n, T *dst, T factor, const T *less) {
    const spacing s = spacing_of(p, v->stride);
    const ptrdiff_t block = s.length * s.count;
    while (n) {
        const ptrdiff_t within = at % block, column = within % s.length, left = block - within < n ? block - within : n;
        const char *src = v->data + offset_of(p, v->stride, 0, p->dims, at);
        ptrdiff_t done = left;
        if (column || left < s.length) { /* what there is of a run */
            done = s.length - column < left ? s.length - column : left;
            pack(dst, src, s.stride, done, factor, less);
        } else {
            done -= left % s.length;
            RE(copy_runs)(pack, &s, src, left / s.length, dst, factor, less);
        }
        at += done, n -= done, dst += done, less += less ? done : 0;
    }
}

/* The tile's elements; or each times factor - less; or what T leaves of it; or as a weight */
static void RE(copy_by)(int pack, const plan *p, const view *v, const RE(tile) *t, T *dst, T factor, const T *less) {
    const ptrdiff_t size = size_of[v->type % SWAPPED];
    const char *whole = RE(dense)(p, v, t, size);
    if (whole) {
        RE(packs)[pack][v->type](dst, whole, size, t->rows * t->cols, factor, less);
        return;
    }
    if (RE(is_range)(p, t)) {
        RE(copy_range)(pack == CONVERTED && v->type == NATIVE ? RE(pack_native) : RE(packs)[pack][v->type], p, v, t->row * p->columns + t->col, t->rows * t->cols, dst, factor, less);
        return;
    }
    if (t->cols == 1) {
        RE(packs)[pack][v->type](dst, v->data + row_offset(p, v->stride, t->row), v->stride[p->outer_dims - 1], t->rows, factor, less);
        return;
    }
    for (ptrdiff_t r = 0; r < t->rows; r++) {
        const char *row = v->data + row_offset(p, v->stride, RE(row_of)(p, t, r));
        for (ptrdiff_t c = 0; c < t->cols;) {
            run x = run_at(p, v->stride, t->col + c, t->cols - c);
            RE(packs)[pack][v->type](dst, row + x.offset, x.stride, x.length, factor, less);
            dst += x.length, c += x.length, less += less ? x.length : 0;
        }
    }
}

static void RE(copy_range_out)(const plan *p, const view *v, ptrdiff_t at, ptrdiff_t n, const T *src) {
    const spacing s = spacing_of(p, v->stride);
    while (n) {
        const ptrdiff_t left = s.length - at % s.length, done = left < n ? left : n;
        RE(unpack)(src, v->data + offset_of(p, v->stride, 0, p->dims, at), s.stride, done);
        at += done, n -= done, src += done;
    }
}

static void RE(copy_out)(const plan *p, const view *v, const RE(tile) *t, const T *src) {
    if (RE(is_range)(p, t)) {
        RE(copy_range_out)(p, v, t->row * p->columns + t->col, t->rows * t->cols, src);
        return;
    }
    if (t->cols == 1) {
        RE(unpack)(src, v->data + row_offset(p, v->stride, t->row), v->stride[p->outer_dims - 1], t->rows);
        return;
    }
    for (ptrdiff_t r = 0; r < t->rows; r++) {
        char *row = v->data + row_offset(p, v->stride, RE(row_of)(p, t, r));
        for (ptrdiff_t c = 0; c < t->cols;) {
            run x = run_at(p, v->stride, t->col + c, t->cols - c);
            RE(unpack)(src, row + x.offset, x.stride, x.length);
            src += x.length, c += x.length;
        }
    }
}

#endif
