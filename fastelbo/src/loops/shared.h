/* The elementwise loop where one scale is that of all elements: what depends on it alone, exp and log among it, is formed once; and where one
 * number is, beside any scales. For ordinary scales, and the losses that are mostly asked for so: of single elements, or with numbers of
 * weights, or no sum of squares. The bits are those of loops.h. Included once per type (real.h). */
#ifndef SHARED_H
#define SHARED_H

#include "loops.h"

#define SHARED_LOOP(maths, NAME, name, SCALE_, s, want, what, raw, number)                           \
    static I RE(what##_##name##_##s##_##want)(const RE(operands) * o) {                              \
        const T *a = o->a, *b = o->b, *q = o->scale, *p = o->prior, *own_x = o->x;                   \
        const T one_scale = *q, one_number = TAKES(NAME) ? *p : (T)0, sign = o->sign, factor = o->factor; \
        const RE(parameters) parameters = *o->parameters;                                            \
        T *term = o->term, *first = o->first, *scale = o->scale_gradient;                            \
        enum { wanted = want };                                                                      \
        I bad = 0;                                                                                   \
        (void)sign, (void)factor, (void)first, (void)scale, (void)own_x, (void)parameters, (void)one_scale, (void)one_number; \
        IN_VECTORS(const T r = a[j] - b[j];                                                          \
                   const RE(point) x = POINT_##maths(NAME, name, s, raw, number, 1);                 \
                   bad |= UNFIT_##maths(NAME, name, SCALE_, s, raw, number);                         \
                   term[j] = x.term;                                                                 \
                   if (wanted & WANT_FIRST) first[j] = x.first * sign;                               \
                   if (wanted & WANT_SCALE) scale[j] = x.scale * factor;);                           \
        return bad;                                                                                  \
    }
#define EACH_WANT(X, ...) X(__VA_ARGS__, 0) X(__VA_ARGS__, 1) X(__VA_ARGS__, 2) X(__VA_ARGS__, 3)
#define ONE_SCALE(maths, NAME, name, SCALE_, s, want) SHARED_LOOP(maths, NAME, name, SCALE_, s, want, shared, one_scale, one_number)
#define ONE_NUMBER(maths, NAME, name, SCALE_, s, want) SHARED_LOOP(maths, NAME, name, SCALE_, s, want, numbered, q[j], one_number)
#define SHARED_FORM_OWN(maths, NAME, name, SCALE_, s) EACH_WANT(ONE_SCALE, maths, NAME, name, SCALE_, s)
#define SHARED_FORM_FAMILY SHARED_FORM_OWN
#define SHARED_FORM_NUMBERED(maths, NAME, name, SCALE_, s) \
    EACH_WANT(ONE_SCALE, maths, NAME, name, SCALE_, s) EACH_WANT(ONE_NUMBER, maths, NAME, name, SCALE_, s)
#define SHARED_FORM_BINNED(maths, NAME, name, SCALE_, s)
#define SHARED_FORM(maths, NAME, name, SCALE_, s) SHARED_FORM_##maths(maths, NAME, name, SCALE_, s)
#define LOSS(NAME, name, maths, forms_, ...) EACH_FORM_##forms_(SHARED_FORM, maths, NAME, name)
EACH_LOSS(LOSS)
#undef LOSS

/* By what all elements have in common, the loss, form and set of gradients; NULL: there is none */
#if REAL == 64 /* once */
enum { NUMBER_IN_COMMON, SCALE_IN_COMMON, N_IN_COMMON }; /* with the scale the number, if there is any */
#endif
static const RE(loop) RE(shared)[N_IN_COMMON][N_LOSSES][N_SCALES][4] = {
#define ROW(what, name, s) {RE(what##_##name##_##s##_0), RE(what##_##name##_##s##_1), RE(what##_##name##_##s##_2), RE(what##_##name##_##s##_3)}
#define CELL_OWN(NAME, name, SCALE_, s) [SCALE_IN_COMMON][NAME][SCALE_] = ROW(shared, name, s),
#define CELL_FAMILY CELL_OWN
#define CELL_NUMBERED(NAME, name, SCALE_, s) CELL_OWN(NAME, name, SCALE_, s) [NUMBER_IN_COMMON][NAME][SCALE_] = ROW(numbered, name, s),
#define CELL_BINNED(NAME, name, SCALE_, s)
#define CELL(maths, NAME, name, SCALE_, s) CELL_##maths(NAME, name, SCALE_, s)
#define LOSS(NAME, name, maths, forms_, ...) EACH_FORM_##forms_(CELL, maths, NAME, name)
    EACH_LOSS(LOSS)
#undef LOSS
};

#undef SHARED_LOOP
#undef EACH_WANT
#undef ONE_SCALE
#undef ONE_NUMBER
#undef SHARED_FORM
#undef SHARED_FORM_OWN
#undef SHARED_FORM_FAMILY
#undef SHARED_FORM_NUMBERED
#undef SHARED_FORM_BINNED
#undef ROW
#undef CELL
#undef CELL_OWN
#undef CELL_FAMILY
#undef CELL_NUMBERED
#undef CELL_BINNED
#undef POINT_OWN
#undef POINT_FAMILY
#undef POINT_NUMBERED
#undef POINT_BINNED
#undef TAKES
#undef UNFIT_OWN
#undef UNFIT_FAMILY
#undef UNFIT_NUMBERED

#endif
