/* What the maths of all losses share: what an element comes to, and the scale in its five forms. Included once per type (real.h).
 *
 * r = x - mean (the KL: mean - prior_mean), v = variance, s = log v. u is the unit roundoff, 2^-24 or 2^-53.
 *
 * The forms of a loss are those whose intermediates leave the range of T only where a term of the answer does: the plain ones for ordinary
 * scales (below); for others 1/v is never formed, but kept as i 2^k and applied in parts. Domain: var, std, precision > 0 (the loops
 * look); NaN propagates; infinite scales give the limit where there is one. */
#ifndef SCALE_H
#define SCALE_H

#include "../math/fmath.h"

typedef struct { T of[N_PARAMETERS]; } RE(parameters); /* the plan's */

typedef struct {
    T term, first, scale, prior; /* d/dx or d/dmean; d/d(raw scale); d/d(raw prior scale) */
    I bad; /* of kl_logs (pair.h) and bernoulli: not what it is for */
} RE(point);

/* ---- ordinary scales ------------------------------------------------------------------------------------------------ */

/* Those whose v and 1/v are normal numbers with room to spare: nearly all there are. What they need is far shorter, so every
 * function below takes `ordinary`, a constant (and no square is rounded before it is added: of r near 0 it might be subnormal, which
 * costs a hundred cycles): nonzero is for a tile of such scales alone, 0 for any tile. An ordinary element gets
 * the same bits from both, because its tile is an accident. */
#undef LOG_ROOM
#undef POW2_ROOM
#define LOG_ROOM (REAL == 32 ? 80 : 700)
#define POW2_ROOM (REAL == 32 ? 100 : 1000)

/* -1 or 0, as vectors compare: loops collect that without another instruction */
INLINE I RE(mask)(I holds) { return holds ? (I)-1 : (I)0; }
INLINE I RE(within)(T x, T low, T high) { return (x >= low) & (x <= high); }
/* The same of positive limits: of floats as integers, which takes less (also of doubles, but SSE2 cannot compare such integers) */
INLINE I RE(between)(T x, T low, T high) {
#if REAL == 64 && defined(__SSE2__) && !defined(__SSE4_2__)
    return RE(within)(x, low, high);
#else
    const U sign = (U)1 << (8 * sizeof(T) - 1), from = (U)RE(bits)(low), width = (U)RE(bits)(high) - from;
    return (I)((U)RE(bits)(x) - from + sign) <= (I)(width + sign);
#endif
}
INLINE I RE(ordinary_var)(T raw) { return RE(between)(raw, RE(pow2)(-POW2_ROOM), RE(pow2)(POW2_ROOM)); }
INLINE I RE(ordinary_std)(T raw) { return RE(between)(raw, RE(pow2)(-POW2_ROOM / 2), RE(pow2)(POW2_ROOM / 2)); }
INLINE I RE(ordinary_precision)(T raw) { return RE(ordinary_var)(raw); }
INLINE I RE(ordinary_logvar)(T raw) { return RE(magnitude)(raw) <= LOG_ROOM; }
INLINE I RE(ordinary_logstd)(T raw) { return RE(magnitude)(raw) <= LOG_ROOM / 2; }

/* Infinite or NaN */
INLINE I RE(is_beyond)(T x) { return !(RE(magnitude)(x) < INFINITE); }

INLINE RE(point) RE(either)(I first, RE(point) a, RE(point) b) {
    return (RE(point)){first ? a.term : b.term, first ? a.first : b.first, first ? a.scale : b.scale, first ? a.prior : b.prior, 0};
}

/* x 2^k for |k| <= 2 (EXP_MAX - 1) */
INLINE T RE(times_pow2)(T x, I k) {
    I half = k >> 1;
    return x * RE(pow2)(half) * RE(pow2)(k - half);
}

INLINE I RE(limit_exponent)(I k) {
    const I most = 2 * (EXP_MAX - 1);
    return k > most ? most : k < -most ? -most : k;
}

/* r/v, where it is not the ratio because v is infinite, zero or NaN (see split.infinite) */
INLINE T RE(limit_ratio)(T ratio, T r, T infinite) {
    T inverse = infinite > 0 ? (T)0 : -infinite;
    return infinite == 0 ? ratio : r == 0 && infinite == infinite ? r : r * inverse;
}

#endif
