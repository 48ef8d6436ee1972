/* Rows that lie across memory (Fortran order, axis=0), as they lie: blocks of them are gone through column by column, so that nothing has
 * to be transposed, and a row is a lane of vectors (sums/across.h). For the usual calls: events of one axis, without weights, floors or
 * sums of gradients. A block in which anything is odd is left, before anything is added to a sum, to panels.h, which writes over what it
 * has written. The bits are the same. Once per type (real.h). */
#ifndef WALK_ACROSS_H
#define WALK_ACROSS_H

#include "../sums/across.h"
#include "plain.h"
#include "terms.h"

#undef MOST_TERMS
#define MOST_TERMS (4 * TILE) /* of a block: buffers that nothing else of such a call takes */
#if REAL == 64 /* once */
enum { ROWS_OF_TERMS = 256, MOST_ACROSS = 256, LEAST_ACROSS = 8 };
#endif

/* Whether an argument's columns can be read one by one: its elements follow those of the row before, or are few */
static int RE(is_by_column)(const plan *p, const view *v) {
    const ptrdiff_t step = v->stride[p->outer_dims - 1];
    return !v->data || step == 0 || v->stride[p->dims - 1] == 0 || step == size_of[v->type % SWAPPED];
}

static int RE(follows_row_before)(const plan *p, const view *v) {
    return v->type == NATIVE && v->stride[p->outer_dims - 1] == (ptrdiff_t)sizeof(T) && (uintptr_t)v->data % sizeof(T) == 0
           && v->stride[p->dims - 1] % (ptrdiff_t)sizeof(T) == 0;
}

/* Whether the call is one of the usual */
static int RE(walks_across)(const RE(work) *w) {
    const plan *p = w->p;
    const int more = p->aliased || p->check_only || p->look || p->sums_only || p->chunks > 1 || p->columns > LONGEST_CHUNK || w->stored;
    const int options = p->argument[WEIGHT].data || p->argument[WHERE].data || p->min_var > 0 || p->x_scale != 1 || w->long_integers;
    if (!p->panels || more || options || (p->traits->takes & (TAKES_X | TAKES_LOST))) return 0;
    if (p->constant && (!p->plain || (RE(wants)(w, FIRST) && RE(wants)(w, SECOND)))) return 0;
    for (int a = FIRST; a <= PRIOR; a++) {
        const int direct = p->collect[a].mode == DIRECT && w->final[a] && RE(follows_row_before)(p, &p->gradient[a]);
        if (p->constant && a > SECOND) break;
        if (RE(wants)(w, a) && !direct) return 0;
        if (p->constant ? !RE(follows_row_before)(p, &p->argument[a]) : !RE(is_by_column)(p, &p->argument[a])) return 0;
    }
    return 1;
}

/* Where column `col` of a view begins, from the tile's first row on */
static char *RE(column_of)(const RE(work) *w, const view *v, ptrdiff_t col) {
    return v->data + row_offset(w->p, v->stride, w->tile.row) + col * v->stride[w->p->dims - 1];
}

/* ---- by terms --------------------------------------------------------------------------------------------------------------- */

/* n elements; whole vectors where there are so many, of which the last may overlap with the one before */
INLINE void RE(copy_column)(T *dst, const T *src, ptrdiff_t n) {
    ptrdiff_t i = 0;
    for (; i + LANES <= n; i += LANES) memcpy(dst + i, src + i, LANES * sizeof *dst);
    if (i == n) return;
    if (n >= LANES)
        memcpy(dst + n - LANES, src + n - LANES, LANES * sizeof *dst);
    else
        for (; i < n; i++) dst[i] = src[i];
}

/* The tile of an argument, column by column */
static const T *RE(gather_columns)(RE(work) *w, int a) {
    const plan *p = w->p;
    const view *v = &p->argument[a];
    const RE(tile) *t = &w->tile;
    const ptrdiff_t step = v->stride[p->outer_dims - 1], next = v->stride[p->dims - 1];
    if (p->single & 1 << a) return RE(gather)(w, a, 0);
    const char *src = RE(column_of)(w, v, t->col);
    const int native = RE(follows_row_before)(p, v);
    if (native && next == t->rows * (ptrdiff_t)sizeof(T)) return (const T *)(const void *)src;
    T *dst = w->buffer[a];
    for (ptrdiff_t c = 0; c < t->cols; c++, dst += t->rows, src += next) {
        if (native)
            RE(copy_column)(dst, (const T *)(const void *)src, t->rows);
        else if (next == 0 && c)
            memcpy(dst, dst - t->rows, (size_t)t->rows * sizeof *dst);
        else
            RE(packs)[CONVERTED][v->type](dst, src, step, t->rows, 1, NULL);
    }
    return w->buffer[a];
}

static void RE(give_columns)(RE(work) *w, int a, const T *g) {
    const view *v = &w->p->gradient[a];
    const RE(tile) *t = &w->tile;
    char *to = RE(column_of)(w, v, t->col);
    for (ptrdiff_t c = 0; c < t->cols; c++, g += t->rows, to += v->stride[w->p->dims - 1]) RE(copy_column)((T *)(void *)to, g, t->rows);
}

/* Terms of the tile's columns, and their gradients; 0: something is odd */
static int RE(form_columns)(RE(work) *w, T *terms) {
    const plan *p = w->p;
    w->o.n = w->tile.rows * w->tile.cols;
    w->o.a = RE(gather_columns)(w, FIRST), w->o.b = RE(gather_columns)(w, SECOND), w->o.scale = RE(gather_columns)(w, SCALE);
    if (p->argument[PRIOR].data) w->o.prior = RE(gather_columns)(w, PRIOR);
    w->weight = NULL;
    w->o.term = terms;
    w->o.first = w->buffer[G_FIRST], w->o.scale_gradient = w->buffer[G_SCALE], w->o.prior_gradient = w->buffer[G_PRIOR];
    RE(form_terms)(w, 0);
    if (w->odd) return 0;
    T *const gradient[] = {w->o.first, RE(wants)(w, FIRST) ? w->buffer[G_SECOND] : w->o.first, w->o.scale_gradient, w->o.prior_gradient};
    if (RE(wants)(w, FIRST) && RE(wants)(w, SECOND)) RE(negate)(gradient[SECOND], w->o.first, w->o.n);
    for (int a = FIRST; a <= PRIOR; a++)
        if (RE(wants)(w, a)) RE(give_columns)(w, a, gradient[a]);
    return 1;
}

/* Whether the lanes of all rows are, as lanes_are_settled has it of one */
static int RE(lanes_across_are_settled)(const RE(work) *w, ptrdiff_t rows) {
    const double *hi = w->part_of_row;
    int64_t all = -1;
    for (ptrdiff_t i = 0; i < LANES * rows; i++) all &= mask_f64(magnitude_f64(hi[i]) < w->settled);
    for (ptrdiff_t r = 0; r < rows && w->least > 0; r++) {
        int64_t counts = 0;
        for (int l = 0; l < LANES; l++) counts |= mask_f64(magnitude_f64(hi[l * rows + r]) >= w->least);
        all &= counts;
    }
    return all != 0;
}

/* The tile's rows end, of sums in part_of_row */
static void RE(end_across)(RE(work) *w) {
    const plan *p = w->p;
    const ptrdiff_t rows = w->tile.rows, n = p->columns;
    const double *hi = w->part_of_row, *lo = hi + LANES * rows;
    const int together = RE(end_together)(w);
    for (ptrdiff_t r = 0, some; r < rows; r += some) {
        some = smaller(rows - r, ROWS_TOGETHER);
        memcpy(w->squares_of_row, hi + r, (size_t)some * sizeof *hi);
        if (REAL == 64) memcpy(w->low_of_row, lo + r, (size_t)some * sizeof *lo);
        if (together && RE(end_sums)(w, r, w->squares_of_row, w->low_of_row, NULL, some)) continue;
        for (ptrdiff_t i = r; i < r + some; i++) {
            const partial x = {{hi[i], REAL == 64 ? lo[i] : 0}, {(double)n, 0}, NULL, w->counted};
            RE(end_row)(w, i, &x);
        }
    }
}

/* Rows of terms, from the tile's first on; 0: they are left. `piece`: the columns after which sums of long rows are looked at */
static int RE(terms_across)(RE(work) *w, ptrdiff_t piece) {
    const plan *p = w->p;
    const ptrdiff_t rows = w->tile.rows, n = p->columns, at_once = TILE / rows;
    double *hi = w->part_of_row, *lo = hi + LANES * rows;
    T *terms = w->buffer[B_RAW];
    RE(start_across)(hi, lo, rows, n <= TILE ? n : TILE + 1, GROUP(p));
    for (ptrdiff_t col = 0; col < n;) {
        const ptrdiff_t cols = smaller(n - col, 8 * LANES);
        for (ptrdiff_t done = 0; done < cols; done += w->tile.cols) {
            w->tile.col = col + done, w->tile.cols = smaller(cols - done, at_once);
            if (!RE(form_columns)(w, terms + done * rows)) return 0;
        }
        RE(add_across)(hi, lo, terms, rows, cols, GROUP(p));
        col += cols;
        if (n > TILE && (col % piece == 0 || col == n) && !RE(lanes_across_are_settled)(w, rows)) return 0;
    }
    w->tile.col = 0, w->tile.cols = n;
    RE(total_across)(hi, lo, rows, n < LANES ? n : LANES);
    for (ptrdiff_t r = 0; r < rows && n <= TILE; r++)
        if (!RE(is_settled)(w, hi[r])) return 0;
    RE(end_across)(w);
    return 1;
}

/* So many rows of terms are gone through together: a tile, their terms, and the lanes of their sums have room for them */
static ptrdiff_t RE(rows_of_terms)(const plan *p) {
    const ptrdiff_t lanes = p->columns > 8 ? LANES : 8, rows = MOST_TERMS / smaller(p->columns, 8 * LANES);
    const ptrdiff_t room = smaller(rows, PARTS_AT_ONCE / lanes / (REAL / 32));
    return smaller(room, ROWS_OF_TERMS) & -LANES;
}

/* ---- by squares ------------------------------------------------------------------------------------------------------------- */

/* Of n rows from the tile's r-th on, how r becomes nats and gradients; 0: as it must not in such a way */
static int RE(find_factors)(const RE(work) *w, ptrdiff_t r, ptrdiff_t n, double *plain, T *c) {
    const int first = w->want & WANT_FIRST;
    const ptrdiff_t each = w->p->uniform ? n : 1;
    int all = 1;
    for (ptrdiff_t i = 0; i < n; i += each) {
        const row_scale *s = RE(scale_of)(w, r + i);
        const double plain_of_row = s->plain;
        const T c_of_row = first ? RE(plain_slope)(w, s) : (T)1;
        all &= plain_of_row != 0 && c_of_row != 0;
        for (ptrdiff_t k = i; k < i + each; k++) plain[k] = plain_of_row, c[k] = c_of_row;
    }
    return all;
}

/* Sums in nats; whether they may be trusted, and are numbers */
static int RE(trust_sums)(double *sum, const double *plain, ptrdiff_t n, double least) {
    int64_t all = -1;
    for (ptrdiff_t i = 0; i < n; i++) {
        const double in_nats = sum[i] * plain[i];
        all &= mask_f64((sum[i] >= least) & (sum[i] < (double)INFINITE) & (in_nats < (double)INFINITE));
        sum[i] = in_nats;
    }
    return all != 0;
}

/* Squares, in nats, of n rows from the tile's r-th on; 0: they are odd */
static int RE(square_some_across)(RE(work) *w, ptrdiff_t r, ptrdiff_t n) {
    const plan *p = w->p;
    const view *x = &p->argument[FIRST], *y = &p->argument[SECOND], *g = &p->gradient[RE(wants)(w, FIRST) ? FIRST : SECOND];
    const ptrdiff_t size = sizeof(T), next = p->dims - 1;
    double plain[MOST_ACROSS], piece[MOST_ACROSS], low[MOST_ACROSS], *squares = w->squares_of_row + r;
    T c[MOST_ACROSS];
    if (!RE(find_factors)(w, r, n, plain, c)) return 0;
    RE(columns) s = {.c = c, .x_step = x->stride[next] / size, .y_step = y->stride[next] / size};
    for (ptrdiff_t col = 0; col < p->columns; col += TILE) { /* as square_long_row */
        const ptrdiff_t cols = smaller(p->columns - col, TILE);
        double *sum = col ? piece : squares;
        s.x = (const T *)(const void *)RE(column_of)(w, x, col) + r, s.y = (const T *)(const void *)RE(column_of)(w, y, col) + r;
        if (w->want & WANT_FIRST) s.first = (T *)(void *)RE(column_of)(w, g, col) + r, s.first_step = g->stride[next] / size;
        RE(squares_across)(s, n, cols, sum, w->part_of_row);
        if (!RE(trust_sums)(sum, plain, n, RE(least_trusted)(cols))) return 0;
        for (ptrdiff_t i = 0; i < n && col; i++) {
            const pair both = two_sum(squares[i], piece[i]);
            squares[i] = both.hi, low[i] = (col > TILE ? low[i] : 0) + both.lo;
        }
    }
    for (ptrdiff_t i = 0; i < n && p->columns > TILE; i++) squares[i] = value_of((pair){squares[i], low[i]});
    return 1;
}

/* Rows before those that begin a cache line in all columns, of the gradient or x; 0 also where there are no such rows */
static ptrdiff_t RE(lead_of_columns)(const RE(work) *w) {
    const plan *p = w->p;
    const view *v = w->want & WANT_FIRST ? &p->gradient[RE(wants)(w, FIRST) ? FIRST : SECOND] : &p->argument[FIRST];
    return v->stride[p->dims - 1] % CACHE_LINE ? 0 : RE(to_line)((const T *)(const void *)RE(column_of)(w, v, 0));
}

/* Of the tile's rows */
static int RE(square_across_rows)(RE(work) *w) {
    const ptrdiff_t rows = w->tile.rows, cols = w->p->columns, most = cols < 16 ? smaller(PARTS_AT_ONCE / cols & -LANES, MOST_ACROSS) : ROWS_ACROSS;
    RE(find_scales)(w);
    if (w->unusual || rows < LANES) return 0;
    /* whole vectors, from where these meet cache lines; some rows twice, to the same squares */
    const ptrdiff_t lead = RE(lead_of_columns)(w);
    if (lead && !RE(square_some_across)(w, 0, LANES)) return 0;
    for (ptrdiff_t r = lead, some; r < rows; r += some) {
        some = smaller(rows - r, most) & -LANES;
        if (!some) some = LANES, r = rows - LANES;
        if (!RE(square_some_across)(w, r, some)) return 0;
    }
    return 1;
}

/* Rows under scales that are constant along them. Blocks may have but a few rows, which are no whole cache lines: so the squares are formed of
 * as many as there is room for, of this block and of those after it, unless some of them were odd. */
static int RE(plain_across)(RE(work) *w, ptrdiff_t row, ptrdiff_t rows, ptrdiff_t left) {
    const ptrdiff_t most = w->p->uniform ? MOST_ROWS : MOST_SCALES;
    w->odd = 0;
    if (row < w->ahead.row || row >= w->ahead.row + w->ahead.rows) {
        int alone = row < w->odd_until;
        for (;; alone = 1) {
            w->tile = w->ahead = (RE(tile)){row, smaller(smaller(alone ? rows : w->last_row - row, left), most), 0, w->p->columns, 0};
            if (RE(square_across_rows)(w)) break;
            if (!alone) w->odd_until = row + w->ahead.rows;
            w->tile.rows = smaller(rows, w->tile.rows);
            w->ahead.rows = 0;
            if (alone) return 0;
        }
    }
    const ptrdiff_t before = row - w->ahead.row;
    w->ahead.row += before, w->ahead.rows -= before;
    if (before) memmove(w->squares_of_row, w->squares_of_row + before, (size_t)w->ahead.rows * sizeof(double));
    w->tile = w->ahead;
    w->tile.rows = smaller(rows, w->ahead.rows);
    RE(find_scales)(w);
    if (!RE(finish_plain_rows)(w)) RE(end_plain_rows)(w, w->p->columns);
    return 1;
}

/* The tile becomes the first of `rows` whole rows from `row` on, of which `left` follow one another; 0: these are left to the panels */
static int RE(rows_across)(RE(work) *w, ptrdiff_t row, ptrdiff_t rows, ptrdiff_t left, ptrdiff_t piece) {
    rows = smaller(rows, left);
    if (w->p->constant) return RE(plain_across)(w, row, rows, left);
    const ptrdiff_t most = RE(rows_of_terms)(w->p);
    w->tile = (RE(tile)){row, smaller(rows, most), 0, 0, 0};
    return rows >= LEAST_ACROSS && most >= LANES && RE(terms_across)(w, piece);
}

#endif
