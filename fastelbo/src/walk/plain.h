/* A Gaussian NLL without weights, whose scale is constant along the event: all that counts is the sum of r^2 (squares.h,
 * stored.h). Once per type (real.h). */
#ifndef PLAIN_H
#define PLAIN_H

#include "ends.h"

/* d/dx = (x - mean) times this; 0 where that is not to be used, as the number might leave the range of T */
static T RE(plain_slope)(const RE(work) *w, const row_scale *s) {
    const double power = s->a * s->b;
    const T c = (T)(w->o.sign * s->first_slope * power * power);
    return s->plain != 0 && (c >= SMALLEST_NORMAL || c <= -SMALLEST_NORMAL) && c - c == 0 ? c : (T)0;
}

/* d/dx of n elements of row r, from `at` of the tile on */
static void RE(first_of_row)(RE(work) *w, ptrdiff_t r, ptrdiff_t at, ptrdiff_t n) {
    const row_scale *s = RE(scale_of)(w, r);
    const T a = (T)s->a, b = (T)s->b, slope = w->o.sign * (T)s->first_slope, c = RE(plain_slope)(w, s);
    RE(operands) o = w->o;
    o.a += at, o.b += at, o.first += at, o.n = n;
    if (c != 0)
        (w->streamed && n >= LANES ? RE(differences_streamed) : RE(differences_times))(&o, c);
    else
        RE(squares)[0][ONLY_FIRST](&o, (RE(factors)){&a, &b, &slope}), w->odd |= ODD_SCALE;
}

/* The totals of the tile's rows, to their sum */
static void RE(reduce_plain_rows)(RE(work) *w, double base, double constants) {
    plan *p = w->p;
    const ptrdiff_t rows = w->tile.rows, most = p->inner == 1 ? ROWS_TOGETHER : 1;
    double *all = w->total_of_row, *low = w->low_of_row;
    for (ptrdiff_t r = 0; r < rows; r += most) {
        const ptrdiff_t n = smaller(rows - r, most);
        for (ptrdiff_t i = 0; i < n; i++) {
            const pair loss = RE(add_up)(base, w->squares_of_row[r + i]), total = RE(add_up)(loss.hi, constants);
            all[i] = total.hi;
            if (REAL == 64) low[i] = total.lo + loss.lo;
        }
        RE(add_totals)(&p->totals[w->region.task], RE(row_of)(p, &w->tile, r), all, low, n);
    }
}

/* The commonest rows: whole, under one scale for all. As finish_row, of which it is a special case to the bit. */
static int RE(finish_plain_rows)(RE(work) *w) {
    plan *p = w->p;
    const RE(tile) *t = &w->tile;
    const row_scale s = w->scale[0];
    const double n = (double)p->columns, base = s.base * n, constants = constants_of(p, n), gradient = s.gradient[0] * n;
    const double *squares = w->squares_of_row;
    const int of_scale = p->gradient[SCALE].data != NULL;
    const ptrdiff_t stride = stride_of_rows(p, &p->value), rows = t->rows;
    if (t->cols != p->columns || !p->uniform || s.bad || s.special || w->odd || p->sums_only
        || (p->reduction == NONE && (p->other_rows || !is_even(p, &p->value))) || (of_scale && (!p->collect[SCALE].turns || !far_from_overflow(gradient) || !far_from_overflow(s.slope * n))))
        return 0;
    if (p->reduction != NONE && !RE(all_within)(squares, rows, 0, 0x1p899)) return 0; /* their sum may be no double */
    char *value = p->reduction == NONE ? RE(place_of_row)(p, &p->value, t->row) : NULL;
#define EACH_ROW(stride)                                                                                            \
    _Pragma("omp simd") for (ptrdiff_t r = 0; r < rows; r++) {                                                      \
        pair loss = RE(add_up)(base, squares[r]), total = RE(add_up)(loss.hi, constants);                           \
        T x = (T)(REAL == 64 ? value_of((pair){total.hi, total.lo + loss.lo}) : total.hi);                          \
        memcpy(value + r * (stride), &x, sizeof x);                                                                 \
    }
    if (p->reduction != NONE) {
        RE(reduce_plain_rows)(w, base, constants);
    } else if (stride == (ptrdiff_t)sizeof(T))
        EACH_ROW((ptrdiff_t)sizeof(T))
    else
        EACH_ROW(stride)
#undef EACH_ROW
    if (!of_scale) return 1;
    RE(accumulate_rows)(p->collect[SCALE].low, RE(accumulator)(p, w->region, &p->collect[SCALE]), t->row, squares, s.slope, gradient, rows);
    return 1;
}

/* As square_rows ends, where a row has a scale of its own, or its sum of squares cannot be trusted */
static __attribute__((noinline)) void RE(square_odd_rows)(RE(work) *w, ptrdiff_t r, int step, ptrdiff_t at,
                                                          ptrdiff_t rows, ptrdiff_t cols, double *squares) {
    const T *x = w->o.a + at, *y = w->o.b + at;
    int infinite = 0;
    for (ptrdiff_t i = 0; i < rows; i++) {
        const row_scale *s = RE(scale_of)(w, r + step * i);
        if (s->plain != 0 && RE(trusted)(squares[i], cols)) {
            squares[i] *= s->plain;
        } else {
            const RE(differences) d = {x, y, (T)s->a, (T)s->b};
            squares[i] = squares_of(s, value_of(RE(sum_of_squares)(d, i * cols, cols, 8)));
        }
        infinite |= !(squares[i] < (double)INFINITE);
    }
    if (infinite) w->odd |= ODD_TERM;
}

/* The squares, in nats, of rows from the r-th on (step 1), or of pieces of that row (step 0), and their gradients: `rows` of `cols`
 * elements, from `at` of the tile on */
static void RE(square_rows)(RE(work) *w, ptrdiff_t r, int step, ptrdiff_t at, ptrdiff_t rows, ptrdiff_t cols, double *squares) {
    const plan *p = w->p;
    const T *x = w->o.a + at, *y = w->o.b + at;
    const int first = w->want & WANT_FIRST;
    /* an input is needed if a sum is not trusted */
    const T c = first && p->uniform && !p->aliased && !w->streamed ? RE(plain_slope)(w, w->scale) : (T)0;
    const double plain = p->uniform || !step ? RE(scale_of)(w, r)->plain : 0; /* of all these rows */
    if (c != 0)
        RE(sum_squares_and_scale)(x, y, w->o.first + at, c, rows, cols, squares, w->part_of_row);
    else
        RE(sum_squares)(x, y, rows, cols, squares, w->part_of_row);
    /* at once, if all can be trusted and none becomes infinite */
    const double least = RE(least_trusted)(cols), most = plain > 1 ? 0x1p1023 / plain : (double)INFINITE;
    int64_t all = mask_f64((plain != 0) & (squares[0] >= least) & (squares[0] < most));
    if (all && rows > 1)
        for (ptrdiff_t i = 0; i < rows; i++) all &= mask_f64((squares[i] >= least) & (squares[i] < most));
    if (!all)
        RE(square_odd_rows)(w, r, step, at, rows, cols, squares);
    else if (rows == 1)
        squares[0] *= plain;
    else
        for (ptrdiff_t i = 0; i < rows; i++) squares[i] *= plain;
    if (!first || c != 0) return;
    if (p->uniform || !step)
        RE(first_of_row)(w, r, at, rows * cols);
    else
        for (ptrdiff_t i = 0; i < rows; i++) RE(first_of_row)(w, r + step * i, at + i * cols, cols);
}

/* x (a = FIRST) or mean from element `at` of the tile on, where all lies flat */
static const char *RE(stored)(const RE(work) *w, int a, ptrdiff_t at) {
    const view *v = &w->p->argument[a];
    return v->data + row_offset(w->p, v->stride, w->tile.row) + (w->tile.col + at) * size_of[v->type];
}

/* Whether both are numbers there */
static int RE(stored_is_number)(const RE(work) *w, ptrdiff_t at) {
    double x = 0;
    for (int a = FIRST; a <= SECOND; a++) {
        double y;
        pack_f64(w->p->argument[a].type, &y, RE(stored)(w, a, at), 0, 1);
        x += y * 0;
    }
    return x == 0;
}

/* The same from copies of at most TILE elements of row r */
static void RE(square_copies)(RE(work) *w, ptrdiff_t r, ptrdiff_t at, ptrdiff_t n, double *square) {
    const plan *p = w->p;
    const int of_x = p->argument[FIRST].type, of_y = p->argument[SECOND].type, scaled = p->x_scale != 1;
    static const T zeros[TILE];
    const RE(operands) o = w->o;
    T *x = w->buffer[FIRST], *y = w->buffer[SECOND];
    RE(pack)(of_y, y, RE(stored)(w, SECOND, at), size_of[of_y], n);
    RE(packs)[scaled][of_x](x, RE(stored)(w, FIRST, at), size_of[of_x], n, (T)p->x_scale, y);
    w->o.a = x, w->o.b = scaled ? zeros : y;
    if (w->want & WANT_FIRST) w->o.first += at;
    RE(square_rows)(w, r, 0, 0, 1, n, square);
    w->o = o;
}

/* The same of x and mean as they are stored */
static void RE(square_stored_rows)(RE(work) *w, ptrdiff_t r, int step, ptrdiff_t at, ptrdiff_t rows, ptrdiff_t cols, double *squares) {
    const plan *p = w->p;
    const int first = w->want & WANT_FIRST;
    const ptrdiff_t alike = first && !p->uniform && step ? 1 : rows;
    for (ptrdiff_t i = 0; i < rows; i += alike) {
        const T c = first ? RE(plain_slope)(w, RE(scale_of)(w, r + step * i)) : (T)0;
        const ptrdiff_t from = at + i * cols;
        if (c != 0 || !first)
            w->stored(RE(stored)(w, FIRST, from), RE(stored)(w, SECOND, from), (T)p->x_scale, first ? w->o.first + from : NULL, c, alike, cols,
                      squares + i);
        for (ptrdiff_t k = i; k < i + alike; k++) {
            const double plain = RE(scale_of)(w, r + step * k)->plain;
            if ((c != 0 || !first) && plain != 0 && RE(trusted)(squares[k], cols))
                squares[k] *= plain, w->odd |= squares[k] < (double)INFINITE ? 0 : ODD_TERM;
            else
                RE(square_copies)(w, r + step * k, at + k * cols, cols, squares + k);
        }
    }
}

static void RE(square_units)(RE(work) *w, ptrdiff_t r, int step, ptrdiff_t at, ptrdiff_t rows, ptrdiff_t cols, double *squares) {
    (w->stored ? RE(square_stored_rows) : RE(square_rows))(w, r, step, at, rows, cols, squares);
}

static inline void RE(begin_plain_row)(RE(work) *w) {
    if (w->out != 0) RE(begin_row)(w);
}

/* A row, or a part of one, of n elements, without those that are apart */
static partial RE(plain_part)(RE(work) *w, double squares, ptrdiff_t n) {
    return (partial){{squares, 0}, {(double)n - w->out, 0}, w->out != 0 ? w->apart : NULL, w->counted};
}

static void RE(keep_plain_part)(RE(work) *w, kept_partial *to, double squares, ptrdiff_t n) {
    const partial x = RE(plain_part)(w, squares, n);
    keep_part(to, &x);
    RE(begin_plain_row)(w);
}

/* The part of row r that ends before column `end` is complete. Its sum is rounded here even where a chunk has several parts: how long
 * chunks are may depend on the number of rows. */
static void RE(end_part)(RE(work) *w, ptrdiff_t r, ptrdiff_t end) {
    plan *p = w->p;
    const ptrdiff_t part = (end - 1) / LONGEST_CHUNK;
    const double squares = value_of(w->part_squares);
    w->part_squares = (pair){0, 0};
    if (p->sums_only == BY_COLUMN) return;
    if (p->chunks > 1)
        RE(keep_plain_part)(w, &p->partials[RE(row_of)(p, &w->tile, r) * p->parts + part], squares, end - part * LONGEST_CHUNK);
    else
        add_to(&w->row_squares, squares);
}

/* The tile's elements of row r, in pieces of TILE, wherever they lie */
static void RE(square_long_row)(RE(work) *w, ptrdiff_t r) {
    const ptrdiff_t n = w->tile.cols, at = r * n, pieces = n / TILE, most = w->want & WANT_FIRST ? STRIP / TILE : pieces;
    double squares[FLAT_TILE / TILE];
    for (ptrdiff_t i = 0; i < pieces; i += most)
        RE(square_units)(w, r, 0, at + i * TILE, pieces - i < most ? pieces - i : most, TILE, squares + i);
    ptrdiff_t col = w->tile.col;
    const int odd = w->odd | w->special;
    for (ptrdiff_t i = 0; i < pieces; i++) {
        if (odd) w->out += RE(settle_squares)(w, r, at + i * TILE, TILE, w->apart, &squares[i]);
        add_to(&w->part_squares, squares[i]);
        col += TILE;
        if (col % LONGEST_CHUNK == 0) RE(end_part)(w, r, col);
    }
    if (n % TILE) {
        RE(square_units)(w, r, 0, at + pieces * TILE, 1, n % TILE, squares);
        if (w->odd | w->special) w->out += RE(settle_squares)(w, r, at + pieces * TILE, n % TILE, w->apart, squares);
        add_to(&w->part_squares, squares[0]);
        col += n % TILE;
    }
    if (col == w->p->columns && col % LONGEST_CHUNK) RE(end_part)(w, r, col);
}

/* As square_long_row, to the bit, of all the tile's rows at once, where these are whole, under one scale, without gradients, and nothing is
 * odd: what is done between two rows lets the memory idle. 0: they are left */
static int RE(square_long_rows)(RE(work) *w) {
    const plan *p = w->p;
    const ptrdiff_t rows = w->tile.rows, cols = w->tile.cols, whole = cols / TILE, tail = cols % TILE, pieces = whole + (tail != 0);
    const double plain = w->scale[0].plain;
    double *squares = w->squares_of_row;
    if (!p->uniform || w->unusual || plain == 0 || w->want || w->stored || p->chunks > 1) return 0;
    if (cols != p->columns || cols > LONGEST_CHUNK || rows * pieces > MOST_ROWS) return 0;
    const ptrdiff_t together = tail ? 1 : rows;
    for (ptrdiff_t r = 0; r < rows; r += together) {
        const T *x = w->o.a + r * cols, *y = w->o.b + r * cols;
        RE(sum_squares)(x, y, together * whole, TILE, squares + r * pieces, w->part_of_row);
        if (tail) RE(sum_squares)(x + whole * TILE, y + whole * TILE, 1, tail, squares + r * pieces + whole, w->part_of_row);
    }
    int64_t all = -1;
    for (ptrdiff_t i = 0; i < rows * pieces; i++) {
        const double sum = squares[i]; /* the longest piece asks for most */
        squares[i] = sum * plain;
        all &= mask_f64((sum >= RE(least_trusted)(TILE)) & (sum < (double)INFINITE) & (squares[i] < (double)INFINITE));
    }
    if (!all) return 0;
    for (ptrdiff_t r = 0; r < rows; r++) {
        pair sum = {0, 0};
        for (ptrdiff_t i = 0; i < pieces; i++) add_to(&sum, squares[r * pieces + i]);
        squares[r] = value_of(sum);
    }
    return 1;
}

/* Rows that are whole in the tile, or the one that ends with it, whose squares, or scale, may be infinite */
SELDOM void RE(end_odd_rows)(RE(work) *w, ptrdiff_t n) {
    const RE(tile) *t = &w->tile;
    for (ptrdiff_t r = 0; r < t->rows; r++) {
        double squares = w->squares_of_row[r];
        if (t->cols == n && (n <= TILE || t->rows > 1)) RE(begin_plain_row)(w);
        if (t->cols == n && n <= TILE) {
            w->out = RE(settle_squares)(w, r, r * n, n, w->apart, &squares);
        } else if (t->rows > 1 && (w->odd || w->special)) { /* once more: what is apart is known of the last one alone */
            w->row_squares = w->part_squares = (pair){0, 0};
            RE(square_long_row)(w, r);
            squares = value_of(w->row_squares);
        }
        const partial x = RE(plain_part)(w, squares, n);
        RE(end_row)(w, r, &x);
    }
}

/* As sum_rows ends, of rows that are whole in the tile, or the one that ends with it */
static void RE(end_plain_rows)(RE(work) *w, ptrdiff_t n) {
    partial x = {{0, 0}, {(double)n, 0}, NULL, w->counted};
    if (w->odd | w->special) {
        RE(end_odd_rows)(w, n);
        return;
    }
    const int together = RE(end_together)(w);
    const ptrdiff_t rows = w->tile.rows;
    ptrdiff_t r = 0;
    for (ptrdiff_t some; together && r < rows; r += some) {
        some = smaller(rows - r, ROWS_TOGETHER);
        if (!RE(end_squares)(w, r, w->squares_of_row + r, NULL, some)) break;
    }
    for (; r < rows; r++) {
        x.sum.hi = w->squares_of_row[r];
        RE(end_row)(w, r, &x);
    }
}

/* Streamed gradients that have to be mended are read again */
static void RE(end_plain_tile)(RE(work) *w) {
    if (!w->streamed || !(w->odd || w->special)) return;
    end_streams();
    w->streamed = 0;
}

/* By sums of squares alone */
static void RE(evaluate_plain)(RE(work) *w) {
    plan *p = w->p;
    const RE(tile) *t = &w->tile;
    const ptrdiff_t begin = w->chunk * p->chunk, end = RE(chunk_end)(w), rows = t->rows, cols = t->cols;
    double *squares = w->squares_of_row;
    w->odd = w->rounded;
    w->streamed = w->want & WANT_FIRST && !w->stored && RE(streams)(w);
    const ptrdiff_t most = w->want & WANT_FIRST ? (STRIP - 1) / cols + 1 : MOST_ROWS;
    const int done = cols > TILE && RE(square_long_rows)(w);
    for (ptrdiff_t r = 0; r < rows && !done; r += cols > TILE ? 1 : most) {
        if (cols > TILE || cols < end - begin) {
            if (t->col == begin) w->row_squares = w->part_squares = (pair){0, 0}, RE(begin_plain_row)(w);
            RE(square_long_row)(w, r);
            if (t->col + cols < end || p->chunks > 1) {
                RE(end_plain_tile)(w);
                return;
            }
            squares[r] = value_of(w->row_squares);
            w->odd |= w->out != 0 ? ODD_TERM : 0;
        } else {
            RE(square_units)(w, r, 1, r * cols, rows - r < most ? rows - r : most, cols, squares + r);
        }
    }
    if (!RE(finish_plain_rows)(w)) RE(end_plain_rows)(w, end - begin);
    RE(end_plain_tile)(w);
}

/* Whether all tiles lie in memory as the loops want them, so that a tile may be longer than a buffer */
static int RE(lies_flat)(const plan *p, const view *v, ptrdiff_t item) {
    int flat = p->dims - p->row_dims == 1 && v->stride[p->dims - 1] == item;
    flat &= p->outer_dims == 0 || (p->outer_dims == 1 && v->stride[0] == p->columns * item);
    for (int i = p->outer_dims; i < p->row_dims; i++) flat &= v->stride[i] % item == 0;
    return flat;
}

static int RE(native_flat)(const plan *p, const view *v) {
    return v->type == NATIVE && RE(lies_flat)(p, v, sizeof(T)) && (uintptr_t)v->data % sizeof(T) == 0;
}

static int RE(gradients_flat)(const plan *p) {
    int flat = 1;
    for (int a = FIRST; a <= SECOND; a++)
        if (p->gradient[a].data) flat &= p->collect[a].mode == DIRECT && RE(native_flat)(p, &p->gradient[a]);
    return flat;
}

static int RE(all_flat)(const plan *p) {
    return !p->aliased && p->x_scale == 1 && RE(native_flat)(p, &p->argument[FIRST]) && RE(native_flat)(p, &p->argument[SECOND]) && RE(gradients_flat)(p);
}

/* How x and mean are summed where they are stored; NULL: they are not. */
static RE(stored_sum) RE(sum_of_stored)(const plan *p) {
    const view *x = &p->argument[FIRST], *y = &p->argument[SECOND];
    if (!p->plain || p->aliased || p->check_only || p->columns < STORED_COLUMNS) return NULL;
    if ((p->gradient[FIRST].data || p->gradient[SECOND].data) && RE(rounds_below)(p) != 0) return NULL;
    const RE(stored_sum) sum = RE(stored_sum_of)(x->type, y->type);
    return sum && RE(lies_flat)(p, x, size_of[x->type]) && RE(lies_flat)(p, y, size_of[y->type]) && RE(gradients_flat)(p) ? sum : NULL;
}

#endif
