/* Sums of (x - y)^2 along events, for a Gaussian NLL whose scale is constant there. Included once per type (real.h).
 *
 * d = x - y is squared by the fma that adds it: four squares in a chain, a few chains as a tree, and these sums in double. Every chain
 * begins with the smallest normal number, which is lost beside any sum that is `trusted`, but keeps chains of tiny or zero
 * differences from becoming subnormal, which costs a hundred cycles. A sum that overflowed, or is so small that this number or
 * subnormal squares might show, is not trusted: its caller sums again, slowly (sum_of_squares).
 * Error: r^2 2 u, its chain 4, the tree 2 of float32, 3 of float64: 8 u and 9 u. What follows in double is nothing beside float32;
 * of float64 it is up to 10 u more (of 511 elements: 8 in a lane, 2 over the lanes): <= 19 u. Without FMA 1 u more. */
#ifndef SQUARES_H
#define SQUARES_H

#include "sums.h"

static inline double RE(least_trusted)(ptrdiff_t n) { return (double)n * (REAL == 32 ? 0x1p-96 : 0x1p-960); }
static inline int RE(trusted)(double sum, ptrdiff_t n) {
    return (sum >= RE(least_trusted)(n)) & (sum < (double)INFINITE);
}

#undef HALF
#define HALF (LANES / 2)

/* Two lanes, HALF apart, of every `count`-th line from element i on. (In the order of memory: prefetchers like that.) */
INLINE T RE(chain)(const T *x, const T *y, T *first, T c, ptrdiff_t i, int count) {
    T low = RE(pow2)(1 - EXP_MAX), high = low;
    _Pragma("GCC unroll 4") for (int k = 0; k < count; k++) {
        T d = x[i + k * LANES] - y[i + k * LANES], e = x[i + k * LANES + HALF] - y[i + k * LANES + HALF];
        low = FMA(d, d, low);
        high = FMA(e, e, high);
        if (first) first[i + k * LANES] = d * c, first[i + k * LANES + HALF] = e * c;
    }
    return low + high;
}

INLINE T RE(chains)(const T *x, const T *y, T *first, T c, ptrdiff_t i, int count) {
    if (count > 8) return RE(chains)(x, y, first, c, i, 8) + RE(chains)(x, y, first, c, i + 8 * LANES, count - 8);
    if (count > 4) return RE(chain)(x, y, first, c, i, 4) + RE(chain)(x, y, first, c, i + 4 * LANES, count - 4);
    return RE(chain)(x, y, first, c, i, count);
}

INLINE T RE(one_square)(const T *x, const T *y, T *first, T c, ptrdiff_t i) {
    T d = x[i] - y[i];
    if (first) first[i] = d * c;
    return FMA(d, d, RE(pow2)(1 - EXP_MAX));
}

/* sum[l] (+)= the lane sums of `count` lines */
#define LINES(count, sum, op)                                                                         \
    {                                                                                                 \
        _Pragma("omp simd") for (int l = 0; l < HALF; l++)                                                      \
            (sum)[l] op(double) RE(chains)(x, y, first, c, l, count);                                 \
        x += (count)*LANES, y += (count)*LANES;                                                       \
        if (first) first += (count)*LANES;                                                            \
    }

#undef GROUP_LINES
#define GROUP_LINES (REAL == 32 ? 8 : 16)
/* The sums of n elements by lane */
INLINE void RE(lane_sums)(const T *x, const T *y, T *first, T c, ptrdiff_t n, double *to) {
    double sum[HALF];
    ptrdiff_t groups = n / (GROUP_LINES * LANES), left = n / LANES % GROUP_LINES, tail = n % LANES;
    for (int l = 0; l < HALF; l++) sum[l] = 0;
    for (ptrdiff_t g = 0; g < groups; g++) LINES(GROUP_LINES, sum, +=)
    if (left & 8) LINES(8, sum, +=)
    if (left & 4) LINES(4, sum, +=)
    if (left & 2) LINES(2, sum, +=)
    if (left & 1) LINES(1, sum, +=)
    for (int l = 0; l < HALF; l++) to[l] = sum[l];
    for (ptrdiff_t i = 0; i < tail; i++) to[i % HALF] += (double)RE(one_square)(x, y, first, c, i);
}

#if REAL == 64 /* once */
#define AT_ONCE 64 /* rows */
#define PARTS_AT_ONCE (16 * AT_ONCE)

static inline double sum_of_four(const double *s) { return (s[0] + s[2]) + (s[1] + s[3]); }
static inline double sum_of_eight(const double *s) { return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7])); }

static inline double sum_of_few(const double *s, ptrdiff_t n) {
    double even = 0, odd = 0;
    for (ptrdiff_t i = 0; i + 1 < n; i += 2) even += s[i], odd += s[i + 1];
    return n % 2 ? even + (odd + s[n - 1]) : even + odd;
}
#endif

/* Of at most AT_ONCE rows; part: PARTS_AT_ONCE numbers */
INLINE void RE(sum_some_squares)(const T *x, const T *y, T *first, T c, ptrdiff_t rows, ptrdiff_t cols, double *sum, double *restrict part) {
    const ptrdiff_t parts = cols == 8 ? 4 : cols < 16 ? cols : HALF;
#define ROWS_OF(count) \
    for (ptrdiff_t r = 0; r < rows; r++) LINES(count, part + HALF * r, =)
    if (cols == 8)
        for (ptrdiff_t r = 0; r < rows; r++)
            _Pragma("omp simd") for (int l = 0; l < 4; l++)
                part[4 * r + l] = (double)(RE(one_square)(x, y, first, c, 8 * r + l) + RE(one_square)(x, y, first, c, 8 * r + 4 + l));
    else if (cols < 16)
        _Pragma("omp simd") for (ptrdiff_t i = 0; i < rows * cols; i++) part[i] = (double)RE(one_square)(x, y, first, c, i);
    else if (cols == LANES)
        ROWS_OF(1)
    else if (cols == 2 * LANES)
        ROWS_OF(2)
    else if (cols == 4 * LANES)
        ROWS_OF(4)
    else if (cols == 8 * LANES)
        ROWS_OF(8)
    else
        for (ptrdiff_t r = 0; r < rows; r++)
            RE(lane_sums)(x + r * cols, y + r * cols, first ? first + r * cols : NULL, c, cols, part + HALF * r);
#undef ROWS_OF
    if (parts == 8)
        for (ptrdiff_t r = 0; r < rows; r++) sum[r] = sum_of_eight(part + 8 * r);
    else if (parts == 4)
        for (ptrdiff_t r = 0; r < rows; r++) sum[r] = sum_of_four(part + 4 * r);
    else
        for (ptrdiff_t r = 0; r < rows; r++) sum[r] = sum_of_few(part + r * parts, parts);
}
#undef LINES

/* sum[r]: of row r. first: (x - y) c, unless NULL; it may be x or y. */
INLINE void RE(sum_all)(const T *x, const T *y, T *first, T c, ptrdiff_t rows, ptrdiff_t cols, double *sum, double *part) {
    for (ptrdiff_t r = 0; r < rows; r += AT_ONCE)
        RE(sum_some_squares)(x + r * cols, y + r * cols, first ? first + r * cols : NULL, c, rows - r < AT_ONCE ? rows - r : AT_ONCE, cols, sum + r, part);
}
static void RE(sum_squares)(const T *x, const T *y, ptrdiff_t rows, ptrdiff_t cols, double *sum, double *part) {
    RE(sum_all)(x, y, NULL, 0, rows, cols, sum, part);
}
static void RE(sum_squares_and_scale)(const T *x, const T *y, T *first, T c, ptrdiff_t rows, ptrdiff_t cols, double *sum, double *part) {
    if (first) RE(sum_all)(x, y, first, c, rows, cols, sum, part);
}

#endif
