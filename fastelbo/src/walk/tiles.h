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
#endif

/* ---- tiles ------------------------------------------------------------------------------------------------------ */

/* `rows` rows, `row` and on along the outer rows (every inner-th), of each the columns [col, col + cols); either one row or whole
 * events. slab: the first one's place in its group */
typedef struct { ptrdiff_t row, rows, col, cols, slab; } RE(tile);

static inline ptrdiff_t RE(row_of)(const plan *p, const RE(tile) *t, ptrdiff_t i) { return t->row + i * p->inner; }

#if REAL == 64 /* once */
/* Whether a row's elements, of so many bytes, follow one another */
static int events_follow(const plan *p, const view *v, ptrdiff_t size) {
    for (int i = p->dims - 1; i >= p->row_dims; i--) {
        if (v->stride[i] != size) return 0;
        size *= p->shape[i];
    }
    return p->dims > p->row_dims;
}
#endif

/* Where the tile lies in v if its elements, of so many bytes, follow one another there; else NULL */
static char *RE(dense)(const plan *p, const view *v, const RE(tile) *t, ptrdiff_t size) {
    int follow = t->rows == 1 || v->stride[p->outer_dims - 1] == t->cols * size;
    if (!follow || (t->cols > 1 && !events_follow(p, v, size))) return NULL;
    return v->data + row_offset(p, v->stride, t->row) + (t->col ? run_at(p, v->stride, t->col, 1).offset : 0);
}

/* The same if it can be used as it is: T, aligned */
static T *RE(in_place)(const plan *p, const view *v, const RE(tile) *t) {
    char *data = v->type == NATIVE ? RE(dense)(p, v, t, sizeof(T)) : NULL;
    return (uintptr_t)data % sizeof(T) ? NULL : (T *)(void *)data;
}

/* Of a row of a view that repeats itself along all event axes but the last, the elements after which it does; 0: it is not known to */
static ptrdiff_t RE(period)(const plan *p, const view *v) {
    if (p->dims - p->row_dims < 2) return 0;
    for (int i = p->row_dims; i < p->dims - 1; i++)
        if (v->stride[i]) return 0;
    return p->shape[p->dims - 1];
}

/* n elements repeat those `period` before, which are there */
static void RE(repeat)(T *dst, ptrdiff_t period, ptrdiff_t n) {
    for (ptrdiff_t have = period; have < n; have *= 2) memcpy(dst + have, dst, (size_t)smaller(have, n - have) * sizeof *dst);
}

/* Every second element, or backwards, as T has them: in vectors, as strides that are no constants are not */
static int RE(pack_native)(T *restrict dst, const char *restrict src, ptrdiff_t stride, ptrdiff_t n) {
    const ptrdiff_t size = sizeof(T);
    if ((uintptr_t)src % sizeof(T)) return 0;
    const T *from = (const T *)(const void *)src;
    if (stride == 2 * size)
        for (ptrdiff_t i = 0; i < n; i++) dst[i] = from[2 * i];
    else if (stride == -size)
        for (ptrdiff_t i = 0; i < n; i++) dst[i] = from[-i];
    else
        return 0;
    return 1;
}

static void RE(pack_run)(int pack, const view *v, T *dst, const char *src, ptrdiff_t stride, ptrdiff_t n, T factor, const T *less) {
    if (pack == CONVERTED && v->type == NATIVE && RE(pack_native)(dst, src, stride, n)) return;
    RE(packs)[pack][v->type](dst, src, stride, n, factor, less);
}

/* The tile's elements; or each times factor - less; or what T leaves of it; or as a weight */
static void RE(copy_by)(int pack, const plan *p, const view *v, const RE(tile) *t, T *dst, T factor, const T *less) {
    const ptrdiff_t size = size_of[v->type % SWAPPED];
    const char *whole = RE(dense)(p, v, t, size);
    if (whole) {
        RE(packs)[pack][v->type](dst, whole, size, t->rows * t->cols, factor, less);
        return;
    }
    if (t->cols == 1 && t->rows > 1) {
        RE(pack_run)(pack, v, dst, v->data + row_offset(p, v->stride, t->row), v->stride[p->outer_dims - 1], t->rows, factor, less);
        return;
    }
    const ptrdiff_t period = less ? 0 : RE(period)(p, v), once = period && t->cols > 2 * period ? period : t->cols;
    for (ptrdiff_t r = 0; r < t->rows; r++) {
        const char *row = v->data + row_offset(p, v->stride, RE(row_of)(p, t, r));
        for (ptrdiff_t c = 0; c < once;) {
            run x = run_at(p, v->stride, t->col + c, once - c);
            RE(pack_run)(pack, v, dst + c, row + x.offset, x.stride, x.length, factor, less);
            c += x.length, less += less ? x.length : 0;
        }
        if (once < t->cols) RE(repeat)(dst, period, t->cols);
        dst += t->cols;
    }
}

static void RE(copy_in)(const plan *p, const view *v, const RE(tile) *t, T *dst) { RE(copy_by)(CONVERTED, p, v, t, dst, 1, NULL); }

static void RE(copy_out)(const plan *p, const view *v, const RE(tile) *t, const T *src) {
    if (t->cols == 1 && t->rows > 1) {
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
