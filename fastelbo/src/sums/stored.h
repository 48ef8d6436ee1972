/* The sums of squares.h, to the bit, of x and mean as they are stored: elements of 8 or 16 bits are converted in registers. (Were
 * they copied to a tile first, memory would idle while the tile is summed.) By intrinsics, as compilers have no vectors for the
 * machine's conversion of binary16. Included once per type (real.h). */
#ifndef STORED_H
#define STORED_H

#include "../math/elements.h"
#include "squares.h"

/* sum[r]: of (x factor - y)^2 in row r; first: (x factor - y) c, unless NULL. Rows follow one another, of LANES elements or more. */
typedef void (*RE(stored_sum))(const char *x, const char *y, T factor, T *first, T c, ptrdiff_t rows, ptrdiff_t cols, double *sum);

#if REAL == 32 && defined(__AVX2__) && defined(__F16C__) && defined(__FMA__)

typedef struct {
    int of_x, of_y; /* types */
    const char *x, *y;
    float *first, factor, c;
} stored_row;

/* HALF elements, from i on */
INLINE __m256 stored_at(int type, const char *x, ptrdiff_t i) {
    const void *at = x + i * size_of[type];
    switch (type) {
        case U8: return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(at)));
        case F16: return _mm256_cvtph_ps(_mm_loadu_si128(at));
        case BF16: return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(at)), 16));
        default: return _mm256_loadu_ps(at);
    }
}

/* Their squares, added to sum (a factor of 1 changes nothing) */
INLINE __m256 add_stored_squares(const stored_row *s, ptrdiff_t i, __m256 sum) {
    __m256 d = _mm256_fmsub_ps(stored_at(s->of_x, s->x, i), _mm256_set1_ps(s->factor), stored_at(s->of_y, s->y, i));
    if (s->first) _mm256_storeu_ps(s->first + i, _mm256_mul_ps(d, _mm256_set1_ps(s->c)));
    return _mm256_fmadd_ps(d, d, sum);
}

/* As chains_f32 */
INLINE __m256 stored_chains(const stored_row *s, ptrdiff_t i, int count) {
    __m256 sum[2];
    for (int half = 0; half < (count > 4 ? 2 : 1); half++) {
        __m256 low = _mm256_set1_ps(pow2_f32(1 - EXP_MAX)), high = low;
        _Pragma("GCC unroll 4") for (int k = 0; k < (count > 4 ? 4 : count); k++, i += LANES) {
            low = add_stored_squares(s, i, low);
            high = add_stored_squares(s, i + HALF, high);
        }
        sum[half] = _mm256_add_ps(low, high);
    }
    return count > 4 ? _mm256_add_ps(sum[0], sum[1]) : sum[0];
}

/* As lane_sums_f32 */
INLINE void stored_lane_sums(const stored_row *s, ptrdiff_t n, double *to) {
    ptrdiff_t i = 0, tail = n % LANES;
    __m256d sum[2] = {_mm256_setzero_pd(), _mm256_setzero_pd()};
#define STORED_LINES(count)                                                      \
    {                                                                            \
        __m256 x = stored_chains(s, i, count);                                   \
        sum[0] = _mm256_add_pd(sum[0], _mm256_cvtps_pd(_mm256_castps256_ps128(x)));   \
        sum[1] = _mm256_add_pd(sum[1], _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1))); \
        i += (count) * LANES;                                                    \
    }
    while (i + GROUP_LINES * LANES <= n) STORED_LINES(GROUP_LINES)
    if (n / LANES & 4) STORED_LINES(4)
    if (n / LANES & 2) STORED_LINES(2)
    if (n / LANES & 1) STORED_LINES(1)
#undef STORED_LINES
    _mm256_storeu_pd(to, sum[0]);
    _mm256_storeu_pd(to + 4, sum[1]);
    if (!tail) return;
    float x[LANES], y[LANES];
    pack_f32(s->of_y, y, s->y + i * size_of[s->of_y], size_of[s->of_y], tail);
    packs_f32[1][s->of_x](x, s->x + i * size_of[s->of_x], size_of[s->of_x], tail, s->factor, y);
    memset(y, 0, sizeof y);
    for (ptrdiff_t k = 0; k < tail; k++) to[k % HALF] += (double)one_square_f32(x, y, s->first ? s->first + i : NULL, s->c, k);
}

INLINE void stored_sums(stored_row s, ptrdiff_t rows, ptrdiff_t cols, double *sum) {
    for (ptrdiff_t r = 0; r < rows; r++) {
        double part[HALF];
        stored_lane_sums(&s, cols, part);
        sum[r] = sum_of_eight(part);
        s.x += cols * size_of[s.of_x], s.y += cols * size_of[s.of_y], s.first += s.first ? cols : 0;
    }
}

#define WITH_EACH_MEAN(X, of_x) X(of_x, F16) X(of_x, BF16)
#define EACH_STORED(X) WITH_EACH_MEAN(X, U8) X(U8, F32) WITH_EACH_MEAN(X, F16) X(F16, F32) WITH_EACH_MEAN(X, BF16) X(BF16, F32) WITH_EACH_MEAN(X, F32)
#define STORED_SUMS(of_x, of_y)                                                                                             \
    static void stored_##of_x##_##of_y(const char *x, const char *y, float factor, float *first, float c, ptrdiff_t rows,   \
                                       ptrdiff_t cols, double *sum) {                                                       \
        if (first)                                                                                                          \
            stored_sums((stored_row){of_x, of_y, x, y, first, factor, c}, rows, cols, sum);                                 \
        else                                                                                                                \
            stored_sums((stored_row){of_x, of_y, x, y, NULL, factor, c}, rows, cols, sum);                                  \
    }
EACH_STORED(STORED_SUMS)
#undef STORED_SUMS

/* NULL: converted first. (An element in two bytes may be unaligned; byte-swapped types have numbers beyond the table.) */
static stored_sum_f32 stored_sum_of_f32(int of_x, int of_y) {
    static const stored_sum_f32 sums[N_TYPES][N_TYPES] = {
#define ENTRY(of_x, of_y) [of_x][of_y] = stored_##of_x##_##of_y,
        EACH_STORED(ENTRY)
#undef ENTRY
    };
    return of_x < N_TYPES && of_y < N_TYPES ? sums[of_x][of_y] : NULL;
}
#else
static RE(stored_sum) RE(stored_sum_of)(int of_x, int of_y) { return (void)of_x, (void)of_y, (RE(stored_sum))NULL; }
#endif

#endif
