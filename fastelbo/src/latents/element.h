/* One latent: sigma in its five forms, z = mean + sigma eps, and k g eps sigma^n, the gradient for the scale. In double, whatever the type:
 * so z of floats is good to half a unit in the last place. Once (real.h).
 *
 * What leaves the range of double on the way, or might, is formed again as wide numbers: elements under far scales, and those that come out
 * infinite, NaN, or too small to be sure of. */
#ifndef FASTELBO_LATENTS_ELEMENT_H
#define FASTELBO_LATENTS_ELEMENT_H

#include "../math/wide.h"
#include "../losses/scale.h"
#include "latents.h"

/* X(FORM, form) for each form of the scale */
#define EACH_SIGMA(X) X(VAR, var) X(STD, std) X(LOGVAR, logvar) X(LOGSTD, logstd) X(PRECISION, precision)

/* Up to here e^x is a normal number; and up to there sigma^n is within 2^433, so that a term g eps sigma^n from 2^-500 on had only
 * normal numbers on its way: 2^-933 is one */
#define NORMAL_EXP 708
#define ROOM_OF_EXP 300
#define ROOM_OF_FACTOR 433
#define LEAST_TERM 0x1p-500

INLINE double fused(double a, double b, double c) { return FMA(a, b, c); }

INLINE int is_log_form(int form) { return form == LOGVAR || form == LOGSTD; }

/* Of a linear form, whether sigma^n has no room. (The scales of floats have.) */
INLINE int64_t is_far_scale(int form, double raw, int for_gradient) {
    const int64_t most = form == VAR ? 2 * ROOM_OF_FACTOR : ROOM_OF_FACTOR / 2;
    return for_gradient && form != STD && !within_f64(raw, pow2_f64(-most), pow2_f64(most)) ? -1 : 0;
}

INLINE double sigma_of(int form, double raw) {
    switch (form) {
        case VAR: return __builtin_sqrt(raw);
        case STD: return raw;
        case LOGVAR: return exp_normal_f64(0.5 * raw);
        case LOGSTD: return exp_normal_f64(raw);
        default: return 1 / __builtin_sqrt(raw);
    }
}

/* d sigma/d raw = k sigma^n */
INLINE double factor_of(int form, double raw) {
    double sigma = sigma_of(form, raw);
    switch (form) {
        case VAR: return 0.5 / sigma;
        case STD: return 1;
        case LOGVAR: return 0.5 * sigma;
        case LOGSTD: return sigma;
        default: return -0.5 * (sigma * (sigma * sigma));
    }
}

/* Of a float the same takes half as long. (In double still: z, which may cancel, is to be rounded once.) */

/* e^x, or e^(x/2): good to 1.2 units in the last place of double, as the polynomial's error is 2^-55 */
INLINE double exp_of_float(double x, int halved) {
    const double by = halved ? 2 : 1, shifted = FMA(x, INV_LN2 / by, ROUNDER), k = shifted - ROUNDER;
    const double f = FMA(-k, by * LN2_LO, FMA(-k, by * LN2_HI, x));
#define TERM(n, c) FMA(p, f, halved ? (c) / (1 << (n)) : (c))
    double p = halved ? 0x1.af38a9b0ec855p-26 / (1 << 11) : 0x1.af38a9b0ec855p-26;
    p = TERM(10, 0x1.289185613a3d6p-22), p = TERM(9, 0x1.71de0dae63bb3p-19), p = TERM(8, 0x1.a019b90d2ae7ap-16), p = TERM(7, 0x1.a01a01a7c41d5p-13);
    p = TERM(6, 0x1.6c16c1788bd90p-10), p = TERM(5, 0x1.11111111109b3p-7), p = TERM(4, 0x1.5555555553d63p-5), p = TERM(3, 0x1.5555555555556p-3);
    p = TERM(2, 0x1.0000000000001p-1), p = TERM(1, 1.0), p = FMA(p, f, 1);
#undef TERM
    return real_f64((int64_t)((uint64_t)bits_f64(p) + ((uint64_t)(bits_f64(shifted) - bits_f64(ROUNDER)) << MANTISSA)));
}

/* 1/sqrt(raw), to 1 unit in the last place of double: float's, y, is wrong by h of it, |h| < 2^-22, and 1/sqrt(1 - h) is 1 + h/2 + 3h^2/8 + ...
 * h is exact but for its own rounding, as products of two floats are. NaN where raw is 0 or infinite. */
INLINE double inverse_root_of_float(float raw) {
    const double y = 1 / __builtin_sqrtf(raw), h = FMA(-(raw * y), y, 1);
    return FMA(y, h * FMA(h, 0.375, 0.5), y);
}

INLINE double sigma_of_float(int form, float raw) {
    switch (form) {
        case VAR: return raw * inverse_root_of_float(raw);
        case STD: return raw;
        case LOGVAR: return exp_of_float(raw, 1);
        case LOGSTD: return exp_of_float(raw, 0);
        default: return inverse_root_of_float(raw);
    }
}

INLINE double factor_of_float(int form, float raw) {
    const double sigma = sigma_of_float(form == VAR ? PRECISION : form, raw);
    switch (form) {
        case VAR: return 0.5 * sigma;
        case STD: return 1;
        case LOGVAR: return 0.5 * sigma;
        case LOGSTD: return sigma;
        default: return -0.5 * (sigma * (sigma * sigma));
    }
}

/* Whether a term g eps factor may have lost digits on its way, being so small; not, where it is infinite or NaN */
INLINE int64_t is_small(double g, double eps, double term) { return (magnitude_f64(term) < LEAST_TERM) & (g != 0) & (eps != 0); }

/* Whether it is good */
INLINE int64_t is_sure(double g, double eps, double term) { return (magnitude_f64(term) < (double)INFINITE) & !is_small(g, eps, term); }

/* ---- as wide numbers -------------------------------------------------------------------------------------------------------- */

static wide wide_exp_or_limit(double x) { return x - x == 0 ? wide_exp(x) : wide_of(x < 0 ? 0 : x); }

static wide wide_sigma(int form, double raw) {
    switch (form) {
        case VAR: return wide_root(wide_of(raw));
        case STD: return wide_of(raw);
        case LOGVAR: return wide_exp_or_limit(0.5 * raw);
        case LOGSTD: return wide_exp_or_limit(raw);
        default: return wide_over(wide_of(1), wide_root(wide_of(raw)));
    }
}

/* 0 inf is its limit, 0, where the 0 is a factor and not itself a limit */
static wide with_limit(wide product, double a, double b, wide sigma) {
    const int known = a == a && b == b && sigma.m == sigma.m;
    return product.m != product.m && known && (a == 0 || b == 0) ? wide_of(0) : product;
}

SELDOM double careful_sample(int form, double mean, double raw, double eps) {
    const wide sigma = wide_sigma(form, raw), product = wide_times(sigma, wide_of(eps));
    return double_of(wide_plus(wide_of(mean), with_limit(product, eps, 1, sigma)));
}

SELDOM wide careful_term(int form, double g, double eps, double raw) {
    static const double k[N_SCALES] = {[VAR] = 0.5, [STD] = 1, [LOGVAR] = 0.5, [LOGSTD] = 1, [PRECISION] = -0.5};
    static const int power[N_SCALES] = {[VAR] = -1, [STD] = 0, [LOGVAR] = 1, [LOGSTD] = 1, [PRECISION] = 3};
    const wide sigma = form == STD ? wide_of(1) : wide_sigma(form, raw);
    wide term = wide_times(wide_times(wide_of(g), wide_of(eps)), wide_of(k[form]));
    for (int i = 0; i < power[form]; i++) term = wide_times(term, sigma);
    if (power[form] < 0) term = wide_over(term, sigma);
    return with_limit(term, g, eps, sigma);
}

#endif
