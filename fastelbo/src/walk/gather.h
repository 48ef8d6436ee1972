/* A tile of the arguments, and its scales, as the loops want them. Once per type (real.h). */
#ifndef GATHER_H
#define GATHER_H

#include "work.h"

static int RE(pack_of)(const plan *p, int a) { return a == WEIGHT && RE(packs)[WEIGHING][p->argument[a].type] ? WEIGHING : CONVERTED; }

/* The tile of an argument that is read in panels; NULL: it is not */
static const T *RE(read_across)(RE(work) *w, int a) {
    const plan *p = w->p;
    RE(panel) *x = &w->panel[a];
    if (!(p->panels >> a & 1)) return NULL;
    if (!RE(covers)(x, &w->tile)) {
        RE(place_panel)(p, x, &w->tile, w->stop - w->tile.row);
        RE(read_panel)(p, &p->argument[a], RE(pack_of)(p, a), x, w->first_col, w->cols);
    }
    return RE(in_panel)(x, &w->tile, w->first_col, w->cols);
}

/* A copy of the tile of argument a; or each element times factor - less */
static void RE(copy_tile)(RE(work) *w, int a, int scaled, T *dst, const T *less) {
    const plan *p = w->p;
    const T *across = RE(read_across)(w, a);
    const ptrdiff_t n = w->tile.rows * w->tile.cols;
    const T factor = (T)p->x_scale;
    if (!across)
        RE(copy_by)(scaled ? TIMES_FACTOR : RE(pack_of)(p, a), p, &p->argument[a], &w->tile, dst, factor, less);
    else if (scaled)
        for (ptrdiff_t i = 0; i < n; i++) dst[i] = RE(product_minus)(across[i], factor, less[i]);
    else
        memcpy(dst, across, (size_t)n * sizeof *dst);
}

/* The tile of argument a as contiguous T: in place where it can be, else a copy */
static const T *RE(gather)(RE(work) *w, int a, int copy) {
    const plan *p = w->p;
    const view *v = &p->argument[a];
    const T *there = copy ? NULL : RE(in_place)(p, v, &w->tile);
    if (!there && !copy) there = RE(read_across)(w, a);
    if (there) return there;
    const int pack = RE(pack_of)(p, a);
    if (!copy && p->single & 1 << a) { /* one element for the whole call: spread out once */
        if (!(w->spread & 1 << a)) RE(packs)[pack][v->type](w->buffer[a], v->data, 0, TILE, 1, NULL);
        w->spread |= 1 << a;
    } else {
        RE(copy_tile)(w, a, 0, w->buffer[a], NULL);
    }
    return w->buffer[a];
}

/* Elements removed by where become r = 0 with a unit scale and no weight: whatever they held, they touch nothing */
static void RE(select)(RE(work) *w, ptrdiff_t n) {
    const plan *p = w->p;
    T *mask = w->buffer[G_SCALE]; /* free until the loop runs, and after it where scales are constant */
    RE(copy_tile)(w, WHERE, 0, mask, NULL);
    static const T neutral[N_KINDS] = {[VAR] = 1, [STD] = 1, [PRECISION] = 1, [NUMBER] = 1};
    T counted = 0;
    for (ptrdiff_t i = 0; i < n; i++) counted = mask[i] != 0 ? (T)1 : counted;
    w->counted |= counted != 0;
    for (int a = FIRST; a <= WEIGHT; a++) {
        if (a != WEIGHT && !p->argument[a].data) continue;
        if ((a == SCALE || a == PRIOR) && (p->constant || RE(stays)(w, a))) continue;
        T unused = a == SCALE ? neutral[p->kind[0]] : a == PRIOR ? neutral[p->kind[1]] : 0, *x = w->buffer[a];
        int ones = a == WEIGHT && !p->argument[WEIGHT].data;
        for (ptrdiff_t i = 0; i < n; i++) x[i] = mask[i] != 0 ? (ones ? (T)1 : x[i]) : unused;
    }
    for (ptrdiff_t i = 0; i < n && p->traits->takes & TAKES_X; i++) w->buffer[B_X][i] = mask[i] != 0 ? w->buffer[B_X][i] : (T)0;
    for (ptrdiff_t i = 0; i < n && p->traits->takes & TAKES_LOST; i++) w->buffer[B_LOST][i] = mask[i] != 0 ? w->buffer[B_LOST][i] : (T)0;
    w->weight = w->buffer[B_WEIGHT];
}

/* What T rounds of x x_scale - mean counts where that is subnormal or 0, and x x_scale has digits below the smallest number */
static T RE(rounds_below)(const plan *p) {
    if (p->x_scale == 1) return 0;
    const double limit = (REAL == 32 ? 0x1p-78 : 0x1p-916) / magnitude_f64(p->x_scale);
    const int type = p->argument[x_of(p)].type % SWAPPED, may_be_small = type == F64 || type == F32 || type == BF16;
    const double smallest = may_be_small ? 0 : type == F16 ? 0x1p-24 : 1;
    return smallest < limit ? (T)limit : (T)0;
}

/* Elements whose digits are lost so: they are taken apart, and their gradients formed again; not those that are exact */
static void RE(find_rounded)(RE(work) *w, int x, const T *product, const T *less) {
    const plan *p = w->p;
    const view *v = &p->argument[x];
    const T *raw = RE(in_place)(p, v, &w->tile), below = w->rounds_below;
    I any = 0;
    if (!raw) RE(copy_tile)(w, x, 0, w->buffer[B_TERM], NULL), raw = w->buffer[B_TERM]; /* free until the loop runs */
#define ROUNDED(i) ((RE(magnitude)(product[i]) < SMALLEST_NORMAL) & (raw[i] != 0) & (RE(magnitude)(raw[i]) < below))
    for (ptrdiff_t i = 0; i < w->o.n; i++) any |= ROUNDED(i);
    w->rounded = 0;
    const double up = REAL == 32 ? 1 : 0x1p600; /* so that a double has the digits */
    for (ptrdiff_t i = 0; i < w->o.n && any; i++) {
        w->is_rounded[i] = ROUNDED(i) && product_minus_f64(raw[i] * up, (T)p->x_scale, less[i] * up) != product[i] * up;
        w->rounded |= w->is_rounded[i] ? ODD_ROUNDED : 0;
    }
#undef ROUNDED
}

/* x x_scale - less, in place of x */
static const T *RE(gather_scaled)(RE(work) *w, int x, const T *less) {
    RE(copy_tile)(w, x, 1, w->buffer[x], less);
    if (w->rounds_below != 0) RE(find_rounded)(w, x, w->buffer[x], less);
    return w->buffer[x];
}

/* x itself, where a loss takes it: x x_scale is rounded to T */
static const T *RE(gather_x)(RE(work) *w, const T *zeros) {
    const plan *p = w->p;
    RE(copy_tile)(w, FIRST, p->x_scale != 1, w->buffer[B_X], zeros);
    return w->buffer[B_X];
}

/* r and what it is rounded by, of a loss that takes it, from x, a copy, and mean */
static void RE(form_difference)(RE(work) *w, const T *zeros) {
    const T *y = w->o.b, x_scale = (T)w->p->x_scale;
    T *r = w->buffer[FIRST], *lost = w->buffer[B_LOST];
    for (ptrdiff_t i = 0; i < w->o.n; i++) {
        const RE(difference) d = RE(difference_of)(r[i], x_scale, y[i]);
        r[i] = d.r, lost[i] = d.lost;
    }
    if (w->rounds_below != 0) RE(find_rounded)(w, FIRST, r, y);
    w->o.b = zeros, w->o.lost = lost;
}

/* x - mean of integers beyond 2^53, of which a double is only a part: the parts are subtracted, then what they leave. Where they leave
 * nothing the bits are those of the one difference. */
SELDOM void RE(subtract_exactly)(RE(work) *w, int select, ptrdiff_t n) {
#if REAL == 64
    const plan *p = w->p;
    static const T zeros[TILE];
    const T *part[] = {w->o.a, w->o.b}, *rest[] = {zeros, zeros};
    int beyond = 0;
    for (int a = FIRST; a <= SECOND; a++) {
        const int type = p->argument[a].type % SWAPPED;
        if (type != U64 && type != I64) continue;
        for (ptrdiff_t i = 0; i < n; i++) beyond |= RE(magnitude)(part[a][i]) >= 0x1p53;
        if (!beyond) continue;
        RE(copy_by)(REST, p, &p->argument[a], &w->tile, w->buffer[G_FIRST + a], 1, NULL); /* free until the loop runs */
        rest[a] = w->buffer[G_FIRST + a];
    }
    if (!beyond) return;
    T *r = w->buffer[FIRST];
    for (ptrdiff_t i = 0; i < n; i++) {
        pair whole = two_sum(part[0][i], -part[1][i]);
        T left = rest[0][i] - rest[1][i];
        r[i] = left != 0 && whole.hi - whole.hi == 0 ? whole.hi + (whole.lo + left) : whole.hi;
    }
    w->spread &= ~(1 << FIRST);
    w->o.a = r, w->o.b = zeros;
    if (select) w->o.b = memset(w->buffer[SECOND], 0, (size_t)n * sizeof *r);
#else
    (void)w, (void)select, (void)n; /* they are computed in double */
#endif
}

/* Whether min_var lifts a scale */
INLINE I RE(is_lifted)(const RE(work) *w, T raw) { return (raw < w->lowest) | (raw > w->above); }

/* What min_var makes of it; a negative one stays what it is, no scale */
static inline T RE(floored)(T raw, T domain, T lowest, T highest) {
    return raw < domain ? raw : RE(at_most)(RE(at_least)(raw, lowest), highest);
}

static void RE(gather_all)(RE(work) *w, ptrdiff_t n) {
    const plan *p = w->p;
    static const T zeros[TILE];
    int select = p->argument[WHERE].data != NULL, floor = p->min_var > 0, scaled = p->x_scale != 1 ? x_of(p) : -1;
    w->o.n = n;
    w->weight = NULL;
    if (w->stored) return;
    if (p->traits->takes & TAKES_X) w->o.x = RE(gather_x)(w, zeros);
    w->o.b = RE(gather)(w, SECOND, select);
    const int lost = p->traits->takes & TAKES_LOST;
    w->o.a = scaled == FIRST && !lost ? RE(gather_scaled)(w, FIRST, w->o.b) : RE(gather)(w, FIRST, select || lost);
    if (scaled == FIRST && !lost)
        w->o.b = zeros; /* r is rounded once, so it is formed here */
    else if (w->long_integers && scaled != FIRST)
        RE(subtract_exactly)(w, select, n);
    if (lost) RE(form_difference)(w, zeros);
    if (!p->constant) w->o.scale = scaled == SCALE ? RE(gather_scaled)(w, SCALE, zeros) : RE(gather)(w, SCALE, (select && !RE(stays)(w, SCALE)) || floor);
    if (!p->constant && p->argument[PRIOR].data) w->o.prior = RE(gather)(w, PRIOR, select && !RE(stays)(w, PRIOR));
    if (p->argument[WEIGHT].data) w->weight = RE(gather)(w, WEIGHT, select || p->aliased); /* used after outputs are written */
    if (select) RE(select)(w, n);
    if (floor && !p->constant) {
        T *raw = w->buffer[B_RAW], *x = w->buffer[B_SCALE], domain = w->domain, lowest = w->lowest, highest = w->highest;
        memcpy(raw, x, (size_t)n * sizeof *x);
        for (ptrdiff_t i = 0; i < n; i++) x[i] = RE(floored)(x[i], domain, lowest, highest);
        w->raw_scale = raw;
    }
}

/* What min_var makes of a row's scale */
static void RE(lift_row)(const RE(work) *w, row_scale *s, const raw_scales *x, ptrdiff_t i) {
    const plan *p = w->p;
    if (w->lifts) *s = scale_of_row(p, VAR, p->min_var, x->prior[i], 2 * (EXP_MAX - 1));
    s->gradient[0] = 0, s->slope = p->paired ? s->slope : 0;
}

/* The scales of n <= SCALES_AT_ONCE rows from the r-th on */
static void RE(find_some_scales)(RE(work) *w, ptrdiff_t r, ptrdiff_t n) {
    const plan *p = w->p;
    raw_scales x;
    int any_lifted = 0, lifted[SCALES_AT_ONCE];
    for (int i = 0; i < SCALES_AT_ONCE; i++) x.raw[i] = 1, x.prior[i] = 0, lifted[i] = 0;
    for (int k = 0; k < 2; k++) {
        const view *v = &p->argument[SCALE + k];
        double *to = k ? x.prior : x.raw;
        const ptrdiff_t at_once = is_even(p, v) ? n : 1;
        for (ptrdiff_t i = 0; i < n && v->data; i += at_once)
            pack_f64(v->type, to + i, RE(place_of_row)(p, v, RE(row_of)(p, &w->tile, r + i)), stride_of_rows(p, v), at_once);
    }
    for (ptrdiff_t i = 0; i < n && p->min_var > 0; i++) {
        const T raw = (T)x.raw[i];
        any_lifted |= lifted[i] = !(raw < w->domain) && RE(is_lifted)(w, raw);
        if (lifted[i]) x.raw[i] = (double)RE(floored)(raw, w->domain, w->lowest, w->highest);
    }
    scales_by_loop(p, p->kind[0], &x, n);
    if (!any_lifted && n > 1 && usual_scales(p, p->kind[0], &x, n, 2 * (EXP_MAX - 1), w->scale + r)) return;
    for (ptrdiff_t i = 0; i < n; i++) {
        row_scale *s = &w->scale[r + i];
        scale_from(p, p->kind[0], &x, i, 2 * (EXP_MAX - 1), s);
        if (lifted[i]) RE(lift_row)(w, s, &x, i);
        w->special |= s->special;
        w->unusual |= s->special | s->bad | s->limit;
    }
}

/* The scales of the tile's rows */
static void RE(find_scales)(RE(work) *w) {
    const plan *p = w->p;
    const RE(tile) *t = &w->tile;
    if (t->col > w->chunk * p->chunk || (p->uniform && w->scale[0].a != 0)) return; /* known */
    const ptrdiff_t rows = p->uniform ? 1 : t->rows;
    w->special = w->unusual = 0;
    for (ptrdiff_t r = 0; r < rows; r += SCALES_AT_ONCE) RE(find_some_scales)(w, r, rows - r < SCALES_AT_ONCE ? rows - r : SCALES_AT_ONCE);
}

/* Whether where has left anything of row r, of all of its tiles so far, under a scale that is constant along it */
static int RE(row_counts)(const RE(work) *w, ptrdiff_t r) {
    const ptrdiff_t cols = w->tile.cols;
    const T *mask = w->buffer[G_SCALE] + r * cols; /* as `select` left it */
    if (w->tile.rows == 1 || !w->counted || !w->p->argument[WHERE].data) return w->counted;
    for (ptrdiff_t i = 0; i < cols; i++)
        if (mask[i] != 0) return 1;
    return 0;
}

/* Their factors as the loop over terms wants them: of each element, where they differ */
static RE(factors) RE(spread_scales)(RE(work) *w) {
    const plan *p = w->p;
    const RE(tile) *t = &w->tile;
    T *a = w->buffer[B_SCALE], *b = w->buffer[B_PRIOR], *slope = w->buffer[B_SLOPE];
    RE(factors) f = {a, b, slope};
    RE(find_scales)(w);
    ptrdiff_t rows = p->uniform ? 1 : t->rows, n = rows > 1 ? t->cols : 1;
    for (const row_scale *s = w->scale; s < w->scale + rows; s++)
        for (ptrdiff_t i = 0; i < n; i++) *a++ = (T)s->a, *b++ = (T)s->b, *slope++ = w->o.sign * (T)s->first_slope;
    return f;
}

#endif
