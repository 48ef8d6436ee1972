/* The sums of one block, and of blocks: of a line as it lies, of what was gathered, and of lines side by side. Included once, for float64
 * (real.h). */
#ifndef FASTELBO_OPTIMAL_LANES_H
#define FASTELBO_OPTIMAL_LANES_H

#include "../math/fmath.h"
#include "../math/twofold.h"
#include "optimal.h"

enum { SUM_LANES = 8, LINE = 32, LINES_OF_BLOCK = BLOCK_SIZE / LINE };

typedef struct { double hi[SUM_LANES], lo[SUM_LANES]; } block_sums; /* of blocks, lane by lane */
typedef struct { double hi[SUM_LANES][ACROSS], lo[SUM_LANES][ACROSS]; } events_across; /* of ACROSS events */

INLINE double add_square(double d, double sum) { return FMA(d, d, sum); }
INLINE double weighted_square(double d, double w, double sum) { return FMA(w == 0 ? d : d * d, w, sum); } /* 0 times what overflows is 0 */

/* to[l]: of the lanes l, l + 8, l + 16 and l + 24 of so many lines, each a chain of `term`, which adds element i of x and y to `sum`. The
 * number of lines is a constant where this is inlined, so that nothing remains but vectors. */
#define OF_LANES(name, element, term)                                                                  \
    INLINE double chain_##name(const element *x, const element *y, ptrdiff_t first, int lines) {       \
        double sum = 0;                                                                                \
        _Pragma("GCC unroll 8") for (int k = 0; k < lines; k++) {                                      \
            const ptrdiff_t i = first + LINE * k;                                                      \
            sum = term;                                                                                \
        }                                                                                              \
        return sum;                                                                                    \
    }                                                                                                  \
    INLINE void lanes_##name(const element *x, const element *y, int lines, double *restrict to) {     \
        _Pragma("omp simd") for (int l = 0; l < SUM_LANES; l++)                                        \
            to[l] = (chain_##name(x, y, l, lines) + chain_##name(x, y, l + 8, lines))                  \
                    + (chain_##name(x, y, l + 16, lines) + chain_##name(x, y, l + 24, lines));         \
    }

/* Of 1, 2, 4 or 8 lines */
#define OF_LINES(name, element, term)                                                                  \
    OF_LANES(name, element, term)                                                                      \
    static void name(const element *x, const element *y, ptrdiff_t lines, double *restrict to) {       \
        switch (lines) {                                                                               \
            case 1: lanes_##name(x, y, 1, to); return;                                                 \
            case 2: lanes_##name(x, y, 2, to); return;                                                 \
            case 4: lanes_##name(x, y, 4, to); return;                                                 \
            default: lanes_##name(x, y, LINES_OF_BLOCK, to);                                           \
        }                                                                                              \
    }
/* As they lie in memory */
OF_LINES(squares_of_floats, float, add_square((double)x[i] - (double)y[i], sum))
OF_LINES(squares_of_doubles, double, add_square(x[i] - y[i], sum))
/* Of differences x and weights y, where what is behind the last element is 0 */
OF_LINES(squares_of_differences, double, ((void)y, add_square(x[i], sum)))
OF_LINES(weighted_squares, double, weighted_square(x[i], y[i], sum))
OF_LINES(sum_of_weights, double, ((void)x, sum + y[i]))
#undef OF_LINES
#undef OF_LANES

/* So many of them hold n elements */
static inline ptrdiff_t lines_of(ptrdiff_t n) {
    const ptrdiff_t lines = (n + LINE - 1) / LINE;
    return lines <= 2 ? lines : lines <= 4 ? 4 : LINES_OF_BLOCK;
}

static inline void add_block(block_sums *to, const double *x) {
    _Pragma("omp simd") for (int l = 0; l < SUM_LANES; l++) {
        const double sum = to->hi[l] + x[l], part = sum - to->hi[l];
        to->lo[l] += (to->hi[l] - (sum - part)) + (x[l] - part);
        to->hi[l] = sum;
    }
}

/* x[l] += x[l + half] */
INLINE void fold_lanes(const block_sums *x, block_sums *to, int half) {
    _Pragma("omp simd") for (int l = 0; l < half; l++) {
        const double a = x->hi[l], b = x->hi[l + half], sum = a + b, part = sum - a;
        to->lo[l] = (x->lo[l] + x->lo[l + half]) + ((a - (sum - part)) + (b - part));
        to->hi[l] = sum;
    }
}

/* As total_of_blocks has it of n <= SUM_LANES lanes, which are overwritten */
static inline pair total_of_few(double *x, ptrdiff_t n) {
    double lo[SUM_LANES] = {0};
    for (ptrdiff_t half = SUM_LANES / 2; half; half /= 2) {
        for (ptrdiff_t l = 0; l + half < n; l++) {
            const pair sum = two_sum(x[l], x[l + half]);
            x[l] = sum.hi, lo[l] = (lo[l] + lo[l + half]) + sum.lo;
        }
        n = smaller(n, half);
    }
    return (pair){x[0], lo[0]};
}

static pair total_of_blocks(const block_sums *s) {
    block_sums four, two, one;
    fold_lanes(s, &four, 4);
    fold_lanes(&four, &two, 2);
    fold_lanes(&two, &one, 1);
    return (pair){one.hi[0], one.lo[0]};
}

/* ---- lines across memory ---------------------------------------------------------------------------------------------------- */

/* Lanes of ACROSS lines that registers have room for */
#if defined(__AVX512F__)
enum { LANES_TOGETHER = 4 };
#elif defined(__AVX__)
enum { LANES_TOGETHER = 2 };
#else
enum { LANES_TOGETHER = 1 };
#endif

/* A block's sums of ACROSS lines that lie side by side, `step` bytes from column to column */
#define OF_LINES(name, element)                                                                         \
    INLINE void add_of_##name(const char *x, const char *y, double *sum) {                              \
        const element *a = (const element *)(const void *)x, *b = (const element *)(const void *)y;     \
        for (size_t ahead = ACROSS * sizeof *a; ahead < 2 * ACROSS * sizeof *a; ahead += 64) __builtin_prefetch(x + ahead), __builtin_prefetch(y + ahead); \
        _Pragma("omp simd") for (int j = 0; j < ACROSS; j++) sum[j] = add_square((double)a[j] - (double)b[j], sum[j]); \
    }                                                                                                   \
    static void name(const char *x, const char *y, ptrdiff_t step, ptrdiff_t step_y, ptrdiff_t n, double (*restrict to)[ACROSS]) { \
        double lane[4][SUM_LANES][ACROSS] = {0};                                                        \
        for (int first = 0; first < LINE; first += LANES_TOGETHER) {                                    \
            double (*sum)[ACROSS] = &lane[first / SUM_LANES][first % SUM_LANES];                        \
            ptrdiff_t i = first;                                                                        \
            for (; i + LANES_TOGETHER <= n; i += LINE) {                                                \
                _Pragma("GCC unroll 4") for (int k = 0; k < LANES_TOGETHER; k++)                        \
                    add_of_##name(x + (i + k) * step, y + (i + k) * step_y, sum[k]);                    \
            }                                                                                           \
            for (int k = 0; i + k < n && k < LANES_TOGETHER; k++) add_of_##name(x + (i + k) * step, y + (i + k) * step_y, sum[k]); \
        }                                                                                               \
        for (int l = 0; l < SUM_LANES; l++)                                                             \
            _Pragma("omp simd") for (int j = 0; j < ACROSS; j++) to[l][j] = (lane[0][l][j] + lane[1][l][j]) + (lane[2][l][j] + lane[3][l][j]); \
    }
OF_LINES(lines_of_floats, float)
OF_LINES(lines_of_doubles, double)
#undef OF_LINES

/* As add_block and total_of_blocks, of ACROSS events at once */
INLINE void add_across(double *restrict hi, double *restrict lo, const double *restrict x, const double *restrict x_lo) {
    _Pragma("omp simd") for (int j = 0; j < ACROSS; j++) {
        const pair sum = two_sum(hi[j], x[j]);
        lo[j] = (lo[j] + (x_lo ? x_lo[j] : 0)) + sum.lo;
        hi[j] = sum.hi;
    }
}

#endif
