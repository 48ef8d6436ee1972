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

/* Where the tile lies in v if its elements, of so many bytes, follow one another there; else NULL */
static char *RE(dense)(const plan *p, const view *v, const RE(tile) *t, ptrdiff_t size) {
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

/* The tile's elements; or each times factor - less; or what T leaves of it; or as a weight */
static void RE(copy_by)(int pack, const plan *p, const view *v, const RE(tile) *t, T *dst, T factor, const T *less) {
    const ptrdiff_t size = size_of[v->type % SWAPPED];
    const char *whole = RE(dense)(p, v, t, size);
    if (whole) {
        RE(packs)[pack][v->type](dst, whole, size, t->rows * t->cols, factor, less);
        return;
    }
    if (t->cols == 1 && t->rows > 1) {
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
