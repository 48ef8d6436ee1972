/* Where the elements of a call on latents are, and tiles of them, in buffers where they do not lie as loops need them. Once per type
 * (real.h). */
#ifndef LATENTS_WALK_H
#define LATENTS_WALK_H

#include "loops.h"

#if REAL == 64 /* once */
#define WIDE (4 * SPAN) /* columns whose terms are walked through together, the longer the better for memory */
#define LINE 64
#endif

typedef struct {
    const sampling *s;
    int direct[N_LATENTS];       /* the operand can be read, or written, where it is */
    ptrdiff_t filled[N_LATENTS]; /* a number, which is the same everywhere: so much of its buffer has it */
    char *here[N_LATENTS];       /* the current row's and column's first term */
    _Alignas(WORK_ALIGNMENT) double factor[WIDE];
    double term[SPAN], hi[2][2][SPAN], lo[2][2][SPAN]; /* sums, before and after some terms */
    ptrdiff_t tile;              /* elements of a loop: many, where it needs no buffer, as what ends a loop lets the memory idle */
    _Alignas(WORK_ALIGNMENT) T buffer[N_LATENTS][SPAN];
} RE(latents_work);

#if REAL == 64 /* once */
/* Offset of the index-th place of `count` axes from `from` on, in C order */
static inline ptrdiff_t place_at(const sampling *s, const view *v, int from, int count, ptrdiff_t index) {
    ptrdiff_t offset = 0;
    if (count <= 1) return count ? index * v->stride[from] : 0;
    for (int i = from + count - 1; i >= from; i--) {
        offset += index % s->shape[i] * v->stride[i];
        index /= s->shape[i];
    }
    return offset;
}

typedef struct { ptrdiff_t row, term, column; } latents_place;

static inline ptrdiff_t column_stride(const sampling *s, const view *v) { return v->stride[s->kept + s->inner]; }
static inline ptrdiff_t term_offset(const sampling *s, const view *v, ptrdiff_t term) { return place_at(s, v, s->kept, s->inner, term); }

static inline char *address(const sampling *s, const view *v, latents_place at) {
    return v->data + place_at(s, v, 0, s->kept, at.row) + term_offset(s, v, at.term) + at.column * column_stride(s, v);
}

static int is_number(const sampling *s, const view *v) {
    for (int i = 0; i <= s->kept + s->inner; i++)
        if (v->stride[i]) return 0;
    return 1;
}

#endif

static RE(latents_work) *RE(begin_latents)(const sampling *s, void *memory) {
    RE(latents_work) *w = memory;
    w->s = s;
    w->tile = s->what == GRADIENTS && !s->operand[ONE_OUT].data ? SPAN : SHARE; /* its loop then writes what goes nowhere */
    for (int a = 0; a < N_LATENTS; a++) {
        const view *v = &s->operand[a];
        w->filled[a] = 0;
        w->direct[a] = v->data && v->type == NATIVE && (s->columns == 1 || column_stride(s, v) == sizeof(T)) && !(a >= ONE_OUT && s->aliased);
        uintptr_t odd = (uintptr_t)v->data;
        for (int i = 0; i <= s->kept + s->inner && v->data; i++) odd |= (uintptr_t)v->stride[i];
        w->direct[a] &= odd % sizeof(T) == 0;
        if (v->data && !w->direct[a] && (a != RAW || s->by_column)) w->tile = SPAN;
    }
    return w;
}

/* To the first term of columns of a row */
static void RE(seek)(RE(latents_work) *w, ptrdiff_t row, ptrdiff_t column) {
    for (int a = 0; a < N_LATENTS; a++)
        if (w->s->operand[a].data) w->here[a] = address(w->s, &w->s->operand[a], (latents_place){row, 0, column});
}

/* n columns of an operand's term, `ahead` of those sought */
static const T *RE(columns_of)(RE(latents_work) *w, int a, ptrdiff_t term, ptrdiff_t ahead, ptrdiff_t n) {
    const sampling *s = w->s;
    const view *v = &s->operand[a];
    const char *place = w->here[a] + term_offset(s, v, term) + ahead * column_stride(s, v);
    if (w->direct[a]) return (const T *)(const void *)place;
    if (w->filled[a] >= n) return w->buffer[a];
    RE(pack)(v->type, w->buffer[a], place, column_stride(s, v), n);
    if (is_number(s, v)) w->filled[a] = n;
    return w->buffer[a];
}

/* Where to put n columns of a result, until `put` has brought them home */
static T *RE(room_for)(RE(latents_work) *w, int a, ptrdiff_t term, ptrdiff_t ahead) {
    const view *v = &w->s->operand[a];
    return w->direct[a] ? (T *)(void *)(w->here[a] + term_offset(w->s, v, term) + ahead * column_stride(w->s, v)) : w->buffer[a];
}

static void RE(put)(RE(latents_work) *w, int a, ptrdiff_t term, ptrdiff_t ahead, ptrdiff_t n) {
    const view *v = &w->s->operand[a];
    if (!w->direct[a]) RE(unpack)(w->buffer[a], w->here[a] + term_offset(w->s, v, term) + ahead * column_stride(w->s, v), column_stride(w->s, v), n);
}

/* How many of n columns go first, so that vectors meet cache lines from then on: arrays mostly begin alike */
static ptrdiff_t RE(to_lines)(const RE(latents_work) *w, int a, ptrdiff_t column, ptrdiff_t n) {
    const char *place = w->s->operand[a].data + column * column_stride(w->s, &w->s->operand[a]);
    return w->direct[a] && n >= SPAN ? (ptrdiff_t)(-(uintptr_t)place % LINE / sizeof(T)) : 0;
}

/* The scale's numbers of n places that each have one */
static const T *RE(raw_of_rows)(RE(latents_work) *w, ptrdiff_t row, ptrdiff_t n) {
    const sampling *s = w->s;
    const view *v = &s->operand[RAW];
    T *raw = w->buffer[RAW];
    if (s->kept == 1)
        RE(pack)(v->type, raw, v->data + row * v->stride[0], v->stride[0], n);
    else
        for (ptrdiff_t i = 0; i < n; i++) RE(pack)(v->type, raw + i, v->data + place_at(s, v, 0, s->kept, row + i), 0, 1);
    return raw;
}

/* Terms [from, from + n) of a place, of its terms and columns in C order: gathered where they do not lie in one run */
static const T *RE(terms_at)(RE(latents_work) *w, int a, ptrdiff_t row, ptrdiff_t from, ptrdiff_t n) {
    const sampling *s = w->s;
    latents_place at = {row, s->terms > 1 ? from / s->columns : 0, s->terms > 1 ? from % s->columns : from};
    if (at.column + n <= s->columns) return RE(columns_of)(w, a, at.term, at.column, n);
    for (ptrdiff_t done = 0; done < n;) {
        const ptrdiff_t run = smaller(n - done, s->columns - at.column);
        RE(pack)(s->operand[a].type, w->buffer[a] + done, address(s, &s->operand[a], at), column_stride(s, &s->operand[a]), run);
        done += run, at.term++, at.column = 0;
    }
    return w->buffer[a];
}

#endif
