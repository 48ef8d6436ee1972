/* Gradients past the caches. An ordinary store first reads the line that it is about to overwrite: of outputs larger than the caches
 * that is up to a third of the traffic, for nothing. These loops form a line of every output and send it to memory by stores that read
 * nothing. Lines that a tile has only a part of are left to ordinary stores, for which the others would have to wait: so the last
 * line of a tile, the first of the next, is asked for when the tile begins. Included once per type (real.h). */
#ifndef STREAMS_H
#define STREAMS_H

#include "../math/real.h"

#if REAL == 64 /* once */
#ifdef __AVX2__ /* on older machines the arithmetic takes longer than memory; others have no such store in C */
#include <immintrin.h>
#define STREAMS 1
/* 64 bytes, both aligned to as many */
INLINE void stream_line(void *dst, const void *src) {
#ifdef PLAIN_STREAMS /* for sanitizers: they do not see the stores below */
    if ((uintptr_t)dst % 64) __builtin_trap();
    memcpy(dst, src, 64);
#elif defined(__AVX512F__)
    _mm512_stream_si512(dst, _mm512_load_si512(src));
#else
    for (int half = 0; half < 2; half++) _mm256_stream_si256((__m256i *)dst + half, _mm256_load_si256((const __m256i *)src + half));
#endif
}
/* What was streamed comes before whatever is stored later */
static inline void end_streams(void) { _mm_sfence(); }
#else
#define STREAMS 0
static inline void end_streams(void) {}
#endif
#endif

#if STREAMS && REAL == 64 /* once */
/* X(output) for each of those that are wanted */
#define EACH_OUTPUT(X)                    \
    if (wanted & WANT_FIRST) { X(first) } \
    if (wanted & WANT_SCALE) { X(scale) } \
    if ((wanted & WANT_SCALE) && PAIRED) { X(prior) }
#define ASK_FOR_LAST(x) __builtin_prefetch(x + n, 1);
#define PUT_LINE(x)                                  \
    if (edge)                                        \
        memcpy(edge_##x, line_##x, sizeof line_##x); \
    else                                             \
        stream_line(x + i, line_##x);
#define PUT_EDGE(x) memcpy(x + from + begin, edge_##x + begin, (size_t)(end - begin) * sizeof *x);

/* As IN_VECTORS (loops.h), but from the outputs' lines on: they lie alike in these, none is an input, and n >= LANES. What is done
 * for element j writes to place k of a line. (One loop for lines and edges: a call for an edge lets the stores before it wait.) */
#define IN_LINES(...)                                                                                                  \
    do {                                                                                                               \
        const ptrdiff_t n = o->n, lead = RE(to_line)(wanted & WANT_FIRST ? first : scale);                             \
        const ptrdiff_t whole = (n - lead) & -(ptrdiff_t)LANES;                                                        \
        T edge_first[LANES], edge_scale[LANES], edge_prior[LANES];                                                     \
        (void)edge_first, (void)edge_scale, (void)edge_prior;                                                          \
        if (lead + whole < n) { EACH_OUTPUT(ASK_FOR_LAST) }                                                            \
        for (int part = lead ? 0 : 1; part < (lead + whole < n ? 3 : 2); part++) {                                     \
            const ptrdiff_t from = part == 0 ? 0 : part == 1 ? lead : n - LANES, count = part == 1 ? whole : LANES;    \
            const int edge = part != 1;                                                                                \
            for (ptrdiff_t i = from; i < from + count; i += LANES) {                                                   \
                _Alignas(64) T line_first[LANES], line_scale[LANES], line_prior[LANES];                                \
                (void)line_first, (void)line_scale, (void)line_prior;                                                  \
                _Pragma("omp simd reduction(|:bad)") for (ptrdiff_t k = 0; k < LANES; k++) {                           \
                    const ptrdiff_t j = i + k;                                                                         \
                    __VA_ARGS__                                                                                        \
                }                                                                                                      \
                EACH_OUTPUT(PUT_LINE)                                                                                  \
            }                                                                                                          \
            const ptrdiff_t begin = part == 2 ? lead + whole - from : 0, end = part == 0 ? lead : LANES;               \
            if (edge) { EACH_OUTPUT(PUT_EDGE) }                                                                        \
        }                                                                                                              \
    } while (0)
#endif

#endif
