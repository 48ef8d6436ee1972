/* What becomes of a tile: its gradients are handed out, its rows end. Once per type (real.h). */
#ifndef GIVE_H
#define GIVE_H

#include "gather.h"

/* ---- gradients --------------------------------------------------------------------------------------------------------------- */

/* Where the loop may write the gradient of argument a: the output itself, or a buffer; always that where outputs may lie over inputs, which
 * are read once more if an element has to be mended, and before a panel, which is written as a whole (also over the single element of a tile) */
static T *RE(target)(RE(work) *w, int a, int buffer) {
    const plan *p = w->p;
    const int in_panel = p->panels >> (N_ARGUMENTS + a) & 1;
    T *there = RE(wants)(w, a) && p->collect[a].mode == DIRECT && !p->aliased && !in_panel ? RE(in_place)(p, &p->gradient[a], &w->tile) : NULL;
    return there ? there : w->buffer[buffer];
}

/* The tile's gradients of argument a go to memory */
static void RE(put_out)(RE(work) *w, int a, const T *g) {
    const plan *p = w->p;
    RE(panel) *x = &w->panel[N_ARGUMENTS + a];
    if (!(p->panels >> (N_ARGUMENTS + a) & 1)) {
        RE(copy_out)(p, &p->gradient[a], &w->tile, g);
        return;
    }
    if (!RE(covers)(x, &w->tile)) {
        RE(write_panel)(p, &p->gradient[a], x, w->first_col, w->cols);
        RE(place_panel)(p, x, &w->tile, w->stop - w->tile.row);
    }
    memcpy(RE(in_panel)(x, &w->tile, w->first_col, w->cols), g, (size_t)(w->tile.rows * w->tile.cols) * sizeof *g);
}

/* What is still in panels */
static void RE(write_panels)(RE(work) *w) {
    const plan *p = w->p;
    for (int a = 0; a < N_GRADS; a++)
        if (p->panels >> (N_ARGUMENTS + a) & 1) RE(write_panel)(p, &p->gradient[a], &w->panel[N_ARGUMENTS + a], w->first_col, w->cols);
}

static int RE(in_buffer)(const RE(work) *w, const T *x) { return x >= w->buffer[0] && x < w->buffer[N_BUFFERS - 1] + TILE; }

static int RE(any_beyond)(const T *g, ptrdiff_t n) {
    I any = 0;
    for (ptrdiff_t i = 0; i < n; i++) any |= RE(mask)(RE(is_beyond)(g[i]));
    return any != 0;
}

/* Elements [at, at + n) of the tile's gradients g of argument a, as the loop left them, become what is asked for */
static void RE(finish_gradients)(RE(work) *w, int a, T *g, ptrdiff_t at, ptrdiff_t n) {
    const plan *p = w->p;
    const T *weight = w->weight, late = w->late[a >= SCALE];
    const int direct = p->collect[a].mode == DIRECT;
    unsigned char suspect[TILE];
    const int lost = ODD_MARKS | ODD_DIFFERENCE | ODD_ROUNDED;
    const int look = direct ? w->odd | w->special | w->doubts[a] : (w->odd & lost) | (weight != NULL);
    const int doubtful = look ? RE(suspects)(w, a, g, at, n, suspect) : 0;
    if (late != 1 && direct) /* as the loop would, so before the weight */
        for (ptrdiff_t i = 0; i < n; i++) g[i] *= late;
    if (p->x_scale != 1 && a == x_of(p) && direct)
        for (ptrdiff_t i = 0; i < n; i++) g[i] *= (T)p->x_scale;
    if (weight)
        for (ptrdiff_t i = 0; i < n; i++) g[i] *= weight[i];
    if (p->constant && p->argument[WHERE].data) { /* a row's scale, NaN say, must not reach what is removed */
        const T *mask = w->buffer[G_SCALE];
        for (ptrdiff_t i = 0; i < n; i++) g[i] = mask[i] != 0 ? g[i] : (T)0;
    }
    if (w->raw_scale && a == SCALE)
        for (ptrdiff_t i = 0; i < n; i++) g[i] = RE(is_lifted)(w, w->raw_scale[i]) ? (T)0 : g[i];
    if (doubtful > 1 || (doubtful && RE(any_beyond)(g, n))) RE(mend)(w, a, g, at, n, suspect, doubtful);
}

/* Whether they are that already, but for what is odd in a tile */
static int RE(are_final)(const RE(work) *w, int a) {
    const plan *p = w->p;
    if (p->argument[WEIGHT].data || p->argument[WHERE].data || (p->min_var > 0 && a == SCALE)) return 0;
    return p->collect[a].mode != DIRECT || !(w->doubts[a] || w->late[a >= SCALE] != 1 || (p->x_scale != 1 && a == x_of(p)));
}

static void RE(give)(RE(work) *w, int a, T *g, ptrdiff_t n) {
    const plan *p = w->p;
    const ptrdiff_t left = w->final[a] && !(w->odd | w->special) ? 0 : n;
    for (ptrdiff_t at = 0; at < left; at += TILE) RE(finish_gradients)(w, a, g + at, at, n - at < TILE ? n - at : TILE);
    if (p->collect[a].mode != DIRECT)
        RE(accumulate)(p, a, w->region, w->chunk, &w->tile, g);
    else if (!p->aliased && RE(in_buffer)(w, g))
        RE(put_out)(w, a, g);
}

/* Whether the loop may write the tile's gradients past the caches: all that it writes, asked for or not, to the caller's memory */
static int RE(streams)(const RE(work) *w) {
    const plan *p = w->p;
    const int pair = p->paired, writes = pair && w->want ? WANT_FIRST | WANT_SCALE : w->want; /* as two_scales has it */
    if (!STREAMS || !p->streams || w->o.n < LANES || w->late[0] != 1 || ((writes & WANT_SCALE) && w->late[1] != 1)) return 0;
    const T *const written[] = {writes & WANT_FIRST ? w->o.first : NULL, writes & WANT_SCALE ? w->o.scale_gradient : NULL,
                                pair && (writes & WANT_SCALE) ? w->o.prior_gradient : NULL};
    uintptr_t line = 0, apart = 0;
    for (int k = 0; k < 3; k++) {
        if (!written[k]) continue;
        if (RE(in_buffer)(w, written[k])) return 0;
        apart |= line ? ((uintptr_t)written[k] ^ line) % (LANES * sizeof(T)) : 0;
        line = (uintptr_t)written[k];
    }
    return line && !apart;
}

/* Gradients that may lie over inputs wait until all have been mended */
SELDOM void RE(copy_all_out)(RE(work) *w, T *const *result) {
    const plan *p = w->p;
    for (int a = 0; a < N_GRADS; a++)
        if (result[a] && p->collect[a].mode == DIRECT) RE(put_out)(w, a, result[a]);
}

static void RE(give_all)(RE(work) *w, ptrdiff_t n) {
    const plan *p = w->p;
    T *result[N_GRADS] = {NULL};
    if (w->streamed) return;
    if (w->want & WANT_FIRST) {
        const int a = RE(wants)(w, FIRST) ? FIRST : SECOND;
        if (a == FIRST && RE(wants)(w, SECOND)) {
            result[SECOND] = RE(target)(w, SECOND, G_SECOND);
            RE(negate)(result[SECOND], w->o.first, n);
            RE(give)(w, SECOND, result[SECOND], n);
        }
        RE(give)(w, a, result[a] = w->o.first, n);
    }
    if (!p->constant && RE(wants)(w, SCALE)) RE(give)(w, SCALE, result[SCALE] = w->o.scale_gradient, n);
    if (!p->constant && RE(wants)(w, PRIOR)) RE(give)(w, PRIOR, result[PRIOR] = w->o.prior_gradient, n);
    if (p->aliased) RE(copy_all_out)(w, result);
}

/* ---- the end of a row --------------------------------------------------------------------------------------------------------- */

static const row_scale *RE(scale_of)(const RE(work) *w, ptrdiff_t r) { return &w->scale[w->p->constant && !w->p->uniform ? r : 0]; }

static ptrdiff_t RE(chunk_end)(const RE(work) *w) {
    ptrdiff_t end = (w->chunk + 1) * w->p->chunk;
    return end < w->p->columns ? end : w->p->columns;
}

#if REAL == 64 /* once */
SELDOM void keep_part(kept_partial *to, const partial *x) {
    to->part = *x;
    if (!x->apart) return;
    memcpy(to->apart, x->apart, sizeof to->apart);
    to->part.apart = to->apart;
}
#endif

/* What is apart of the current row; NULL: nothing */
static const wide_sum *RE(apart_of_row)(const RE(work) *w) {
    for (int k = 0; k < 3; k++)
        if (holds_anything(w->apart[k])) return w->apart;
    return NULL;
}

/* Nothing is known yet of a row of several tiles */
static void RE(begin_row)(RE(work) *w) {
    RE(start)(&w->sum), RE(start)(&w->weight_sum);
    memset(w->apart, 0, sizeof w->apart);
    w->out = 0;
}

/* Row r of the tile is complete, or its chunk of columns is */
static void RE(end_row)(RE(work) *w, ptrdiff_t r, const partial *x) {
    plan *p = w->p;
    const RE(tile) *t = &w->tile;
    if (p->sums_only == BY_COLUMN) return;
    if (p->chunks > 1)
        keep_part(&p->partials[RE(row_of)(p, t, r) * p->parts + w->chunk * (p->chunk / LONGEST_CHUNK)], x);
    else
        RE(finish_row)(p, w->region, RE(row_of)(p, t, r), t->slab + r, RE(scale_of)(w, r), x);
}

#endif
