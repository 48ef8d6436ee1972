/* A task of gradients, and the sums of the parts that tasks have left. Once per type (real.h). */
#ifndef LATENTS_BACK_H
#define LATENTS_BACK_H

#include "walk.h"

static int RE(wants_sum)(const sampling *s, int which) { return s->operand[ONE_OUT + which].data != NULL; }

/* As the loops are not sure of them; one that is no double stays infinite, and its sum is looked at */
static void RE(mend_terms)(int form, double *y, const T *g, const T *raw, ptrdiff_t step, const T *eps, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++)
        if (RE(is_doubtful)(g[i], eps[i], y[i]) && g[i] == g[i] && eps[i] == eps[i])
            y[i] = double_of(careful_term(form, g[i], eps[i], raw[i * step]));
}

static T RE(one_at)(const sampling *s, int a, latents_place at) {
    T x;
    RE(pack)(s->operand[a].type, &x, address(s, &s->operand[a], at), 0, 1);
    return x;
}

/* A sum once more, as a wide number: it overflowed, or holds what is no number */
SELDOM double RE(careful_sum)(const sampling *s, int which, latents_place at) {
    wide_sum sum = {0, 0, 0};
    const ptrdiff_t begin = s->by_column ? at.column : 0, end = s->by_column ? begin + 1 : s->columns;
    const T raw = which ? RE(one_at)(s, RAW, at) : 0;
    for (at.term = 0; at.term < s->terms; at.term++)
        for (at.column = begin; at.column < end; at.column++) {
            const T g = RE(one_at)(s, CENTER, at);
            add_wide(&sum, which ? careful_term(s->form, g, RE(one_at)(s, NOISE, at), raw) : wide_of(g));
            if (sum.hi != sum.hi) return sum.hi;
        }
    return double_of(wide_total(sum));
}

static void RE(put_sum)(const sampling *s, int which, latents_place at, pair sum) {
    double x = value_of(sum);
    if (!(magnitude_f64(x) < (double)INFINITE)) x = RE(careful_sum)(s, which, at);
    const T rounded = (T)x;
    memcpy(address(s, &s->operand[ONE_OUT + which], at), &rounded, sizeof rounded);
}

/* Nothing is summed */
static void RE(back_directly)(RE(latents_work) *w, ptrdiff_t ahead, ptrdiff_t n) {
    const sampling *s = w->s;
    const RE(of_form) *form = &RE(forms)[s->form];
    const T *g = RE(columns_of)(w, CENTER, 0, ahead, n);
    T *d_mean = RE(wants_sum)(s, 0) ? RE(room_for)(w, ONE_OUT, 0, ahead) : NULL;
    if (RE(wants_sum)(s, 1)) {
        const T *raw = RE(columns_of)(w, RAW, 0, ahead, n), *eps = RE(columns_of)(w, NOISE, 0, ahead, n);
        T *y = RE(room_for)(w, SCALE_OUT, 0, ahead);
        const I odd = form->slopes(y, d_mean ? d_mean : w->buffer[ONE_OUT], g, raw, eps, n);
        for (ptrdiff_t i = 0, m; i < n && odd; i += m) {
            m = smaller(n - i, SPAN);
            form->factors(w->factor, raw + i, m);
            RE(terms_by)(w->term, g + i, w->factor, eps + i, m);
            RE(mend_terms)(s->form, w->term, g + i, raw + i, 1, eps + i, m);
            for (ptrdiff_t j = 0; j < m; j++) y[i + j] = (T)w->term[j];
        }
    } else if (d_mean) {
        memcpy(d_mean, g, (size_t)n * sizeof(T));
    }
    for (int which = 0; which < 2; which++) /* last, as they may lie over what was read */
        if (RE(wants_sum)(s, which)) RE(put)(w, ONE_OUT + which, 0, ahead, n);
}

/* Sums of n columns, whole ones or those of a part */
static void RE(give_columns)(RE(latents_work) *w, ptrdiff_t part, latents_place at, ptrdiff_t ahead, ptrdiff_t n, int which, const double *hi,
                             const double *lo) {
    const sampling *s = w->s;
    if (s->parts > 1) {
        latents_sum *place = &s->waiting[part * fe_sampling_results(s) + at.row * s->columns + at.column];
        for (ptrdiff_t i = 0; i < n; i++) place[i].hi[which] = hi[i], place[i].lo[which] = REAL == 64 ? lo[i] : 0;
        return;
    }
    const ptrdiff_t column = at.column;
    T *y = RE(room_for)(w, ONE_OUT + which, 0, ahead);
    if (RE(round_sums)(y, hi, lo, n))
        for (ptrdiff_t i = 0; i < n; i++) {
            at.column = column + i;
            if (!(magnitude_f64(hi[i]) < (double)INFINITE)) y[i] = (T)RE(careful_sum)(s, which, at);
        }
    RE(put)(w, ONE_OUT + which, 0, ahead, n);
}

/* One term of the scale's gradient, some of whose elements are doubtful */
SELDOM void RE(add_mended)(RE(latents_work) *w, RE(sums) *to, const RE(sums) *from, const T *g, const T *raw, const T *eps, ptrdiff_t n) {
    RE(terms_by)(w->term, g, w->factor, eps, n);
    RE(mend_terms)(w->s->form, w->term, g, raw, 1, eps, n);
    memcpy(to[1].hi, from[1].hi, (size_t)n * sizeof(double));
    memcpy(to[1].lo, from[1].lo, (size_t)n * sizeof(double));
    RE(add_terms)(to[1].hi, to[1].lo, w->term, n);
}

/* Sums of n columns over their terms */
static void RE(back_columns)(RE(latents_work) *w, ptrdiff_t part, latents_place at, ptrdiff_t ahead, ptrdiff_t n) {
    const sampling *s = w->s;
    const ptrdiff_t begin = s->terms * part / s->parts, end = s->terms * (part + 1) / s->parts;
    const int mean = RE(wants_sum)(s, 0), scale = RE(wants_sum)(s, 1);
    const int most = w->direct[CENTER] && (!scale || w->direct[NOISE]) ? TOGETHER : 1;
    const T *raw = scale ? RE(columns_of)(w, RAW, 0, ahead, n) : NULL, *g[TOGETHER], *eps[TOGETHER] = {NULL};
    if (scale) RE(forms)[s->form].factors(w->factor, raw, n);
    int now = 0;
    RE(sums) sums[2][2];
    for (int i = 0; i < 4; i++) sums[i / 2][i % 2] = (RE(sums)){w->hi[i / 2][i % 2], w->lo[i / 2][i % 2]};
    for (int which = 0; which < 2; which++) {
        memset(sums[0][which].hi, 0, (size_t)n * sizeof(double));
        memset(sums[0][which].lo, 0, (size_t)n * sizeof(double));
    }
    int only = 0; /* so many terms one by one */
    for (ptrdiff_t term = begin; term < end;) {
        const int count = end - term >= most && !only ? most : 1;
        for (int k = 0; k < count; k++) {
            g[k] = RE(columns_of)(w, CENTER, term + k, ahead, n);
            if (scale) eps[k] = RE(columns_of)(w, NOISE, term + k, ahead, n);
        }
        I odd = mean && scale ? RE(add_to_both)(count, sums[!now], sums[now], g, eps, w->factor, n)
                : mean        ? RE(add_to_mean)(count, sums[!now], sums[now], g, eps, w->factor, n)
                              : RE(add_to_scale)(count, sums[!now], sums[now], g, eps, w->factor, n);
        if (odd && count > 1) {
            only = count;
            continue;
        }
        if (odd) RE(add_mended)(w, sums[!now], sums[now], g[0], raw, eps[0], n);
        now = !now, term += count, only -= only > 0;
    }
    if (mean) RE(give_columns)(w, part, at, ahead, n, 0, sums[now][0].hi, sums[now][0].lo);
    if (scale) RE(give_columns)(w, part, at, ahead, n, 1, sums[now][1].hi, sums[now][1].lo);
}

/* The sum of a place over all its terms and columns */
static void RE(back_row)(RE(latents_work) *w, ptrdiff_t part, ptrdiff_t row, const T *raw, double factor) {
    const sampling *s = w->s;
    const ptrdiff_t length = s->terms * s->columns, tiles = (length + SPAN - 1) / SPAN;
    const ptrdiff_t begin = tiles * part / s->parts * SPAN, end = smaller(length, tiles * (part + 1) / s->parts * SPAN);
    for (int which = 0; which < 2; which++) {
        if (!RE(wants_sum)(s, which)) continue;
        double hi[SUM_LANES] = {0}, lo[SUM_LANES] = {0};
        for (ptrdiff_t from = begin; from < end; from += SPAN) {
            const ptrdiff_t n = smaller(end - from, SPAN);
            const T *g = RE(terms_at)(w, CENTER, row, from, n), *eps = which ? RE(terms_at)(w, NOISE, row, from, n) : NULL;
            if (!which)
                RE(as_doubles)(w->term, g, n);
            else if (RE(terms_by_one)(w->term, g, factor, eps, n))
                RE(mend_terms)(s->form, w->term, g, raw, 0, eps, n);
            RE(add_all)(hi, lo, w->term, n);
        }
        const pair sum = RE(sum_of_lanes)(hi, lo);
        if (s->parts == 1) {
            RE(put_sum)(s, which, (latents_place){row, 0, 0}, sum);
            continue;
        }
        latents_sum *place = &s->waiting[part * s->rows + row];
        place->hi[which] = sum.hi, place->lo[which] = sum.lo;
    }
}

static void RE(back_task)(RE(latents_work) *w, ptrdiff_t part, latents_place from, latents_place to) {
    const sampling *s = w->s;
    for (ptrdiff_t row = from.row; row < to.row; row++) {
        RE(seek)(w, row, from.column);
        const ptrdiff_t width = s->by_column ? to.column - from.column : 0, tile = s->terms == 1 ? w->tile : SPAN;
        for (ptrdiff_t i = 0, n = RE(to_lines)(w, CENTER, from.column, width); i < width; i += n, n = tile) {
            n = smaller(width - i, n ? n : tile);
            if (s->terms == 1)
                RE(back_directly)(w, i, n);
            else
                RE(back_columns)(w, part, (latents_place){row, 0, from.column + i}, i, n);
        }
        if (s->by_column) continue;
        const ptrdiff_t r = (row - from.row) % SPAN, rows = smaller(to.row - row, SPAN);
        if (r == 0 && RE(wants_sum)(s, 1)) RE(forms)[s->form].factors(w->factor, RE(raw_of_rows)(w, row, rows), rows);
        RE(back_row)(w, part, row, w->buffer[RAW] + r, w->factor[r]);
    }
}

/* The parts of each sum, in order */
static void RE(finish_sums)(const sampling *s) {
    const ptrdiff_t results = fe_sampling_results(s);
    for (ptrdiff_t i = 0; i < results; i++)
        for (int which = 0; which < 2; which++) {
            if (!RE(wants_sum)(s, which)) continue;
            pair sum = {0, 0};
            for (ptrdiff_t part = 0; part < s->parts; part++) {
                const latents_sum *x = &s->waiting[part * results + i];
                add_pair(&sum, (pair){x->hi[which], x->lo[which]});
            }
            const latents_place at = {s->by_column ? i / s->columns : i, 0, s->by_column ? i % s->columns : 0};
            RE(put_sum)(s, which, at, sum);
        }
}

#endif
