/* A tile by the elementwise loop: terms, their sums, gradients. Once per type (real.h). */
#ifndef TERMS_H
#define TERMS_H

#include "ends.h"

/* The sum of n terms of the tile, from i on; where the scale is constant, in nats only by squares_of */
static inline pair RE(sum_terms)(RE(work) *w, ptrdiff_t i, ptrdiff_t n) {
    return w->fused ? RE(sum_of_squares)(w->squares, i, n, GROUP(w->p)) : RE(sum)(w->o.term, i, n, GROUP(w->p));
}

/* Elements of a whole row whose sum cannot be trusted */
SELDOM void RE(settle_row)(RE(work) *w, ptrdiff_t r, ptrdiff_t i, partial *x) {
    const plan *p = w->p;
    const ptrdiff_t n = w->tile.cols;
    RE(begin_row)(w);
    if (w->weight) {
        RE(take_marked_apart)(w, w->apart, i, n);
    } else if (p->constant && (RE(scale_of)(w, r)->special || (!(x->sum.hi < (double)INFINITE) && RE(all_may_be_numbers)(w, r, i, n)))) {
        x->weight.hi -= RE(take_all_apart)(w, w->apart, i, n);
        x->sum = (pair){0, 0};
    } else if (!p->constant) {
        x->weight.hi -= RE(take_odd_apart)(w, w->apart, i, n, RE(is_small_sum)(w, &x->sum.hi, 1));
        x->sum = RE(sum_terms)(w, i, n);
    }
    x->apart = RE(apart_of_row)(w);
}

/* The terms of a whole row, from i on */
static inline void RE(sum_row)(RE(work) *w, ptrdiff_t r, ptrdiff_t i, int look, partial *x) {
    const plan *p = w->p;
    const ptrdiff_t n = w->tile.cols;
    x->sum = RE(sum_terms)(w, i, n);
    if (w->weight) x->weight = RE(sum)(w->weight, i, n, GROUP(p));
    if (look || !RE(is_settled)(w, x->sum.hi)) RE(settle_row)(w, r, i, x);
}

static inline void RE(add_terms)(RE(work) *w, ptrdiff_t i, ptrdiff_t n) {
    if (w->fused)
        RE(add_of_squares)(&w->sum, w->squares, i, n, GROUP(w->p));
    else
        RE(add)(&w->sum, w->o.term, i, n, GROUP(w->p));
}

/* The same once more from `before` on, where that cannot be trusted */
SELDOM void RE(settle_part)(RE(work) *w, ptrdiff_t r, ptrdiff_t i, const RE(lanes) *before) {
    const ptrdiff_t n = w->tile.cols;
    const int small = RE(is_small_sum)(w, w->sum.hi, LANES);
    w->sum = *before;
    if (w->p->constant && !RE(scale_of)(w, r)->special && !RE(all_may_be_numbers)(w, r, i, n)) {
        RE(add_terms)(w, i, n);
        return;
    }
    w->out += w->p->constant ? RE(take_all_apart)(w, w->apart, i, n) : RE(take_odd_apart)(w, w->apart, i, n, small);
    if (!w->p->constant) RE(add_terms)(w, i, n);
}

/* The terms of a part of a row, from i on, to what there is of it */
INLINE void RE(add_to_row)(RE(work) *w, ptrdiff_t r, ptrdiff_t i) {
    const ptrdiff_t n = w->tile.cols;
    const RE(lanes) before = w->sum;
    RE(add_terms)(w, i, n);
    if (w->weight) {
        RE(add)(&w->weight_sum, w->weight, i, n, GROUP(w->p));
        RE(take_marked_apart)(w, w->apart, i, n);
    } else if (!RE(lanes_are_settled)(w) || (w->special && RE(scale_of)(w, r)->special)) {
        RE(settle_part)(w, r, i, &before);
    }
}

/* The commonest rows: whole, of terms without weights. As finish_row, of which it is a special case to the bit; the number of rows that
 * were done, as the first that is not settled takes the other way. */
static ptrdiff_t RE(sum_usual_rows)(RE(work) *w, ptrdiff_t r) {
    plan *p = w->p;
    const RE(tile) *t = &w->tile;
    const ptrdiff_t first = r, cols = t->cols, stride = p->value.stride[0], most = r + ROWS_TOGETHER, rows = t->rows < most ? t->rows : most;
    const double constants = constants_of(p, (double)cols);
    const int keep = p->reduction == NONE;
    char *value = keep ? p->value.data + t->row * stride : NULL;
    double *totals = w->total_of_row, *lows = w->low_of_row;
    for (; r < rows; r++) {
        const pair loss = RE(sum)(w->o.term, r * cols, cols, GROUP(p));
        if (keep ? !(magnitude_f64(loss.hi) < w->settled) : !(RE(is_settled)(w, loss.hi) && magnitude_f64(loss.hi) < 0x1p899)) break;
        pair total = RE(add_up)(loss.hi, constants);
        total.lo += loss.lo;
        if (keep) {
            const T x = (T)(REAL == 64 ? value_of(total) : total.hi);
            memcpy(value + r * stride, &x, sizeof x);
        } else {
            totals[r - first] = total.hi, lows[r - first] = total.lo;
        }
    }
    grand_total *to = &p->totals[w->region.task];
    if (!keep && p->inner == 1 && r - first >= SUMS_OF_ROWS)
        RE(add_totals)(to, RE(row_of)(p, t, first), totals, lows, r - first);
    else
        for (ptrdiff_t i = first; i < r && !keep; i++)
            add_pair(&to->usual[RE(row_of)(p, t, i) % SUMS_OF_ROWS], (pair){totals[i - first], REAL == 64 ? lows[i - first] : 0});
    return r;
}

/* Add the tile's terms to its rows, and finish the rows that end with it */
static void RE(sum_rows)(RE(work) *w) {
    plan *p = w->p;
    const RE(tile) *t = &w->tile;
    ptrdiff_t n = t->rows * t->cols, begin = w->chunk * p->chunk, end = RE(chunk_end)(w);
    if (w->weight) RE(weigh)(w, n);
    const int look = (w->odd & ODD_MARKS) | w->special;
    const int usual = !w->weight && !p->constant && t->cols == p->columns && (p->reduction == NONE ? p->row_dims == 1 && !p->other_rows : !p->sums_only);
    const int together = RE(end_together)(w);
    for (ptrdiff_t r = 0; r < t->rows; r++) {
        const ptrdiff_t rows = together && r % ROWS_TOGETHER == 0 ? RE(end_many)(w, r) : 0;
        if (rows) {
            r += rows - 1;
            continue;
        }
        if (usual && (r = RE(sum_usual_rows)(w, r)) == t->rows) return;
        partial x;
        x.weight = (pair){(double)(end - begin), 0}, x.apart = NULL, x.counted = p->constant ? RE(row_counts)(w, r) : w->counted;
        if (t->cols == end - begin) {
            RE(sum_row)(w, r, r * t->cols, look, &x);
        } else {
            if (t->col == begin) RE(begin_row)(w);
            RE(add_to_row)(w, r, r * t->cols);
            if (t->col + t->cols < end) return;
            x.sum = RE(total)(&w->sum, LANES);
            x.weight.hi -= w->out;
            if (w->weight) x.weight = RE(total)(&w->weight_sum, LANES);
            x.apart = RE(apart_of_row)(w);
        }
        if (p->constant) x.sum = (pair){squares_of(RE(scale_of)(w, r), value_of(x.sum)), 0};
        RE(end_row)(w, r, &x);
    }
}

/* Whether any scale of the tile is none */
static int RE(has_bad_scale)(const RE(work) *w) {
    const plan *p = w->p;
    I bad = 0;
    for (int k = 0; k < 2; k++) {
        if (p->kind[k] == UNIT || is_log(p->kind[k])) continue;
        const T *x = k ? w->o.prior : w->o.scale;
        for (ptrdiff_t i = 0; i < w->o.n; i++) bad |= x[i] <= 0;
    }
    return bad != 0;
}

static int RE(odd_difference)(const RE(work) *w) {
    I any = 0;
    for (ptrdiff_t i = 0; i < w->o.n; i++) any |= RE(is_subnormal)(w->o.a[i] - w->o.b[i]);
    for (ptrdiff_t i = 0; i < w->o.n && w->p->traits->fades; i++) any |= RE(falls_short)(w, i);
    return any ? ODD_DIFFERENCE : 0;
}

/* Whether all that made the loop for ordinary scales doubt was an r of 0 */
SELDOM int RE(was_ordinary)(const RE(work) *w) {
    const plan *p = w->p;
    if (!(p->traits->two_products >> p->kind[0] & 1) || !(w->want & WANT_FIRST) || RE(odd_difference)(w)) return 0;
    I all = 1;
    for (ptrdiff_t i = 0; i < w->o.n; i++) all &= RE(is_ordinary)(p->kind[0], w->o.scale[i]);
    for (ptrdiff_t i = 0; i < w->o.n && p->traits->takes & TAKES_NUMBER; i++) all &= w->o.prior[i] > 0;
    return all != 0;
}

/* What the loop for any scales would have found, where looking keeps it from being vectorised (LOOKS). What is not wanted is read from
 * `ones`, in which there is nothing to find. */
static I RE(found_in_any)(const RE(work) *w) {
    static const T zeros[TILE], ones[TILE] = {[0 ... TILE - 1] = 1};
    const plan *p = w->p;
    const int first = w->want & WANT_FIRST, scale = w->want & WANT_SCALE, paired = p->paired;
    const T *a = first ? w->o.a : ones, *b = first ? w->o.b : zeros, *q = is_log(p->kind[0]) ? ones : w->o.scale;
    const T *prior = p->kind[1] == UNIT || is_log(p->kind[1]) ? ones : w->o.prior, *of_first = first ? w->o.first : ones;
    const T *of_scale = scale ? w->o.scale_gradient : ones, *of_prior = scale && paired ? w->o.prior_gradient : ones;
    I found = 0;
    for (ptrdiff_t i = 0; i < w->o.n && p->traits->fades; i++) found |= RE(falls_short)(w, i);
    for (ptrdiff_t i = 0; i < w->o.n; i++) {
        const T sum = of_first[i] + of_scale[i] + of_prior[i];
        found |= RE(mask)((q[i] <= 0) | (prior[i] <= 0) | RE(is_small)(a[i] - b[i]) | (sum - sum != 0));
    }
    return found;
}

/* What made the loop for any scales doubt */
SELDOM int RE(what_is_odd)(const RE(work) *w) {
    plan *p = w->p;
    if (RE(has_bad_scale)(w)) __atomic_store_n(&p->bad, 1, __ATOMIC_RELAXED);
    return (w->want & WANT_FIRST || p->traits->fades ? RE(odd_difference)(w) : 0) | (p->factor != 1 ? ODD_SCALE : 0);
}

/* One number for the whole call has one constant, unless where has put others in its place */
static void RE(add_constants_of_numbers)(RE(work) *w) {
    const plan *p = w->p;
    const int same = RE(in_common)(w, PRIOR);
    RE(add_constants)[p->loss](w->o.term, w->o.prior, same, w->o.n);
}

/* A loop over as many parts of the elements, one after the other */
static I RE(in_parts)(const RE(operands) *all, RE(loop) loop, ptrdiff_t parts) {
    if (parts == 1) return loop(all);
    RE(operands) o = *all;
    I found = 0;
    o.n /= parts;
    for (ptrdiff_t i = 0; i < parts; i++) {
        found |= loop(&o);
        o.a += o.n, o.b += o.n, o.scale += o.n, o.term += o.n;
        if (o.prior) o.prior += o.n;
        if (o.x) o.x += o.n;
        if (o.first) o.first += o.n;
        if (o.scale_gradient) o.scale_gradient += o.n;
    }
    return found;
}

/* The tile's terms and gradients, to where the operands say; by the way that is returned. in_rows: they lie row by row */
static int RE(form_terms)(RE(work) *w, int in_rows) {
    plan *p = w->p;
    const RE(loop) *loop = RE(loop_of)(w);
    /* first in the hope that all scales are ordinary */
    int way = !loop[ORDINARY] ? ANY : loop[STREAMED] && RE(streams)(w) ? STREAMED : ORDINARY;
    ptrdiff_t parts = 1;
    const RE(loop) shared = way == ORDINARY ? RE(loop_of_shared)(w, in_rows ? &parts : NULL) : NULL;
    I found = RE(in_parts)(&w->o, shared ? shared : loop[way], parts);
    if (found && way != ANY) {
        if (way == STREAMED) end_streams();
        found = !RE(was_ordinary)(w);
        if (found) way = ANY, found = loop[ANY](&w->o);
    }
    if (!LOOKS && way == ANY && p->traits->forms) found = RE(found_in_any)(w);
    w->odd = (found ? RE(what_is_odd)(w) : 0) | w->rounded;
    if (w->lifts && w->raw_scale) RE(lift)(w), w->odd |= p->factor != 1 ? ODD_SCALE : 0;
    if (p->full && RE(add_constants)[p->loss]) RE(add_constants_of_numbers)(w);
    RE(hide_rounded)(w);
    return way;
}

/* ... and its rows' sums */
static void RE(evaluate)(RE(work) *w) {
    w->o.scale_gradient = RE(target)(w, SCALE, G_SCALE);
    w->o.prior_gradient = RE(target)(w, PRIOR, G_PRIOR);
    const int way = RE(form_terms)(w, 1);
    RE(sum_rows)(w);
    w->streamed = way == STREAMED;
    if (w->odd && w->streamed) { /* read again what is there, to mend it */
        end_streams();
        w->streamed = 0;
    }
}

/* The same under scales that are constant along the event, where weights, or the KL, ask for terms */
static void RE(evaluate_terms)(RE(work) *w) {
    const plan *p = w->p;
    const RE(factors) f = RE(spread_scales)(w);
    const int per_row = w->tile.rows > 1 && !p->uniform, first = w->want & WANT_FIRST, divided = first && p->divided;
    w->fused = p->in_double || (!first && !w->weight && !per_row);
    w->squares = (RE(differences)){w->o.a, w->o.b, *f.a, *f.b};
    w->odd = w->rounded | (divided ? RE(odd_difference)(w) : 0);
    if (divided) w->odd |= ODD_SCALE; /* z slope may leave the range before powers of two bring it back */
    if (w->fused) {
        RE(sum_rows)(w);
        if (first) RE(squares)[per_row][ONLY_FIRST](&w->o, f);
    } else {
        RE(squares)[per_row][first ? TERM_AND_FIRST : ONLY_TERM](&w->o, f);
        RE(hide_rounded)(w);
        RE(sum_rows)(w);
    }
}

#endif
