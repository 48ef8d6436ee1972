/* What leaves the range of T on the way to a result within it, done again by careful.h: once per type (real.h).
 *
 * Sums: an element whose term is near the end of T's range, or infinite, or so small that a weight would multiply its lost digits, is taken
 * apart: it counts for nothing in the row's sums (term and weight 0), and its complete contributions are added up as wide numbers, in
 * order. Which elements are apart depends on them alone, not on tiles; where the scale is constant and nothing is weighted, whole pieces
 * of a row are (of TILE elements, or the row), as a piece is one sum of squares.
 * Gradients: an element that came out infinite, or whose digits were lost before a factor above 1 met it, is formed again. */
#ifndef MEND_H
#define MEND_H

#include "give.h"

#undef LARGE
#define LARGE RE(pow2)(EXP_MAX - 3) /* eight terms below it add up to a number */

static ptrdiff_t RE(row_at)(const RE(work) *w, ptrdiff_t i) { return RE(row_of)(w->p, &w->tile, i / w->tile.cols); }
static ptrdiff_t RE(col_at)(const RE(work) *w, ptrdiff_t i) { return w->tile.col + i % w->tile.cols; }

/* Whether x and mean of element i may be numbers; x x_scale, or a difference formed here, may be infinite where they are */
static int RE(may_be_numbers)(const RE(work) *w, ptrdiff_t i) {
    if (w->stored) return 1;
    const T a = w->o.a[i], b = w->o.b[i];
    return w->p->x_scale != 1 || w->p->traits->takes & TAKES_LOST ? (a == a) & (b == b) : a * 0 + b * 0 == 0;
}

/* Whether it may come out finite: arguments that are infinite or NaN have had their limits in the loop */
static int RE(may_be_finite)(const RE(work) *w, ptrdiff_t i) {
    const plan *p = w->p;
    if (!RE(may_be_numbers)(w, i)) return 0;
    if (p->constant || w->stored) return 1;
    const T scale = (w->raw_scale ? w->raw_scale : w->o.scale)[i];
    const T prior = p->argument[PRIOR].data ? w->o.prior[i] : (T)0;
    if (p->paired ? prior * 0 != 0 : prior != prior) return 0;
    return p->x_scale != 1 && x_of(p) == SCALE ? scale == scale : scale * 0 == 0;
}

/* As kl_logs wants them */
static int RE(are_ordinary_logs)(int q, T raw_q, int prior, T raw_prior) {
    const T half_q = (q == LOGVAR ? (T)0.5 : (T)1) * raw_q, half_p = (prior == LOGVAR ? (T)0.5 : (T)1) * raw_prior;
    return RE(magnitude)(half_q) <= LOG_ROOM / 4 && RE(magnitude)(half_p) <= LOG_ROOM / 4;
}

/* Of a loss that fades (traits.h): r is infinite, or the number so small that products with it lose digits before another brings them back */
INLINE I RE(falls_short)(const RE(work) *w, ptrdiff_t i) {
    return RE(is_beyond)(w->o.a[i] - w->o.b[i]) | ((w->p->traits->takes & TAKES_NUMBER) && w->o.prior[i] < SMALLEST_NORMAL);
}

/* Whether r/v of element i may have lost digits of a subnormal r in the loop that its own scale asks for */
static int RE(has_lost_digits)(const RE(work) *w, ptrdiff_t i) {
    const plan *p = w->p;
    const int q = p->kind[0], prior = p->kind[1];
    if (w->stored) return 0;
    if (p->traits->fades && RE(falls_short)(w, i)) return 1;
    if (!RE(is_subnormal)(w->o.a[i] - w->o.b[i])) return 0;
    if (p->plain) return RE(plain_slope)(w, RE(scale_of)(w, i / w->tile.cols)) == 0;
    if (p->constant) return p->divided;
    const int forms = p->traits->two_products;
    if (!p->paired) return forms >> q & 1 || (forms && !RE(is_ordinary)(q, w->o.scale[i]));
    return !(is_log(q) && is_log(prior) && RE(are_ordinary_logs)(q, w->o.scale[i], prior, w->o.prior[i]));
}

/* Whether a gradient of the loop that is 0, or nearly, is that by right: not because its parts are below the range of T */
static int RE(is_small_by_right)(const RE(work) *w, int a, ptrdiff_t i, T g) {
    const plan *p = w->p;
    const int vanishes = p->traits->of_scale, equal = p->paired && p->kind[0] == p->kind[1];
    if (vanishes == FADING || (w->rounded && w->is_rounded[i])) return 0;
    if (a <= SECOND || vanishes == WITH_R) return g == 0 && !w->stored && w->o.a[i] == w->o.b[i];
    const T raw = w->raw_scale ? w->raw_scale[i] : w->o.scale[i];
    if (p->traits->takes & TAKES_NUMBER && !(w->o.prior[i] >= RE(pow2)(-EXP_MAX / 2))) return 0; /* it is a factor */
    if (vanishes == BY_CANCELLING) return is_log(p->kind[0]) || RE(is_ordinary)(p->kind[0], raw) || RE(is_lifted)(w, raw);
    const int same = p->paired ? equal && raw == w->o.prior[i] : raw == (is_log(p->kind[0]) ? (T)0 : (T)1);
    return g == 0 && same && (a == SCALE || w->o.a[i] == w->o.b[i]);
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
    if (p->constant_of_element != 0) add_wide(&apart[0], wide_times(wide_of(p->constant_of_element), c.weight));
    if (p->full && RE(add_constants)[p->loss]) add_wide(&apart[0], wide_times(constant_of_number(p, RE(row_at)(w, i), RE(col_at)(w, i)), c.weight));
    if (p->constant) add_wide(&apart[1], c.gradient[SCALE]), add_wide(&apart[2], c.gradient[PRIOR]);
}

/* ---- terms with weights ---------------------------------------------------------------------------------------------------- */

/* Whether the rows of floats become doubles, by themselves or times beta */
static int RE(keeps_doubles)(const plan *p) { return REAL == 32 && (p->reduction != NONE || p->join.value.data); }

/* The rule at the lower end of T's range: a number below `lowest` has lost digits, which show if it is lifted, by a factor
 * that is still to come; unless it is 0 by right, and differs from nothing */
INLINE I RE(is_lost)(T size, T lowest, I lifted, I differs) { return (size < lowest) & lifted & differs; }

/* A term beyond LARGE, or one that has lost digits; of floats that are reduced, to a double, their product too */
INLINE I RE(term_is_odd)(T term, T weight, I differs, I reduced) {
    const T size = RE(magnitude)(term), by = RE(magnitude)(weight), product = RE(magnitude)(term * weight);
    const I counts = reduced & (weight != 0);
    /* not exact, as a float; of doubles, too large for their sum */
    const I far_weight = REAL == 32 ? (by < SMALLEST_NORMAL) & (weight != 0) : by >= RE(pow2)(EXP_MAX - 43);
    return (!((size < LARGE) & (product < LARGE))) | far_weight
           | RE(is_lost)(size, SMALLEST_NORMAL, (by > 1) | counts, differs)
           | RE(is_lost)(product, SMALLEST_NORMAL, counts, term != 0);
}

/* Whether a term has anything to be made of: r or, where it is 0 with equal scales, the scale's distance from the prior's is not 0 */
typedef struct { const T *a, *b, *scale, *prior; T neutral; int by_prior, fades; } RE(origin);

static RE(origin) RE(origin_of)(const RE(work) *w) {
    const plan *p = w->p;
    return (RE(origin)){w->o.a, w->o.b, p->traits->of_scale == AT_PRIOR && !p->constant ? w->o.scale : NULL, w->o.prior, is_log(p->kind[0]) ? 0 : 1,
                        p->kind[0] == p->kind[1], p->traits->of_scale == FADING};
}

INLINE I RE(differs)(RE(origin) x, ptrdiff_t i) {
    return x.fades | (x.a[i] != x.b[i]) | (x.scale && x.scale[i] != (x.by_prior ? x.prior[i] : x.neutral));
}

/* The tile's terms times their weights; those that are odd, and all of a special scale, are marked, and become 0 like their weights */
static void RE(weigh)(RE(work) *w, ptrdiff_t n) {
    T *term = w->o.term;
    const T *weight = w->weight;
    const RE(origin) origin = RE(origin_of)(w);
    const I reduced = RE(keeps_doubles)(w->p);
    I odd = 0;
#define IS_ODD(i, weight) RE(term_is_odd)(term[i], weight, RE(differs)(origin, i), reduced)
    for (ptrdiff_t i = 0; i < n; i++) odd |= RE(mask)(RE(term_is_odd)(term[i], weight[i], 1, reduced)); /* whatever it is made of */
    if (odd) {
        odd = 0;
        for (ptrdiff_t i = 0; i < n; i++) odd |= IS_ODD(i, weight[i]);
    }
    odd |= w->special;
    if (odd) {
        T *own = w->buffer[B_WEIGHT];
        if (weight != own) memcpy(own, weight, (size_t)n * sizeof *own);
        w->weight = weight = own;
        w->spread &= ~(1 << WEIGHT); /* what follows is this tile's */
        w->odd |= ODD_MARKS;
        for (ptrdiff_t i = 0; i < n; i++) {
            const int special = w->special && RE(scale_of)(w, i / w->tile.cols)->special;
            w->mark[i] = (special && RE(row_counts)(w, i / w->tile.cols)) || (IS_ODD(i, own[i]) && (w->p->constant || RE(may_be_finite)(w, i)));
            if (w->mark[i]) term[i] = own[i] = 0;
        }
    }
#undef IS_ODD
    for (ptrdiff_t i = 0; i < n; i++) term[i] *= weight[i];
}

static void RE(take_marked_apart)(RE(work) *w, wide_sum *apart, ptrdiff_t from, ptrdiff_t n) {
    if (w->odd & ODD_MARKS)
        for (ptrdiff_t i = from; i < from + n; i++)
            if (w->mark[i]) RE(take_apart)(w, apart, i);
}

/* ---- terms without, and squares ----------------------------------------------------------------------------------------------- */

/* Of scales in linear form gradients may be infinite where terms are not: where (r/v)^2, r^2/std^3, r^2, the KL's 1/precision^2 are, but from terms of 2^25 on
 * alone, as ordinary scales (scale.h) are no further than that from the ends of the range; log v takes away less than 2^24 from a sum */
static double RE(least_unsettled)(const plan *p, int want) {
    return want & WANT_SCALE && !is_log(p->kind[0]) ? 0x1p24 : (double)LARGE;
}

/* Sums that are reduced are doubles, which also hold what terms of float are too small to keep: from here on it does not show */
static double RE(least_settled)(const plan *p) {
    return RE(keeps_doubles)(p) && !p->constant ? 0x1p-120 * (double)p->columns : 0;
}

INLINE int RE(is_settled)(const RE(work) *w, double sum) { return (magnitude_f64(sum) < w->settled) & (magnitude_f64(sum) >= w->least); }

/* Whether a sum, or all lanes of one, are below that: then its smallest terms count */
static int RE(is_small_sum)(const RE(work) *w, const double *sum, int n) {
    int small = w->least > 0;
    for (int i = 0; i < n; i++) small &= !(magnitude_f64(sum[i]) >= w->least);
    return small;
}

static inline int RE(lanes_are_settled)(const RE(work) *w) {
    const double limit = w->settled, least = w->least, *sum = w->sum.hi;
    int64_t any = 0, counts = least > 0 ? 0 : 1;
    _Pragma("omp simd reduction(|:any, counts)") for (int l = 0; l < LANES; l++) {
        any |= mask_f64(!(magnitude_f64(sum[l]) < limit));
        counts |= mask_f64(magnitude_f64(sum[l]) >= least);
    }
    return any == 0 && counts != 0;
}

/* Terms of the tile from `from` on whose sum is not settled: the number that is apart, and 0 now. small: those that have lost digits too */
static double RE(take_odd_apart)(RE(work) *w, wide_sum *apart, ptrdiff_t from, ptrdiff_t n, int small) {
    const RE(origin) origin = RE(origin_of)(w);
    double out = 0;
    w->odd |= ODD_SCALE;
    for (ptrdiff_t i = from; i < from + n; i++) {
        const T size = RE(magnitude)(w->o.term[i]);
        if ((size < LARGE && !(small && size < SMALLEST_NORMAL && RE(differs)(origin, i))) || !RE(may_be_finite)(w, i)) continue;
        RE(take_apart)(w, apart, i);
        w->o.term[i] = 0, out++;
    }
    return out;
}

static double RE(take_all_apart)(RE(work) *w, wide_sum *apart, ptrdiff_t from, ptrdiff_t n) {
    for (ptrdiff_t i = from; i < from + n; i++) RE(take_apart)(w, apart, i);
    return (double)n;
}

/* Whether the n elements of row r from i on, and its scale, may be numbers: else a sum that is none is right */
static int RE(all_may_be_numbers)(const RE(work) *w, ptrdiff_t r, ptrdiff_t i, ptrdiff_t n) {
    int all = RE(scale_of)(w, r)->limit != 2;
    for (ptrdiff_t k = i; k < i + n; k++)
        all &= w->stored ? RE(stored_is_number)(w, k) : RE(may_be_numbers)(w, k);
    return all;
}

/* A piece of row r whose squares are infinite, or under a special scale, from i on: 0 then, and its elements are apart */
static double RE(settle_squares)(RE(work) *w, ptrdiff_t r, ptrdiff_t i, ptrdiff_t n, wide_sum *apart, double *squares) {
    const int special = RE(scale_of)(w, r)->special;
    if ((*squares < (double)INFINITE && !special) || (!special && !RE(all_may_be_numbers)(w, r, i, n))) return 0;
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

/* The tile's elements that min_var lifts, by the floor itself, in double: by the loop of one element, or as squares */
static void RE(lift_by_loop)(RE(work) *w) {
    const plan *p = w->p;
    for (ptrdiff_t i = 0; i < w->o.n; i++) {
        if (!RE(is_lifted)(w, w->raw_scale[i])) continue;
        const int takes = p->traits->takes;
        wide_element e = {.r = wide_of((double)(w->o.a[i] - w->o.b[i])), .x = takes & TAKES_X ? w->o.x[i] : (T)0,
                          .prior = takes & TAKES_NUMBER ? w->o.prior[i] : (T)0, .lost = takes & TAKES_LOST ? w->o.lost[i] : (T)0};
        floor_of(p, &e);
        const wide_point y = by_loop(p, &e);
        w->o.term[i] = (T)double_of(y.term); /* infinite: to be taken apart */
        if (w->want & WANT_FIRST) w->o.first[i] = w->o.sign * (T)double_of(y.first);
    }
}


SELDOM void RE(lift)(RE(work) *w) {
    const row_scale *s = &w->floor;
    if (!w->p->traits->squares) {
        RE(lift_by_loop)(w);
        return;
    }
    const T *raw = w->raw_scale, *a = w->o.a, *b = w->o.b, sign = w->o.sign;
    for (ptrdiff_t i = 0; i < w->o.n; i++) {
        if (!RE(is_lifted)(w, raw[i])) continue;
        const double r = (double)(a[i] - b[i]), z = (r * s->a) * s->b;
        w->o.term[i] = s->special ? INFINITE : (T)(s->base + squares_of(s, (0.5 * z) * z)); /* infinite: to be taken apart */
        if (w->want & WANT_FIRST) w->o.first[i] = s->special ? INFINITE : sign * (T)(((z * s->first_slope) * s->a) * s->b);
    }
}

/* Terms of x x_scale that T has rounded to nothing: to be taken apart */
static void RE(hide_rounded)(RE(work) *w) {
    for (ptrdiff_t i = 0; i < w->o.n && w->rounded; i++) w->o.term[i] = w->is_rounded[i] ? INFINITE : w->o.term[i];
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

/* What a tile's gradients g of one argument are judged by: they are 0 by right where a = b; NULL: nowhere */
typedef struct { const T *g, *weight, *a, *b; T gain, lowest; } RE(judged);

INLINE I RE(suspect_of)(RE(judged) x, ptrdiff_t i, int weighted, int compared) {
    const T size = RE(magnitude)(x.g[i]);
    const I lifted = (weighted ? RE(magnitude)(x.weight[i]) : (T)1) * x.gain > 1;
    const I differs = compared ? (x.g[i] != 0) | (x.a[i] != x.b[i]) : 1;
    return (!(size < INFINITE)) | RE(is_lost)(size, x.lowest, lifted, differs);
}

static I RE(is_suspect)(RE(judged) x, ptrdiff_t i) { return RE(suspect_of)(x, i, x.weight != NULL, x.a != NULL); }

/* (A loop that asks for each element what there is does not become vectors.) */
static I RE(any_suspect)(RE(judged) x, ptrdiff_t n) {
    I any = 0;
#define LOOK(weighted, compared) for (ptrdiff_t i = 0; i < n; i++) any |= RE(mask)(RE(suspect_of)(x, i, weighted, compared))
    if (x.weight && x.a)
        LOOK(1, 1);
    else if (x.weight)
        LOOK(1, 0);
    else if (x.a)
        LOOK(0, 1);
    else
        LOOK(0, 0);
#undef LOOK
    return any;
}

/* Which elements may have come out wrong; 0: none. Where scales are ordinary, and the factor is at most 1, this takes no
 * time: a gradient leaves the range only with its term, which `odd` tells. */
static __attribute__((noinline)) int RE(suspects)(const RE(work) *w, int a, const T *g, ptrdiff_t at, ptrdiff_t n,
                                                  unsigned char *suspect) {
    const plan *p = w->p;
    const int direct = p->collect[a].mode == DIRECT; /* sums have their factors later, as doubles */
    const int x_scaled = p->x_scale != 1 && a == x_of(p) && direct, late = w->late[a >= SCALE] != 1, all = direct && !RE(has_factor)(p);
    const int has_r = a <= SECOND && !w->stored;
    const T factor = direct ? RE(magnitude)((T)p->factor) : (T)1, in_loop = late ? (T)1 : factor;
    const T x_scale = x_scaled ? RE(magnitude)((T)p->x_scale) : (T)1;

    /* below which the loop's factor has lifted a subnormal, or the factors to come make one, before a weight lifts it */
    const T shrinks = (late && factor < 1 ? factor : (T)1) * (x_scale < 1 ? x_scale : (T)1);
    RE(judged) x = {.g = g, .weight = w->weight ? w->weight + at : NULL,
                    .gain = (factor > 1 ? factor : (T)1) * (x_scale > 1 ? x_scale : (T)1),
                    .lowest = SMALLEST_NORMAL * (in_loop > 1 ? in_loop : (T)1) / shrinks};
    if (has_r && p->traits->of_scale != FADING) x.a = w->o.a + at, x.b = w->o.b + at;
    const int lifts = x.weight || (x.gain > 1 && !w->stored);
    if (!lifts) x = (RE(judged)){.g = g, .gain = 1};
    const I any = all | w->special | (w->odd & (ODD_DIFFERENCE | ODD_MARKS | ODD_ROUNDED)) | RE(any_suspect)(x, n);
    if (!any) return x.weight != NULL || x_scaled; /* the product may leave the range */

    I lost = 0;
    if (has_r)
        for (ptrdiff_t i = at; i < at + n; i++) lost |= RE(is_subnormal)(w->o.a[i] - w->o.b[i]);
    for (ptrdiff_t i = at; i < at + n && p->traits->fades && !w->stored; i++) lost |= RE(falls_short)(w, i);
    for (ptrdiff_t i = 0; i < n; i++) { /* by what an element is alone: the rest of the tile does not matter */
        const int by_right = RE(magnitude)(g[i]) < SMALLEST_NORMAL && RE(is_small_by_right)(w, a, at + i, g[i]);
        suspect[i] = all || (RE(is_suspect)(x, i) && !by_right) || (lost && RE(has_lost_digits)(w, at + i))
                     || (w->special && RE(scale_of)(w, (at + i) / w->tile.cols)->special) || (w->odd & ODD_MARKS && w->mark[at + i])
                     || (w->odd & ODD_ROUNDED && w->is_rounded[at + i]);
    }
    return 2;
}

/* Whether the gradient of r under a constant scale is NaN, as r or its scale is */
static int RE(is_nan_by_right)(const RE(work) *w, ptrdiff_t i) {
    const double slope = RE(scale_of)(w, i / w->tile.cols)->first_slope;
    return slope != slope || (!w->stored && (w->o.a[i] != w->o.a[i] || w->o.b[i] != w->o.b[i]));
}

/* ... formed again. `found`: what `suspects` returned; 1 if it marked none */
SELDOM void RE(mend)(const RE(work) *w, int a, T *g, ptrdiff_t at, ptrdiff_t n, const unsigned char *suspect, int found) {
    const plan *p = w->p;
    const wide factor = p->collect[a].mode == DIRECT ? careful_factor(p, a) : wide_of(1);
    for (ptrdiff_t i = 0; i < n; i++) {
        const int infinite = !(RE(magnitude)(g[i]) < INFINITE);
        if (!(infinite || (found > 1 && suspect[i]))) continue;
        if (p->constant ? RE(is_nan_by_right)(w, at + i) : !RE(may_be_finite)(w, at + i)) continue;
        const careful c = careful_at(p, RE(row_at)(w, at + i), RE(col_at)(w, at + i));
        g[i] = (T)double_of(wide_times(c.gradient[a], factor));
    }
}

#endif
