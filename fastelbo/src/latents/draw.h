/* A task of samples. Once per type (real.h). */
#ifndef LATENTS_DRAW_H
#define LATENTS_DRAW_H

#include "walk.h"

static void RE(mend_samples)(int form, T *z, const T *mean, const T *raw, ptrdiff_t step, const T *eps, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++)
        if ((RE(is_odd)(z[i]) || RE(is_far)(form, raw[i * step], 0)) && mean[i] == mean[i] && eps[i] == eps[i])
            z[i] = (T)careful_sample(form, mean[i], raw[i * step], eps[i]);
}

/* Columns with a scale each; sigma NULL: to be made on the way */
static void RE(sample_scales)(RE(latents_work) *w, ptrdiff_t term, ptrdiff_t ahead, ptrdiff_t n, const double *sigma) {
    const int form = w->s->form;
    const T *raw = RE(columns_of)(w, RAW, 0, ahead, n);
    const T *mean = RE(columns_of)(w, CENTER, term, ahead, n), *eps = RE(columns_of)(w, NOISE, term, ahead, n);
    T *z = RE(room_for)(w, ONE_OUT, term, ahead);
    const RE(runs) run = {z, mean, eps, 0, 0, 0, n, 1};
    if (sigma ? RE(runs_by_sigmas)(&run, sigma) : RE(forms)[form].samples(z, mean, raw, eps, n)) RE(mend_samples)(form, z, mean, raw, 1, eps, n);
    RE(put)(w, ONE_OUT, term, ahead, n);
}

/* Columns that share a scale; sigma is made of it */
static void RE(sample_one_scale)(RE(latents_work) *w, ptrdiff_t term, ptrdiff_t ahead, ptrdiff_t n, const T *raw, const double *sigma) {
    const int form = w->s->form;
    const T *mean = RE(columns_of)(w, CENTER, term, ahead, n), *eps = RE(columns_of)(w, NOISE, term, ahead, n);
    T *z = RE(room_for)(w, ONE_OUT, term, ahead);
    const RE(runs) run = {z, mean, eps, 0, 0, 0, n, 1};
    if (form == STD ? RE(runs_of_std)(&run, raw) : RE(runs_of_sigma)(&run, sigma)) RE(mend_samples)(form, z, mean, raw, 0, eps, n);
    RE(put)(w, ONE_OUT, term, ahead, n);
}

/* Short runs, `count` of them along an axis, that lie where loops need them */
static void RE(sample_runs)(RE(latents_work) *w, int axis, ptrdiff_t first, ptrdiff_t count, ptrdiff_t n, const T *raw, const double *sigma) {
    const sampling *s = w->s;
    const ptrdiff_t size = sizeof(T), *step[3] = {s->operand[ONE_OUT].stride + axis, s->operand[CENTER].stride + axis, s->operand[NOISE].stride + axis};
    RE(runs) r = {(T *)(void *)(w->here[ONE_OUT] + first * *step[0]), (const T *)(const void *)(w->here[CENTER] + first * *step[1]),
                  (const T *)(const void *)(w->here[NOISE] + first * *step[2]), *step[0] / size, *step[1] / size, *step[2] / size, n, count};
    const int each = s->by_column, std = s->form == STD;
    I odd = each ? (std ? RE(runs_by_stds)(&r, raw) : RE(runs_by_sigmas)(&r, sigma)) : std ? RE(runs_of_std)(&r, raw) : RE(runs_of_sigma)(&r, sigma);
    for (ptrdiff_t k = 0; k < count && odd; k++)
        RE(mend_samples)(s->form, r.z + k * r.z_step, r.mean + k * r.mean_step, each ? raw : raw + k, each, r.eps + k * r.eps_step, n);
}

static void RE(sample_columns)(RE(latents_work) *w, latents_place from, latents_place to) {
    const sampling *s = w->s;
    const int prepared = s->terms > 1 && s->form != STD;
    const ptrdiff_t tile = prepared ? smaller(w->tile, WIDE) : w->tile;
    for (ptrdiff_t column = from.column, width; column < to.column; column += width) {
        width = smaller(to.column - column, prepared ? WIDE : SHARE);
        RE(seek)(w, from.row, column);
        for (ptrdiff_t i = 0; i < width && prepared; i += SPAN) {
            const ptrdiff_t n = smaller(width - i, SPAN);
            RE(forms)[s->form].sigmas(w->factor + i, RE(columns_of)(w, RAW, 0, i, n), n);
        }
        if (s->terms > 1 && s->inner <= 1 && width <= SPAN && w->tile > SPAN) {
            RE(sample_runs)(w, s->kept, from.term, to.term - from.term, width, RE(columns_of)(w, RAW, 0, 0, width), w->factor);
            continue;
        }
        for (ptrdiff_t term = from.term; term < to.term; term++)
            for (ptrdiff_t i = 0, n = RE(to_lines)(w, ONE_OUT, column, width); i < width; i += n, n = tile) {
                n = smaller(width - i, n ? n : tile);
                RE(sample_scales)(w, term, i, n, prepared ? w->factor + i : NULL);
            }
    }
}

static void RE(sample_rows)(RE(latents_work) *w, latents_place from, latents_place to) {
    const sampling *s = w->s;
    for (ptrdiff_t row = from.row, rows; row < to.row; row += rows) {
        rows = smaller(to.row - row, SPAN);
        const T *raw = RE(raw_of_rows)(w, row, rows);
        RE(forms)[s->form].sigmas(w->factor, raw, rows);
        if (s->kept == 1 && s->terms == 1 && s->columns <= SPAN && w->tile > SPAN) {
            RE(seek)(w, row, 0);
            RE(sample_runs)(w, 0, 0, rows, s->columns, raw, w->factor);
            continue;
        }
        for (ptrdiff_t r = 0; r < rows; r++) {
            RE(seek)(w, row + r, 0);
            for (ptrdiff_t term = from.term; term < to.term; term++)
                for (ptrdiff_t column = from.column, n = RE(to_lines)(w, ONE_OUT, column, to.column - column); column < to.column; column += n, n = w->tile) {
                    n = smaller(to.column - column, n ? n : w->tile);
                    RE(sample_one_scale)(w, term, column, n, raw + r, w->factor + r);
                }
        }
    }
}

static void RE(sample_task)(RE(latents_work) *w, latents_place from, latents_place to) {
    if (!w->s->by_column) {
        RE(sample_rows)(w, from, to);
        return;
    }
    for (; from.row < to.row; from.row++) RE(sample_columns)(w, from, to);
}

#endif
