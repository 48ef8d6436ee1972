/* One floating-point type under the names T, I, U and RE(name): the only file that knows what differs
 * between float32 and float64. Included once per type, after  #define REAL 32  or  #define REAL 64.
 *
 * FMA(a, b, c) is a fused multiply-add wherever the machine has one, and a*b + c elsewhere: it saves an
 * instruction and a rounding. Where an error term must be exact, product_error (fmath.h) is used instead. */
#ifndef REAL_H
#define REAL_H

#include "../kernels.h"

/* clang 14 defines the standard's __FP_FAST_FMA neither on x86-64 nor on arm64 */
#if defined(__FP_FAST_FMA) || defined(__FMA__) || defined(__ARM_FEATURE_FMA)
#define FAST_FMA 1
#else
#define FAST_FMA 0
#endif

#undef T
#undef I
#undef U
#undef RE
#undef FMA
#undef ROOT
#undef MANTISSA
#undef EXP_MAX
#undef LANES
#undef TILE
#undef HAS_FMA

#if REAL == 32
#define T float
#define I int32_t
#define U uint32_t
#define RE(name) name##_f32
#define ROOT(x) __builtin_sqrtf(x)
#define MANTISSA 23
#define EXP_MAX 127
#define LANES 16  /* independent partial sums of an event; a multiple of every vector width */
#define TILE 1024 /* elements in flight: a dozen such arrays stay in the first-level cache */
#if FAST_FMA
#define HAS_FMA 1
#define FMA(a, b, c) __builtin_fmaf(a, b, c)
#endif
#else
#define T double
#define I int64_t
#define U uint64_t
#define RE(name) name##_f64
#define ROOT(x) __builtin_sqrt(x)
#define MANTISSA 52
#define EXP_MAX 1023
#define LANES 8
#define TILE 512
#if FAST_FMA
#define HAS_FMA 1
#define FMA(a, b, c) __builtin_fma(a, b, c)
#endif
#endif

#ifndef HAS_FMA
#define HAS_FMA 0
#define FMA(a, b, c) ((a) * (b) + (c))
#endif

#endif
