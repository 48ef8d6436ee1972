/* The one elementwise loop, instantiated for every loss, scale and set of gradients. Included once per type (real.h).
 * An output may be one of the inputs: each element is read before it is written. */

typedef struct {
    const T *a, *b, *scale, *prior;              /* r = a - b */
    T *term, *first, *scale_gradient, *prior_gradient;
    T sign, opposite; /* of the gradient `first`: 1 by a, -1 by b; and the other. Products, so that NaN keeps its bits. */
    ptrdiff_t n;
} RE(operands);

#if REAL == 64 /* once */
enum { WANT_FIRST = 1, WANT_SCALE = 2 }; /* the scale's and the prior scale's come together */
#endif
typedef I (*RE(loop))(const RE(operands) *);

/* Returns nonzero if some scale was <= 0 */
#define LOOP(name, want, term_of_r)                                                                  \
    static I RE(name)(const RE(operands) * o) {                                                  \
        const T *a = o->a, *b = o->b, *q = o->scale, *p = o->prior;                              \
        T *term = o->term, *first = o->first, *scale = o->scale_gradient, *prior = o->prior_gradient; \
        ptrdiff_t n = o->n;                                                                      \
        T sign = o->sign;                                                                        \
        I bad = 0;                                                                               \
        (void)sign, (void)q, (void)p, (void)first, (void)scale, (void)prior;                                 \
        _Pragma("omp simd reduction(|:bad)") for (ptrdiff_t i = 0; i < n; i++) {                 \
            T r = a[i] - b[i];                                                                   \
            RE(point) x = term_of_r;                                                             \
            term[i] = x.term;                                                                    \
            if ((want) & WANT_FIRST) first[i] = sign * x.first;                                  \
            if ((want) & WANT_SCALE) scale[i] = x.scale;                                         \
            if (((want) & WANT_SCALE) && PAIRED) prior[i] = x.prior;                             \
            bad |= x.bad;                                                                        \
        }                                                                                        \
        return bad;                                                                              \
    }

#define EACH_SCALE(X) X(VAR, var) X(STD, std) X(LOGVAR, logvar) X(LOGSTD, logstd) X(PRECISION, precision)

/* ---- one scale -------------------------------------------------------------------------------------------------- */

#define PAIRED 0
#define ONE_SCALE(SCALE_, scale_)                                               \
    LOOP(loop_nll_##scale_##_0, 0, RE(nll_##scale_)(r, q[i]))                   \
    LOOP(loop_nll_##scale_##_1, 1, RE(nll_##scale_)(r, q[i]))                   \
    LOOP(loop_nll_##scale_##_2, 2, RE(nll_##scale_)(r, q[i]))                   \
    LOOP(loop_nll_##scale_##_3, 3, RE(nll_##scale_)(r, q[i]))                   \
    LOOP(loop_kl_##scale_##_0, 0, RE(kl_##scale_)(r, q[i]))                     \
    LOOP(loop_kl_##scale_##_1, 1, RE(kl_##scale_)(r, q[i]))                     \
    LOOP(loop_kl_##scale_##_2, 2, RE(kl_##scale_)(r, q[i]))                     \
    LOOP(loop_kl_##scale_##_3, 3, RE(kl_##scale_)(r, q[i]))
EACH_SCALE(ONE_SCALE)
#undef PAIRED

static const RE(loop) RE(one_scale)[2][N_SCALES][4] = {
#define ROW(loss, SCALE_, s) [SCALE_] = {RE(loop_##loss##_##s##_0), RE(loop_##loss##_##s##_1), RE(loop_##loss##_##s##_2), RE(loop_##loss##_##s##_3)},
#define NLL_ROW(SCALE_, s) ROW(nll, SCALE_, s)
#define KL_ROW(SCALE_, s) ROW(kl, SCALE_, s)
    [NLL] = {EACH_SCALE(NLL_ROW)},
    [KL] = {EACH_SCALE(KL_ROW)},
};

/* ---- two scales --------------------------------------------------------------------------------------------------- */

#define LINEAR_PAIR(q_, p_, slope_q, slope_p)                                                             \
    INLINE RE(point) RE(pair_##q_##_##p_)(T r, T raw_q, T raw_p) {                                        \
        RE(point) x = RE(kl_linear)(r, RE(fraction_##q_)(raw_q), slope_q, RE(fraction_##p_)(raw_p), slope_p); \
        x.bad = (raw_q <= 0) | (raw_p <= 0);                                                              \
        return x;                                                                                         \
    }
#define LOG_PAIR(q_, p_, check_q, check_p)                                                                \
    INLINE RE(point) RE(pair_##q_##_##p_)(T r, T raw_q, T raw_p) {                                        \
        RE(point) x = RE(kl_sides)(r, RE(side_##q_)(raw_q), RE(side_##p_)(raw_p));                        \
        x.bad = ((check_q) & (raw_q <= 0)) | ((check_p) & (raw_p <= 0));                                  \
        return x;                                                                                         \
    }
/* X(q, p) for all pairs; slope = raw d log v/d raw of the linear forms */
#define LINEAR_WITH(X, q_, slope_q) X(q_, var, slope_q, 1) X(q_, std, slope_q, 2) X(q_, precision, slope_q, -1)
#define LOG_WITH_LINEAR(X, q_) X(q_, var, 0, 1) X(q_, std, 0, 1) X(q_, precision, 0, 1)
#define LINEAR_WITH_LOG(X, p_) X(var, p_, 1, 0) X(std, p_, 1, 0) X(precision, p_, 1, 0)
LINEAR_WITH(LINEAR_PAIR, var, 1) LINEAR_WITH(LINEAR_PAIR, std, 2) LINEAR_WITH(LINEAR_PAIR, precision, -1)
LOG_WITH_LINEAR(LOG_PAIR, logvar) LOG_WITH_LINEAR(LOG_PAIR, logstd)
LINEAR_WITH_LOG(LOG_PAIR, logvar) LINEAR_WITH_LOG(LOG_PAIR, logstd)
LOG_PAIR(logvar, logvar, 0, 0) LOG_PAIR(logvar, logstd, 0, 0) LOG_PAIR(logstd, logvar, 0, 0) LOG_PAIR(logstd, logstd, 0, 0)

#define PAIRED 1
#define TWO_SCALES(q_, p_)                                                  \
    LOOP(loop_pair_##q_##_##p_##_0, 0, RE(pair_##q_##_##p_)(r, q[i], p[i])) \
    LOOP(loop_pair_##q_##_##p_##_3, 3, RE(pair_##q_##_##p_)(r, q[i], p[i]))
#define WITH_EACH_PRIOR(Q_, q_) TWO_SCALES(q_, var) TWO_SCALES(q_, std) TWO_SCALES(q_, logvar) TWO_SCALES(q_, logstd) TWO_SCALES(q_, precision)
EACH_SCALE(WITH_EACH_PRIOR)
#undef PAIRED

static const RE(loop) RE(two_scales)[N_SCALES][N_SCALES][2] = {
#define CELL(q_, P_, p_) [P_] = {RE(loop_pair_##q_##_##p_##_0), RE(loop_pair_##q_##_##p_##_3)},
#define PRIOR_ROW(Q_, q_) [Q_] = {CELL(q_, VAR, var) CELL(q_, STD, std) CELL(q_, LOGVAR, logvar) CELL(q_, LOGSTD, logstd) CELL(q_, PRECISION, precision)},
    EACH_SCALE(PRIOR_ROW)
};

#undef LOOP
#undef ONE_SCALE
#undef ROW
#undef NLL_ROW
#undef KL_ROW
#undef LINEAR_PAIR
#undef LOG_PAIR
#undef TWO_SCALES
#undef WITH_EACH_PRIOR
#undef CELL
#undef PRIOR_ROW

/* ---- a scale that is constant along the event ------------------------------------------------------------------------- */

/* term = (r 2^k)^2/2, k from the scale, as two factors; d/dx = r 2^k slope 2^k. The factors are one for all n elements, or arrays. */
typedef struct { const T *a, *b, *slope; } RE(factors);

#define SQUARES(name, at, want)                                                                     \
    static void RE(name)(const RE(operands) * o, RE(factors) f) {                                   \
        const T *x = o->a, *y = o->b, *fa = f.a, *fb = f.b, *fs = f.slope;                          \
        T *term = o->term, *first = o->first, a = fa[0], b = fb[0], s = fs[0];                      \
        ptrdiff_t n = o->n;                                                                         \
        (void)first, (void)s;                                                                       \
        _Pragma("omp simd") for (ptrdiff_t i = 0; i < n; i++) {                                     \
            if (at) a = fa[i], b = fb[i], s = fs[i];                                                \
            T z = ((x[i] - y[i]) * a) * b;                                                          \
            term[i] = ((T)0.5 * z) * z;                                                             \
            if (want) first[i] = ((z * s) * a) * b;                                                 \
        }                                                                                           \
    }
SQUARES(squares_0, 0, 0)
SQUARES(squares_1, 0, 1)
SQUARES(squares_rows_0, 1, 0)
SQUARES(squares_rows_1, 1, 1)
#undef SQUARES

static void (*const RE(squares)[2][2])(const RE(operands) *, RE(factors)) = {
    {RE(squares_0), RE(squares_1)}, {RE(squares_rows_0), RE(squares_rows_1)}};
