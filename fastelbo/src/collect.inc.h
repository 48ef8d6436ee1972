/* Gradients of broadcast arguments: sums over what the argument was broadcast over, in double, in an order that depends on shapes
 * alone. A task has accumulators of its own (a region); they are added up in the order of the tasks. Once per type (real.h). */

static double *RE(accumulator)(const plan *p, ptrdiff_t region, const collector *c) {
    return p->accumulator + region * p->accumulators * (REAL / 32) + c->offset;
}

static inline void RE(accumulate_one)(const plan *p, double *at, double x) {
#if REAL == 32
    (void)p;
    *at += x;
#else
    pair s = two_sum(*at, x);
    *at = s.hi;
    at[p->accumulators] += s.lo;
#endif
}

/* A row's gradients of one scale for all, of `rows` rows from `row` on */
static inline void RE(accumulate_rows)(const plan *p, double *at, ptrdiff_t row, const double *squares, double slope, double base, ptrdiff_t rows) {
    double hi[TURNS], lo[TURNS] = {0};
    for (int i = 0; i < TURNS; i++) {
        hi[i] = at[(row + i) % TURNS];
        if (REAL == 64) lo[i] = at[p->accumulators + (row + i) % TURNS];
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
        if (REAL == 64) at[p->accumulators + (row + i) % TURNS] = lo[i];
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

/* Add a tile's gradients g of argument a */
static void RE(accumulate)(const plan *p, int a, ptrdiff_t region, ptrdiff_t chunk, const RE(tile) *t, const T *g) {
    const collector *c = &p->collect[a];
    double *base = RE(accumulator)(p, region, c);
    ptrdiff_t shift = c->by_column ? chunk * p->chunk : 0;
    for (ptrdiff_t r = 0; r < t->rows; r++) {
        double *row = base + row_offset(p, c->stride, RE(row_of)(p, t, r)) + slab_offset(c, t->slab + r) - shift;
        for (ptrdiff_t done = 0; done < t->cols;) {
            run x = collected_run(p, c->stride, t->col + done, t->cols - done);
            double *at = row + x.offset;
            if (x.stride == 0 && x.length > 1) {
                pair sum = RE(sum)(g, 0, x.length, 1);
                RE(accumulate_one)(p, at, sum.hi);
                if (REAL == 64) at[p->accumulators] += sum.lo;
            } else {
#if REAL == 32
                for (ptrdiff_t i = 0; i < x.length; i++) at[i] += (double)g[i];
#else
                double *low = at + p->accumulators;
                for (ptrdiff_t i = 0; i < x.length; i++) {
                    pair s = two_sum(at[i], g[i]);
                    at[i] = s.hi;
                    low[i] += s.lo;
                }
#endif
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

/* Move what `region` has collected for argument a to the output: after a group, of each outer row, the slab-th (SLAB), or at the end
 * (GLOBAL) */
static void RE(hand_out)(plan *p, int a, ptrdiff_t region, ptrdiff_t outer_row, ptrdiff_t slab, ptrdiff_t chunk) {
    const collector *c = &p->collect[a];
    const view *out = &p->gradient[a];
    const double *from = RE(accumulator)(p, region, c) + slab_offset(c, slab);
    ptrdiff_t col = c->by_column ? chunk * p->chunk : 0;
    ptrdiff_t cols = c->by_column && p->columns - col < c->event_size ? p->columns - col : c->event_size;
    int first_dim = c->mode == SLAB ? p->outer_dims : 0;
    char *base = out->data + (c->mode == SLAB ? offset_of(p, out->stride, 0, first_dim, outer_row) : 0);
    ptrdiff_t rows = c->turns ? 1 : c->event_size ? c->size / c->event_size : 0;
    for (ptrdiff_t r = 0; r < rows; r++) {
        char *row = base + kept_offset(p, c, out->stride, first_dim, p->row_dims, r);
        for (ptrdiff_t j = 0; j < cols; j++) {
            double sum = from[r * c->event_size + j];
            if (REAL == 64) sum = value_of((pair){sum, from[r * c->event_size + j + p->accumulators]});
            T x = (T)(sum * (a == x_of(p) ? p->factor * p->x_scale : p->factor));
            memcpy(row + kept_offset(p, c, out->stride, p->row_dims, p->dims, col + j), &x, sizeof x);
        }
    }
}

/* Of n outer rows */
static void RE(begin_group)(plan *p, ptrdiff_t region, ptrdiff_t n) {
    for (int a = 0; a < N_GRADS; a++)
        if (p->collect[a].mode == SLAB && p->gradient[a].data) {
            double *at = RE(accumulator)(p, region, &p->collect[a]);
            size_t bytes = (size_t)(p->collect[a].size * n) * sizeof *at;
            memset(at, 0, bytes);
            if (REAL == 64) memset(at + p->accumulators, 0, bytes);
        }
}

static void RE(end_group)(plan *p, ptrdiff_t region, ptrdiff_t outer_row, ptrdiff_t n, ptrdiff_t chunk, int of_rows) {
    for (int a = 0; a < N_GRADS; a++)
        if (p->collect[a].mode == SLAB && p->gradient[a].data && (p->constant && a >= SCALE) == of_rows)
            for (ptrdiff_t i = 0; i < n; i++) RE(hand_out)(p, a, region, outer_row + i, i, chunk);
}

static void RE(fold_accumulators)(plan *p, const collector *c, ptrdiff_t into, ptrdiff_t from) {
    double *to = RE(accumulator)(p, into, c), *x = RE(accumulator)(p, from, c);
    for (ptrdiff_t i = 0; i < c->size; i++) {
        RE(accumulate_one)(p, to + i, x[i]);
        if (REAL == 64) to[i + p->accumulators] += x[i + p->accumulators];
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
                RE(hand_out)(p, a, chunk, 0, 0, chunk);
            }
        } else {
            for (ptrdiff_t t = 1; t <= tasks; t++) RE(fold_accumulators)(p, c, 0, t);
            double *sum = RE(accumulator)(p, 0, c);
            for (int i = 1; c->turns && i < TURNS; i++) {
                RE(accumulate_one)(p, sum, sum[i]);
                if (REAL == 64) sum[p->accumulators] += sum[i + p->accumulators];
            }
            RE(hand_out)(p, a, 0, 0, 0, 0);
        }
    }
}
