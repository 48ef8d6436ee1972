/* Element types an argument may have: the one list of them. */
#ifndef FASTELBO_TYPES_H
#define FASTELBO_TYPES_H

#include <stddef.h>
#include <stdint.h>

#define AS_IT_IS(x) (x)
#define AS_TRUTH(x) ((x) != 0) /* any byte but 0 is true, as for NumPy */

#define NO_SWAP(x) (x)
/* X(type, of its elements in C, the same as bits, a byte swap, the number that an element is) */
#define EACH_TYPE(X)                                               \
    X(U8, uint8_t, uint8_t, NO_SWAP, AS_IT_IS)                     \
    X(I8, int8_t, uint8_t, NO_SWAP, AS_IT_IS)                      \
    X(U16, uint16_t, uint16_t, __builtin_bswap16, AS_IT_IS)        \
    X(I16, int16_t, uint16_t, __builtin_bswap16, AS_IT_IS)         \
    X(U32, uint32_t, uint32_t, __builtin_bswap32, AS_IT_IS)        \
    X(I32, int32_t, uint32_t, __builtin_bswap32, AS_IT_IS)         \
    X(U64, uint64_t, uint64_t, __builtin_bswap64, AS_IT_IS)        \
    X(I64, int64_t, uint64_t, __builtin_bswap64, AS_IT_IS)         \
    X(F16, uint16_t, uint16_t, __builtin_bswap16, float_of_half)   \
    X(BF16, uint16_t, uint16_t, __builtin_bswap16, float_of_brain) \
    X(F32, float, uint32_t, __builtin_bswap32, AS_IT_IS)           \
    X(F64, double, uint64_t, __builtin_bswap64, AS_IT_IS)          \
    X(BOOL, uint8_t, uint8_t, NO_SWAP, AS_TRUTH)

#define ENTRY(type, element, raw, swap, number) type,
enum type { EACH_TYPE(ENTRY) N_TYPES, SWAPPED = 16 }; /* a byte-swapped one has SWAPPED added */
#undef ENTRY

static const ptrdiff_t size_of[N_TYPES] = {
#define ENTRY(type, element, raw, swap, number) [type] = sizeof(raw),
    EACH_TYPE(ENTRY)
#undef ENTRY
};

#endif
