/* A task: tile after tile, by the elementwise loop (terms.h) or by sums of squares (plain.h); and what remains after all tasks. Once per type (real.h). */
#ifndef ROWS_H
#define ROWS_H

#include "across.h"
#include "look.h"

/* Is any scale of the tile <= 0? For calls whose outputs lie over their inputs: nothing may be written before that is known */
static void RE(check)(RE(work) *w, ptrdiff_t n) {
    plan *p = w->p;
    I bad = 0;
    RE(gather_all)(w, n);
    if (p->constant) {
        RE(find_scales)(w);
        for (ptrdiff_t r = 0; r < (p->uniform ? 1 : w->tile.rows); r++) bad |= w->scale[r].bad && (p->uniform ? w->counted : RE(row_counts)(w, r));
    }
    if (bad || (!p->constant && RE(has_bad_scale)(w))) __atomic_store_n(&p->bad, 1, __ATOMIC_RELAXED);
}

/* ---- a task, and what remains after all ------------------------------------------------------------------------------------------ */

/* The scales that min_var lifts are those beyond these: a floor that T can hold */
static void RE(limits)(const plan *p, RE(work) *w) {
    T *lowest = &w->lowest, *highest = &w->highest;
    *lowest = -INFINITE, *highest = w->above = INFINITE;
    w->domain = p->kind[0] == LOGVAR || p->kind[0] == LOGSTD ? -INFINITE : (T)0;
    w->lifts = 0;
    if (!(p->min_var > 0)) return;
    const T smallest = RE(real)(1), largest = RE(real)(RE(bits)(INFINITE) - 1);
    double v = p->min_var;
    switch (p->kind[0]) {
        case VAR: *lowest = RE(at_least)((T)v, smallest); break;
        case STD: *lowest = RE(at_least)((T)__builtin_sqrt(v), smallest); break;
        case LOGVAR: *lowest = (T)log_f64(v, 0); break;
        case LOGSTD: *lowest = (T)(0.5 * log_f64(v, 0)); break;
        case PRECISION: *highest = RE(at_least)(RE(at_most)((T)(1 / v), largest), smallest); break;
    }
    w->above = p->kind[0] == PRECISION && p->min_var > 0 && 1 / p->min_var < (double)smallest ? (T)0 : *highest;
    w->lifts = !RE(holds_floor)(p, *lowest, *highest);
}

/* The factor of two gradients that the loop scales alike. A sum is scaled when it is complete, in double, because the mean's 1/N might
 * make its elements subnormal; an element beside a sum waits for `give`. (Constant scales come before the factor: there the order must
 * not depend on what is wanted.) */
static T RE(factor_in_loop)(const plan *p, int a, int b) {
    int sums = 0;
    for (int i = a; i <= b; i++) sums |= p->collect[i].mode != DIRECT && (p->constant || p->gradient[i].data);
    return sums ? (T)1 : (T)p->factor;
}

/* The tile's rows, `most` columns at a time */
static void RE(run_rows)(RE(work) *w, RE(tile) tile, ptrdiff_t last, ptrdiff_t most) {
    do {
        tile.cols = last - tile.col < most ? last - tile.col : most;
        w->tile = tile;
        ptrdiff_t n = tile.rows * tile.cols;
        if (w->p->check_only) {
            RE(check)(w, n);
        } else if (w->p->look) {
            RE(look_again)(w, n);
        } else {
            RE(gather_all)(w, n);
            w->o.term = w->buffer[B_TERM];
            w->o.first = RE(target)(w, RE(wants)(w, FIRST) ? FIRST : SECOND, G_FIRST);
            if (w->p->plain)
                RE(find_scales)(w), RE(evaluate_plain)(w);
            else if (w->p->constant)
                RE(evaluate_terms)(w);
            else
                RE(evaluate)(w);
            RE(give_all)(w, n);
        }
        tile.col += tile.cols;
    } while (tile.col < last);
}

/* Of a task: none holds anything yet */
static void RE(begin_panels)(RE(work) *w, ptrdiff_t col, ptrdiff_t cols, ptrdiff_t stop) {
    const plan *p = w->p;
    ptrdiff_t count = 0;
    w->first_col = col, w->cols = cols, w->stop = stop;
    for (int a = 0; a < N_ARGUMENTS + N_GRADS; a++) count += p->panels >> a & 1;
    T *next = (T *)p->panel + w->region.thread * count * p->panel_size;
    for (int a = 0; a < N_ARGUMENTS + N_GRADS && count; a++) {
        w->panel[a] = (RE(panel)){next, 0, 0};
        if (p->panels >> a & 1) next += p->panel_size;
    }
}

/* Outer rows, at the task's chunk of columns; `run`: rows that are evenly spaced */
static void RE(run_task)(RE(work) *w, ptrdiff_t begin, ptrdiff_t end, ptrdiff_t at_once, ptrdiff_t most, ptrdiff_t run, int slabs, int across) {
    plan *p = w->p;
    const ptrdiff_t col = w->chunk * p->chunk, last = col + p->chunk < p->columns ? col + p->chunk : p->columns;
    ptrdiff_t group = slabs || p->inner > 1 ? p->group : end - begin;
    ptrdiff_t left_until = begin; /* by across.h */
    RE(begin_panels)(w, col, last - col, end);
    for (ptrdiff_t first = begin; first < end; first += group) {
        ptrdiff_t stop = end - first < group ? end : first + group;
        if (slabs) RE(begin_group)(p, w->region, stop - first);
        for (ptrdiff_t i = 0; i < p->inner; i++)
            for (ptrdiff_t row = first; row < stop && !__atomic_load_n(&p->bad, __ATOMIC_RELAXED); row += w->tile.rows) {
                const ptrdiff_t left = run - row % run;
                if (across && row >= left_until) {
                    if (RE(rows_across)(w, row, stop - row, left, most)) continue;
                    left_until = w->stop = row + w->tile.rows;
                }
                const ptrdiff_t rows = smaller((across ? left_until : stop) - row, at_once);
                if (p->argument[WHERE].data) w->counted = 0;
                RE(run_rows)(w, (RE(tile)){row * p->inner + i, smaller(rows, left), col, 0, row - first}, last, most);
            }
        if (slabs && p->chunks == 1) RE(end_group)(p, w->region, first, stop - first, w->chunk, 1);
        if (slabs) RE(end_group)(p, w->region, first, stop - first, w->chunk, 0);
    }
    RE(write_panels)(w);
}

static RE(work) *RE(work_of)(const plan *p, int thread) { return (RE(work) *)p->work + thread; }

/* Tasks [task, last_task) of the wave one after the other, so that what is alike in all is found once */
static void RE(run)(plan *p, ptrdiff_t task, ptrdiff_t last_task, int thread) {
    RE(work) *w = RE(work_of)(p, thread);
    w->p = p;
    w->raw_scale = NULL;
    for (int i = 0; i < N_PARAMETERS; i++) w->parameters.of[i] = (T)p->parameter[i];
    w->o.parameters = &w->parameters;
    w->stored = p->look ? NULL : RE(sum_of_stored)(p);
    w->fused = 0;
    w->spread = 0;
    w->streamed = 0;
    T first_factor = RE(factor_in_loop)(p, FIRST, SECOND);
    w->o.factor = RE(factor_in_loop)(p, SCALE, PRIOR);
    w->o.sign = p->gradient[FIRST].data ? first_factor : -first_factor; /* d/d second = -d/d first */
    w->late[0] = first_factor == (T)p->factor ? (T)1 : (T)p->factor;
    w->late[1] = w->o.factor == (T)p->factor ? (T)1 : (T)p->factor;
    w->scale[0].a = 0;
    w->counted = p->argument[WHERE].data == NULL;
    w->want = (p->gradient[FIRST].data || p->gradient[SECOND].data ? WANT_FIRST : 0)
             | (!p->constant && (p->gradient[SCALE].data || p->gradient[PRIOR].data) ? WANT_SCALE : 0);
    if (p->check_only) w->want = 0;
    w->settled = RE(least_unsettled)(p, w->want);
    w->least = RE(least_settled)(p);
    w->rounds_below = w->stored ? (T)0 : RE(rounds_below)(p);
    w->rounded = 0;
    RE(limits)(p, w);
    if (w->lifts && !p->constant && p->traits->squares) w->floor = scale_of_row(p, VAR, p->min_var, 0, 2 * (EXP_MAX - 1));
    w->special = w->unusual = 0;
    w->out = 0;
    memset(w->apart, 0, sizeof w->apart);
    for (int a = 0; a < N_GRADS && !p->check_only; a++)
        if (p->gradient[a].data) w->doubts[a] = RE(doubt)(p, a);
    if (p->plain && w->late[0] != 1) w->doubts[FIRST] = w->doubts[SECOND] = 1; /* infinite before the factor, by a sum in double that is not */
    for (int a = 0; a < N_GRADS && !p->check_only; a++)
        if (p->gradient[a].data) w->final[a] = RE(are_final)(w, a);
    w->long_integers = 0;
    for (int a = FIRST; a <= SECOND; a++) {
        const int type = p->argument[a].type % SWAPPED;
        w->long_integers |= REAL == 64 && p->argument[a].data && (type == U64 || type == I64);
    }

    ptrdiff_t at_once = p->columns > 0 && p->columns <= TILE / 2 ? TILE / p->columns : 1;
    /* of long rows half a tile where scales come per element: up to five arrays of the caller's pass through the cache beside our own */
    ptrdiff_t most = p->constant || p->columns <= TILE || !w->want ? TILE : TILE / 2;
    if (w->stored || (p->plain && !p->check_only && !p->look && RE(all_flat)(p))) {
        at_once = p->chunks > 1 || p->columns >= FLAT_TILE ? 1 : FLAT_TILE / p->columns > MOST_ROWS ? MOST_ROWS : FLAT_TILE / p->columns;
        most = FLAT_TILE;
    }
    if (p->constant && !p->uniform && at_once > MOST_SCALES) at_once = MOST_SCALES;
    if (p->panels) at_once = smaller(at_once, p->panel_rows > LANES ? p->panel_rows - LANES + 1 : p->panel_rows);
    /* where inner axes are walked for each group, or panels are read, the last of the outer ones alone is evenly spaced; else rows follow one another */
    ptrdiff_t run = p->inner == 1 && !p->panels ? p->rows + 1 : p->outer_dims > 0 ? p->shape[p->outer_dims - 1] : 1;
    int slabs = 0;
    for (int a = 0; a < N_GRADS; a++) slabs |= !p->check_only && p->gradient[a].data && p->collect[a].mode == SLAB;
    const ptrdiff_t chunks = p->now.last_chunk - p->now.chunk;
    const int across = RE(walks_across)(w), together = chunks == 1 && p->inner == 1 && p->reduction == NONE && !p->accumulators && !slabs;
    w->ahead.rows = w->odd_until = 0;
    w->last_row = fe_block_begin(p, p->now.block + last_task / chunks);
    for (ptrdiff_t next; task < last_task; task = next) {
        const ptrdiff_t block = p->now.block + task / chunks;
        next = together ? last_task : task + 1; /* blocks without sums of their own */
        w->chunk = p->now.chunk + task % chunks;
        w->region = (region){block * p->chunks + w->chunk, thread};
        RE(run_task)(w, fe_block_begin(p, block), fe_block_begin(p, block + (together ? next - task : 1)), at_once, most, run, slabs, across);
    }
    if (p->streams) end_streams();
}

/* Rows that were cut into chunks: their partial sums, in order */
static void RE(finish_rows)(plan *p) {
    if (!p->waiting || p->look) return;
    RE(work) *w = RE(work_of)(p, 0);
    const region first = {0, 0};
    kept_partial *so_far = p->kept + p->waiting; /* of the row that the last wave left, and this one may leave */
    const ptrdiff_t of_chunk = p->chunk / LONGEST_CHUNK, begin = p->now.chunk * of_chunk;
    const ptrdiff_t end = p->now.last_chunk < p->chunks ? p->now.last_chunk * of_chunk : p->parts;
    w->p = p;
    w->chunk = 0;
    w->o.sign = 1;
    w->scale[0].a = 0;
    RE(limits)(p, w);
    for (ptrdiff_t row = p->now.row * p->inner; row < p->now.last_row * p->inner; row++) {
        if (row % p->inner == 0) RE(begin_group)(p, first, 1);
        partial x = begin ? so_far->part : p->partials[row * p->parts].part;
        RE(begin_row)(w);
        if (begin) memcpy(w->apart, so_far->apart, sizeof w->apart);
        for (ptrdiff_t c = begin; c < end; c++) {
            const partial *y = &p->partials[row * p->parts + c].part;
            for (int k = 0; y->apart && k < 3; k++) add_sum(&w->apart[k], y->apart[k]);
            if (c == 0) continue;
            add_pair(&x.sum, y->sum);
            add_pair(&x.weight, y->weight);
            x.counted |= y->counted;
        }
        if (end < p->parts) { /* of the only row */
            so_far->part = x;
            memcpy(so_far->apart, w->apart, sizeof w->apart);
            return;
        }
        x.apart = RE(apart_of_row)(w);
        w->tile = (RE(tile)){row, 1, 0, 1, 0};
        if (p->constant) RE(find_scales)(w);
        RE(finish_row)(p, first, row, 0, &w->scale[0], &x);
        if ((row + 1) % p->inner == 0) RE(end_group)(p, first, row / p->inner, 1, 0, 1);
    }
}

static double RE(finish)(plan *p) {
    const ptrdiff_t totals = p->chunks > 1 ? 1 : p->blocks;
    RE(hand_out_global)(p);
    if (p->look) return 0;
    if (p->reduction == NONE) return 0;
    pair usual = {0, 0};
    wide_sum far = {0, 0, 0};
    for (ptrdiff_t t = 0; t < totals; t++) {
        for (int k = 0; k < SUMS_OF_ROWS; k++) add_pair(&usual, p->totals[t].usual[k]);
        add_sum(&far, p->totals[t].far);
    }
    const double divisor = p->reduction == MEAN ? (double)p->rows : 1;
    if (!holds_anything(far)) {
        const double value = value_of(usual) / divisor;
        p->reduced = wide_of(value);
        return value;
    }
    p->reduced = wide_over(wide_plus(wide_of(value_of(usual)), wide_total(far)), wide_of(divisor));
    return double_of(p->reduced);
}

#if REAL == 64 /* once */
static double join_reduced(const plan *nll, const plan *kl, double samples, double beta, double *average) {
    *average = double_of(nll->reduced) / samples;
    const double value = *average + beta * double_of(kl->reduced);
    if (value - value == 0) return value;
    const wide of_nll = wide_over(nll->reduced, wide_of(samples));
    *average = double_of(of_nll);
    return double_of(wide_plus(of_nll, wide_times(wide_of(beta), kl->reduced)));
}
#endif

#endif
