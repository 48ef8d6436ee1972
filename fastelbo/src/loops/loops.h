/* The one elementwise loop, instantiated for every loss, scale and set of gradients. Included once per type (real.h).
 * No output lies over an input (work.h). */
#ifndef LOOPS_H
#define LOOPS_H

#include "../losses/losses.h"
#include "streams.h"

typedef struct {
    const T *a, *b, *scale, *prior;              /* r = a - b */
    T *term, *first, *scale_gradient, *prior_gradient;
    T sign, factor; /* of the gradient `first`, factor by a, -factor by b; and of the scales' gradients */
    ptrdiff_t n;
    const T *x, *lost; /* of a loss that takes them: x; what r is rounded by */
    const RE(parameters) *parameters;
} RE(operands);

#if REAL == 64 /* once */
enum { WANT_FIRST = 1, WANT_SCALE = 2 }; /* the scale's and the prior scale's come together */
enum { ANY, ORDINARY, STREAMED, N_WAYS }; /* for any scales; for ordinary ones (scale.h); the same, streamed. NULL: there is no such loop */
#endif
typedef I (*RE(loop))(const RE(operands) *);

/* ...: what is done for element j; it writes to line_first[k] and so on: here the outputs themselves, in streams.h a line of each */
#define BODY(...) { const ptrdiff_t k = j; (void)k; __VA_ARGS__ }
#define IN_ORDER(...) _Pragma("omp simd reduction(|:bad)") for (ptrdiff_t j = 0; j < o->n; j++) BODY(__VA_ARGS__)

/* Elements from x to the next cache line; a line holds LANES */
static inline ptrdiff_t RE(to_line)(const T *x) { return (ptrdiff_t)(-((uintptr_t)x / sizeof *x) % LANES); }

/* By a product, so that NaN keeps its sign; of a constant -1 gcc makes a negation */
static __attribute__((noinline)) void RE(negate)(T *restrict y, const T *restrict x, ptrdiff_t n) {
    const volatile T hidden = -1;
    const T minus = hidden;
    ptrdiff_t i = 0;
    for (; i + 2 * LANES <= n; i += 2 * LANES)
        for (int l = 0; l < 2 * LANES; l++) y[i + l] = minus * x[i + l];
    for (; i < n; i++) y[i] = minus * x[i];
}

/* The same in vectors alone: from where `a` meets a cache line, as the others then mostly do too (a vector across two lines costs two
 * misses, 40 % of the time out of cache); before that one vector from 0, and after it one that ends at n. These may overlap with the
 * rest, to the same results: no output is an input. */
#define IN_VECTORS(...)                                                                                                        \
    do {                                                                                                                       \
        const ptrdiff_t n = o->n, lead = RE(to_line)(o->a);                                                                     \
        const ptrdiff_t whole = n > lead ? (n - lead) & -(ptrdiff_t)LANES : 0, rest = n < LANES ? 0 : n;                       \
        for (int part = lead ? 0 : 1; part < 3 && n >= LANES; part++) {                                                        \
            ptrdiff_t from = part == 0 ? 0 : part == 1 ? lead : n - LANES;                                                     \
            ptrdiff_t count = part == 1 ? whole : part == 0 || lead + whole < rest ? LANES : 0;                                \
            count &= -(ptrdiff_t)LANES; /* compilers see: no remainder */                                                      \
            _Pragma("omp simd reduction(|:bad)") for (ptrdiff_t j = from; j < from + count; j++) BODY(__VA_ARGS__)          \
        }                                                                                                                      \
        for (ptrdiff_t j = rest; j < n; j++) BODY(__VA_ARGS__)                                                              \
    } while (0)

/* r so small that a product with it may lose digits, before another brings it back */
INLINE I RE(is_subnormal)(T r) {
    return RE(between)(RE(magnitude)(r), RE(real)(1), RE(real)(RE(bits)(SMALLEST_NORMAL) - 1));
}

/* ... or 0, which takes less to see */
INLINE I RE(is_small)(T r) { return RE(magnitude)(r) < SMALLEST_NORMAL; }

/* `unfit`, a mask: the loop cannot answer for this element. It returns nonzero if there was one, or if there seemed to be: whoever
 * called it looks again (rows.h). */
#define LOOP(order, name, want, term_of_r, unfit)                                                         \
    static I RE(name)(const RE(operands) * o) {                                                           \
        const T *a = o->a, *b = o->b, *q = o->scale, *p = o->prior, *own_x = o->x, *lost = o->lost;       \
        const RE(parameters) parameters = *o->parameters;                                                 \
        T *term = o->term, *first = o->first, *scale = o->scale_gradient, *prior = o->prior_gradient;     \
        T *line_first = first, *line_scale = scale, *line_prior = prior;                                  \
        T sign = o->sign, factor = o->factor;                                                             \
        I bad = 0;                                                                                        \
        enum { wanted = want };                                                                           \
        (void)sign, (void)factor, (void)q, (void)p, (void)line_first, (void)line_scale, (void)line_prior; \
        (void)own_x, (void)lost, (void)parameters;                                                        \
        order(T r = a[j] - b[j];                                                                          \
              RE(point) x = term_of_r;                                                                    \
              x.first *= sign, x.scale *= factor, x.prior *= factor;                                      \
              bad |= unfit;                                                                               \
              term[j] = x.term;                                                                           \
              if (wanted & WANT_FIRST) line_first[k] = x.first;                                           \
              if (wanted & WANT_SCALE) line_scale[k] = x.scale;                                           \
              if ((wanted & WANT_SCALE) && PAIRED) line_prior[k] = x.prior;);                             \
        return bad;                                                                                       \
    }

/* What a loop for any scales cannot answer for: no scale at all; a gradient that may have lost digits, or left the range of
 * T. Where it goes element by element, as machines without a conversion from int64_t to double make it do, there is another
 * loop that looks, in vectors (rows.h). */
#undef LOOKS
#if REAL == 32 || !defined(__SSE2__) || defined(__AVX512DQ__)
#define LOOKS 1
#else
#define LOOKS 0
#endif
#define IS_NO_SCALE(KIND_, raw) ((KIND_) == LOGVAR || (KIND_) == LOGSTD ? 0 : (raw) <= 0)
#define MAY_BE_WRONG (wanted & WANT_FIRST ? RE(is_small)(r) : 0) | (wanted ? RE(is_infinite_sum)(wanted, PAIRED, x) : 0)
#define DOUBTS(no_scale) (LOOKS ? RE(mask)((no_scale) | MAY_BE_WRONG) : 0)
INLINE I RE(is_infinite_sum)(int wanted, int paired, RE(point) x) {
    T sum = wanted & WANT_FIRST ? x.first : (T)0;
    if (wanted & WANT_SCALE) sum = wanted & WANT_FIRST ? sum + x.scale : x.scale;
    if ((wanted & WANT_SCALE) && paired) sum += x.prior;
    return sum - sum != 0;
}

#if STREAMS
#define STREAMED_LOOP(name, want, term_of_r, unfit) LOOP(IN_LINES, name##_streamed, want, term_of_r, unfit)
#define IF_STREAMED(name) RE(name##_streamed)
#else
#define STREAMED_LOOP(name, want, term_of_r, unfit)
#define IF_STREAMED(name) NULL
#endif

#undef EACH_SCALE
#define EACH_SCALE(X) X(VAR, var) X(STD, std) X(LOGVAR, logvar) X(LOGSTD, logstd) X(PRECISION, precision)

static int RE(is_ordinary)(int kind, T raw) {
    switch (kind) {
#define CASE(SCALE_, s) case SCALE_: return RE(ordinary_##s)(raw) != 0;
        EACH_SCALE(CASE)
#undef CASE
    }
    return 0;
}

/* ---- one scale -------------------------------------------------------------------------------------------------- */

#define PAIRED 0
/* Element j, of this scale and number */
#define POINT_OWN(LOSS_, loss, s, raw, number, ordinary) RE(loss##_##s)(r, raw, ordinary)
#define POINT_FAMILY(LOSS_, loss, s, raw, number, ordinary)                                                                          \
    RE(location_##s)(RE(loss), (RE(sample)){r, LOSSES[LOSS_].takes & TAKES_X ? own_x[j] : (T)0, TAKES(LOSS_) ? number : (T)0, parameters}, \
                     raw, ordinary, LOSSES[LOSS_].adds_log)
#define POINT_NUMBERED(LOSS_, loss, s, raw, number, ordinary) RE(loss##_##s)(r, raw, number, ordinary)
#define POINT_BINNED(LOSS_, loss, s, raw, number, ordinary) \
    RE(loss##_##s)(r, lost[j], raw, RE(bin_of)(parameters.of[0]), own_x[j] < parameters.of[1], own_x[j] > parameters.of[2])
#define TAKES(LOSS_) (LOSSES[LOSS_].takes & TAKES_NUMBER)
/* An ordinary scale is enough, but for two products of a subnormal r */
#define UNFIT_NUMBERED(LOSS_, loss, SCALE_, s, raw, number) RE(mask)(!RE(ordinary_##loss##_##s)(r, raw, number))
#define UNFIT_FAMILY UNFIT_OWN
#define UNFIT_OWN(LOSS_, loss, SCALE_, s, raw, number)                                                                      \
    RE(mask)(!RE(ordinary_##s)(raw)) | (TAKES(LOSS_) ? RE(mask)(!(number > 0)) : 0) | ((LOSSES[LOSS_].two_products >> SCALE_ & 1) && (wanted & WANT_FIRST) ? RE(mask)(RE(is_small)(r)) : 0)
#define ANY_LOOP(maths, LOSS_, loss, SCALE_, s, want)                                                                   \
    LOOP(IN_ORDER, loop_##loss##_##s##_##want##_any, want, POINT_##maths(LOSS_, loss, s, q[j], p[j], 0),          \
         DOUBTS(IS_NO_SCALE(SCALE_, q[j]) | (TAKES(LOSS_) ? p[j] < SMALLEST_NORMAL : 0) | (LOSSES[LOSS_].fades && wanted ? r - r != 0 : 0)))
#define ORDINARY_LOOP(maths, LOSS_, loss, SCALE_, s, want)                                                              \
    LOOP(IN_VECTORS, loop_##loss##_##s##_##want##_ordinary, want, POINT_##maths(LOSS_, loss, s, q[j], p[j], 1),         \
         UNFIT_##maths(LOSS_, loss, SCALE_, s, q[j], p[j]))
#define GRADIENT_LOOPS(maths, LOSS_, loss, SCALE_, s, want) \
    ORDINARY_LOOP(maths, LOSS_, loss, SCALE_, s, want)      \
    STREAMED_LOOP(loop_##loss##_##s##_##want, want, POINT_##maths(LOSS_, loss, s, q[j], p[j], 1), UNFIT_##maths(LOSS_, loss, SCALE_, s, q[j], p[j]))
#define ORDINARY_LOOPS(maths, LOSS_, loss, SCALE_, s)                                                       \
    ORDINARY_LOOP(maths, LOSS_, loss, SCALE_, s, 0) GRADIENT_LOOPS(maths, LOSS_, loss, SCALE_, s, 1)        \
    GRADIENT_LOOPS(maths, LOSS_, loss, SCALE_, s, 2) GRADIENT_LOOPS(maths, LOSS_, loss, SCALE_, s, 3)
/* Long ones: with all gradients or none */
#define LONG_LOOPS(maths, LOSS_, loss, SCALE_, s) ANY_LOOP(maths, LOSS_, loss, SCALE_, s, 0) ANY_LOOP(maths, LOSS_, loss, SCALE_, s, 3)
#define OF_FORM_OWN(maths, LOSS_, loss, SCALE_, s) \
    LONG_LOOPS(maths, LOSS_, loss, SCALE_, s)      \
    ANY_LOOP(maths, LOSS_, loss, SCALE_, s, 1) ANY_LOOP(maths, LOSS_, loss, SCALE_, s, 2) ORDINARY_LOOPS(maths, LOSS_, loss, SCALE_, s)
#define OF_FORM_FAMILY OF_FORM_OWN
#define OF_FORM_NUMBERED(maths, LOSS_, loss, SCALE_, s) LONG_LOOPS(maths, LOSS_, loss, SCALE_, s) ORDINARY_LOOPS(maths, LOSS_, loss, SCALE_, s)
#define OF_FORM_BINNED LONG_LOOPS
#define OF_FORM(maths, LOSS_, loss, SCALE_, s) OF_FORM_##maths(maths, LOSS_, loss, SCALE_, s)
/* Without a form of the scale: for any arguments, for ordinary ones, streamed */
#define FORMLESS(loss, want)                                                                            \
    LOOP(IN_VECTORS, loop_##loss##_##want##_any, want, RE(loss)(r, q[j], 0), 0)                         \
    LOOP(IN_VECTORS, loop_##loss##_##want##_ordinary, want, RE(loss)(r, q[j], 1), RE(mask)(x.bad))
#define FORMLESS_GRADIENT(loss, want) \
    FORMLESS(loss, want) STREAMED_LOOP(loop_##loss##_##want, want, RE(loss)(r, q[j], 1), RE(mask)(x.bad))
#define OF_NO_FORM(LOSS_, loss) FORMLESS(loss, 0) FORMLESS_GRADIENT(loss, 1) FORMLESS_GRADIENT(loss, 2) FORMLESS_GRADIENT(loss, 3)
#define LOSS(NAME, name, maths, forms_, ...) EACH_FORM_##forms_(OF_FORM, maths, NAME, name) WITHOUT_FORM_##forms_(OF_NO_FORM, NAME, name)
EACH_LOSS(LOSS)
#undef LOSS
#undef PAIRED

static const RE(loop) RE(one_scale)[N_LOSSES][N_SCALES][4][N_WAYS] = {
#define WAYS(name, any, want, streamed) {RE(name##_##any##_any), RE(name##_##want##_ordinary), streamed}
#define GRADIENT_WAYS(name, any, want) WAYS(name, any, want, IF_STREAMED(name##_##want))
#define ROW_OWN(name) {WAYS(name, 0, 0, NULL), GRADIENT_WAYS(name, 1, 1), GRADIENT_WAYS(name, 2, 2), GRADIENT_WAYS(name, 3, 3)}
#define ROW_FAMILY ROW_OWN
#define ROW_NUMBERED(name) {WAYS(name, 0, 0, NULL), GRADIENT_WAYS(name, 3, 1), GRADIENT_WAYS(name, 3, 2), GRADIENT_WAYS(name, 3, 3)}
#define ROW_BINNED(name) {{RE(name##_0_any)}, {RE(name##_3_any)}, {RE(name##_3_any)}, {RE(name##_3_any)}}
#define ROW(maths, LOSS_, loss, SCALE_, s) [SCALE_] = ROW_##maths(loop_##loss##_##s),
#define FORMLESS_ROW(LOSS_, loss) [NO_FORM] = ROW_OWN(loop_##loss),
#define LOSS(NAME, name, maths, forms_, ...) [NAME] = {EACH_FORM_##forms_(ROW, maths, NAME, name) WITHOUT_FORM_##forms_(FORMLESS_ROW, NAME, name)},
    EACH_LOSS(LOSS)
#undef LOSS
};

/* What `full` adds to terms of a loss with a number for each element. Of one number for all it is found once */
#define CONSTANTS_OWN(loss)
#define CONSTANTS_FAMILY(loss)
#define CONSTANTS_BINNED(loss)
#define CONSTANTS_NUMBERED(loss)                                                                          \
    static void RE(add_##loss##_constants)(T *restrict term, const T *restrict number, int same, ptrdiff_t n) { \
        if (same) {                                                                                       \
            const T constant = RE(loss##_constant)(*number);                                              \
            for (ptrdiff_t i = 0; i < n; i++) term[i] += constant;                                        \
        } else {                                                                                          \
            for (ptrdiff_t i = 0; i < n; i++) term[i] += RE(loss##_constant)(number[i]);                  \
        }                                                                                                 \
    }
#define LOSS(NAME, name, maths, ...) CONSTANTS_##maths(name)
EACH_LOSS(LOSS)
#undef LOSS

static void (*const RE(add_constants)[N_LOSSES])(T *, const T *, int, ptrdiff_t) = {
#define ENTRY_OWN(NAME, name)
#define ENTRY_FAMILY(NAME, name)
#define ENTRY_BINNED(NAME, name)
#define ENTRY_NUMBERED(NAME, name) [NAME] = RE(add_##name##_constants),
#define LOSS(NAME, name, maths, ...) ENTRY_##maths(NAME, name)
    EACH_LOSS(LOSS)
#undef LOSS
};

/* ---- two scales --------------------------------------------------------------------------------------------------- */

#define LINEAR_PAIR(q_, p_, slope_q, slope_p)                                                                       \
    INLINE RE(point) RE(pair_##q_##_##p_)(T r, T raw_q, T raw_p) {                                                  \
        return RE(kl_linear)(r, RE(fraction_##q_)(raw_q, 0), slope_q, RE(fraction_##p_)(raw_p, 0), slope_p);        \
    }
#define MIXED_PAIR(q_, p_)                                                         \
    INLINE RE(point) RE(pair_##q_##_##p_)(T r, T raw_q, T raw_p) {                 \
        return RE(kl_sides)(r, RE(side_##q_)(raw_q), RE(side_##p_)(raw_p));        \
    }
#define LOG_PAIR(Q_, q_, slope_q, P_, p_, slope_p)                                 \
    INLINE RE(point) RE(pair_##q_##_##p_)(T r, T raw_q, T raw_p) {                 \
        RE(point) x = RE(kl_logs)(r, raw_q, slope_q, raw_p, slope_p);              \
        RE(point) y = RE(kl_sides)(r, RE(side_##q_)(raw_q), RE(side_##p_)(raw_p)); \
        return RE(either)(!x.bad, x, y);                                           \
    }
#define LIKE_PAIR(Q_, q_, slope)                                                                                    \
    INLINE RE(point) RE(pair_##q_##_##q_)(T r, T raw_q, T raw_p) {                                                  \
        RE(point) x = RE(kl_##q_##_##q_)(r, raw_q, raw_p);                                                          \
        RE(point) y = RE(kl_linear)(r, RE(fraction_##q_)(raw_q, 0), slope, RE(fraction_##q_)(raw_p, 0), slope);     \
        return RE(either)(!x.bad, x, y);                                                                            \
    }
/* X(Q, q, slope) for all in linear form; slope = raw d log v/d raw. X(q, p, its slope, p's) for all pairs of different ones */
#define EACH_LINEAR(X) X(VAR, var, 1) X(STD, std, 2) X(PRECISION, precision, -1)
#define EACH_LINEAR_PAIR(X)                                                         \
    X(var, std, 1, 2) X(var, precision, 1, -1) X(std, var, 2, 1)                    \
    X(std, precision, 2, -1) X(precision, var, -1, 1) X(precision, std, -1, 2)
#define LOG_WITH_LINEAR(q_) MIXED_PAIR(q_, var) MIXED_PAIR(q_, std) MIXED_PAIR(q_, precision)
#define LINEAR_WITH_LOG(p_) MIXED_PAIR(var, p_) MIXED_PAIR(std, p_) MIXED_PAIR(precision, p_)
/* X(Q, q, d logvar/d raw of q, P, p, the same of p) */
#define EACH_LOG_PAIR(X)                                                            \
    X(LOGVAR, logvar, 1, LOGVAR, logvar, 1) X(LOGVAR, logvar, 1, LOGSTD, logstd, 2) \
    X(LOGSTD, logstd, 2, LOGVAR, logvar, 1) X(LOGSTD, logstd, 2, LOGSTD, logstd, 2)
EACH_LINEAR(LIKE_PAIR) EACH_LINEAR_PAIR(LINEAR_PAIR)
LOG_WITH_LINEAR(logvar) LOG_WITH_LINEAR(logstd)
LINEAR_WITH_LOG(logvar) LINEAR_WITH_LOG(logstd)
EACH_LOG_PAIR(LOG_PAIR)

#define PAIRED 1
#define TWO_SCALES(Q_, q_, P_, p_)                                                             \
    LOOP(IN_ORDER, loop_pair_##q_##_##p_##_0, 0, RE(pair_##q_##_##p_)(r, q[j], p[j]),          \
         DOUBTS(IS_NO_SCALE(Q_, q[j]) | IS_NO_SCALE(P_, p[j])))                                \
    LOOP(IN_ORDER, loop_pair_##q_##_##p_##_3, 3, RE(pair_##q_##_##p_)(r, q[j], p[j]),          \
         DOUBTS(IS_NO_SCALE(Q_, q[j]) | IS_NO_SCALE(P_, p[j])))
#define WITH_EACH_PRIOR(Q_, q_)                                                                            \
    TWO_SCALES(Q_, q_, VAR, var) TWO_SCALES(Q_, q_, STD, std) TWO_SCALES(Q_, q_, PRECISION, precision)     \
    TWO_SCALES(Q_, q_, LOGVAR, logvar) TWO_SCALES(Q_, q_, LOGSTD, logstd)
EACH_SCALE(WITH_EACH_PRIOR)
/* Pairs that may be ordinary, by a function that says whether they are */
#define ORDINARY_PAIR(q_, p_, of_pair)                                                            \
    LOOP(IN_VECTORS, loop_pair_##q_##_##p_##_0_ordinary, 0, of_pair, RE(mask)(x.bad))             \
    LOOP(IN_VECTORS, loop_pair_##q_##_##p_##_3_ordinary, 3, of_pair, RE(mask)(x.bad))             \
    STREAMED_LOOP(loop_pair_##q_##_##p_##_3, 3, of_pair, RE(mask)(x.bad))
#define TWO_LOGS(Q_, q_, slope_q, P_, p_, slope_p) ORDINARY_PAIR(q_, p_, RE(kl_logs)(r, q[j], slope_q, p[j], slope_p))
#define TWO_ALIKE(Q_, q_, slope) ORDINARY_PAIR(q_, q_, RE(kl_##q_##_##q_)(r, q[j], p[j]))
EACH_LINEAR(TWO_ALIKE)
EACH_LOG_PAIR(TWO_LOGS)
#undef PAIRED

static const RE(loop) RE(two_scales)[N_SCALES][N_SCALES][2][N_WAYS] = {
#define CELL(q_, P_, p_) [P_] = {{RE(loop_pair_##q_##_##p_##_0)}, {RE(loop_pair_##q_##_##p_##_3)}},
#define PRIOR_ROW(Q_, q_) [Q_] = {CELL(q_, VAR, var) CELL(q_, STD, std) CELL(q_, LOGVAR, logvar) CELL(q_, LOGSTD, logstd) CELL(q_, PRECISION, precision)},
    EACH_SCALE(PRIOR_ROW)
#define ORDINARY_CELL(Q_, q_, slope_q, P_, p_, slope_p)             \
    [Q_][P_][0][ORDINARY] = RE(loop_pair_##q_##_##p_##_0_ordinary), \
    [Q_][P_][1][ORDINARY] = RE(loop_pair_##q_##_##p_##_3_ordinary), \
    [Q_][P_][1][STREAMED] = IF_STREAMED(loop_pair_##q_##_##p_##_3),
#define ALIKE_CELL(Q_, q_, slope) ORDINARY_CELL(Q_, q_, slope, Q_, q_, slope)
    EACH_LINEAR(ALIKE_CELL) EACH_LOG_PAIR(ORDINARY_CELL)
};

#undef LOOP
#undef STREAMED_LOOP
#undef IF_STREAMED
#undef OF_FORM
#undef OF_FORM_OWN
#undef OF_FORM_FAMILY
#undef OF_FORM_NUMBERED
#undef OF_FORM_BINNED
#undef LONG_LOOPS
#undef ORDINARY_LOOPS
#undef GRADIENT_LOOPS
#undef ORDINARY_LOOP
#undef ANY_LOOP
#undef CONSTANTS_OWN
#undef CONSTANTS_FAMILY
#undef CONSTANTS_NUMBERED
#undef CONSTANTS_BINNED
#undef ENTRY_OWN
#undef ENTRY_FAMILY
#undef ENTRY_NUMBERED
#undef ENTRY_BINNED
#undef IS_NO_SCALE
#undef MAY_BE_WRONG
#undef DOUBTS
#undef FORMLESS
#undef FORMLESS_GRADIENT
#undef FORMLESS_ROW
#undef OF_NO_FORM
#undef WAYS
#undef GRADIENT_WAYS
#undef ROW
#undef ROW_OWN
#undef ROW_FAMILY
#undef ROW_NUMBERED
#undef ROW_BINNED
#undef SHORT_ROW
#undef LINEAR_PAIR
#undef LOG_PAIR
#undef MIXED_PAIR
#undef LIKE_PAIR
#undef ORDINARY_PAIR
#undef TWO_LOGS
#undef TWO_ALIKE
#undef ALIKE_CELL
#undef EACH_LINEAR
#undef EACH_LINEAR_PAIR
#undef ORDINARY_CELL
#undef TWO_SCALES
#undef WITH_EACH_PRIOR
#undef CELL
#undef PRIOR_ROW

/* ---- a scale that is constant along the event ------------------------------------------------------------------------- */

/* term = (r 2^k)^2/2, k from the scale, as two factors; d/dx = r 2^k slope 2^k. The factors are one for all n elements, or arrays. */
typedef struct { const T *a, *b, *slope; } RE(factors);

#if REAL == 64 /* once */
enum { ONLY_TERM, TERM_AND_FIRST, ONLY_FIRST };
#endif
#define SQUARES(name, at, what)                                                     \
    static void RE(name)(const RE(operands) * o, RE(factors) f) {                   \
        const T *x = o->a, *y = o->b, *fa = f.a, *fb = f.b, *fs = f.slope;          \
        T *term = o->term, *first = o->first, a = fa[0], b = fb[0], s = fs[0];      \
        I bad = 0;                                                                  \
        (void)term, (void)first, (void)s, (void)bad;                                \
        IN_VECTORS(T a_ = at ? fa[j] : a, b_ = at ? fb[j] : b, s_ = at ? fs[j] : s; \
                   T z = ((x[j] - y[j]) * a_) * b_;                                 \
                   if ((what) != ONLY_FIRST) term[j] = ((T)0.5 * z) * z;            \
                   if ((what) != ONLY_TERM) first[j] = ((z * s_) * a_) * b_;);      \
    }
#define EACH_SQUARES(X) X(squares_0, 0, ONLY_TERM) X(squares_1, 0, TERM_AND_FIRST) X(squares_2, 0, ONLY_FIRST) \
    X(squares_rows_0, 1, ONLY_TERM) X(squares_rows_1, 1, TERM_AND_FIRST) X(squares_rows_2, 1, ONLY_FIRST)
EACH_SQUARES(SQUARES)

static void (*const RE(squares)[2][3])(const RE(operands) *, RE(factors)) = {
#define ENTRY(name, at, what) [at][what] = RE(name),
    EACH_SQUARES(ENTRY)
#undef ENTRY
};
#undef SQUARES
#undef EACH_SQUARES

/* first = (a - b) c */
#define PAIRED 0
#define DIFFERENCES(order, name)                                                \
    static void RE(name)(const RE(operands) * o, T c) {                         \
        const T *x = o->a, *y = o->b;                                           \
        T *first = o->first, *line_first = first, *scale = NULL, *prior = NULL; \
        I bad = 0;                                                              \
        enum { wanted = WANT_FIRST };                                           \
        (void)bad, (void)line_first, (void)scale, (void)prior;                  \
        order(line_first[k] = (x[j] - y[j]) * c;);                              \
    }
DIFFERENCES(IN_VECTORS, differences_times)
#if STREAMS
DIFFERENCES(IN_LINES, differences_streamed)
#else
#define differences_streamed_f32 differences_times_f32
#define differences_streamed_f64 differences_times_f64
#endif
#undef DIFFERENCES
#undef PAIRED

#endif
