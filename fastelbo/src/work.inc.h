/* The state of a task, and what all its ways share: a tile is gathered, its gradients are handed out, its rows finished. Once per type
 * (real.h). */

/* ---- the state of a task ------------------------------------------------------------------------------------------------- */

#if REAL == 64 /* once */
enum { N_BUFFERS = 14, MOST_SCALES = 64, MOST_ROWS = 512 };
#define STRIP 2048      /* elements: first summed, then read again for their gradients */
#define STORED_COLUMNS 64 /* and more: of shorter rows, too much is left over from vectors */
#define FLAT_TILE 65536 /* elements, where a tile needs no buffer: what ends a tile lets the memory idle */
enum { B_FIRST, B_SECOND, B_SCALE, B_PRIOR, B_WEIGHT, B_RAW, B_TERM, G_FIRST, G_SECOND, G_SCALE, G_PRIOR, B_SLOPE, B_X, B_LOST };
#endif

_Static_assert(TILE / 2 <= MOST_ROWS && STRIP % TILE == 0 && LONGEST_CHUNK % TILE == 0 && FLAT_TILE % LONGEST_CHUNK == 0,
               "tiles of rows, and pieces of long rows");

typedef struct {
    plan *p;
    ptrdiff_t chunk; /* of columns */
    region region;   /* its accumulators */
    RE(tile) tile;
    RE(operands) o;
    RE(parameters) parameters;
    const T *weight;    /* of the tile's elements; NULL: all one */
    const T *raw_scale; /* before min_var */
    T lowest, highest;  /* what min_var leaves of the scale */
    T above;            /* ... and lifts a precision from: highest, or 0 where that would be no number of T */
    T domain;           /* no scale is below */
    T late[2];          /* what the loop leaves of the factor of `first`, of the scales' gradients */
    int want, counted, spread;
    int odd;                /* what may have left the range of T in this tile: ODD_... */
    int special;            /* the tile has rows under special scales */
    int doubts[N_GRADS];    /* gradients are looked at in every tile: their factors may leave the range of T */
    int final[N_GRADS];     /* gradients are what is asked for as the loop leaves them, in a tile where nothing is odd */
    int long_integers;      /* x or mean may hold integers of which a double is only a part */
    double settled;         /* below it a sum of terms says that none, and none of their gradients, has left the range of T */
    double least;           /* ... and from here on that no digits are missing */
    double out;             /* of the current row, the number of elements that are apart */
    wide_sum apart[3];      /* ... and their sums, as partial has them */
    unsigned char mark[TILE]; /* elements of the tile that are apart; valid if odd & ODD_MARKS */
    T rounds_below;           /* |x| from which on T holds x x_scale to its last digit; 0: always */
    int rounded;              /* ODD_ROUNDED or 0, before the tile's loop */
    unsigned char is_rounded[TILE]; /* ... and which elements; valid if rounded */
    int streamed; /* the tile's gradients are where they belong */
    int fused; /* the terms are not in the buffer: squares has what they are made of */
    RE(differences) squares;
    RE(stored_sum) stored; /* of x and mean where they are; NULL: they are o.a and o.b */
    row_scale floor;              /* of min_var, where lifts */
    int lifts;                    /* ... the loop does not know the floor well enough */
    row_scale scale[MOST_SCALES]; /* of the tile's rows; of all rows, if uniform */
    RE(lanes) sum, weight_sum; /* of the current row */
    pair row_squares, part_squares; /* the same where p->plain: of the parts behind, of the current one */
    double squares_of_row[MOST_ROWS], part_of_row[PARTS_AT_ONCE];
    _Alignas(WORK_ALIGNMENT) T buffer[N_BUFFERS][TILE];
} RE(work);

#if REAL == 64 /* once */
/* some r is subnormal, or a gradient infinite; some terms are apart; and marked; scales are not all ordinary; some x x_scale is rounded */
enum { ODD_DIFFERENCE = 1, ODD_TERM = 2, ODD_MARKS = 4, ODD_SCALE = 8, ODD_ROUNDED = 16 };
#endif

static int RE(wants)(const RE(work) *w, int a) { return w->p->gradient[a].data != NULL; }

/* The loops over terms with what is wanted */
static const RE(loop) *RE(loop_of)(const RE(work) *w) {
    const plan *p = w->p;
    return p->paired ? RE(two_scales)[p->kind[0]][p->kind[1]][w->want != 0] : RE(one_scale)[p->loss][p->kind[0]][w->want];
}

/* mend.inc.h */
static const row_scale *RE(scale_of)(const RE(work) *w, ptrdiff_t r);
static T RE(plain_slope)(const RE(work) *w, const row_scale *s);
static int RE(stored_is_number)(const RE(work) *w, ptrdiff_t at);
static __attribute__((noinline)) int RE(suspects)(const RE(work) *w, int a, const T *g, ptrdiff_t at, ptrdiff_t n, unsigned char *suspect);
SELDOM void RE(mend)(const RE(work) *w, int a, T *g, ptrdiff_t at, ptrdiff_t n, const unsigned char *suspect, int found);

#if REAL == 64 /* once */
#define GROUP(p) (p)->traits->group
#endif

/* ---- a finished row -------------------------------------------------------------------------------------------------------- */

#if REAL == 64 /* once */
/* ... of which parts are near an end of double's range, or elements are apart */
SELDOM wide far_gradient(const plan *p, const row_scale *s, int a, double weight, double squares, const wide_sum *apart) {
    const int by = p->paired ? PRIOR : SCALE;
    wide g = weight != 0 ? wide_times(wide_of(weight), wide_of(s->gradient[a - SCALE])) : wide_of(0);
    if (a == by && squares != 0 && s->slope != 0) g = wide_plus(g, wide_times(wide_of(-squares), wide_of(s->slope)));
    return apart ? wide_plus(g, wide_total(apart[1 + a - SCALE])) : g;
}
#endif

/* The gradients of scales that are constant along the event */
static void RE(row_gradients)(plan *p, region whose, ptrdiff_t row, ptrdiff_t slab, const row_scale *s, double weight, double squares,
                              const wide_sum *apart) {
    int by = p->paired ? PRIOR : SCALE; /* the one that divides the squares */
    for (int a = SCALE; a <= PRIOR; a++) {
        const collector *c = &p->collect[a];
        if (!p->gradient[a].data) continue;
        double g = weight != 0 ? weight * s->gradient[a - SCALE] : 0;
        if (a == by && s->slope != 0) g -= squares * s->slope;
        if (c->mode != DIRECT) {
            if (apart || !(magnitude_f64(g) < (double)INFINITE)) g = double_of(far_gradient(p, s, a, weight, squares, apart));
            RE(accumulate_one)(c->low, RE(accumulator)(p, whose, c) + (c->turns ? row % TURNS : row_offset(p, c->stride, row) + slab_offset(c, slab)), g);
            continue;
        }
        const double scaled = g * p->factor, size = magnitude_f64(scaled);
        T x = (T)scaled;
        if (apart || !(size < (double)INFINITE) || (size < 0x1p-1022 && scaled != 0))
            x = (T)double_of(wide_times(far_gradient(p, s, a, weight, squares, apart), careful_factor(p, a)));
        memcpy(p->gradient[a].data + row_offset(p, p->gradient[a].stride, row), &x, sizeof x);
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

#if REAL == 64 /* once */
static int far_from_overflow(double x) { return magnitude_f64(x) < 0x1p900; }
#endif

static char *RE(place_of_row)(const plan *p, const view *v, ptrdiff_t row) { return v->data + row_offset(p, v->stride, row); }

/* A row of the KL is `kl`; all: the same before it was rounded to T */
static void RE(join_row)(const plan *p, ptrdiff_t row, T kl, wide all) {
    const joining *j = &p->join;
    double nll = 0, x;
    T rounded;
    if (j->count) {
        const char *sample = RE(place_of_row)(p, &j->samples, row);
        for (ptrdiff_t s = 0; s < j->count; s++) {
            memcpy(&x, sample + s * j->step, sizeof x);
            nll += x;
        }
        nll = nll / (double)j->count * j->unit;
        rounded = (T)nll;
        memcpy(RE(place_of_row)(p, &j->nll, row), &rounded, sizeof rounded);
    } else {
        memcpy(&rounded, RE(place_of_row)(p, &j->nll, row), sizeof rounded);
        nll = rounded;
    }
    double value = nll + (double)kl * j->beta;
    /* what T has made of the KL may be too large, or have too few digits, for beta */
    if (!(RE(magnitude)(kl) < INFINITE) || RE(magnitude)(kl) < SMALLEST_NORMAL || value - value != 0)
        value = double_of(wide_plus(wide_of(nll), wide_times(all, wide_of(j->beta))));
    rounded = (T)value;
    memcpy(RE(place_of_row)(p, &j->value, row), &rounded, sizeof rounded);
}

/* A row that is not just a number of T */
static void RE(put_row)(const plan *p, ptrdiff_t row, wide all) {
    const double x = double_of(all);
    const T value = (T)x;
    if (p->value_unit != 0) {
        double of_sample = REAL == 32 && value - value == 0 ? (double)value : double_of(wide_over(all, wide_of(p->value_unit)));
        memcpy(RE(place_of_row)(p, &p->value, row), &of_sample, sizeof of_sample);
        return;
    }
    memcpy(RE(place_of_row)(p, &p->value, row), &value, sizeof value);
    if (p->join.value.data) RE(join_row)(p, row, value, all);
}

/* A row whose sum has elements apart, or is near the end of double's range, or NaN */
SELDOM void RE(finish_far_row)(plan *p, region whose, ptrdiff_t row, pair sum, const wide_sum *apart) {
    wide all = wide_of(value_of(sum));
    if (apart) all = wide_plus(all, wide_total(*apart));
    if (p->reduction != NONE)
        add_wide(&p->totals[whose.task].far, all);
    else if (p->value.data)
        RE(put_row)(p, row, all);
}

/* x.sum: of the terms, or the squares in nats; x.weight: of the weights (or the number) of the elements */
static inline void RE(finish_row)(plan *p, region whose, ptrdiff_t row, ptrdiff_t slab, const row_scale *s, const partial *x) {
    double w = value_of(x->weight);
    pair loss = x->sum;
    if (p->constant) {
        static const row_scale unit = {.factor = 1};
        if (!x->counted) s = &unit; /* where removed the whole row, and its scale with it */
        double squares = value_of(x->sum), base = w != 0 ? w * s->base : 0;
        loss = squares == INFINITE && base == base ? (pair){squares, 0} : RE(add_up)(base, squares); /* log v = -inf: the squares win */
        if (s->bad) __atomic_store_n(&p->bad, 1, __ATOMIC_RELAXED);
        if (p->gradient[SCALE].data || p->gradient[PRIOR].data) RE(row_gradients)(p, whose, row, slab, s, w, squares, x->apart);
    }
    pair total = RE(add_up)(loss.hi, constants_of(p, w));
    total.lo += loss.lo;
    if (p->reduction != NONE && !x->apart && far_from_overflow(total.hi)) {
        add_pair(&p->totals[whose.task].usual, total);
    } else if (p->other_rows || x->apart || p->reduction != NONE) {
        RE(finish_far_row)(p, whose, row, total, x->apart);
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
    const int pack = a == WEIGHT && RE(packs)[WEIGHING][v->type] ? WEIGHING : CONVERTED;
    if (!copy && p->single & 1 << a) { /* one element for the whole call: spread out once */
        if (!(w->spread & 1 << a)) RE(packs)[pack][v->type](w->buffer[a], v->data, 0, TILE, 1, NULL);
        w->spread |= 1 << a;
    } else {
        RE(copy_by)(pack, p, v, &w->tile, w->buffer[a], 1, NULL);
    }
    return w->buffer[a];
}

/* Elements removed by where become r = 0 with a unit scale and no weight: whatever they held, they touch nothing */
static void RE(select)(RE(work) *w, ptrdiff_t n) {
    const plan *p = w->p;
    T *mask = w->buffer[G_SCALE]; /* free until the loop runs, and after it where scales are constant */
    RE(copy_in)(p, &p->argument[WHERE], &w->tile, mask);
    static const T neutral[N_KINDS] = {[VAR] = 1, [STD] = 1, [PRECISION] = 1, [NUMBER] = 1};
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
    if (!raw) RE(copy_in)(p, v, &w->tile, w->buffer[B_TERM]), raw = w->buffer[B_TERM]; /* free until the loop runs */
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
    const plan *p = w->p;
    RE(copy_by)(TIMES_FACTOR, p, &p->argument[x], &w->tile, w->buffer[x], (T)p->x_scale, less);
    if (w->rounds_below != 0) RE(find_rounded)(w, x, w->buffer[x], less);
    return w->buffer[x];
}

/* x itself, where a loss takes it: x x_scale is rounded to T */
static const T *RE(gather_x)(RE(work) *w, const T *zeros) {
    const plan *p = w->p;
    RE(copy_by)(p->x_scale != 1 ? TIMES_FACTOR : CONVERTED, p, &p->argument[FIRST], &w->tile, w->buffer[B_X], (T)p->x_scale, zeros);
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
    if (!p->constant) w->o.scale = scaled == SCALE ? RE(gather_scaled)(w, SCALE, zeros) : RE(gather)(w, SCALE, select || floor);
    if (!p->constant && p->argument[PRIOR].data) w->o.prior = RE(gather)(w, PRIOR, select);
    if (p->argument[WEIGHT].data) w->weight = RE(gather)(w, WEIGHT, select || p->aliased); /* used after outputs are written */
    if (select) RE(select)(w, n);
    if (floor && !p->constant) {
        T *raw = w->buffer[B_RAW], *x = w->buffer[B_SCALE], domain = w->domain, lowest = w->lowest, highest = w->highest;
        memcpy(raw, x, (size_t)n * sizeof *x);
        for (ptrdiff_t i = 0; i < n; i++) x[i] = RE(floored)(x[i], domain, lowest, highest);
        w->raw_scale = raw;
    }
}

/* The scales of the tile's rows */
static void RE(find_scales)(RE(work) *w) {
    const plan *p = w->p;
    const RE(tile) *t = &w->tile;
    if (t->col > w->chunk * p->chunk || (p->uniform && w->scale[0].a != 0)) return; /* known */
    w->special = 0;
    for (ptrdiff_t r = 0; r < (p->uniform ? 1 : t->rows); r++) {
        row_scale *s = &w->scale[r];
        double raw[2] = {0, 0};
        for (int k = 0; k < 2; k++) {
            const view *v = &p->argument[SCALE + k];
            if (v->data) pack_f64(v->type, &raw[k], v->data + row_offset(p, v->stride, RE(row_of)(p, t, r)), 0, 1);
        }
        const T kept = RE(floored)((T)raw[0], w->domain, w->lowest, w->highest);
        const int lifted = !((T)raw[0] < w->domain) && RE(is_lifted)(w, (T)raw[0]), by_var = lifted && w->lifts;
        *s = scale_of_row(p, by_var ? VAR : p->kind[0], by_var ? p->min_var : lifted ? (double)kept : raw[0], raw[1], 2 * (EXP_MAX - 1));
        if (lifted) s->gradient[0] = 0, s->slope = p->paired ? s->slope : 0;
        w->special |= s->special;
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

/* Where the loop may write the gradient of argument a: the output itself, or a buffer; always that where outputs may lie over inputs, which
 * are read once more if an element has to be mended */
static T *RE(target)(RE(work) *w, int a, int buffer) {
    const plan *p = w->p;
    T *there = RE(wants)(w, a) && p->collect[a].mode == DIRECT && !p->aliased ? RE(in_place)(p, &p->gradient[a], &w->tile) : NULL;
    return there ? there : w->buffer[buffer];
}

static int RE(in_buffer)(const RE(work) *w, const T *x) { return x >= w->buffer[0] && x < w->buffer[N_BUFFERS - 1] + TILE; }

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
    if (doubtful) RE(mend)(w, a, g, at, n, suspect, doubtful);
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
        RE(copy_out)(p, &p->gradient[a], &w->tile, g);
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
        if (result[a] && p->collect[a].mode == DIRECT) RE(copy_out)(p, &p->gradient[a], &w->tile, result[a]);
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
