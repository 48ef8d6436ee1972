/* What leaves the range of T on the way to a result within it, done again by careful.h: once per type (real.h).
 *
 * Sums: an element whose term is near the end of T's range, or infinite, or so small that a weight would multiply its lost digits, is taken
 * apart: it counts for nothing in the row's sums (term and weight 0), and its complete contributions are added up as wide numbers, in
 * order. Which elements are apart depends on them alone, not on tiles; where the scale is constant and nothing is weighted, whole pieces
 * of a row are (of TILE elements, or the row), as a piece is one sum of squares.
 * Gradients: an element that came out infinite, or whose digits were lost before a factor above 1 met it, is formed again. */

#undef LARGE
#define LARGE RE(pow2)(EXP_MAX - 3) /* eight terms below it add up to a number */

static ptrdiff_t RE(row_at)(const RE(work) *w, ptrdiff_t i) { return RE(row_of)(w->p, &w->tile, i / w->tile.cols); }
static ptrdiff_t RE(col_at)(const RE(work) *w, ptrdiff_t i) { return w->tile.col + i % w->tile.cols; }

/* Whether element i may come out finite: arguments that are infinite or NaN have had their limits in the loop */
static int RE(may_be_finite)(const RE(work) *w, ptrdiff_t i) {
    const plan *p = w->p;
    if (p->x_scale != 1 || w->stored) return 1;
    T x = w->o.a[i] * 0 + w->o.b[i] * 0;
    if (!p->constant) x += (w->raw_scale ? w->raw_scale : w->o.scale)[i] * 0;
    if (!p->constant && p->argument[PRIOR].data) x += w->o.prior[i] * 0;
    return x == 0;
}

#if REAL == 64 /* once */
/* Under a variance of 0 the elements of a row with r = 0 have a term of -inf, and what is not 0 outgrows the logarithms */
static void add_term(wide_sum *sum, wide term, int shared) {
    const int opposite = term.m - term.m != 0 && sum->hi == -term.m;
    if (shared && opposite)
        sum->hi = INFINITE;
    else
        add_wide(sum, term);
}
#endif

static void RE(take_apart)(RE(work) *w, wide_sum *apart, ptrdiff_t i) {
    const plan *p = w->p;
    const careful c = careful_at(p, RE(row_at)(w, i), RE(col_at)(w, i));
    w->odd |= ODD_TERM;
    add_term(&apart[0], c.term, p->constant);
    if (p->full) add_wide(&apart[0], wide_times(wide_of(HALF_LOG_2PI), c.weight));
    if (p->constant) add_wide(&apart[1], c.gradient[SCALE]), add_wide(&apart[2], c.gradient[PRIOR]);
}

/* ---- terms with weights ---------------------------------------------------------------------------------------------------- */

/* A term beyond LARGE, or one that may have lost digits, which count for more by its weight: subnormal or 0, though r is not;
 * of floats that are reduced, to a double, their product too */
INLINE I RE(term_is_odd)(T term, T weight, I differs, I reduced) {
    const T size = RE(magnitude)(term), product = RE(magnitude)(term * weight);
    return (!((size < LARGE) & (product < LARGE))) | ((size < SMALLEST_NORMAL) & ((RE(magnitude)(weight) > 1) | (reduced & (weight != 0))) & differs)
           | (reduced & (product < SMALLEST_NORMAL) & (term != 0) & (weight != 0));
}

/* Whether r or, of a KL, log v is not 0: before it was rounded, as x x_scale - mean is */
INLINE I RE(differs)(const RE(work) *w, int of_scale, T neutral, ptrdiff_t i) {
    return (w->o.a[i] != w->o.b[i]) | (of_scale && w->o.scale[i] != neutral) | (w->p->x_scale != 1);
}

/* The tile's terms times their weights; those that are odd, and all of a special scale, are marked, and become 0 like their weights */
static void RE(weigh)(RE(work) *w, ptrdiff_t n) {
    T *term = w->o.term;
    const T *weight = w->weight;
    const int of_scale = w->p->loss == KL && !w->p->constant;
    const T neutral = is_log(w->p->kind[0]) ? 0 : 1;
    const I reduced = REAL == 32 && w->p->reduction != NONE;
    I odd = 0;
    for (ptrdiff_t i = 0; i < n; i++) odd |= RE(term_is_odd)(term[i], weight[i], RE(differs)(w, of_scale, neutral, i), reduced);
    odd |= w->special;
    if (odd) {
        T *own = w->buffer[B_WEIGHT];
        if (weight != own) memcpy(own, weight, (size_t)n * sizeof *own);
        w->weight = weight = own;
        w->spread &= ~(1 << WEIGHT); /* what follows is this tile's */
        w->odd |= ODD_MARKS;
        for (ptrdiff_t i = 0; i < n; i++) {
            const int special = w->special && RE(scale_of)(w, i / w->tile.cols)->special;
            w->mark[i] = (special && w->counted) || (RE(term_is_odd)(term[i], own[i], RE(differs)(w, of_scale, neutral, i), reduced) && (w->p->constant || RE(may_be_finite)(w, i)));
            if (w->mark[i]) term[i] = own[i] = 0;
        }
    }
    for (ptrdiff_t i = 0; i < n; i++) term[i] *= weight[i];
}

static void RE(take_marked_apart)(RE(work) *w, wide_sum *apart, ptrdiff_t from, ptrdiff_t n) {
    if (w->odd & ODD_MARKS)
        for (ptrdiff_t i = from; i < from + n; i++)
            if (w->mark[i]) RE(take_apart)(w, apart, i);
}

/* ---- terms without, and squares ----------------------------------------------------------------------------------------------- */

/* Of scales in linear form gradients may be infinite where terms are not: where (r/v)^2, r^2/std^3, r^2, the KL's 1/precision^2 are, but from terms of 2^25 on
 * alone, as ordinary scales (terms.h) are no further than that from the ends of the range; log v takes away less than 2^24 from a sum */
static double RE(least_unsettled)(const plan *p, int want) {
    return want & WANT_SCALE && p->loss != BERNOULLI && !is_log(p->kind[0]) ? 0x1p24 : (double)LARGE;
}

INLINE int RE(is_settled)(const RE(work) *w, double sum) { return magnitude_f64(sum) < w->settled; }

static int RE(lanes_are_settled)(const RE(work) *w) {
    int all = 1;
    for (int l = 0; l < LANES; l++) all &= RE(is_settled)(w, w->sum.hi[l]);
    return all;
}

/* Terms of the tile from `from` on whose sum is not settled: the number that is apart, and 0 now */
static double RE(take_large_apart)(RE(work) *w, wide_sum *apart, ptrdiff_t from, ptrdiff_t n) {
    double out = 0;
    w->odd |= ODD_SCALE;
    for (ptrdiff_t i = from; i < from + n; i++) {
        if (RE(magnitude)(w->o.term[i]) < LARGE || !RE(may_be_finite)(w, i)) continue;
        RE(take_apart)(w, apart, i);
        w->o.term[i] = 0, out++;
    }
    return out;
}

static double RE(take_all_apart)(RE(work) *w, wide_sum *apart, ptrdiff_t from, ptrdiff_t n) {
    for (ptrdiff_t i = from; i < from + n; i++) RE(take_apart)(w, apart, i);
    return (double)n;
}

/* A piece of row r whose squares are infinite, or under a special scale, from i on: 0 then, and its elements are apart */
static double RE(settle_squares)(RE(work) *w, ptrdiff_t r, ptrdiff_t i, ptrdiff_t n, wide_sum *apart, double *squares) {
    if (*squares < (double)INFINITE && !RE(scale_of)(w, r)->special) return 0;
    *squares = 0;
    return RE(take_all_apart)(w, apart, i, n);
}

/* ---- what min_var lifts ---------------------------------------------------------------------------------------------------- */

/* Whether the loop's form of the scale holds the floor well enough: a logarithm of it is rounded by up to 2 u here */
static int RE(holds_floor)(const plan *p, T lowest, T highest) {
    const int kind = p->kind[0];
    if (is_log(kind)) return RE(magnitude)(lowest) <= (kind == LOGVAR ? 4 : 2);
    const T floor = kind == PRECISION ? highest : lowest;
    return floor >= SMALLEST_NORMAL && floor < RE(real)(RE(bits)(INFINITE) - 1);
}

/* The tile's elements that min_var lifts, by the floor itself, a variance in double */
SELDOM void RE(lift)(RE(work) *w) {
    const row_scale *s = &w->floor;
    const T *raw = w->raw_scale, *a = w->o.a, *b = w->o.b, sign = w->o.sign;
    for (ptrdiff_t i = 0; i < w->o.n; i++) {
        if (!((raw[i] < w->lowest) | (raw[i] > w->highest))) continue;
        const double r = (double)(a[i] - b[i]), z = (r * s->a) * s->b;
        w->o.term[i] = s->special ? INFINITE : (T)(s->base + squares_of(s, (0.5 * z) * z)); /* infinite: to be taken apart */
        if (w->want & WANT_FIRST) w->o.first[i] = s->special ? INFINITE : sign * (T)(((z * s->first_slope) * s->a) * s->b);
    }
}

/* ---- gradients of the elements ------------------------------------------------------------------------------------------------- */

/* Whether the factor of every gradient is one of T */
static int RE(has_factor)(const plan *p) {
    const T size = RE(magnitude)((T)p->factor);
    return p->numerator == 0 || (size >= SMALLEST_NORMAL && size < INFINITE);
}

/* Whether gradients of argument a have to be looked at in every tile */
static int RE(doubt)(const plan *p, int a) {
    const T factor = RE(magnitude)((T)p->factor);
    const int x_scaled = p->x_scale != 1 && a == x_of(p);
    return !RE(has_factor)(p) || p->argument[WEIGHT].data || p->argument[WHERE].data || factor > 1 || x_scaled;
}

/* Which elements may have come out wrong; 0: none. Where scales are ordinary logarithms, and the factor is at most 1, this takes no time:
 * a gradient leaves the range only with its term, which `odd` tells. */
static __attribute__((noinline)) int RE(suspects)(const RE(work) *w, int a, const T *g, ptrdiff_t at, ptrdiff_t n, unsigned char *suspect) {
    const plan *p = w->p;
    const int direct_first = a <= SECOND, x_scaled = p->x_scale != 1 && a == x_of(p), late = w->late[a >= SCALE] != 1;
    const T factor = RE(magnitude)((T)p->factor), in_loop = late ? (T)1 : factor;
    const int all = !RE(has_factor)(p);
    const int amplified = w->weight || factor > 1 || x_scaled;

    /* below which the loop's factor has lifted a subnormal, or the factors to come make one, before a weight lifts it */
    const T shrinks = (late && factor < 1 ? factor : (T)1) * (x_scaled && p->x_scale * p->x_scale < 1 ? RE(magnitude)((T)p->x_scale) : (T)1);
    const T lowest = SMALLEST_NORMAL * (in_loop > 1 ? in_loop : (T)1) / shrinks, *weight = w->weight;
    const T gain = (factor > 1 ? factor : (T)1) * (x_scaled && p->x_scale * p->x_scale > 1 ? RE(magnitude)((T)p->x_scale) : (T)1);
    I any = all | w->special | (w->odd & (ODD_DIFFERENCE | ODD_MARKS));
    if (amplified && weight)
        for (ptrdiff_t i = 0; i < n; i++)
            any |= (!(RE(magnitude)(g[i]) < INFINITE))
                   | ((RE(magnitude)(g[i]) < lowest) & (RE(magnitude)(weight[at + i]) * gain > 1) & (!direct_first | (g[i] != 0) | (w->o.a[at + i] != w->o.b[at + i]) | (p->x_scale != 1)));
    else if (amplified && gain > 1 && !w->stored)
        for (ptrdiff_t i = 0; i < n; i++)
            any |= (!(RE(magnitude)(g[i]) < INFINITE))
                   | ((RE(magnitude)(g[i]) < lowest) & (!direct_first | (g[i] != 0) | (w->o.a[at + i] != w->o.b[at + i]) | (p->x_scale != 1)));
    else
        for (ptrdiff_t i = 0; i < n; i++) any |= !(RE(magnitude)(g[i]) < INFINITE);
    if (!any) return weight != NULL || x_scaled; /* the product may leave the range */

    for (ptrdiff_t i = 0; i < n; i++) {
        const T size = RE(magnitude)(g[i]), by = (weight ? RE(magnitude)(weight[at + i]) : (T)1) * gain;
        const T r = w->stored || p->loss == BERNOULLI ? (T)1 : RE(magnitude)(w->o.a[at + i] - w->o.b[at + i]);
        const int lost = direct_first && r != 0 && r < SMALLEST_NORMAL;
        suspect[i] = all || !(size < INFINITE) || (size < lowest && by > 1 && !(direct_first && r == 0 && p->x_scale == 1)) || lost
                     || (w->special && RE(scale_of)(w, (at + i) / w->tile.cols)->special) || (w->odd & ODD_MARKS && w->mark[at + i]);
    }
    return 2;
}

/* ... formed again. `found`: what `suspects` returned; 1 if it marked none */
SELDOM void RE(mend)(const RE(work) *w, int a, T *g, ptrdiff_t at, ptrdiff_t n, const unsigned char *suspect, int found) {
    const plan *p = w->p;
    const wide factor = p->collect[a].mode == DIRECT ? careful_factor(p, a) : wide_of(1);
    for (ptrdiff_t i = 0; i < n; i++) {
        const int infinite = !(RE(magnitude)(g[i]) < INFINITE);
        if (!(infinite || (found > 1 && suspect[i]))) continue;
        if (!p->constant && !RE(may_be_finite)(w, at + i)) continue;
        const careful c = careful_at(p, RE(row_at)(w, at + i), RE(col_at)(w, at + i));
        g[i] = (T)double_of(wide_times(c.gradient[a], factor));
    }
}
