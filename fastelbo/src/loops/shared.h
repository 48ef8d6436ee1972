/* The elementwise loop where one scale is that of all elements: what depends on it alone, exp and log among it, is formed once. For ordinary
 * scales, and the losses that are mostly asked for so: of single elements, or with numbers of weights. The bits are those of loops.h.
 * Included once per type (real.h). */
#ifndef SHARED_H
#define SHARED_H

#include "loops.h"

#define SHARED_LOOP(NAME, name, SCALE_, s, want)                                                     \
    static I RE(shared_##name##_##s##_##want)(const RE(operands) * o) {                              \
        const T *a = o->a, *b = o->b, raw = *o->scale, sign = o->sign, factor = o->factor;           \
        T *term = o->term, *first = o->first, *scale = o->scale_gradient;                            \
        const int two_products = LOSSES[NAME].two_products >> SCALE_ & 1;                            \
        I bad = RE(mask)(!RE(ordinary_##s)(raw));                                                    \
        (void)sign, (void)factor, (void)first, (void)scale;                                          \
        IN_VECTORS(const T r = a[j] - b[j];                                                          \
                   const RE(point) x = RE(name##_##s)(r, raw, 1);                                    \
                   if (two_products && ((want) & WANT_FIRST)) bad |= RE(mask)(RE(is_small)(r));      \
                   term[j] = x.term;                                                                 \
                   if ((want) & WANT_FIRST) first[j] = x.first * sign;                               \
                   if ((want) & WANT_SCALE) scale[j] = x.scale * factor;);                           \
        return bad;                                                                                  \
    }
#define SHARED_FORM_OWN(NAME, name, SCALE_, s)                                            \
    SHARED_LOOP(NAME, name, SCALE_, s, 0) SHARED_LOOP(NAME, name, SCALE_, s, 1)           \
    SHARED_LOOP(NAME, name, SCALE_, s, 2) SHARED_LOOP(NAME, name, SCALE_, s, 3)
#define SHARED_FORM_FAMILY(NAME, name, SCALE_, s)
#define SHARED_FORM_NUMBERED(NAME, name, SCALE_, s)
#define SHARED_FORM_BINNED(NAME, name, SCALE_, s)
#define SHARED_FORM(maths, NAME, name, SCALE_, s) SHARED_FORM_##maths(NAME, name, SCALE_, s)
#define LOSS(NAME, name, maths, forms_, ...) EACH_FORM_##forms_(SHARED_FORM, maths, NAME, name)
EACH_LOSS(LOSS)
#undef LOSS

/* By set of gradients; NULL: there is none */
static const RE(loop) RE(shared)[N_LOSSES][N_SCALES][4] = {
#define ROW_OWN(name, SCALE_, s) \
    [SCALE_] = {RE(shared_##name##_##s##_0), RE(shared_##name##_##s##_1), RE(shared_##name##_##s##_2), RE(shared_##name##_##s##_3)},
#define ROW_FAMILY(name, SCALE_, s)
#define ROW_NUMBERED ROW_FAMILY
#define ROW_BINNED ROW_FAMILY
#define ROW(maths, NAME, name, SCALE_, s) ROW_##maths(name, SCALE_, s)
#define LOSS(NAME, name, maths, forms_, ...) [NAME] = {EACH_FORM_##forms_(ROW, maths, NAME, name)},
    EACH_LOSS(LOSS)
#undef LOSS
};

#undef SHARED_LOOP
#undef SHARED_FORM
#undef SHARED_FORM_OWN
#undef SHARED_FORM_FAMILY
#undef SHARED_FORM_NUMBERED
#undef SHARED_FORM_BINNED
#undef ROW
#undef ROW_OWN
#undef ROW_FAMILY
#undef ROW_NUMBERED
#undef ROW_BINNED

#endif
