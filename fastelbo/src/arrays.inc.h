/* Between memory of any layout and type, and contiguous tiles of T. Included once per type (real.h). */

/* ---- elements -------------------------------------------------------------------------------------------------- */

#if REAL == 64 /* once */
static inline float half_to_float(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, magnitude = h & 0x7fff, i;
    float x = (float)magnitude * 0x1p-24f; /* subnormal */
    if (magnitude >= 0x400) {
        i = (magnitude << 13) + (magnitude >= 0x7c00 ? 0x70000000u : 0x38000000u);
        memcpy(&x, &i, sizeof x);
    }
    return sign ? -x : x;
}

#define NO_SWAP(x) (x)
#define EACH_TYPE(X)                              \
    X(U8, uint8_t, uint8_t, NO_SWAP)              \
    X(I8, int8_t, uint8_t, NO_SWAP)               \
    X(U16, uint16_t, uint16_t, __builtin_bswap16) \
    X(I16, int16_t, uint16_t, __builtin_bswap16)  \
    X(U32, uint32_t, uint32_t, __builtin_bswap32) \
    X(I32, int32_t, uint32_t, __builtin_bswap32)  \
    X(U64, uint64_t, uint64_t, __builtin_bswap64) \
    X(I64, int64_t, uint64_t, __builtin_bswap64)  \
    X(F16, uint16_t, uint16_t, __builtin_bswap16) \
    X(F32, float, uint32_t, __builtin_bswap32)    \
    X(F64, double, uint64_t, __builtin_bswap64)
#define NATIVE F64
#else
#undef NATIVE
#define NATIVE F32
#endif

/* pack: dst[i] = (T) the i-th element, `stride` bytes apart. The usual strides as constants, so that the loops are vectorised. */
#define PACK_LOOP(type, element, raw, swap, stride)                   \
    for (ptrdiff_t i = 0; i < n; i++) {                               \
        raw r;                                                        \
        element x;                                                    \
        memcpy(&r, src + i * (stride), sizeof r);                     \
        r = (raw)swap(r);                                             \
        memcpy(&x, &r, sizeof x);                                     \
        dst[i] = type == F16 ? (T)half_to_float((uint16_t)x) : (T)x;  \
    }
#define PACK(name, type, element, raw, swap)                                                     \
    static void RE(name)(T *restrict dst, const char *restrict src, ptrdiff_t stride, ptrdiff_t n) { \
        if (stride == (ptrdiff_t)sizeof(raw))                                                    \
            PACK_LOOP(type, element, raw, swap, (ptrdiff_t)sizeof(raw))                          \
        else if (stride == 0)                                                                    \
            PACK_LOOP(type, element, raw, swap, 0)                                               \
        else                                                                                     \
            PACK_LOOP(type, element, raw, swap, stride)                                          \
    }
#define PACK_BOTH(type, element, raw, swap)          \
    PACK(pack_##type, type, element, raw, NO_SWAP)   \
    PACK(pack_swapped_##type, type, element, raw, swap)
EACH_TYPE(PACK_BOTH)
#undef PACK_BOTH
#undef PACK
#undef PACK_LOOP

static void (*const RE(pack)[SWAPPED + N_TYPES])(T *, const char *, ptrdiff_t, ptrdiff_t) = {
#define ENTRY(type, element, raw, swap) [type] = RE(pack_##type), [SWAPPED + type] = RE(pack_swapped_##type),
    EACH_TYPE(ENTRY)
#undef ENTRY
};

static void RE(unpack)(const T *src, char *dst, ptrdiff_t stride, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) memcpy(dst + i * stride, &src[i], sizeof *src);
}

/* ---- positions -------------------------------------------------------------------------------------------------- */

#if REAL == 64 /* once */
/* Offset of the index-th element of axes [from, to), in C order */
static ptrdiff_t offset_of(const plan *p, const ptrdiff_t *stride, int from, int to, ptrdiff_t index) {
    ptrdiff_t offset = 0;
    if (to - from == 1) return index * stride[from];
    for (int i = to - 1; i >= from; i--) {
        offset += index % p->shape[i] * stride[i];
        index /= p->shape[i];
    }
    return offset;
}

static ptrdiff_t row_offset(const plan *p, const ptrdiff_t *stride, ptrdiff_t row) {
    return offset_of(p, stride, 0, p->row_dims, row);
}

/* The run of evenly spaced elements that begins at column `col` and has at most `most`: its offset, stride and length */
typedef struct { ptrdiff_t offset, stride, length; } run;

static run run_at(const plan *p, const ptrdiff_t *stride, ptrdiff_t col, ptrdiff_t most) {
    if (p->dims == p->row_dims) return (run){0, 0, most};
    int last = p->dims - 1;
    ptrdiff_t left = p->shape[last] - col % p->shape[last];
    return (run){offset_of(p, stride, p->row_dims, p->dims, col), stride[last], left < most ? left : most};
}
#endif

/* ---- tiles ------------------------------------------------------------------------------------------------------ */

/* `rows` rows, `row` and on along the outer rows (every inner-th), of each the columns [col, col + cols); either one row or whole
 * events. slab: the first one's place in its group */
typedef struct { ptrdiff_t row, rows, col, cols, slab; } RE(tile);

static inline ptrdiff_t RE(row_of)(const plan *p, const RE(tile) *t, ptrdiff_t i) { return t->row + i * p->inner; }

/* Where the tile lies in v if it can be used as it is: T, aligned, contiguous; else NULL */
static T *RE(in_place)(const plan *p, const view *v, const RE(tile) *t) {
    int follow = t->rows == 1 || v->stride[p->outer_dims - 1] == t->cols * (ptrdiff_t)sizeof(T);
    int dense = t->cols == 1 || (p->dims - p->row_dims == 1 && v->stride[p->dims - 1] == (ptrdiff_t)sizeof(T));
    if (v->type != NATIVE || !follow || !dense) return NULL;
    char *data = v->data + row_offset(p, v->stride, t->row) + (t->col ? run_at(p, v->stride, t->col, 1).offset : 0);
    return (uintptr_t)data % sizeof(T) ? NULL : (T *)(void *)data;
}

static void RE(copy_in)(const plan *p, const view *v, const RE(tile) *t, T *dst) {
    if (t->cols == 1 && t->rows > 1) {
        RE(pack)[v->type](dst, v->data + row_offset(p, v->stride, t->row), v->stride[p->outer_dims - 1], t->rows);
        return;
    }
    for (ptrdiff_t r = 0; r < t->rows; r++) {
        const char *row = v->data + row_offset(p, v->stride, RE(row_of)(p, t, r));
        for (ptrdiff_t c = 0; c < t->cols;) {
            run x = run_at(p, v->stride, t->col + c, t->cols - c);
            RE(pack)[v->type](dst, row + x.offset, x.stride, x.length);
            dst += x.length, c += x.length;
        }
    }
}

static void RE(copy_out)(const plan *p, const view *v, const RE(tile) *t, const T *src) {
    if (t->cols == 1 && t->rows > 1) {
        RE(unpack)(src, v->data + row_offset(p, v->stride, t->row), v->stride[p->outer_dims - 1], t->rows);
        return;
    }
    for (ptrdiff_t r = 0; r < t->rows; r++) {
        char *row = v->data + row_offset(p, v->stride, RE(row_of)(p, t, r));
        for (ptrdiff_t c = 0; c < t->cols;) {
            run x = run_at(p, v->stride, t->col + c, t->cols - c);
            RE(unpack)(src, row + x.offset, x.stride, x.length);
            src += x.length, c += x.length;
        }
    }
}
