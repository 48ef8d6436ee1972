/* PANELS: arguments and results whose elements follow one another from row to row, not along the row (Fortran order, axis=0). Element by
 * element along a row each would take a cache line of its own; so some rows of them are read, or written, at a time, as blocks that are
 * transposed between memory and a panel. A panel has whole rows of a chunk, one after the other. Once per type (real.h). */
#ifndef PANELS_H
#define PANELS_H

#include "../math/transpose.h"
#include "tiles.h"

/* Rows of one argument or gradient, from `row` on; rows = 0: nothing yet */
typedef struct { T *data; ptrdiff_t row, rows; } RE(panel);

static int RE(covers)(const RE(panel) *x, const RE(tile) *t) { return t->row >= x->row && t->row + t->rows <= x->row + x->rows; }

/* Rows from the tile's first on, `rows` at most, whose elements follow those of the row before */
static void RE(place_panel)(const plan *p, RE(panel) *x, const RE(tile) *t, ptrdiff_t rows) {
    const ptrdiff_t run = p->shape[p->outer_dims - 1];
    const ptrdiff_t most = p->panel_rows > LANES ? p->panel_rows - t->row % LANES : p->panel_rows; /* whole cache lines, at best */
    x->row = t->row;
    x->rows = smaller(smaller(run - t->row % run, rows), most);
}

/* Where the tile's elements lie in a panel of rows of `cols` columns from `first` on */
static T *RE(in_panel)(const RE(panel) *x, const RE(tile) *t, ptrdiff_t first, ptrdiff_t cols) {
    return x->data + (t->row - x->row) * cols + (t->col - first);
}

/* The panel's rows of an argument, columns [first, first + cols): of T as they are, of other types as T makes them */
static void RE(read_panel)(const plan *p, const view *v, int pack, const RE(panel) *x, ptrdiff_t first, ptrdiff_t cols) {
    const ptrdiff_t stride = v->stride[p->dims - 1], size = size_of[v->type % SWAPPED], line = cols * (ptrdiff_t)sizeof(T);
    const char *from = v->data + row_offset(p, v->stride, x->row) + first * stride;
    if (v->type == NATIVE) {
        RE(transpose)(from, stride, (char *)x->data, line, cols, x->rows, 0);
        return;
    }
    enum { SOME = 64 };
    T some[BLOCK][SOME];
    for (ptrdiff_t row = 0; row < x->rows; row += SOME) {
        const ptrdiff_t rows = smaller(x->rows - row, SOME);
        for (ptrdiff_t c = 0; c < cols; c += BLOCK) {
            const ptrdiff_t n = smaller(cols - c, BLOCK);
            for (ptrdiff_t k = 0; k < n; k++) RE(packs)[pack][v->type](some[k], from + (c + k) * stride + row * size, size, rows, 1, NULL);
            RE(transpose)((const char *)some, sizeof *some, (char *)(x->data + row * cols + c), line, n, rows, 0);
        }
    }
}

/* The panel's rows go to where a gradient belongs */
static void RE(write_panel)(const plan *p, const view *v, RE(panel) *x, ptrdiff_t first, ptrdiff_t cols) {
    const ptrdiff_t stride = v->stride[p->dims - 1], line = cols * (ptrdiff_t)sizeof(T);
    char *to = v->data + row_offset(p, v->stride, x->row) + first * stride;
    if (x->rows) RE(transpose)((const char *)x->data, line, to, stride, x->rows, cols, 1);
    x->rows = 0;
}

#endif
