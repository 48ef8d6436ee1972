/* Between elements of any type in memory and T. Included once per type (real.h). */
#ifndef ELEMENTS_H
#define ELEMENTS_H

#include "fmath.h"

#if REAL == 64 /* once */
#if defined(__AVX2__) && defined(__F16C__)
#include <immintrin.h>
#endif

INLINE float float_of_bits(int32_t i) { float x; memcpy(&x, &i, sizeof x); return x; }

/* binary16: signed integers throughout, and no selection between floats, so that SSE2 vectorises it */
INLINE float float_of_half(uint16_t h) {
    int32_t magnitude = h & 0x7fff, sign = (int32_t)((uint32_t)(h & 0x8000) << 16), subnormal;
    float small = (float)magnitude * 0x1p-24f;
    memcpy(&subnormal, &small, sizeof subnormal);
    int32_t normal = (magnitude << 13) + (magnitude < 0x7c00 ? 0x38000000 : 0x70000000);
    return float_of_bits((magnitude < 0x400 ? subnormal : normal) | sign);
}

/* What (double)x leaves of an integer: the upper 53 bits are exact, the lower 11 too */
INLINE double rest_of_signed(int64_t x) { return ((double)(x & ~(int64_t)0x7ff) - (double)x) + (double)(x & 0x7ff); }
INLINE double rest_of_unsigned(uint64_t x) { return ((double)(x & ~(uint64_t)0x7ff) - (double)x) + (double)(x & 0x7ff); }

/* bfloat16: the upper half of a float */
INLINE float float_of_brain(uint16_t h) { return float_of_bits((int32_t)((uint32_t)h << 16)); }

#define NATIVE F64
#else
#undef NATIVE
#define NATIVE F32
#endif

/* x, or x factor - less[i] */
#define SCALED(scaled, x) ((scaled) ? RE(product_minus)((T)(x), factor, less[i]) : (T)(x))

/* As many of n contiguous 16-bit floats as fill vectors. By intrinsics, because compilers (gcc 12, clang 14) have no vectors for the
 * machine's conversion of binary16, and by integers it takes four to six times as long, more than memory takes to bring it; and because
 * gcc loads bfloat16 by whole lines, which mostly lie across two: 15 % more time out of cache. */
INLINE ptrdiff_t RE(pack_vectors)(int type, T *restrict dst, const char *restrict src, ptrdiff_t n, T factor, const T *restrict less, int scaled) {
    ptrdiff_t i = 0;
#if REAL == 32 && defined(__AVX512F__)
    for (; i + 16 <= n; i += 16) {
        __m256i raw = _mm256_loadu_si256((const __m256i *)(const void *)(src + 2 * i));
        __m512 x = type == F16 ? _mm512_cvtph_ps(raw) : _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(raw), 16));
        _mm512_storeu_ps(dst + i, scaled ? _mm512_fmsub_ps(x, _mm512_set1_ps(factor), _mm512_loadu_ps(less + i)) : x);
    }
#elif REAL == 32 && defined(__AVX2__) && defined(__F16C__) && defined(__FMA__)
    for (; i + 8 <= n; i += 8) {
        __m128i raw = _mm_loadu_si128((const __m128i *)(const void *)(src + 2 * i));
        __m256 x = type == F16 ? _mm256_cvtph_ps(raw) : _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(raw), 16));
        _mm256_storeu_ps(dst + i, scaled ? _mm256_fmsub_ps(x, _mm256_set1_ps(factor), _mm256_loadu_ps(less + i)) : x);
    }
#endif
    (void)type, (void)dst, (void)src, (void)n, (void)factor, (void)less, (void)scaled;
    return i;
}

/* pack: dst[i] = (T) the i-th element, `stride` bytes apart. The usual strides as constants, so that the loops are vectorised. */
#define PACK_LOOP(element, raw, swap, number, stride, scaled) \
    for (; i < n; i++) {                                      \
        raw r;                                                \
        element x;                                            \
        memcpy(&r, src + i * (stride), sizeof r);             \
        r = (raw)swap(r);                                     \
        memcpy(&x, &r, sizeof x);                             \
        dst[i] = SCALED(scaled, number(x));                   \
    }
#define PACK(name, type, element, raw, swap, number, scaled)                                                              \
    static void RE(name)(T *restrict dst, const char *restrict src, ptrdiff_t stride, ptrdiff_t n, T factor, const T *restrict less) { \
        int short_floats = ((type) == F16 || (type) == BF16) && stride == 2;                                             \
        ptrdiff_t i = short_floats ? RE(pack_vectors)(type, dst, src, n, factor, less, scaled) : 0;                      \
        (void)factor, (void)less;                                                                                         \
        if (stride == (ptrdiff_t)sizeof(raw))                                                                             \
            PACK_LOOP(element, raw, swap, number, (ptrdiff_t)sizeof(raw), scaled)                                         \
        else if (stride == 0)                                                                                             \
            PACK_LOOP(element, raw, swap, number, 0, scaled)                                                              \
        else                                                                                                              \
            PACK_LOOP(element, raw, swap, number, stride, scaled)                                                         \
    }
#define PACK_ALL(type, element, raw, swap, number)                                       \
    PACK(pack_##type, type, element, raw, NO_SWAP, number, 0)                            \
    PACK(pack_swapped_##type, SWAPPED + type, element, raw, swap, number, 0)             \
    PACK(pack_scaled_##type, type, element, raw, NO_SWAP, number, 1)                     \
    PACK(pack_scaled_swapped_##type, SWAPPED + type, element, raw, swap, number, 1)
EACH_TYPE(PACK_ALL)
#if REAL == 64
PACK(pack_rest_U64, U64, uint64_t, uint64_t, NO_SWAP, rest_of_unsigned, 0)
PACK(pack_rest_swapped_U64, SWAPPED + U64, uint64_t, uint64_t, __builtin_bswap64, rest_of_unsigned, 0)
PACK(pack_rest_I64, I64, int64_t, uint64_t, NO_SWAP, rest_of_signed, 0)
PACK(pack_rest_swapped_I64, SWAPPED + I64, int64_t, uint64_t, __builtin_bswap64, rest_of_signed, 0)
#endif
#if REAL == 32
/* A weight that float has no normal number for becomes a subnormal one or infinite, never 0: its element is taken apart (mend.h) */
#define NOT_NOTHING(x) ((x) != 0 && (float)(x) == 0 ? 0x1p-149f : (float)(x))
PACK(pack_weight_F64, F64, double, uint64_t, NO_SWAP, NOT_NOTHING, 0)
PACK(pack_weight_swapped_F64, SWAPPED + F64, double, uint64_t, __builtin_bswap64, NOT_NOTHING, 0)
#undef NOT_NOTHING
#endif
#undef PACK_ALL
#undef PACK
#undef PACK_LOOP
#undef SCALED

#if REAL == 64 /* once */
enum { CONVERTED, TIMES_FACTOR, REST, WEIGHING, N_PACKS };
#endif
static void (*const RE(packs)[N_PACKS][SWAPPED + N_TYPES])(T *, const char *, ptrdiff_t, ptrdiff_t, T, const T *) = {
#define ENTRY(type, element, raw, swap, number) [type] = RE(pack_##type), [SWAPPED + type] = RE(pack_swapped_##type),
    [CONVERTED] = {EACH_TYPE(ENTRY)},
#undef ENTRY
#define ENTRY(type, element, raw, swap, number) [type] = RE(pack_scaled_##type), [SWAPPED + type] = RE(pack_scaled_swapped_##type),
    [TIMES_FACTOR] = {EACH_TYPE(ENTRY)},
#undef ENTRY
#if REAL == 64
    [REST] = {[U64] = pack_rest_U64_f64, [SWAPPED + U64] = pack_rest_swapped_U64_f64,
              [I64] = pack_rest_I64_f64, [SWAPPED + I64] = pack_rest_swapped_I64_f64},
#else
    [WEIGHING] = {[F64] = pack_weight_F64_f32, [SWAPPED + F64] = pack_weight_swapped_F64_f32},
#endif
};

static void RE(pack)(int type, T *dst, const char *src, ptrdiff_t stride, ptrdiff_t n) { RE(packs)[CONVERTED][type](dst, src, stride, n, 1, NULL); }

static void RE(unpack)(const T *src, char *dst, ptrdiff_t stride, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) memcpy(dst + i * stride, &src[i], sizeof *src);
}

#endif
