/* The loops over latents, one for each form of the scale, in a table. Once per type (real.h).
 *
 * Outputs are no inputs. What a loop returns is not 0 if some element has to be formed again (element.h): which ones its result tells. */
#ifndef LATENTS_LOOPS_H
#define LATENTS_LOOPS_H

#include "../losses/scale.h"
#include "../math/elements.h"
#if REAL == 64 /* once */
#include "element.h"
#endif

/* `none` is NaN in the end if some result was NaN or infinite: that takes one operation */
#define EACH_ELEMENT _Pragma("omp simd reduction(|:odd) reduction(+:none)") for (ptrdiff_t i = 0; i < n; i++)
#define FOUND (odd | RE(mask)(none != none))

#if REAL == 64
#define sigma_of_f64 sigma_of
#define factor_of_f64 factor_of
#else
#define sigma_of_f32 sigma_of_float
#define factor_of_f32 factor_of_float
#endif

/* ---- samples --------------------------------------------------------------------------------------------------------------------- */

/* mean + sigma eps. Of std in float one fused operation is all, and as good */
INLINE T RE(sample)(int form, T mean, T raw, T eps) {
#if REAL == 32 && HAS_FMA
    if (form == STD) return FMA(raw, eps, mean);
#endif
    return (T)fused(RE(sigma_of)(form, raw), eps, mean);
}

INLINE I RE(is_odd)(T z) { return RE(mask)(!(RE(magnitude)(z) < INFINITE)); }

/* In T, which holds the limits */
INLINE I RE(is_far)(int form, T raw, int for_gradient) {
    const int room = for_gradient ? ROOM_OF_EXP : NORMAL_EXP;
    if (is_log_form(form)) return RE(mask)(!(RE(magnitude)(raw) <= (form == LOGVAR ? 2 : 1) * room));
    return REAL == 64 ? (I)is_far_scale(form, raw, for_gradient) : 0;
}

#define SAMPLES(FORM, form)                                                                                               \
    static I RE(samples_##form)(T *restrict z, const T *restrict mean, const T *restrict raw, const T *restrict eps, ptrdiff_t n) { \
        I odd = 0;                                                                                                      \
        T none = 0;                                                                                                     \
        EACH_ELEMENT {                                                                                                    \
            z[i] = RE(sample)(FORM, mean[i], raw[i], eps[i]);                                                            \
            none = FMA(z[i], 0, none);                                                                                   \
            odd |= RE(is_far)(FORM, raw[i], 0);                                                                          \
        }                                                                                                                 \
        return FOUND;                                                                                                     \
    }
EACH_SIGMA(SAMPLES)
#undef SAMPLES

/* Runs of n elements each, so many elements apart: short ones would take longer to begin than to do */
typedef struct {
    T *z;
    const T *mean, *eps;
    ptrdiff_t z_step, mean_step, eps_step, n, count;
} RE(runs);

#define EACH_RUN(r)                                                                                            \
    const ptrdiff_t n = (r)->n;                                                                              \
    T *restrict z = (r)->z;                                                                                   \
    const T *restrict mean = (r)->mean, *restrict eps = (r)->eps;                                             \
    for (ptrdiff_t k = 0; k < (r)->count; k++, z += (r)->z_step, mean += (r)->mean_step, eps += (r)->eps_step)

#define RUNS(name, SIGMA, FORMULA)                                     \
    static I RE(name)(const RE(runs) *r, const SIGMA *restrict sigma) { \
        I odd = 0;                                                     \
        T none = 0;                                                    \
        EACH_RUN(r) EACH_ELEMENT {                                     \
            z[i] = FORMULA;                                            \
            none = FMA(z[i], 0, none);                                 \
        }                                                              \
        return FOUND;                                                  \
    }
/* By a sigma, or a std, for each element of a run, or for each run */
RUNS(runs_by_sigmas, double, (T)fused(sigma[i], eps[i], mean[i]))
RUNS(runs_by_stds, T, RE(sample)(STD, mean[i], sigma[i], eps[i]))
RUNS(runs_of_sigma, double, (T)fused(sigma[k], eps[i], mean[i]))
RUNS(runs_of_std, T, RE(sample)(STD, mean[i], sigma[k], eps[i]))
#undef RUNS

/* ---- terms of the scale's gradient ------------------------------------------------------------------------------------------------ */

/* Of floats, under a scale that is not far, no product of doubles leaves the range */
INLINE I RE(is_doubtful)(T g, T eps, double term) {
#if REAL == 32
    (void)g, (void)eps;
    return (I)!(magnitude_f64(term) < (double)INFINITE);
#else
    return RE(mask)(!is_sure(g, eps, term));
#endif
}

INLINE double RE(term)(T g, T eps, double factor) { return (double)g * eps * factor; }

/* One product is rounded once, also where it is subnormal */
INLINE T RE(slope)(int form, T g, T raw, T eps) { return form == STD ? g * eps : (T)RE(term)(g, eps, RE(factor_of)(form, raw)); }

/* ... but for what is no number */
INLINE I RE(is_odd_slope)(int form, T g, T raw, T eps, T slope) {
    return (REAL == 64 && form != STD ? RE(mask)(is_small(g, eps, slope)) : 0) | RE(is_far)(form, raw, 1);
}

/* Nothing is summed: the gradient for the mean is g */
#define SLOPES(FORM, form)                                                                                               \
    static I RE(slopes_##form)(T *restrict y, T *restrict d_mean, const T *restrict g, const T *restrict raw, const T *restrict eps, ptrdiff_t n) { \
        I odd = 0;                                                                                                      \
        T none = 0;                                                                                                     \
        EACH_ELEMENT {                                                                                                    \
            d_mean[i] = g[i];                                                                                             \
            y[i] = RE(slope)(FORM, g[i], raw[i], eps[i]);                                                                \
            none = FMA(y[i], 0, none);                                                                                   \
            odd |= RE(is_odd_slope)(FORM, g[i], raw[i], eps[i], y[i]);                                                    \
        }                                                                                                                 \
        return FOUND;                                                                                                     \
    }
EACH_SIGMA(SLOPES)
#undef SLOPES

/* By a factor for each element, or for all */
#define TERMS(name, FACTOR, BY)                                                                                                        \
    static I RE(name)(double *restrict y, const T *restrict g, FACTOR factor, const T *restrict eps, ptrdiff_t n) { \
        I odd = 0;                                                                                                   \
        double none = 0;                                                                                             \
        EACH_ELEMENT {                                                                                               \
            y[i] = RE(term)(g[i], eps[i], BY);                                                                       \
            none += y[i] * 0;                                                                                        \
            odd |= REAL == 64 ? RE(mask)(is_small(g[i], eps[i], y[i])) : 0;                                          \
        }                                                                                                            \
        return FOUND;                                                                                                \
    }
TERMS(terms_by, const double *restrict, factor[i])
TERMS(terms_by_one, double, factor)
#undef TERMS

/* ---- what a form of the scale makes of its numbers, and all of its loops ----------------------------------------------------------- */

/* NaN under a far scale: so is then all that comes of it */
#define PREPARE(FORM, form)                                                                                        \
    static void RE(sigmas_##form)(double *restrict y, const T *restrict raw, ptrdiff_t n) {                        \
        for (ptrdiff_t i = 0; i < n; i++) y[i] = RE(is_far)(FORM, raw[i], 0) ? (double)__builtin_nan("") : RE(sigma_of)(FORM, raw[i]); \
    }                                                                                                              \
    static void RE(factors_##form)(double *restrict y, const T *restrict raw, ptrdiff_t n) {                       \
        for (ptrdiff_t i = 0; i < n; i++) y[i] = RE(is_far)(FORM, raw[i], 1) ? (double)__builtin_nan("") : RE(factor_of)(FORM, raw[i]); \
    }
EACH_SIGMA(PREPARE)
#undef PREPARE

typedef struct {
    I (*samples)(T *, const T *, const T *, const T *, ptrdiff_t);
    I (*slopes)(T *, T *, const T *, const T *, const T *, ptrdiff_t);
    void (*sigmas)(double *, const T *, ptrdiff_t);
    void (*factors)(double *, const T *, ptrdiff_t);
} RE(of_form);

static const RE(of_form) RE(forms)[N_SCALES] = {
#define ROW(FORM, form) [FORM] = {RE(samples_##form), RE(slopes_##form), RE(sigmas_##form), RE(factors_##form)},
    EACH_SIGMA(ROW)
#undef ROW
};

static const char *RE(hole_in_forms)(void) {
    static const char *const lacks[N_SCALES] = {
#define NAME(FORM, form) [FORM] = "the table of loops over latents lacks one of " #form,
        EACH_SIGMA(NAME)
#undef NAME
    };
    for (int form = 0; form < N_SCALES; form++) {
        const RE(of_form) *row = &RE(forms)[form];
        if (!row->samples || !row->slopes || !row->sigmas || !row->factors) return lacks[form] ? lacks[form] : "the table of loops over latents lacks a form";
    }
    return NULL;
}

/* ---- sums ------------------------------------------------------------------------------------------------------------------------ */

#if REAL == 64 /* once */
#define TOGETHER 4
#endif

/* Doubles hold the sums of floats; those of doubles are unevaluated sums of two */
INLINE pair RE(added)(pair sum, double x) {
#if REAL == 32
    return (pair){sum.hi + x, 0};
#else
    const pair s = two_sum(sum.hi, x);
    return (pair){s.hi, sum.lo + s.lo};
#endif
}

static void RE(add_terms)(double *restrict hi, double *restrict lo, const double *restrict x, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) {
        const pair sum = RE(added)((pair){hi[i], lo[i]}, x[i]);
        hi[i] = sum.hi, lo[i] = sum.lo;
    }
}

/* What `count` terms add to the sums of n columns: of the mean's gradient, the scale's or both. Sums go to `to`, so that they can be done
 * again where a term is doubtful, which is what it returns. Of several terms together, because sums then stay in registers. */
typedef struct { double *hi, *lo; } RE(sums);

INLINE I RE(add_some)(int mean, int scale, int count, RE(sums) *to, const RE(sums) *from, const T *const *gs, const T *const *noises,
                      const double *restrict factor, ptrdiff_t n) {
    double *restrict h0 = to[0].hi, *restrict l0 = to[0].lo, *restrict h1 = to[1].hi, *restrict l1 = to[1].lo;
    const double *restrict from_h0 = from[0].hi, *restrict from_l0 = from[0].lo, *restrict from_h1 = from[1].hi, *restrict from_l1 = from[1].lo;
    const T *restrict g[TOGETHER], *restrict eps[TOGETHER];
    for (int k = 0; k < count; k++) g[k] = gs[k], eps[k] = scale ? noises[k] : gs[k];
    I odd = 0;
    double none = 0;
    EACH_ELEMENT {
        pair of_mean = {from_h0[i], REAL == 64 ? from_l0[i] : 0}, of_scale = {from_h1[i], REAL == 64 ? from_l1[i] : 0};
        for (int k = 0; k < count; k++) {
            if (mean) of_mean = RE(added)(of_mean, g[k][i]);
            if (!scale) continue;
            const double term = RE(term)(g[k][i], eps[k][i], factor[i]);
            of_scale = RE(added)(of_scale, term);
            odd |= REAL == 64 ? RE(mask)(is_small(g[k][i], eps[k][i], term)) : 0;
        }
        if (mean) h0[i] = of_mean.hi;
        if (mean && REAL == 64) l0[i] = of_mean.lo;
        if (scale) h1[i] = of_scale.hi, none += of_scale.hi * 0;
        if (scale && REAL == 64) l1[i] = of_scale.lo;
    }
    return FOUND;
}

#define ADD(name, mean, scale)                                                                                                          \
    static I RE(name)(int count, RE(sums) *to, const RE(sums) *from, const T *const *g, const T *const *eps, const double *factor, ptrdiff_t n) { \
        return count == TOGETHER ? RE(add_some)(mean, scale, TOGETHER, to, from, g, eps, factor, n)                                   \
                                 : RE(add_some)(mean, scale, 1, to, from, g, eps, factor, n);                                         \
    }
ADD(add_to_both, 1, 1)
ADD(add_to_mean, 1, 0)
ADD(add_to_scale, 0, 1)
#undef ADD

/* Not 0 if some sum is no number */
static I RE(round_sums)(T *restrict y, const double *restrict hi, const double *restrict lo, ptrdiff_t n) {
    I odd = 0;
    T none = 0;
    EACH_ELEMENT {
        y[i] = (T)(REAL == 32 || !(magnitude_f64(hi[i]) < (double)INFINITE) ? hi[i] : hi[i] + lo[i]);
        none = FMA(y[i], 0, none);
    }
    return FOUND;
}

static void RE(as_doubles)(double *restrict y, const T *restrict x, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) y[i] = x[i];
}

#if REAL == 64 /* once */
#define SUM_LANES 32 /* enough of them for the latency of an addition, and an unevaluated one */
#endif

/* Element i goes to lane i mod SUM_LANES */
static void RE(add_all)(double *hi, double *lo, const double *x, ptrdiff_t n) {
    ptrdiff_t i = 0;
    for (; i + SUM_LANES <= n; i += SUM_LANES) RE(add_terms)(hi, lo, x + i, SUM_LANES);
    RE(add_terms)(hi, lo, x + i, n - i);
}

/* The lanes' sum, by halves */
static pair RE(sum_of_lanes)(double *hi, double *lo) {
    for (int half = SUM_LANES / 2; half; half /= 2) {
        RE(add_terms)(hi, lo, hi + half, half);
        for (int l = 0; l < half; l++) lo[l] += lo[half + l];
    }
    return (pair){hi[0], lo[0]};
}

static int RE(positive)(const void *numbers, ptrdiff_t n) {
    const T *x = numbers;
    I odd = 0;
    T none = 0;
    EACH_ELEMENT odd |= RE(mask)(x[i] <= 0);
    (void)none;
    return !odd;
}

#endif
