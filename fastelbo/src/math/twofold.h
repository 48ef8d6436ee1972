/* Doubles as unevaluated sums of two: what an addition loses is kept. */
#ifndef FASTELBO_TWOFOLD_H
#define FASTELBO_TWOFOLD_H

#include "../kernels.h"

static inline pair two_sum(double a, double b) {
    double sum = a + b, part = sum - a;
    return (pair){sum, (a - (sum - part)) + (b - part)};
}

static inline void add_to(pair *sum, double x) {
    pair s = two_sum(sum->hi, x);
    sum->hi = s.hi;
    sum->lo += s.lo;
}

static inline void add_pair(pair *sum, pair x) {
    add_to(sum, x.hi);
    sum->lo += x.lo;
}

/* The error terms of a sum that overflowed, or met an infinity, are NaN, and mean nothing */
static inline double value_of(pair x) { return x.hi - x.hi == 0 ? x.hi + x.lo : x.hi; }

#endif
