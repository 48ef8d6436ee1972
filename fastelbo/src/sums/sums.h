/* Sums in an order that depends on the number of elements alone. Included once per type (real.h).
 *
 * Element i of an event goes to lane i mod LANES. A lane adds `group` elements in T, as a tree (8 or 4: an error of 3 or 2 u; 1: none),
 * of what is left at the end 4, then up to 3 one by one. Each such sum is folded into a double (float32) or an unevaluated sum of
 * two (float64), and the lanes are added as a tree, the upper half onto the lower. So the order is the same for every vector width,
 * and what follows the first fold is exact for all practical purposes. */
#ifndef SUMS_H
#define SUMS_H

#include "../math/fmath.h"
#include "../math/twofold.h"

/* lo is used in float64 alone */
typedef struct { double hi[LANES], lo[REAL == 64 ? LANES : 1]; } RE(lanes);

static inline void RE(start)(RE(lanes) *s) { memset(s, 0, sizeof *s); }

static inline void RE(fold)(RE(lanes) *s, int l, double x) {
#if REAL == 32
    s->hi[l] += x;
#else
    pair y = two_sum(s->hi[l], x);
    s->hi[l] = y.hi;
    s->lo[l] += y.lo;
#endif
}

static inline void RE(fold_half)(RE(lanes) *s, int half) {
    for (int l = 0; l < half; l++) {
#if REAL == 32
        s->hi[l] += s->hi[l + half];
#else
        pair x = two_sum(s->hi[l], s->hi[l + half]);
        s->hi[l] = x.hi;
        s->lo[l] += s->lo[l + half] + x.lo;
#endif
    }
}

/* The sum of the first `used` lanes; the others are empty. (Constants, because a loop over `half` would go through memory.) */
static inline pair RE(total)(RE(lanes) *s, ptrdiff_t used) {
    if (LANES > 8 && used > 8) RE(fold_half)(s, LANES / 2);
    if (used > 4) RE(fold_half)(s, 4);
    if (used > 2) RE(fold_half)(s, 2);
    if (used > 1) RE(fold_half)(s, 1);
    return (pair){s->hi[0], REAL == 64 ? s->lo[0] : 0};
}

#if REAL == 64 /* once */
/* Vectors of half the width, for sums of what the caller holds: these loads can't begin at a cache line, as a lane is bound to its elements, and whole-line vectors across
 * two lines cost more out of cache than the width saves in it */
#if defined(__AVX512F__) && !defined(__clang__)
#define NARROW __attribute__((target("prefer-vector-width=256")))
#else
#define NARROW
#endif
#endif

/* ---- sums of an array, and of squares as they are computed ------------------------------------------------------------ */

#define SOURCE const T *
#define ELEMENT T
#define AT(x, i) (x)[i]
#define SUM(name) RE(name)
#define WIDTH
#include "sum_source.inc.h"

/* d = a - b; of floats d^2 in double, exactly; of doubles (d 2^k)^2/2, 2^k as two factors */
typedef struct { const T *a, *b; T factor, other; } RE(differences);
static inline double RE(square_at)(RE(differences) x, ptrdiff_t i) {
#if REAL == 32
    double d = (double)(x.a[i] - x.b[i]);
    return d * d;
#else
    T z = ((x.a[i] - x.b[i]) * x.factor) * x.other;
    return ((T)0.5 * z) * z;
#endif
}

#define SOURCE RE(differences)
#define ELEMENT double
#define AT(x, i) RE(square_at)(x, i)
#define SUM(name) RE(name##_of_squares)
#define WIDTH NARROW
#include "sum_source.inc.h"

#endif
