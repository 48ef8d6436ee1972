/* The sums of sums.h and squares.h, to the bit, of rows that lie across memory: element c of row r is at [c step + r]. Rows are the lanes of
 * vectors, and what a row by itself has in lanes follows one after the other. Included once per type (real.h). */
#ifndef ACROSS_H
#define ACROSS_H

#include "many.h"

#if REAL == 64 /* once */
/* A sum that is only put down, where others are added to 0, keeps the sign of a 0: so it begins with this, which changes no number */
#define NOTHING_YET (-0.0)
#endif

/* ---- terms ----------------------------------------------------------------------------------------------------------------- */

/* Lanes of `rows` rows, one after the other: lane l of row r at [l rows + r]. Whole events of n elements: those that RE(sum) puts down */
static void RE(start_across)(double *hi, double *lo, ptrdiff_t rows, ptrdiff_t n, int group) {
    const ptrdiff_t lines = n / LANES, lanes = n < LANES ? n : LANES, all = n > 8 ? LANES : 8;
    const int power = lines == 1 || (group >= 4 && (lines == 2 || lines == 4)) || (group == 8 && lines == 8);
    const int down = n < LANES || (n % LANES == 0 && power);
    for (ptrdiff_t i = 0; i < lanes * rows; i++) hi[i] = down ? NOTHING_YET : 0;
    for (ptrdiff_t i = lanes * rows; i < all * rows; i++) hi[i] = 0;
    if (REAL == 64) memset(lo, 0, (size_t)(all * rows) * sizeof *lo);
}

INLINE void RE(fold_across)(double *restrict hi, double *restrict lo, const T *restrict x, ptrdiff_t n, ptrdiff_t line, int count) {
#define AT(k) x[(k) * line + i]
#define TREE4(k) ((AT(k) + AT(k + 1)) + (AT(k + 2) + AT(k + 3)))
    for (ptrdiff_t i = 0; i < n; i++) {
        const double sum = (double)(count == 8 ? TREE4(0) + TREE4(4) : count == 4 ? TREE4(0) : AT(0));
#if REAL == 32
        (void)lo;
        hi[i] += sum;
#else
        const pair s = two_sum(hi[i], sum);
        hi[i] = s.hi;
        lo[i] += s.lo;
#endif
    }
#undef TREE4
#undef AT
}

/* The next columns of the event, 8 LANES of them or, once it ends, fewer: as RE(add) has it. (Whole lines that are left over are added up in x.) */
static void RE(add_across)(double *hi, double *lo, T *x, ptrdiff_t rows, ptrdiff_t cols, int group) {
    const ptrdiff_t line = LANES * rows;
    ptrdiff_t left = cols;
#define FOLD(count) \
    for (; left >= (count) * LANES; left -= (count) * LANES, x += (count) * line) RE(fold_across)(hi, lo, x, line, line, count);
    if (group == 8) FOLD(8)
    if (group >= 4) FOLD(4)
    if (group == 1) FOLD(1)
#undef FOLD
    const ptrdiff_t tail = left % LANES * rows;
    if (left < LANES) {
        RE(fold_across)(hi, lo, x, tail, line, 1);
        return;
    }
    T *next = x + line;
    for (left -= LANES; left >= LANES; left -= LANES, next += line)
        for (ptrdiff_t i = 0; i < line; i++) x[i] += next[i];
    for (ptrdiff_t i = 0; i < tail; i++) x[i] += next[i];
    RE(fold_across)(hi, lo, x, line, line, 1);
}

/* As RE(total): into the first lane */
static void RE(total_across)(double *hi, double *lo, ptrdiff_t rows, ptrdiff_t used) {
    for (ptrdiff_t half = LANES / 2; half; half /= 2) {
        if (used <= half) continue;
        const double *from = hi + half * rows;
        for (ptrdiff_t i = 0; i < half * rows; i++) {
#if REAL == 32
            (void)lo;
            hi[i] += from[i];
#else
            const pair s = two_sum(hi[i], from[i]);
            hi[i] = s.hi;
            lo[i] += lo[half * rows + i] + s.lo;
#endif
        }
    }
}

/* ---- squares --------------------------------------------------------------------------------------------------------------- */

#if REAL == 64 /* once */
#define ROWS_ACROSS 64 /* at once, unless they are short */
#endif

/* x and y, and first = (x - y) c of the row, unless NULL */
typedef struct { const T *x, *y, *c; T *first; ptrdiff_t x_step, y_step, first_step; } RE(columns);

/* For each row of a multiple of LANES, in vectors that compilers see */
#define EACH_ROW(...)                                                                                        \
    for (ptrdiff_t from = 0; from < rows; from += LANES)                                                     \
        _Pragma("omp simd") for (ptrdiff_t r = from; r < from + LANES; r++) { __VA_ARGS__ }

INLINE T RE(square_across)(RE(columns) s, int first, ptrdiff_t i, ptrdiff_t r, T before) {
    const T d = s.x[i * s.x_step + r] - s.y[i * s.y_step + r];
    if (first) s.first[i * s.first_step + r] = d * s.c[r];
    return FMA(d, d, before);
}

/* Of chains (squares.h) `count` lines, from 1 to 4: two at a time, from one end of their rows to the other, as columns may lie so that a cache
 * holds but few of them. to: their sums */
INLINE void RE(chain_across)(RE(columns) s, int first, ptrdiff_t i, ptrdiff_t rows, int count, T *restrict to) {
    const T least = RE(pow2)(1 - EXP_MAX);
    T low_of[ROWS_ACROSS], high_of[ROWS_ACROSS];
    for (int k = 0; k < count; k += 2) EACH_ROW(
        T low = k ? low_of[r] : least, high = k ? high_of[r] : least;
        low = RE(square_across)(s, first, i + k * LANES, r, low);
        high = RE(square_across)(s, first, i + k * LANES + HALF, r, high);
        if (k + 1 < count) low = RE(square_across)(s, first, i + (k + 1) * LANES, r, low);
        if (k + 1 < count) high = RE(square_across)(s, first, i + (k + 1) * LANES + HALF, r, high);
        if (k + 2 < count)
            low_of[r] = low, high_of[r] = high;
        else
            to[r] = low + high;
    )
}

/* part[r] += the sums of `count` lines */
INLINE void RE(chains_across)(RE(columns) s, int first, ptrdiff_t i, ptrdiff_t rows, int count, double *restrict part) {
    T sum[4][ROWS_ACROSS];
    for (int k = 0; k < count; k += 4) RE(chain_across)(s, first, i + k * LANES, rows, count < 4 ? count : 4, sum[k / 4]);
    if (count > 8)
        EACH_ROW(part[r] += (double)((sum[0][r] + sum[1][r]) + (sum[2][r] + sum[3][r]));)
    else if (count > 4)
        EACH_ROW(part[r] += (double)(sum[0][r] + sum[1][r]);)
    else
        EACH_ROW(part[r] += (double)sum[0][r];)
}

INLINE void RE(parts_across)(RE(columns) s, int first, ptrdiff_t rows, ptrdiff_t cols, double *restrict part) {
    const T least = RE(pow2)(1 - EXP_MAX);
    ptrdiff_t i = 0;
    if (cols == 8) {
        for (ptrdiff_t l = 0; l < 4; l++)
            EACH_ROW(part[l * rows + r] = (double)(RE(square_across)(s, first, l, r, least) + RE(square_across)(s, first, 4 + l, r, least));)
        return;
    }
    if (cols < 16) {
        for (; i < cols; i++) EACH_ROW(part[i * rows + r] = (double)RE(square_across)(s, first, i, r, least);)
        return;
    }
    for (ptrdiff_t k = 0; k < HALF * rows; k++) part[k] = 0;
#define LINES(count)                                                                                             \
    {                                                                                                            \
        for (ptrdiff_t l = 0; l < HALF; l++) RE(chains_across)(s, first, i + l, rows, count, part + l * rows);   \
        i += (count) * LANES;                                                                                    \
    }
    const ptrdiff_t left = cols / LANES % GROUP_LINES;
    for (ptrdiff_t g = cols / (GROUP_LINES * LANES); g; g--) LINES(GROUP_LINES)
    if (left & 8) LINES(8)
    if (left & 4) LINES(4)
    if (left & 2) LINES(2)
    if (left & 1) LINES(1)
#undef LINES
    for (ptrdiff_t k = 0; i < cols; i++, k++) EACH_ROW(part[k % HALF * rows + r] += (double)RE(square_across)(s, first, i, r, least);)
}

INLINE void RE(sum_across)(RE(columns) s, int first, ptrdiff_t rows, ptrdiff_t cols, double *sum, double *restrict part) {
    const ptrdiff_t parts = cols == 8 ? 4 : cols < 16 ? cols : HALF;
    RE(parts_across)(s, first, rows, cols, part);
#define PART(k) part[(k) * rows + r]
    if (parts == 8) {
        for (ptrdiff_t r = 0; r < rows; r++)
            sum[r] = ((PART(0) + PART(4)) + (PART(2) + PART(6))) + ((PART(1) + PART(5)) + (PART(3) + PART(7)));
    } else if (parts == 4) {
        for (ptrdiff_t r = 0; r < rows; r++) sum[r] = (PART(0) + PART(2)) + (PART(1) + PART(3));
    } else { /* as sum_of_few */
        const ptrdiff_t whole = parts & -2;
        for (ptrdiff_t k = 2; k < whole; k++)
            for (ptrdiff_t r = 0; r < rows; r++) PART(k % 2) += PART(k);
        for (ptrdiff_t r = 0; r < rows; r++)
            sum[r] = parts == 1 ? PART(0) : parts % 2 ? PART(0) + (PART(1) + PART(whole)) : PART(0) + PART(1);
    }
#undef PART
}
#undef EACH_ROW

/* sum[r]: of the squares in row r; rows: a multiple of LANES, of which part has room for at most min(cols, 15) or HALF numbers each */
static void RE(squares_across)(RE(columns) s, ptrdiff_t rows, ptrdiff_t cols, double *sum, double *part) {
    if (s.first)
        RE(sum_across)(s, 1, rows, cols, sum, part);
    else
        RE(sum_across)(s, 0, rows, cols, sum, part);
}

#endif
