/* The state of a task, and what all its ways share: a tile is gathered, its gradients are handed out, its rows finished. Once per type
 * (real.h). */
#ifndef WORK_H
#define WORK_H

#include "../loops/shared.h"
#include "../sums/stored.h"
#include "careful.h"
#include "collect.h"
#include "constant.h"
#include "panels.h"

/* ---- the state of a task ------------------------------------------------------------------------------------------------- */

#if REAL == 64 /* once */
enum { N_BUFFERS = 14, MOST_SCALES = 64, MOST_ROWS = 512, ROWS_TOGETHER = 64 };
#define STRIP 2048      /* elements: first summed, then read again for their gradients */
#define STORED_COLUMNS 64 /* and more: of shorter rows, too much is left over from vectors */
#define FLAT_TILE 65536 /* elements, where a tile needs no buffer: what ends a tile lets the memory idle */
enum { B_FIRST, B_SECOND, B_SCALE, B_PRIOR, B_WEIGHT, B_RAW, B_SLOPE, B_X, B_LOST, B_TERM, G_FIRST, G_SECOND, G_SCALE, G_PRIOR };
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
    int unusual;            /* ... or under scales that are none, infinite or NaN */
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
    double squares_of_row[MOST_ROWS], part_of_row[PARTS_AT_ONCE]; /* also sums of terms; */
    /* of rows that end together: sums of doubles, their lower halves; of weights; gradients of the scale and the prior's */
    double total_of_row[ROWS_TOGETHER], low_of_row[ROWS_TOGETHER], weight_of_row[ROWS_TOGETHER], gradient_of_row[2][ROWS_TOGETHER];
    RE(panel) panel[N_ARGUMENTS + N_GRADS]; /* of those in p->panels */
    ptrdiff_t first_col, cols, stop;        /* a panel's columns; it has no rows from here on: the task's end, or that of rows left by across.h */
    RE(tile) ahead;                         /* rows whose squares are in squares_of_row (across.h) */
    ptrdiff_t last_row, odd_until;          /* of all tasks; before this some were odd */
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

/* Whether argument a, a scale or a number, may stay what it is for elements that `where` removes, which are r = 0 without a weight: it is one
 * for the whole call, and ordinary. (Not one of a pair, as the sign of what the weight makes 0 would depend on it.) */
static int RE(stays)(const RE(work) *w, int a) {
    const plan *p = w->p;
    if (p->paired || !p->traits->forms || !(p->single >> a & 1) || (a == SCALE && p->min_var > 0)) return 0;
    T x;
    RE(pack)(p->argument[a].type, &x, p->argument[a].data, 0, 1);
    return p->kind[a - SCALE] == NUMBER ? x >= SMALLEST_NORMAL && x < INFINITE : RE(is_ordinary)(p->kind[a - SCALE], x);
}

/* Whether all elements have the same */
static int RE(in_common)(const RE(work) *w, int a) {
    return w->p->single >> a & 1 && (!w->p->argument[WHERE].data || RE(stays)(w, a));
}

/* From so many elements on, a row is worth a call */
#undef WORTH_A_CALL
#define WORTH_A_CALL (4 * LANES)

/* The loop for ordinary scales where one is that of all elements, or of a row, or one number is; NULL: there is none. parts: calls of as many
 * elements each; NULL where the elements of a row are not together */
static RE(loop) RE(loop_of_shared)(const RE(work) *w, ptrdiff_t *parts) {
    const plan *p = w->p;
    if (p->paired || !p->traits->forms || (p->traits->takes & TAKES_NUMBER && !RE(in_common)(w, PRIOR))) return NULL;
    int one_scale = RE(in_common)(w, SCALE);
    if (!one_scale && parts && !p->argument[WHERE].data && w->tile.cols >= WORTH_A_CALL) {
        one_scale = 1, *parts = w->tile.rows;
        for (int i = p->row_dims; i < p->dims; i++) one_scale &= p->argument[SCALE].stride[i] == 0;
        if (!one_scale) *parts = 1;
    }
    return RE(shared)[one_scale ? SCALE_IN_COMMON : NUMBER_IN_COMMON][p->loss][p->kind[0]][w->want];
}

/* mend.h */
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
        add_pair(&p->totals[whose.task].usual[row % SUMS_OF_ROWS], total);
    } else if (p->other_rows || x->apart || p->reduction != NONE) {
        RE(finish_far_row)(p, whose, row, total, x->apart);
    } else {
        T value = (T)(REAL == 64 ? value_of(total) : total.hi);
        memcpy(p->value.data + row_offset(p, p->value.stride, row), &value, sizeof value);
    }
}

#endif
