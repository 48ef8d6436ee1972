/* Gradients of broadcast arguments: sums over what the argument was broadcast over, in double, in an order that depends on shapes
 * alone. A task has accumulators of its own (a region); they are added up in the order of the tasks. Once per type (real.h). */
#ifndef COLLECT_H
#define COLLECT_H

#include "../sums/sums.h"
#include "careful.h"
#include "tiles.h"

static double *RE(accumulator)(const plan *p, region whose, const collector *c) {
    return (c->mode == SLAB ? p->slab + whose.thread * p->slabs * (REAL / 32) : p->accumulator + whose.task * p->accumulators * (REAL / 32)) + c->offset;
}

static inline void RE(accumulate_one)(ptrdiff_t low, double *at, double x) {
#if REAL == 32
    (void)low;
    *at += x;
#else
    pair s = two_sum(*at, x);
    *at = s.hi;
    at[low] += s.lo;
#endif
}

/* A row's gradients of one scale for all, of `rows` rows from `row` on */
static inline void RE(accumulate_rows)(ptrdiff_t low, double *at, ptrdiff_t row, const double *squares, double slope, double base, ptrdiff_t rows) {
    double hi[TURNS], lo[TURNS] = {0};
    for (int i = 0; i < TURNS; i++) {
        hi[i] = at[(row + i) % TURNS];
        if (REAL == 64) lo[i] = at[low + (row + i) % TURNS];
    }
    for (ptrdiff_t r = 0; r < rows; r += TURNS)
        for (int i = 0; i < TURNS && r + i < rows; i++) {
            double x = slope != 0 ? base - squares[r + i] * slope : base;
#if REAL == 32
            hi[i] += x;
#else
            pair s = two_sum(hi[i], x);
            hi[i] = s.hi;
            lo[i] += s.lo;
#endif
        }
    for (int i = 0; i < TURNS; i++) {
        at[(row + i) % TURNS] = hi[i];
        if (REAL == 64) at[low + (row + i) % TURNS] = lo[i];
    }
}

#if REAL == 64 /* once */
/* Where the accumulators of a group's i-th outer row begin */
static inline ptrdiff_t slab_offset(const collector *c, ptrdiff_t i) { return c->mode == SLAB ? i * c->size : 0; }

/* As run_at, but a run over summed axes goes on across all of them that come last, whether or not `collapse` could merge them: its
 * length is the order of a sum, and may depend on shapes alone */
static run collected_run(const plan *p, const ptrdiff_t *stride, ptrdiff_t col, ptrdiff_t most) {
    ptrdiff_t length = 1;
    for (int i = p->dims - 1; i >= p->row_dims && stride[i] == 0; i--) length *= p->shape[i];
    if (p->dims == p->row_dims || stride[p->dims - 1] != 0) return run_at(p, stride, col, most);
    ptrdiff_t left = length - col % length;
    return (run){offset_of(p, stride, p->row_dims, p->dims, col), 0, left < most ? left : most};
}
#endif

/* Add n numbers to as many sums */
INLINE void RE(accumulate_run)(ptrdiff_t low, double *at, const T *g, ptrdiff_t n) {
#if REAL == 32
    (void)low;
    for (ptrdiff_t i = 0; i < n; i++) at[i] += (double)g[i];
#else
    for (ptrdiff_t i = 0; i < n; i++) {
        pair s = two_sum(at[i], g[i]);
        at[i] = s.hi;
        at[i + low] += s.lo;
    }
#endif
}

/* Rows of n numbers, a constant, to n sums, in registers */
INLINE void RE(accumulate_few)(ptrdiff_t low, double *at, const T *g, ptrdiff_t rows, int n) {
    pair sum[4];
    for (int c = 0; c < n; c++) sum[c] = (pair){at[c], REAL == 64 ? at[c + low] : 0};
    for (ptrdiff_t r = 0; r < rows; r++)
        for (int c = 0; c < n; c++) {
            if (REAL == 32)
                sum[c].hi += (double)g[r * n + c];
            else
                add_to(&sum[c], (double)g[r * n + c]);
        }
    for (int c = 0; c < n; c++) at[c] = sum[c].hi;
    for (int c = 0; c < n && REAL == 64; c++) at[c + low] = sum[c].lo;
}

/* Rows, all into the same few sums, one for each of their columns: to find its place would take longer than to add it */
static void RE(accumulate_columns)(ptrdiff_t low, double *at, const T *g, ptrdiff_t rows, ptrdiff_t cols) {
    switch (cols) {
#define CASE(n) case n: RE(accumulate_few)(low, at, g, rows, n); return;
        CASE(1) CASE(2) CASE(3) CASE(4)
#undef CASE
    }
    for (ptrdiff_t r = 0; r < rows; r++) RE(accumulate_run)(low, at, g + r * cols, cols);
}

/* Whether all rows of whole events are collected so */
static int RE(collects_columns)(const plan *p, const collector *c, const RE(tile) *t) {
    const int events = p->dims - p->row_dims;
    int same = t->cols == p->columns && c->mode == GLOBAL && p->chunks == 1 && events <= 1 && (t->cols == 1 || c->stride[p->dims - 1] == 1);
    for (int i = 0; i < p->row_dims; i++) same &= c->stride[i] == 0;
    return same;
}

/* n elements in their order to sums that repeat themselves after `period`, from the phase-th on */
static void RE(accumulate_periods)(ptrdiff_t low, double *at, ptrdiff_t period, ptrdiff_t phase, const T *g, ptrdiff_t n) {
    for (; n && phase; g++, n--, phase = phase + 1 < period ? phase + 1 : 0) RE(accumulate_one)(low, at + phase, *g);
    const ptrdiff_t whole = n - n % period;
    RE(accumulate_columns)(low, at, g, whole / period, period);
    RE(accumulate_run)(low, at, g + whole, n - whole);
}

#if REAL == 64 /* once */
/* Of sums that are kept for the last event axis alone, and for no other: their number; else 0 */
static ptrdiff_t period_of_sums(const plan *p, const ptrdiff_t *stride) {
    if (p->dims - p->row_dims < 2 || stride[p->dims - 1] != 1) return 0;
    for (int i = p->row_dims; i < p->dims - 1; i++)
        if (stride[i]) return 0;
    return p->shape[p->dims - 1];
}
#endif

/* Add a tile's gradients g of argument a */
static void RE(accumulate)(const plan *p, int a, region whose, ptrdiff_t chunk, const RE(tile) *t, const T *g) {
    const collector *c = &p->collect[a];
    double *base = RE(accumulator)(p, whose, c);
    const ptrdiff_t period = period_of_sums(p, c->stride);
    ptrdiff_t shift = c->by_column ? chunk * p->chunk : 0;
    if (RE(collects_columns)(p, c, t)) {
        RE(accumulate_columns)(c->low, base, g, t->rows, t->cols);
        return;
    }
    for (ptrdiff_t r = 0; r < t->rows; r++) {
        double *row = base + row_offset(p, c->stride, RE(row_of)(p, t, r)) + slab_offset(c, t->slab + r) - shift;
        if (period > 1) {
            RE(accumulate_periods)(c->low, row, period, t->col % period, g, t->cols);
            g += t->cols;
            continue;
        }
        for (ptrdiff_t done = 0; done < t->cols;) {
            run x = collected_run(p, c->stride, t->col + done, t->cols - done);
            double *at = row + x.offset;
            if (x.stride == 0 && x.length > 1) {
                pair sum = RE(sum)(g, 0, x.length, 1);
                RE(accumulate_one)(c->low, at, sum.hi);
                if (REAL == 64) at[c->low] += sum.lo;
            } else {
                RE(accumulate_run)(c->low, at, g, x.length);
            }
            g += x.length, done += x.length;
        }
    }
}

/* Offset, in an output, of the index-th element that a collector keeps of the axes [from, to) */
#if REAL == 64 /* once */
static ptrdiff_t kept_offset(const plan *p, const collector *c, const ptrdiff_t *stride, int from, int to, ptrdiff_t index) {
    ptrdiff_t offset = 0;
    for (int i = to - 1; i >= from; i--)
        if (c->stride[i]) {
            offset += index % p->shape[i] * stride[i];
            index /= p->shape[i];
        }
    return offset;
}
#endif

#if REAL == 64 /* once */
/* The sum of an argument's gradients at the index-th place of the row axes that it keeps (SLAB: of the inner ones, of this outer row), and
 * of the event axes, element by element */
SELDOM double careful_sum(const plan *p, int a, ptrdiff_t outer_row, ptrdiff_t of_rows, ptrdiff_t of_columns) {
    const collector *c = &p->collect[a];
    const int fixed = c->mode == SLAB ? p->outer_dims : 0;
    ptrdiff_t at[MAX_DIMS] = {0};
    uint64_t summed = 0;
    for (int i = p->dims - 1; i >= 0; i--) {
        ptrdiff_t *index = i >= p->row_dims ? &of_columns : i >= fixed ? &of_rows : &outer_row;
        if (i >= fixed && !c->stride[i]) {
            summed |= (uint64_t)1 << i;
        } else {
            at[i] = *index % p->shape[i];
            *index /= p->shape[i];
        }
    }
    wide_sum sum = {0, 0, 0};
    for (int i = 0; i >= 0;) {
        ptrdiff_t row = 0, col = 0;
        for (i = 0; i < p->row_dims; i++) row = row * p->shape[i] + at[i];
        for (; i < p->dims; i++) col = col * p->shape[i] + at[i];
        add_wide(&sum, careful_at(p, row, col).gradient[a]);
        if (sum.hi != sum.hi) break;
        for (i = p->dims - 1; i >= 0; i--) {
            if (!(summed >> i & 1)) continue;
            if (++at[i] < p->shape[i]) break;
            at[i] = 0;
        }
    }
    return double_of(wide_times(wide_total(sum), careful_factor(p, a)));
}
#endif

/* Whether elements of T were certainly added up without loss: none was infinite, none so small that its lost digits would show. (Sums of
 * rows are of doubles, with room to spare; and where outputs lie over inputs, what they are made of is gone.) */
static int RE(is_trusted_sum)(const plan *p, int a, double factor, T sum) {
    const double size = magnitude_f64((double)sum), least = REAL == 32 ? 0x1p-126 : 0x1p-1022;
    if (p->constant && a >= SCALE) return p->aliased || size < (double)INFINITE;
    if (!(size < (double)INFINITE)) return 0;
    return p->numerator == 0 || (size >= SMALLEST_NORMAL && size >= least * (double)p->rows * (double)p->columns * magnitude_f64(factor));
}

#undef BY_RIGHT
#define BY_RIGHT ((T)0x1p40) /* a sum of verdicts (look.h) beyond it is infinite or NaN by right: more than there are elements */

/* Move what `region` has collected for argument a to the output: after a group, of each outer row, the slab-th (SLAB), or at the end
 * (GLOBAL) */
static void RE(hand_out)(plan *p, int a, region whose, ptrdiff_t outer_row, ptrdiff_t slab, ptrdiff_t chunk) {
    const collector *c = &p->collect[a];
    const view *out = &p->gradient[a];
    const double *from = RE(accumulator)(p, whose, c) + slab_offset(c, slab);
    ptrdiff_t col = c->by_column ? chunk * p->chunk : 0;
    ptrdiff_t cols = c->by_column && p->columns - col < c->event_size ? p->columns - col : c->event_size;
    int first_dim = c->mode == SLAB ? p->outer_dims : 0;
    char *base = out->data + (c->mode == SLAB ? offset_of(p, out->stride, 0, first_dim, outer_row) : 0);
    ptrdiff_t rows = c->turns ? 1 : c->event_size ? c->size / c->event_size : 0;
    const double factor = a == x_of(p) ? p->factor * p->x_scale : p->factor;
    /* sums that are complete only after all chunks of a row are not gone through again (look.h) */
    const int can_look = !(p->constant && a >= SCALE && p->chunks > 1 && c->mode == SLAB);
    if (p->look && !can_look) return;
    for (ptrdiff_t r = 0; r < rows; r++) {
        char *row = base + kept_offset(p, c, out->stride, first_dim, p->row_dims, r);
        for (ptrdiff_t j = 0; j < cols; j++) {
            double sum = from[r * c->event_size + j];
            if (REAL == 64) sum = value_of((pair){sum, from[r * c->event_size + j + c->low]});
            char *place = row + kept_offset(p, c, out->stride, p->row_dims, p->dims, col + j);
            T x = (T)(sum * factor);
            if (p->look) memcpy(&x, place, sizeof x);
            if (!RE(is_trusted_sum)(p, a, factor, x)) {
                if (p->look ? sum > 0 && sum < BY_RIGHT : !can_look)
                    x = (T)careful_sum(p, a, outer_row, r, col + j);
                else if (!p->look)
                    __atomic_store_n(&p->doubted, 1, __ATOMIC_RELAXED);
            }
            memcpy(place, &x, sizeof x);
        }
    }
}

/* Of n outer rows */
static void RE(begin_group)(plan *p, region whose, ptrdiff_t n) {
    for (int a = 0; a < N_GRADS; a++)
        if (p->collect[a].mode == SLAB && p->gradient[a].data) {
            double *at = RE(accumulator)(p, whose, &p->collect[a]);
            size_t bytes = (size_t)(p->collect[a].size * n) * sizeof *at;
            memset(at, 0, bytes);
            if (REAL == 64) memset(at + p->collect[a].low, 0, bytes);
        }
}

static void RE(end_group)(plan *p, region whose, ptrdiff_t outer_row, ptrdiff_t n, ptrdiff_t chunk, int of_rows) {
    for (int a = 0; a < N_GRADS; a++)
        if (p->collect[a].mode == SLAB && p->gradient[a].data && (p->constant && a >= SCALE) == of_rows)
            for (ptrdiff_t i = 0; i < n; i++) RE(hand_out)(p, a, whose, outer_row + i, i, chunk);
}

static void RE(fold_accumulators)(plan *p, const collector *c, ptrdiff_t into, ptrdiff_t from) {
    double *to = RE(accumulator)(p, (region){into, 0}, c), *x = RE(accumulator)(p, (region){from, 0}, c);
    for (ptrdiff_t i = 0; i < c->size; i++) {
        RE(accumulate_one)(c->low, to + i, x[i]);
        if (REAL == 64) to[i + c->low] += x[i + c->low];
    }
}

/* After all tasks: the sums that all of them have a part in */
static void RE(hand_out_global)(plan *p) {
    ptrdiff_t tasks = p->blocks * p->chunks;
    for (int a = 0; a < N_GRADS; a++) {
        const collector *c = &p->collect[a];
        if (!p->gradient[a].data || c->mode != GLOBAL) continue;
        if (c->by_column) {
            for (ptrdiff_t chunk = 0; chunk < p->chunks; chunk++) {
                for (ptrdiff_t b = 1; b < p->blocks; b++) RE(fold_accumulators)(p, c, chunk, b * p->chunks + chunk);
                RE(hand_out)(p, a, (region){chunk, 0}, 0, 0, chunk);
            }
        } else {
            for (ptrdiff_t t = 1; t < tasks; t++) RE(fold_accumulators)(p, c, 0, t);
            double *sum = RE(accumulator)(p, (region){0, 0}, c);
            for (int i = 1; c->turns && i < TURNS; i++) {
                RE(accumulate_one)(c->low, sum, sum[i]);
                if (REAL == 64) sum[c->low] += sum[i + c->low];
            }
            RE(hand_out)(p, a, (region){0, 0}, 0, 0, 0);
        }
    }
}

#endif
