/* The sums of sums.h, to the bit, of many short rows at once: in a row of a few elements calls, branches and lanes that go through memory
 * take several times as long as the additions. Included once per type (real.h). */
#ifndef MANY_H
#define MANY_H

#include "squares.h"

/* A row's n lanes, of LANES, are added as RE(total) does it: the upper half onto the lower, until one is left. Here as expressions: lane l
 * when so many are left. n and l are constants where these are inlined, so that nothing remains but the additions. */
INLINE pair RE(lane_of)(const double *x, int l, int n) { return (pair){l < n ? x[l] : 0, 0}; }
INLINE pair RE(add_lanes)(pair a, pair b) {
#if REAL == 32
    return (pair){a.hi + b.hi, 0};
#else
    const pair s = two_sum(a.hi, b.hi);
    return (pair){s.hi, a.lo + (b.lo + s.lo)};
#endif
}
INLINE pair RE(of_eight)(const double *x, int l, int n) {
    return n > 8 ? RE(add_lanes)(RE(lane_of)(x, l, n), RE(lane_of)(x, l + 8, n)) : RE(lane_of)(x, l, n);
}
INLINE pair RE(of_four)(const double *x, int l, int n) {
    return n > 4 ? RE(add_lanes)(RE(of_eight)(x, l, n), RE(of_eight)(x, l + 4, n)) : RE(of_eight)(x, l, n);
}
INLINE pair RE(of_two)(const double *x, int l, int n) {
    return n > 2 ? RE(add_lanes)(RE(of_four)(x, l, n), RE(of_four)(x, l + 2, n)) : RE(of_four)(x, l, n);
}
INLINE pair RE(tree_of)(const double *x, int n) { return n > 1 ? RE(add_lanes)(RE(of_two)(x, 0, n), RE(of_two)(x, 1, n)) : RE(of_two)(x, 0, n); }

/* Of rows of n <= LANES doubles */
INLINE void RE(add_trees)(const double *x, ptrdiff_t rows, int n, double *hi, double *lo) {
    for (ptrdiff_t r = 0; r < rows; r++) {
        const pair sum = RE(tree_of)(x + r * n, n);
        hi[r] = sum.hi;
        if (REAL == 64) lo[r] = sum.lo;
    }
}

static void RE(add_lanes_of_rows)(const double *x, ptrdiff_t rows, ptrdiff_t n, double *hi, double *lo) {
    switch (n) {
#define CASE(n) case n: RE(add_trees)(x, rows, n, hi, lo); return;
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8)
#if LANES > 8
        CASE(9) CASE(10) CASE(11) CASE(12) CASE(13) CASE(14) CASE(15) CASE(16)
#endif
#undef CASE
    }
}

/* The lanes of a row that is longer than a line and shorter than four: lines are added in T */
INLINE void RE(lanes_of_row)(const T *x, ptrdiff_t n, double *to) {
    const ptrdiff_t whole = n & -(ptrdiff_t)LANES, left = n - whole;
    T lane[LANES];
    for (int l = 0; l < LANES; l++) lane[l] = x[l];
    for (ptrdiff_t i = LANES; i < whole; i += LANES)
        for (int l = 0; l < LANES; l++) lane[l] += x[i + l];
    for (int l = 0; l < LANES; l++) lane[l] += l < left ? x[whole + l] : (T)0;
    for (int l = 0; l < LANES; l++) to[l] = (double)lane[l];
}

/* hi[r], and lo[r] of doubles: the sum of row r; part: PARTS_AT_ONCE numbers */
static void RE(sum_many)(const T *x, ptrdiff_t rows, ptrdiff_t cols, int group, double *hi, double *lo, double *restrict part) {
    const int in_lines = cols > LANES && cols < 4 * LANES && group >= 4 && cols != 2 * LANES;
    if (cols > LANES && !in_lines) {
        for (ptrdiff_t r = 0; r < rows; r++) {
            const pair sum = RE(sum)(x, r * cols, cols, group);
            hi[r] = sum.hi;
            if (REAL == 64) lo[r] = sum.lo;
        }
        return;
    }
    if (cols == 1) {
        for (ptrdiff_t r = 0; r < rows; r++) hi[r] = (double)x[r];
        for (ptrdiff_t r = 0; r < rows && REAL == 64; r++) lo[r] = 0;
        return;
    }
    for (ptrdiff_t r = 0; r < rows; r += AT_ONCE) {
        const ptrdiff_t n = rows - r < AT_ONCE ? rows - r : AT_ONCE;
        if (in_lines)
            for (ptrdiff_t i = 0; i < n; i++) RE(lanes_of_row)(x + (r + i) * cols, cols, part + i * LANES);
        else
            for (ptrdiff_t i = 0; i < n * cols; i++) part[i] = (double)x[r * cols + i];
        RE(add_lanes_of_rows)(part, n, in_lines ? LANES : cols, hi + r, REAL == 64 ? lo + r : lo);
    }
}

#endif
