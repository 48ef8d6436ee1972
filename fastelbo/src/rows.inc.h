/* A task: gather a tile, run the elementwise loop over it, add up its rows, hand out its gradients. Once per type (real.h). */

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
        double squares = value_of(x->sum), base = w != 0 ? w * s->base : 0;
        loss = squares == INFINITE ? (pair){squares, 0} : RE(add_up)(base, squares); /* log v = -inf: the squares win */
        if (s->bad && x->counted) __atomic_store_n(&p->bad, 1, __ATOMIC_RELAXED);
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
    T *mask = w->buffer[G_SCALE]; /* free until the loop runs */
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

static void RE(give)(RE(work) *w, int a, T *g, ptrdiff_t n) {
    const plan *p = w->p;
    const T *weight = w->weight, late = w->late[a >= SCALE];
    if (late != 1 && p->collect[a].mode == DIRECT) /* as the loop would, so before the weight */
        for (ptrdiff_t i = 0; i < n; i++) g[i] *= late;
    if (p->x_scale != 1 && a == x_of(p) && p->collect[a].mode == DIRECT)
        for (ptrdiff_t i = 0; i < n; i++) g[i] *= (T)p->x_scale;
    if (weight)
        for (ptrdiff_t i = 0; i < n; i++) g[i] *= weight[i];
    if (w->raw_scale && a == SCALE)
        for (ptrdiff_t i = 0; i < n; i++) g[i] = w->raw_scale[i] < w->lowest || w->raw_scale[i] > w->highest ? (T)0 : g[i];
    if (p->collect[a].mode != DIRECT) {
        RE(accumulate)(p, a, w->region, w->chunk, &w->tile, g);
        return;
    }
    if (g >= w->buffer[0] && g < w->buffer[N_BUFFERS - 1] + TILE) RE(copy_out)(p, &p->gradient[a], &w->tile, g);
}

static void RE(give_all)(RE(work) *w, ptrdiff_t n) {
    const plan *p = w->p;
    if (w->want & WANT_FIRST) {
        int both = RE(wants)(w, FIRST) && RE(wants)(w, SECOND);
        if (both) {
            T *g = RE(target)(w, SECOND, G_SECOND);
            const volatile T hidden = -1; /* a product, so that NaN keeps its sign; of a constant -1 gcc makes a negation */
            const T minus = hidden;
            for (ptrdiff_t i = 0; i < n; i++) g[i] = minus * w->o.first[i];
            RE(give)(w, SECOND, g, n);
        }
        RE(give)(w, RE(wants)(w, FIRST) ? FIRST : SECOND, w->o.first, n);
    }
    if (p->constant) return;
    if (RE(wants)(w, SCALE)) RE(give)(w, SCALE, w->o.scale_gradient, n);
    if (RE(wants)(w, PRIOR)) RE(give)(w, PRIOR, w->o.prior_gradient, n);
}

/* The sum of n terms of the tile, from i on; where the scale is constant, in nats only by squares_of */
static inline pair RE(sum_terms)(RE(work) *w, ptrdiff_t i, ptrdiff_t n) {
    return w->fused ? RE(sum_of_squares)(w->squares, i, n, GROUP(w->p)) : RE(sum)(w->o.term, i, n, GROUP(w->p));
}

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
    I bad;
    const RE(loop) *loop = p->kind[1] == UNIT ? RE(one_scale)[p->loss][p->kind[0]][w->want]
                                              : RE(two_scales)[p->kind[0]][p->kind[1]][w->want != 0];
    w->o.scale_gradient = RE(target)(w, SCALE, G_SCALE);
    w->o.prior_gradient = RE(target)(w, PRIOR, G_PRIOR);
    /* first in the hope that all scales are ordinary; where inputs might be overwritten that must be known */
    int hope = loop[ORDINARY] && (!p->aliased || (p->kind[1] == UNIT && RE(all_ordinary)[p->kind[0]](w->o.scale, w->o.n)));
    if (hope && !loop[ORDINARY](&w->o))
        bad = 0;
    else
        bad = loop[ANY](&w->o);
    if (bad) __atomic_store_n(&p->bad, 1, __ATOMIC_RELAXED);
    RE(sum_rows)(w);
}

/* ---- under scales that are constant along the event --------------------------------------------------------------------------------- */

/* By terms in a buffer: with weights, and the KL */
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

/* d/dx = (x - mean) times this; 0 where that is not to be used, as the number might leave the range of T */
static T RE(plain_slope)(const RE(work) *w, const row_scale *s) {
    const double power = s->a * s->b;
    const T c = (T)(w->o.sign * s->first_slope * power * power);
    return s->plain != 0 && (c >= SMALLEST_NORMAL || c <= -SMALLEST_NORMAL) && c - c == 0 ? c : (T)0;
}

/* d/dx of n elements of row r, from `at` of the tile on */
static void RE(first_of_row)(RE(work) *w, ptrdiff_t r, ptrdiff_t at, ptrdiff_t n) {
    const row_scale *s = RE(scale_of)(w, r);
    const T a = (T)s->a, b = (T)s->b, slope = w->o.sign * (T)s->first_slope, c = RE(plain_slope)(w, s);
    RE(operands) o = w->o;
    o.a += at, o.b += at, o.first += at, o.n = n;
    if (c != 0)
        RE(differences_times)(&o, c);
    else
        RE(squares)[0][ONLY_FIRST](&o, (RE(factors)){&a, &b, &slope});
}

/* The commonest rows: whole, under one scale for all. As finish_row, of which it is a special case to the bit. */
static int RE(finish_plain_rows)(RE(work) *w) {
    plan *p = w->p;
    const RE(tile) *t = &w->tile;
    const row_scale s = w->scale[0];
    const double n = (double)p->columns, base = s.base * n, constants = p->full ? HALF_LOG_2PI * n : 0, gradient = s.gradient[0] * n;
    const double *squares = w->squares_of_row;
    const int of_scale = p->gradient[SCALE].data != NULL;
    const ptrdiff_t stride = p->value.stride[0], rows = t->rows;
    if (t->cols != p->columns || !p->uniform || p->reduction != NONE || s.bad || base - base != 0 || p->row_dims != 1
        || (of_scale && (p->collect[SCALE].mode != GLOBAL || !p->collect[SCALE].turns)))
        return 0;
    char *value = p->value.data + t->row * stride;
#define EACH_ROW(stride)                                                                                            \
    _Pragma("omp simd") for (ptrdiff_t r = 0; r < rows; r++) {                                                                       \
        pair loss = RE(add_up)(base, squares[r]), total = RE(add_up)(loss.hi, constants);                           \
        T x = (T)(REAL == 64 ? value_of((pair){total.hi, total.lo + loss.lo}) : total.hi);                          \
        memcpy(value + r * (stride), &x, sizeof x);                                                                 \
    }
    if (stride == (ptrdiff_t)sizeof(T))
        EACH_ROW((ptrdiff_t)sizeof(T))
    else
        EACH_ROW(stride)
#undef EACH_ROW
    if (!of_scale) return 1;
    RE(accumulate_rows)(p, RE(accumulator)(p, w->region, &p->collect[SCALE]), t->row, squares, s.slope, gradient, rows);
    return 1;
}

/* The squares, in nats, of rows from the r-th on (step 1), or of pieces of that row (step 0), and their gradients: `rows` of `cols`
 * elements, from `at` of the tile on */
static void RE(square_rows)(RE(work) *w, ptrdiff_t r, int step, ptrdiff_t at, ptrdiff_t rows, ptrdiff_t cols, double *squares) {
    const plan *p = w->p;
    const T *x = w->o.a + at, *y = w->o.b + at;
    const int first = w->want & WANT_FIRST;
    const T c = first && p->uniform && !p->aliased ? RE(plain_slope)(w, w->scale) : (T)0; /* an input is needed if a sum is not trusted */
    int trusted = p->uniform && w->scale[0].plain != 0;
    if (c != 0)
        RE(sum_squares_and_scale)(x, y, w->o.first + at, c, rows, cols, squares);
    else
        RE(sum_squares)(x, y, rows, cols, squares);
    for (ptrdiff_t i = 0; i < rows; i++) trusted &= RE(trusted)(squares[i], cols);
    if (trusted)
        for (ptrdiff_t i = 0; i < rows; i++) squares[i] *= w->scale[0].plain;
    for (ptrdiff_t i = 0; i < rows && !trusted; i++) {
        const row_scale *s = RE(scale_of)(w, r + step * i);
        const RE(differences) d = {x, y, (T)s->a, (T)s->b};
        squares[i] = s->plain != 0 && RE(trusted)(squares[i], cols) ? squares[i] * s->plain
                                                                    : squares_of(s, value_of(RE(sum_of_squares)(d, i * cols, cols, 8)));
    }
    if (!first || c != 0) return;
    if (p->uniform || !step)
        RE(first_of_row)(w, r, at, rows * cols);
    else
        for (ptrdiff_t i = 0; i < rows; i++) RE(first_of_row)(w, r + step * i, at + i * cols, cols);
}

/* x (a = FIRST) or mean from element `at` of the tile on, where all lies flat */
static const char *RE(stored)(const RE(work) *w, int a, ptrdiff_t at) {
    const view *v = &w->p->argument[a];
    return v->data + row_offset(w->p, v->stride, w->tile.row) + (w->tile.col + at) * size_of[v->type];
}

/* The same from copies of at most TILE elements of row r */
static void RE(square_copies)(RE(work) *w, ptrdiff_t r, ptrdiff_t at, ptrdiff_t n, double *square) {
    const plan *p = w->p;
    const int of_x = p->argument[FIRST].type, of_y = p->argument[SECOND].type, scaled = p->x_scale != 1;
    static const T zeros[TILE];
    const RE(operands) o = w->o;
    T *x = w->buffer[FIRST], *y = w->buffer[SECOND];
    RE(pack)(of_y, y, RE(stored)(w, SECOND, at), size_of[of_y], n);
    RE(packs)[scaled][of_x](x, RE(stored)(w, FIRST, at), size_of[of_x], n, (T)p->x_scale, y);
    w->o.a = x, w->o.b = scaled ? zeros : y;
    if (w->want & WANT_FIRST) w->o.first += at;
    RE(square_rows)(w, r, 0, 0, 1, n, square);
    w->o = o;
}

/* The same of x and mean as they are stored */
static void RE(square_stored_rows)(RE(work) *w, ptrdiff_t r, int step, ptrdiff_t at, ptrdiff_t rows, ptrdiff_t cols, double *squares) {
    const plan *p = w->p;
    const int first = w->want & WANT_FIRST;
    const ptrdiff_t alike = first && !p->uniform && step ? 1 : rows;
    for (ptrdiff_t i = 0; i < rows; i += alike) {
        const T c = first ? RE(plain_slope)(w, RE(scale_of)(w, r + step * i)) : (T)0;
        const ptrdiff_t from = at + i * cols;
        if (c != 0 || !first)
            w->stored(RE(stored)(w, FIRST, from), RE(stored)(w, SECOND, from), (T)p->x_scale, first ? w->o.first + from : NULL, c, alike, cols,
                      squares + i);
        for (ptrdiff_t k = i; k < i + alike; k++) {
            const double plain = RE(scale_of)(w, r + step * k)->plain;
            if ((c != 0 || !first) && plain != 0 && RE(trusted)(squares[k], cols))
                squares[k] *= plain;
            else
                RE(square_copies)(w, r + step * k, at + k * cols, cols, squares + k);
        }
    }
}

static void RE(square_units)(RE(work) *w, ptrdiff_t r, int step, ptrdiff_t at, ptrdiff_t rows, ptrdiff_t cols, double *squares) {
    (w->stored ? RE(square_stored_rows) : RE(square_rows))(w, r, step, at, rows, cols, squares);
}

/* Whether sums come before gradients; of stored elements both come at once */
static int RE(in_strips)(const RE(work) *w) { return (w->want & WANT_FIRST) && !w->stored; }

/* The part of row r that ends before column `end` is complete. Its sum is rounded here even where a chunk has several parts: how long
 * chunks are may depend on the number of rows. */
static void RE(end_part)(RE(work) *w, ptrdiff_t r, ptrdiff_t end) {
    plan *p = w->p;
    const ptrdiff_t part = (end - 1) / LONGEST_CHUNK;
    const double squares = value_of(w->part_squares);
    w->part_squares = (pair){0, 0};
    if (p->chunks > 1)
        p->partials[RE(row_of)(p, &w->tile, r) * p->parts + part]
            = (partial){{squares, 0}, {(double)(end - part * LONGEST_CHUNK), 0}, w->counted};
    else
        add_to(&w->row_squares, squares);
}

/* The tile's elements of row r, in pieces of TILE, wherever they lie */
static void RE(square_long_row)(RE(work) *w, ptrdiff_t r) {
    const ptrdiff_t n = w->tile.cols, at = r * n, pieces = n / TILE, most = RE(in_strips)(w) ? STRIP / TILE : pieces;
    double squares[FLAT_TILE / TILE];
    for (ptrdiff_t i = 0; i < pieces; i += most)
        RE(square_units)(w, r, 0, at + i * TILE, pieces - i < most ? pieces - i : most, TILE, squares + i);
    ptrdiff_t col = w->tile.col;
    for (ptrdiff_t i = 0; i < pieces; i++) {
        add_to(&w->part_squares, squares[i]);
        col += TILE;
        if (col % LONGEST_CHUNK == 0) RE(end_part)(w, r, col);
    }
    if (n % TILE) {
        RE(square_units)(w, r, 0, at + pieces * TILE, 1, n % TILE, squares);
        add_to(&w->part_squares, squares[0]);
        col += n % TILE;
    }
    if (col == w->p->columns && col % LONGEST_CHUNK) RE(end_part)(w, r, col);
}

/* By sums of squares alone */
static void RE(evaluate_plain)(RE(work) *w) {
    plan *p = w->p;
    const RE(tile) *t = &w->tile;
    const ptrdiff_t begin = w->chunk * p->chunk, end = RE(chunk_end)(w), rows = t->rows, cols = t->cols;
    double *squares = w->squares_of_row;
    partial x = {{0, 0}, {(double)(end - begin), 0}, w->counted};
    const ptrdiff_t most = RE(in_strips)(w) ? (STRIP - 1) / cols + 1 : MOST_ROWS;
    for (ptrdiff_t r = 0; r < rows; r += cols > TILE ? 1 : most) {
        if (cols > TILE || cols < end - begin) {
            if (t->col == begin) w->row_squares = w->part_squares = (pair){0, 0};
            RE(square_long_row)(w, r);
            if (t->col + cols < end || p->chunks > 1) return;
            squares[r] = value_of(w->row_squares);
        } else {
            RE(square_units)(w, r, 1, r * cols, rows - r < most ? rows - r : most, cols, squares + r);
        }
    }
    if (RE(finish_plain_rows)(w)) return;
    for (ptrdiff_t r = 0; r < rows; r++) {
        x.sum.hi = squares[r];
        RE(end_row)(w, r, &x);
    }
}

/* Whether all tiles lie in memory as the loops want them, so that a tile may be longer than a buffer */
static int RE(lies_flat)(const plan *p, const view *v, ptrdiff_t item) {
    int flat = p->dims - p->row_dims == 1 && v->stride[p->dims - 1] == item;
    flat &= p->outer_dims == 0 || (p->outer_dims == 1 && v->stride[0] == p->columns * item);
    for (int i = p->outer_dims; i < p->row_dims; i++) flat &= v->stride[i] % item == 0;
    return flat;
}

static int RE(native_flat)(const plan *p, const view *v) {
    return v->type == NATIVE && RE(lies_flat)(p, v, sizeof(T)) && (uintptr_t)v->data % sizeof(T) == 0;
}

static int RE(gradients_flat)(const plan *p) {
    int flat = 1;
    for (int a = FIRST; a <= SECOND; a++)
        if (p->gradient[a].data) flat &= p->collect[a].mode == DIRECT && RE(native_flat)(p, &p->gradient[a]);
    return flat;
}

static int RE(all_flat)(const plan *p) {
    return p->x_scale == 1 && RE(native_flat)(p, &p->argument[FIRST]) && RE(native_flat)(p, &p->argument[SECOND]) && RE(gradients_flat)(p);
}

/* How x and mean are summed where they are stored; NULL: they are not. */
static RE(stored_sum) RE(sum_of_stored)(const plan *p) {
    const view *x = &p->argument[FIRST], *y = &p->argument[SECOND];
    if (!p->plain || p->aliased || p->check_only || p->columns < STORED_COLUMNS) return NULL;
    const RE(stored_sum) sum = RE(stored_sum_of)(x->type, y->type);
    return sum && RE(lies_flat)(p, x, size_of[x->type]) && RE(lies_flat)(p, y, size_of[y->type]) && RE(gradients_flat)(p) ? sum : NULL;
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

static void RE(run)(plan *p, ptrdiff_t task) {
    RE(work) w;
    w.p = p;
    w.region = task;
    w.chunk = task % p->chunks;
    w.raw_scale = NULL;
    w.stored = RE(sum_of_stored)(p);
    w.fused = 0;
    w.spread = 0;
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

    ptrdiff_t block = task / p->chunks, begin = p->outer * block / p->blocks, end = p->outer * (block + 1) / p->blocks;
    ptrdiff_t col = w.chunk * p->chunk, last = col + p->chunk < p->columns ? col + p->chunk : p->columns;
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
    ptrdiff_t group = slabs || p->inner > 1 ? p->group : end - begin;
    for (ptrdiff_t first = begin; first < end; first += group) {
        ptrdiff_t stop = end - first < group ? end : first + group;
        if (slabs) RE(begin_group)(p, w.region, stop - first);
        for (ptrdiff_t i = 0; i < p->inner; i++)
            for (ptrdiff_t row = first; row < stop && !__atomic_load_n(&p->bad, __ATOMIC_RELAXED); row += w.tile.rows) {
                ptrdiff_t rows = stop - row < at_once ? stop - row : at_once, left = run - row % run;
                if (p->argument[WHERE].data) w.counted = 0;
                RE(run_rows)(&w, (RE(tile)){row * p->inner + i, rows < left ? rows : left, col, 0, row - first}, last, most);
            }
        if (slabs && p->chunks == 1) RE(end_group)(p, w.region, first, stop - first, w.chunk, 1);
        if (slabs) RE(end_group)(p, w.region, first, stop - first, w.chunk, 0);
    }
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
