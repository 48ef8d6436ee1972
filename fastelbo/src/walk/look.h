/* A second look at sums of gradients that came out as 0, nearly 0, infinite or NaN: are they that by right? Once per type (real.h).
 *
 * What is added up is not kept, so all tiles are gone through once more, with a verdict in the place of each gradient: 0, if it is a number
 * with all its digits; WRONG, if it has left the range of T, or lost digits below it; BY_RIGHT, if it is infinite or NaN as its arguments
 * are. The verdicts go into the accumulators that the gradients went into. Only a sum with something WRONG in it, and nothing that is
 * infinite by right, is then formed again, element by element (careful_sum). This takes up to four times as long as the call did, for the
 * calls whose sums ask for it: data with a NaN, pixels that are always 0, a KL of 0. */
#ifndef LOOK_H
#define LOOK_H

#include "mend.h"

#undef WRONG
#undef TOO_LARGE
#define WRONG ((T)1)
#define TOO_LARGE (REAL == 32 ? INFINITE : RE(pow2)(960)) /* sums of doubles below it are numbers */

INLINE I RE(is_within)(T x) { return (RE(magnitude)(x) >= SMALLEST_NORMAL) & (RE(magnitude)(x) < TOO_LARGE); }

/* Also of a weight in double that T has no number for */
static int RE(weight_is_number)(const RE(work) *w, ptrdiff_t i) {
    if (!w->weight || w->weight[i] * 0 == 0) return 1;
    return element_of(w->p, WEIGHT, RE(row_at)(w, i), RE(col_at)(w, i), 1) * 0 == 0;
}

static T RE(verdict)(const RE(work) *w, int a, ptrdiff_t i, T g) {
    const T weight = w->weight ? w->weight[i] : (T)1;
    if (weight == 0) return 0;
    if (!(RE(magnitude)(g) < TOO_LARGE && RE(magnitude)(g * weight) < TOO_LARGE))
        return RE(may_be_finite)(w, i) && RE(weight_is_number)(w, i) ? WRONG : BY_RIGHT;
    const int by_right = RE(magnitude)(g) < SMALLEST_NORMAL && RE(is_small_by_right)(w, a, i, g);
    return by_right && RE(magnitude)(weight) >= SMALLEST_NORMAL ? (T)0 : WRONG;
}

/* A subnormal weight may stand for a double that T would round to 0 */
INLINE I RE(is_sound)(T g, T weight) {
    return RE(is_within)(g * weight) & (RE(magnitude)(weight) >= SMALLEST_NORMAL);
}

/* Of n gradients of the tile; whether any is not 0 */
static int RE(verdicts)(const RE(work) *w, int a, const T *g, ptrdiff_t n, T *verdict) {
    const T *weight = w->weight;
    I all = 1;
    int any = 0;
    for (ptrdiff_t i = 0; i < n; i++) all &= RE(is_within)(g[i]);
    for (ptrdiff_t i = 0; i < n && weight; i++) all &= RE(is_sound)(g[i], weight[i]);
    for (ptrdiff_t i = 0; i < n && !all; i++) {
        const int sound = RE(is_within)(g[i]) && (!weight || RE(is_sound)(g[i], weight[i]));
        verdict[i] = sound ? (T)0 : RE(verdict)(w, a, i, g[i]);
        any |= verdict[i] != 0;
    }
    return any;
}

/* A scale that is constant along the event has one gradient a row; they are doubles, which lose nothing unless they are infinite */
static void RE(look_at_rows)(RE(work) *w, int a) {
    const plan *p = w->p;
    const RE(tile) *t = &w->tile;
    const collector *c = &p->collect[a];
    double *at = RE(accumulator)(p, w->region, c);
    for (ptrdiff_t r = 0; r < t->rows; r++) {
        if (!RE(row_counts)(w, r)) continue;
        const ptrdiff_t row = RE(row_of)(p, t, r);
        int by_right = RE(scale_of)(w, r)->limit;
        for (ptrdiff_t i = r * t->cols; i < (r + 1) * t->cols && !by_right; i++)
            by_right = !(w->weight && w->weight[i] == 0) && !(RE(may_be_numbers)(w, i) && RE(weight_is_number)(w, i));
        at[c->turns ? row % TURNS : row_offset(p, c->stride, row) + slab_offset(c, t->slab + r)] += by_right ? BY_RIGHT : WRONG;
    }
}

/* The gradients of the tile, as if they were wanted in buffers */
static void RE(look_again)(RE(work) *w, ptrdiff_t n) {
    plan *p = w->p;
    RE(gather_all)(w, n);
    w->odd = w->rounded;
    w->o.term = w->buffer[B_TERM], w->o.first = w->buffer[G_FIRST];
    w->o.scale_gradient = w->buffer[G_SCALE], w->o.prior_gradient = w->buffer[G_PRIOR];
    if (p->constant) {
        const RE(factors) f = RE(spread_scales)(w);
        if (w->want & WANT_FIRST) RE(squares)[w->tile.rows > 1 && !p->uniform][ONLY_FIRST](&w->o, f);
    } else {
        RE(loop_of)(w)[ANY](&w->o);
        if (w->lifts && w->raw_scale) RE(lift)(w);
    }
    const T *gradient[N_GRADS] = {w->o.first, w->o.first, w->o.scale_gradient, w->o.prior_gradient};
    T *verdict = w->buffer[B_TERM];
    for (int a = 0; a < N_GRADS; a++) {
        if (!RE(wants)(w, a) || p->collect[a].mode == DIRECT) continue;
        if (p->constant && a >= SCALE) {
            RE(look_at_rows)(w, a);
            continue;
        }
        if (RE(verdicts)(w, a, gradient[a], n, verdict)) RE(accumulate)(p, a, w->region, w->chunk, &w->tile, verdict);
    }
}

#endif
