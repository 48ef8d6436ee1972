/* The state of a task, and what all its ways share: a tile is gathered, its gradients are handed out, its rows finished. Once per type
 * (real.h). */

/* ---- the state of a task ------------------------------------------------------------------------------------------------- */

#if REAL == 64 /* once */
enum { N_BUFFERS = 12, MOST_SCALES = 64, MOST_ROWS = 512 };
#define STRIP 2048      /* elements: first summed, then read again for their gradients */
#define STORED_COLUMNS 64 /* and more: of shorter rows, too much is left over from vectors */
#define FLAT_TILE 65536 /* elements, where a tile needs no buffer: what ends a tile lets the memory idle */
enum { B_FIRST, B_SECOND, B_SCALE, B_PRIOR, B_WEIGHT, B_RAW, B_TERM, G_FIRST, G_SECOND, G_SCALE, G_PRIOR, B_SLOPE };
#endif

_Static_assert(TILE / 2 <= MOST_ROWS && STRIP % TILE == 0 && LONGEST_CHUNK % TILE == 0 && FLAT_TILE % LONGEST_CHUNK == 0,
               "tiles of rows, and pieces of long rows");

typedef struct {
    plan *p;
    ptrdiff_t chunk, region; /* its chunk of columns, its accumulators */
    RE(tile) tile;
    RE(operands) o;
    const T *weight;    /* of the tile's elements; NULL: all one */
    const T *raw_scale; /* before min_var */
    T lowest, highest;  /* what min_var leaves of the scale */
    T late[2];          /* what the loop leaves of the factor of `first`, of the scales' gradients */
    int want, counted, spread;
    int streamed; /* the tile's gradients are where they belong */
    int fused; /* the terms are not in the buffer: squares has what they are made of */
    RE(differences) squares;
    RE(stored_sum) stored; /* of x and mean where they are; NULL: they are o.a and o.b */
    row_scale scale[MOST_SCALES]; /* of the tile's rows; of all rows, if uniform */
    RE(lanes) sum, weight_sum; /* of the current row */
    pair row_squares, part_squares; /* the same where p->plain: of the parts behind, of the current one */
    double squares_of_row[MOST_ROWS];
    _Alignas(64) T buffer[N_BUFFERS][TILE];
} RE(work);

static int RE(wants)(const RE(work) *w, int a) { return w->p->gradient[a].data != NULL; }

#if REAL == 64 /* once */
#define HALF_LOG_2PI 0x1.d67f1c864beb5p-1
#define GROUP(p) ((p)->loss == KL ? 4 : 8) /* additions a sum may spend on rounding: the KL's bound leaves less than the NLL's */
#endif

/* ---- a finished row -------------------------------------------------------------------------------------------------------- */

/* The gradients of scales that are constant along the event */
static void RE(row_gradients)(plan *p, ptrdiff_t region, ptrdiff_t row, ptrdiff_t slab, const row_scale *s, double weight, double squares) {
    int by = p->kind[1] != UNIT ? PRIOR : SCALE; /* the one that divides the squares */
    for (int a = SCALE; a <= PRIOR; a++) {
        const collector *c = &p->collect[a];
        if (!p->gradient[a].data) continue;
        double g = weight != 0 ? weight * s->gradient[a - SCALE] : 0;
        if (a == by && s->slope != 0) g -= squares * s->slope;
        if (c->mode == DIRECT) {
            T x = (T)(g * p->factor);
            memcpy(p->gradient[a].data + row_offset(p, p->gradient[a].stride, row), &x, sizeof x);
        } else {
            RE(accumulate_one)(p, RE(accumulator)(p, region, c) + (c->turns ? row % TURNS : row_offset(p, c->stride, row) + slab_offset(c, slab)), g);
        }
    }
}

/* a + b: of doubles where T is float, which it is far beyond; unevaluated where T is double */
static inline pair RE(add_up)(double a, double b) {
#if REAL == 32
    return (pair){a + b, 0};
#else
    return two_sum(a, b);
#endif
}

/* x.sum: of the terms, or the squares in nats; x.weight: of the weights (or the number) of the elements */
static inline void RE(finish_row)(plan *p, ptrdiff_t region, ptrdiff_t row, ptrdiff_t slab, const row_scale *s, const partial *x) {
    double w = value_of(x->weight);
    pair loss = x->sum;
    if (p->constant) {
        static const row_scale unit = {.factor = 1};
        if (!x->counted) s = &unit; /* where removed the whole row, and its scale with it */
        double squares = value_of(x->sum), base = w != 0 ? w * s->base : 0;
        loss = squares == INFINITE ? (pair){squares, 0} : RE(add_up)(base, squares); /* log v = -inf: the squares win */
        if (s->bad) __atomic_store_n(&p->bad, 1, __ATOMIC_RELAXED);
        if (p->gradient[SCALE].data || p->gradient[PRIOR].data) RE(row_gradients)(p, region, row, slab, s, w, squares);
    }
    pair total = RE(add_up)(loss.hi, p->full ? HALF_LOG_2PI * w : 0);
    total.lo += loss.lo;
    if (p->reduction != NONE) {
        add_pair(&p->totals[region], total);
    } else {
        T value = (T)(REAL == 64 ? value_of(total) : total.hi);
        memcpy(p->value.data + row_offset(p, p->value.stride, row), &value, sizeof value);
    }
}

/* ---- a tile ---------------------------------------------------------------------------------------------------------------- */

/* The tile of argument a as contiguous T: in place where it can be, else a copy */
static const T *RE(gather)(RE(work) *w, int a, int copy) {
    const plan *p = w->p;
    const view *v = &p->argument[a];
    T *there = copy ? NULL : RE(in_place)(p, v, &w->tile);
    if (there) return there;
    if (!copy && p->single & 1 << a) { /* one element for the whole call: spread out once */
        if (!(w->spread & 1 << a)) RE(pack)(v->type, w->buffer[a], v->data, 0, TILE);
        w->spread |= 1 << a;
    } else {
        RE(copy_in)(p, v, &w->tile, w->buffer[a]);
    }
    return w->buffer[a];
}

/* Elements removed by where become r = 0 with a unit scale and no weight: whatever they held, they touch nothing */
static void RE(select)(RE(work) *w, ptrdiff_t n) {
    const plan *p = w->p;
    T *mask = w->buffer[G_SCALE]; /* free until the loop runs, and after it where scales are constant */
    RE(copy_in)(p, &p->argument[WHERE], &w->tile, mask);
    static const T neutral[N_SCALES] = {[VAR] = 1, [STD] = 1, [PRECISION] = 1};
    T counted = 0;
    for (ptrdiff_t i = 0; i < n; i++) counted = mask[i] != 0 ? (T)1 : counted;
    w->counted |= counted != 0;
    for (int a = FIRST; a <= WEIGHT; a++) {
        if (a != WEIGHT && !p->argument[a].data) continue;
        if (p->constant && (a == SCALE || a == PRIOR)) continue;
        T unused = a == SCALE ? neutral[p->kind[0]] : a == PRIOR ? neutral[p->kind[1]] : 0, *x = w->buffer[a];
        int ones = a == WEIGHT && !p->argument[WEIGHT].data;
        for (ptrdiff_t i = 0; i < n; i++) x[i] = mask[i] != 0 ? (ones ? (T)1 : x[i]) : unused;
    }
    w->weight = w->buffer[B_WEIGHT];
}

/* x x_scale - less, in place of x */
static const T *RE(gather_scaled)(RE(work) *w, int x, const T *less) {
    const plan *p = w->p;
    RE(copy_scaled)(p, &p->argument[x], &w->tile, w->buffer[x], (T)p->x_scale, less);
    return w->buffer[x];
}

static void RE(gather_all)(RE(work) *w, ptrdiff_t n) {
    const plan *p = w->p;
    static const T zeros[TILE];
    int select = p->argument[WHERE].data != NULL, floor = p->min_var > 0, scaled = p->x_scale != 1 ? x_of(p) : -1;
    w->o.n = n;
    w->weight = NULL;
    if (w->stored) return;
    w->o.b = RE(gather)(w, SECOND, select);
    w->o.a = scaled == FIRST ? RE(gather_scaled)(w, FIRST, w->o.b) : RE(gather)(w, FIRST, select);
    if (scaled == FIRST) w->o.b = zeros; /* r is rounded once, so it is formed here */
    if (!p->constant) w->o.scale = scaled == SCALE ? RE(gather_scaled)(w, SCALE, zeros) : RE(gather)(w, SCALE, select || floor);
    if (!p->constant && p->argument[PRIOR].data) w->o.prior = RE(gather)(w, PRIOR, select);
    if (p->argument[WEIGHT].data) w->weight = RE(gather)(w, WEIGHT, select || p->aliased); /* used after outputs are written */
    if (select) RE(select)(w, n);
    if (floor && !p->constant) {
        T *raw = w->buffer[B_RAW], *x = w->buffer[B_SCALE], lowest = w->lowest, highest = w->highest;
        memcpy(raw, x, (size_t)n * sizeof *x);
        for (ptrdiff_t i = 0; i < n; i++) x[i] = RE(at_most)(RE(at_least)(x[i], lowest), highest);
        w->raw_scale = raw;
    }
}

/* The scales of the tile's rows */
static void RE(find_scales)(RE(work) *w) {
    const plan *p = w->p;
    const RE(tile) *t = &w->tile;
    if (t->col > w->chunk * p->chunk || (p->uniform && w->scale[0].a != 0)) return; /* known */
    for (ptrdiff_t r = 0; r < (p->uniform ? 1 : t->rows); r++) {
        row_scale *s = &w->scale[r];
        T raw[2] = {0, 0};
        for (int k = 0; k < 2; k++) {
            const view *v = &p->argument[SCALE + k];
            if (v->data) RE(pack)(v->type, &raw[k], v->data + row_offset(p, v->stride, RE(row_of)(p, t, r)), 0, 1);
        }
        T kept = RE(at_most)(RE(at_least)(raw[0], w->lowest), w->highest);
        *s = scale_of_row(p, kept, raw[1], 2 * (EXP_MAX - 1));
        if (kept != raw[0] && raw[0] == raw[0]) s->gradient[0] = 0, s->slope = p->kind[1] == UNIT ? 0 : s->slope;
    }
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

/* Where the loop may write the gradient of argument a: the output itself, or a buffer */
static T *RE(target)(RE(work) *w, int a, int buffer) {
    const plan *p = w->p;
    T *there = RE(wants)(w, a) && p->collect[a].mode == DIRECT ? RE(in_place)(p, &p->gradient[a], &w->tile) : NULL;
    return there ? there : w->buffer[buffer];
}

static int RE(in_buffer)(const RE(work) *w, const T *x) { return x >= w->buffer[0] && x < w->buffer[N_BUFFERS - 1] + TILE; }

static void RE(give)(RE(work) *w, int a, T *g, ptrdiff_t n) {
    const plan *p = w->p;
    const T *weight = w->weight, late = w->late[a >= SCALE];
    if (late != 1 && p->collect[a].mode == DIRECT) /* as the loop would, so before the weight */
        for (ptrdiff_t i = 0; i < n; i++) g[i] *= late;
    if (p->x_scale != 1 && a == x_of(p) && p->collect[a].mode == DIRECT)
        for (ptrdiff_t i = 0; i < n; i++) g[i] *= (T)p->x_scale;
    if (weight)
        for (ptrdiff_t i = 0; i < n; i++) g[i] *= weight[i];
    if (p->constant && p->argument[WHERE].data) { /* a row's scale, NaN say, must not reach what is removed */
        const T *mask = w->buffer[G_SCALE];
        for (ptrdiff_t i = 0; i < n; i++) g[i] = mask[i] != 0 ? g[i] : (T)0;
    }
    if (w->raw_scale && a == SCALE)
        for (ptrdiff_t i = 0; i < n; i++) g[i] = w->raw_scale[i] < w->lowest || w->raw_scale[i] > w->highest ? (T)0 : g[i];
    if (p->collect[a].mode != DIRECT) {
        RE(accumulate)(p, a, w->region, w->chunk, &w->tile, g);
        return;
    }
    if (RE(in_buffer)(w, g)) RE(copy_out)(p, &p->gradient[a], &w->tile, g);
}

/* Whether the loop may write the tile's gradients past the caches: all that it writes, asked for or not, to the caller's memory */
static int RE(streams)(const RE(work) *w) {
    const plan *p = w->p;
    const int pair = p->kind[1] != UNIT, writes = pair && w->want ? WANT_FIRST | WANT_SCALE : w->want; /* as two_scales has it */
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

static void RE(give_all)(RE(work) *w, ptrdiff_t n) {
    const plan *p = w->p;
    if (w->streamed) return;
    if (w->want & WANT_FIRST) {
        int both = RE(wants)(w, FIRST) && RE(wants)(w, SECOND);
        if (both) {
            T *g = RE(target)(w, SECOND, G_SECOND);
            RE(negate)(g, w->o.first, n);
            RE(give)(w, SECOND, g, n);
        }
        RE(give)(w, RE(wants)(w, FIRST) ? FIRST : SECOND, w->o.first, n);
    }
    if (p->constant) return;
    if (RE(wants)(w, SCALE)) RE(give)(w, SCALE, w->o.scale_gradient, n);
    if (RE(wants)(w, PRIOR)) RE(give)(w, PRIOR, w->o.prior_gradient, n);
}

/* ---- the end of a row --------------------------------------------------------------------------------------------------------- */

static const row_scale *RE(scale_of)(const RE(work) *w, ptrdiff_t r) { return &w->scale[w->p->constant && !w->p->uniform ? r : 0]; }

static ptrdiff_t RE(chunk_end)(const RE(work) *w) {
    ptrdiff_t end = (w->chunk + 1) * w->p->chunk;
    return end < w->p->columns ? end : w->p->columns;
}

/* Row r of the tile is complete, or its chunk of columns is */
static void RE(end_row)(RE(work) *w, ptrdiff_t r, const partial *x) {
    plan *p = w->p;
    const RE(tile) *t = &w->tile;
    if (p->chunks > 1)
        p->partials[RE(row_of)(p, t, r) * p->parts + w->chunk * (p->chunk / LONGEST_CHUNK)] = *x;
    else
        RE(finish_row)(p, w->region, RE(row_of)(p, t, r), t->slab + r, RE(scale_of)(w, r), x);
}
