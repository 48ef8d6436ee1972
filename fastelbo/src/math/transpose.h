/* Transposition in memory, by square blocks of vectors. Once per type (real.h). */
#ifndef TRANSPOSE_H
#define TRANSPOSE_H

#include "real.h"

#undef BLOCK
#undef SHUFFLE
#undef AHEAD
#define AHEAD (4 * BLOCK) /* columns */
#define BLOCK (32 / (int)sizeof(T))
typedef T RE(vector) __attribute__((vector_size(32)));
typedef I RE(shuffled) __attribute__((vector_size(32)));
#if defined(__clang__)
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (RE(shuffled)){__VA_ARGS__})
#endif

/* BLOCK vectors of BLOCK elements, which lie so many bytes apart */
INLINE void RE(transpose_block)(const char *from, ptrdiff_t from_step, char *to, ptrdiff_t to_step) {
    RE(vector) row[BLOCK];
    for (int i = 0; i < BLOCK; i++) memcpy(&row[i], from + i * from_step, sizeof *row);
    /* square blocks of 1, 2, 4 elements on either side of the diagonal change places */
#define STAGE(step, upper_places, lower_places)                                                    \
    for (int i = 0; i < BLOCK; i++)                                                                \
        if (!(i & (step))) {                                                                       \
            const RE(vector) a = row[i], b = row[i + (step)];                                      \
            row[i] = SHUFFLE(a, b, upper_places), row[i + (step)] = SHUFFLE(a, b, lower_places);   \
        }
#define PLACES(...) __VA_ARGS__
#if REAL == 32
    STAGE(1, PLACES(0, 8, 2, 10, 4, 12, 6, 14), PLACES(1, 9, 3, 11, 5, 13, 7, 15))
    STAGE(2, PLACES(0, 1, 8, 9, 4, 5, 12, 13), PLACES(2, 3, 10, 11, 6, 7, 14, 15))
    STAGE(4, PLACES(0, 1, 2, 3, 8, 9, 10, 11), PLACES(4, 5, 6, 7, 12, 13, 14, 15))
#else
    STAGE(1, PLACES(0, 4, 2, 6), PLACES(1, 5, 3, 7))
    STAGE(2, PLACES(0, 1, 4, 5), PLACES(2, 3, 6, 7))
#endif
#undef PLACES
#undef STAGE
    for (int i = 0; i < BLOCK; i++) memcpy(to + i * to_step, &row[i], sizeof *row);
}

/* `lines` of `n` contiguous elements each, so many bytes apart, become n lines. A block's neighbours are those along the rows, which share
 * cache lines in memory: `across` the lines, where they come from a panel. */
static void RE(transpose)(const char *from, ptrdiff_t from_step, char *to, ptrdiff_t to_step, ptrdiff_t lines, ptrdiff_t n, int across) {
    const ptrdiff_t size = sizeof(T), whole_lines = lines - lines % BLOCK, whole = n - n % BLOCK;
#define AT(line, i) from + (line) * from_step + (i) * size, from_step, to + (i) * to_step + (line) * size, to_step
    if (across)
        for (ptrdiff_t i = 0; i < whole; i += BLOCK) {
            /* stores wait for their cache lines one after the other, unless these are asked for before */
            for (ptrdiff_t k = i + AHEAD; k < smaller(i + AHEAD + BLOCK, n); k++)
                for (ptrdiff_t line = 0; line < lines; line += LANES) __builtin_prefetch(to + k * to_step + line * size, 1);
            for (ptrdiff_t line = 0; line < whole_lines; line += BLOCK) RE(transpose_block)(AT(line, i));
        }
    else
        for (ptrdiff_t line = 0; line < whole_lines; line += BLOCK)
            for (ptrdiff_t i = 0; i < whole; i += BLOCK) RE(transpose_block)(AT(line, i));
#undef AT
    for (ptrdiff_t line = 0; line < lines; line++)
        for (ptrdiff_t i = line < whole_lines ? whole : 0; i < n; i++)
            memcpy(to + i * to_step + line * size, from + line * from_step + i * size, sizeof(T));
}

#endif
