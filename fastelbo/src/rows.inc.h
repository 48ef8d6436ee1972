/* A task: tile after tile, the elementwise loop or the sums of squares; and what remains after all tasks. Once per type (real.h). */

/* ---- by terms of the elements ------------------------------------------------------------------------------------------------------ */

/* The sum of n terms of the tile, from i on; where the scale is constant, in nats only by squares_of */
static inline pair RE(sum_terms)(RE(work) *w, ptrdiff_t i, ptrdiff_t n) {
    return w->fused ? RE(sum_of_squares)(w->squares, i, n, GROUP(w->p)) : RE(sum)(w->o.term, i, n, GROUP(w->p));
}

/* Add the tile's terms to its rows, and finish the rows that end with it */
static void RE(sum_rows)(RE(work) *w) {
    plan *p = w->p;
    const RE(tile) *t = &w->tile;
    T *term = w->o.term;
    ptrdiff_t n = t->rows * t->cols, begin = w->chunk * p->chunk, end = RE(chunk_end)(w);
    if (w->weight)
        for (ptrdiff_t i = 0; i < n; i++) term[i] *= w->weight[i];
    for (ptrdiff_t r = 0; r < t->rows; r++) {
        ptrdiff_t from = r * t->cols;
        partial x = {{0, 0}, {(double)(end - begin), 0}, w->counted};
        if (t->cols == end - begin) {
            x.sum = RE(sum_terms)(w, from, t->cols);
            if (w->weight) x.weight = RE(sum)(w->weight, from, t->cols, GROUP(p));
        } else {
            if (t->col == begin) RE(start)(&w->sum), RE(start)(&w->weight_sum);
            if (w->fused)
                RE(add_of_squares)(&w->sum, w->squares, from, t->cols, GROUP(p));
            else
                RE(add)(&w->sum, term, from, t->cols, GROUP(p));
            if (w->weight) RE(add)(&w->weight_sum, w->weight, from, t->cols, GROUP(p));
            if (t->col + t->cols < end) return;
            x.sum = RE(total)(&w->sum, LANES);
            if (w->weight) x.weight = RE(total)(&w->weight_sum, LANES);
        }
        if (p->constant) x.sum = (pair){squares_of(RE(scale_of)(w, r), value_of(x.sum)), 0};
        RE(end_row)(w, r, &x);
    }
}

/* The tile's terms and gradients, and its rows' sums */
static void RE(evaluate)(RE(work) *w) {
    plan *p = w->p;
    const RE(loop) *loop = p->kind[1] == UNIT ? RE(one_scale)[p->loss][p->kind[0]][w->want]
                                              : RE(two_scales)[p->kind[0]][p->kind[1]][w->want != 0];
    w->o.scale_gradient = RE(target)(w, SCALE, G_SCALE);
    w->o.prior_gradient = RE(target)(w, PRIOR, G_PRIOR);
    /* first in the hope that all scales are ordinary; where inputs might be overwritten that must be known */
    int hope = loop[ORDINARY] && (!p->aliased || (p->kind[1] == UNIT && RE(all_ordinary)[p->kind[0]](w->o.scale, w->o.n)));
    int way = !hope ? ANY : loop[STREAMED] && RE(streams)(w) ? STREAMED : ORDINARY;
    I bad = loop[way](&w->o);
    if (bad && way != ANY) {
        if (way == STREAMED) end_streams();
        way = ANY, bad = loop[ANY](&w->o);
    }
    w->streamed = way == STREAMED;
    if (bad) __atomic_store_n(&p->bad, 1, __ATOMIC_RELAXED);
    RE(sum_rows)(w);
}

/* The same under scales that are constant along the event, where weights, or the KL, ask for terms */
static void RE(evaluate_terms)(RE(work) *w) {
    const plan *p = w->p;
    const RE(factors) f = RE(spread_scales)(w);
    const int per_row = w->tile.rows > 1 && !p->uniform, first = w->want & WANT_FIRST;
    w->fused = p->in_double || (!first && !w->weight && !per_row);
    w->squares = (RE(differences)){w->o.a, w->o.b, *f.a, *f.b};
    if (w->fused) {
        RE(sum_rows)(w); /* now: an input might be overwritten */
        if (first) RE(squares)[per_row][ONLY_FIRST](&w->o, f);
    } else {
        RE(squares)[per_row][first ? TERM_AND_FIRST : ONLY_TERM](&w->o, f);
        RE(sum_rows)(w);
    }
}

/* Is any scale of the tile <= 0? For calls whose outputs lie over their inputs: nothing may be written before that is known */
static void RE(check)(RE(work) *w, ptrdiff_t n) {
    plan *p = w->p;
    I bad = 0;
    RE(gather_all)(w, n);
    if (p->constant) {
        RE(find_scales)(w);
        for (ptrdiff_t r = 0; r < (p->uniform ? 1 : w->tile.rows); r++) bad |= w->scale[r].bad && w->counted;
    }
    for (int k = 0; k < 2 && !p->constant; k++) {
        if (p->kind[k] == UNIT || p->kind[k] == LOGVAR || p->kind[k] == LOGSTD) continue;
        const T *x = k ? w->o.prior : w->o.scale;
        for (ptrdiff_t i = 0; i < n; i++) bad |= x[i] <= 0;
    }
    if (bad) __atomic_store_n(&p->bad, 1, __ATOMIC_RELAXED);
}

/* ---- a task, and what remains after all ------------------------------------------------------------------------------------------ */

static void RE(limits)(const plan *p, T *lowest, T *highest) {
    *lowest = -INFINITE, *highest = INFINITE;
    if (!(p->min_var > 0)) return;
    const T smallest = RE(real)(1), largest = RE(real)(RE(bits)(INFINITE) - 1); /* a floor that T can hold */
    double v = p->min_var;
    switch (p->kind[0]) {
        case VAR: *lowest = RE(at_least)((T)v, smallest); break;
        case STD: *lowest = RE(at_least)((T)__builtin_sqrt(v), smallest); break;
        case LOGVAR: *lowest = (T)log_f64(v, 0); break;
        case LOGSTD: *lowest = (T)(0.5 * log_f64(v, 0)); break;
        case PRECISION: *highest = RE(at_most)((T)(1 / v), largest); break;
    }
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
        } else {
            RE(gather_all)(w, n);
            w->o.term = w->buffer[B_TERM];
            w->o.in_place = w->p->aliased;
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

/* The rows of a block, at its chunk of columns; `run`: rows that are evenly spaced */
static void RE(run_task)(RE(work) *w, ptrdiff_t block, ptrdiff_t at_once, ptrdiff_t most, ptrdiff_t run, int slabs) {
    plan *p = w->p;
    const ptrdiff_t begin = p->outer * block / p->blocks, end = p->outer * (block + 1) / p->blocks;
    const ptrdiff_t col = w->chunk * p->chunk, last = col + p->chunk < p->columns ? col + p->chunk : p->columns;
    ptrdiff_t group = slabs || p->inner > 1 ? p->group : end - begin;
    for (ptrdiff_t first = begin; first < end; first += group) {
        ptrdiff_t stop = end - first < group ? end : first + group;
        if (slabs) RE(begin_group)(p, w->region, stop - first);
        for (ptrdiff_t i = 0; i < p->inner; i++)
            for (ptrdiff_t row = first; row < stop && !__atomic_load_n(&p->bad, __ATOMIC_RELAXED); row += w->tile.rows) {
                ptrdiff_t rows = stop - row < at_once ? stop - row : at_once, left = run - row % run;
                if (p->argument[WHERE].data) w->counted = 0;
                RE(run_rows)(w, (RE(tile)){row * p->inner + i, rows < left ? rows : left, col, 0, row - first}, last, most);
            }
        if (slabs && p->chunks == 1) RE(end_group)(p, w->region, first, stop - first, w->chunk, 1);
        if (slabs) RE(end_group)(p, w->region, first, stop - first, w->chunk, 0);
    }
}

/* Tasks [task, last_task) one after the other, so that what is alike in all is found once */
static void RE(run)(plan *p, ptrdiff_t task, ptrdiff_t last_task) {
    RE(work) w;
    w.p = p;
    w.raw_scale = NULL;
    w.stored = RE(sum_of_stored)(p);
    w.fused = 0;
    w.spread = 0;
    w.streamed = 0;
    T first_factor = RE(factor_in_loop)(p, FIRST, SECOND);
    w.o.factor = RE(factor_in_loop)(p, SCALE, PRIOR);
    w.o.sign = p->gradient[FIRST].data ? first_factor : -first_factor; /* d/d second = -d/d first */
    w.late[0] = first_factor == (T)p->factor ? (T)1 : (T)p->factor;
    w.late[1] = w.o.factor == (T)p->factor ? (T)1 : (T)p->factor;
    w.scale[0].a = 0;
    w.counted = p->argument[WHERE].data == NULL;
    w.want = (p->gradient[FIRST].data || p->gradient[SECOND].data ? WANT_FIRST : 0)
             | (!p->constant && (p->gradient[SCALE].data || p->gradient[PRIOR].data) ? WANT_SCALE : 0);
    if (p->check_only) w.want = 0;
    RE(limits)(p, &w.lowest, &w.highest);

    ptrdiff_t at_once = p->columns > 0 && p->columns <= TILE / 2 ? TILE / p->columns : 1;
    /* of long rows half a tile where scales come per element: up to five arrays of the caller's pass through the cache beside our own */
    ptrdiff_t most = p->constant || p->columns <= TILE || !w.want ? TILE : TILE / 2;
    if (w.stored || (p->plain && !p->check_only && RE(all_flat)(p))) {
        at_once = p->chunks > 1 || p->columns >= FLAT_TILE ? 1 : FLAT_TILE / p->columns > MOST_ROWS ? MOST_ROWS : FLAT_TILE / p->columns;
        most = FLAT_TILE;
    }
    if (p->constant && !p->uniform && at_once > MOST_SCALES) at_once = MOST_SCALES;
    if (p->constant && p->argument[WHERE].data) at_once = 1; /* a scale counts where its row has an element left */
    /* the last of the outer axes alone is evenly spaced */
    ptrdiff_t run = p->outer_dims > 0 ? p->shape[p->outer_dims - 1] : 1;
    int slabs = 0;
    for (int a = 0; a < N_GRADS; a++) slabs |= !p->check_only && p->gradient[a].data && p->collect[a].mode == SLAB;
    for (; task < last_task; task++) {
        w.region = task;
        w.chunk = task % p->chunks;
        RE(run_task)(&w, task / p->chunks, at_once, most, run, slabs);
    }
    if (p->streams) end_streams();
}

/* Rows that were cut into chunks: their partial sums, in order */
static void RE(finish_chunked_rows)(plan *p) {
    RE(work) w;
    ptrdiff_t extra = p->blocks * p->chunks;
    w.p = p;
    w.chunk = 0;
    w.o.sign = 1;
    w.scale[0].a = 0;
    RE(limits)(p, &w.lowest, &w.highest);
    for (ptrdiff_t row = 0; row < p->rows; row++) {
        if (row % p->inner == 0) RE(begin_group)(p, extra, 1);
        partial x = p->partials[row * p->parts];
        for (ptrdiff_t c = 1; c < p->parts; c++) {
            const partial *y = &p->partials[row * p->parts + c];
            add_pair(&x.sum, y->sum);
            add_pair(&x.weight, y->weight);
            x.counted |= y->counted;
        }
        w.tile = (RE(tile)){row, 1, 0, 1, 0};
        if (p->constant) RE(find_scales)(&w);
        RE(finish_row)(p, extra, row, 0, &w.scale[0], &x);
        if ((row + 1) % p->inner == 0) RE(end_group)(p, extra, row / p->inner, 1, 0, 1);
    }
}

static double RE(finish)(plan *p) {
    ptrdiff_t tasks = p->blocks * p->chunks;
    if (p->chunks > 1) RE(finish_chunked_rows)(p);
    RE(hand_out_global)(p);
    if (p->reduction == NONE) return 0;
    pair total = {0, 0};
    for (ptrdiff_t t = 0; t <= tasks; t++) add_pair(&total, p->totals[t]);
    return p->reduction == MEAN ? value_of(total) / (double)p->rows : value_of(total);
}
