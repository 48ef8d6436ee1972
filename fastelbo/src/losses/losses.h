/* THE LOSSES, one entry each: from it follow the enum, the loops for every form of the scale, set of gradients, type and instruction set,
 * the tables of these, and what all others know of a loss. No other file compares a loss with another.
 *
 *     LOSS(NAME, name, maths, forms, traits)
 *
 * `forms`: FIVE, of the scale; TWO, std and logstd alone; NO scale. `maths`, for a single element, in the loss's own file, included at the end:
 *     FAMILY    RE(name)(standard), and wide_name(wide_standard): location.h
 *     OWN       RE(name_var)(r, raw, ordinary) and so on for each form, or RE(name)(r, x, ordinary) for none; and careful_name(p, wide_element)
 *     NUMBERED  the same of a number beside each scale: RE(name_std)(r, raw, number, ordinary), RE(ordinary_name_std)(r, raw, number), which
 *               is false of a number <= 0 or NaN, RE(name_constant)(number), which `full` adds; and careful_name
 *     BINNED    of a bin, {width, lowest, highest} in the plan's parameters, open below if x < lowest, above if x > highest:
 *               RE(name_var)(r, what its rounding lost, raw, bin, open_below, open_above); and careful_name
 * Traits that are not named are 0. */
#ifndef FASTELBO_LOSSES_H
#define FASTELBO_LOSSES_H

#include "traits.h" /* what these say */

#define EACH_LOSS(LOSS)                                                                                                                \
    LOSS(NLL, nll, OWN, FIVE, .constant = 0x1.d67f1c864beb5p-1 /* log(2 pi)/2 */, .group = 8, .squares = OVER_VARIANCE, .two_products = 1 << STD, \
         .of_scale = BY_CANCELLING)                                                                                                    \
    LOSS(KL, kl, OWN, FIVE, .group = 4 /* its bound leaves less */, .squares = ALONE, .of_scale = AT_PRIOR)                                 \
    LOSS(BERNOULLI, bernoulli, OWN, NO, .group = 8, .x = SCALE, .of_scale = WITH_R)                                                    \
    LOSS(LAPLACE, laplace, FAMILY, TWO, .constant = 0x1.62e42fefa39efp-1 /* log 2 */, .group = 8, .adds_log = 1, .of_scale = BY_CANCELLING) \
    LOSS(STUDENT_T, student_t, NUMBERED, TWO, .takes = TAKES_NUMBER, .fades = 1, .group = 4, .adds_log = 1, .of_scale = BY_CANCELLING) \
    LOSS(DISCRETIZED, discretized, BINNED, FIVE, .takes = TAKES_X | TAKES_LOST, .group = 4, .two_products = ALL_FORMS, .of_scale = FADING)

/* X(maths, NAME, name, FORM, form) for each form of the scale */
#define EACH_FORM_FIVE(X, maths, NAME, name)                                                              \
    X(maths, NAME, name, VAR, var) X(maths, NAME, name, STD, std) X(maths, NAME, name, LOGVAR, logvar) \
    X(maths, NAME, name, LOGSTD, logstd) X(maths, NAME, name, PRECISION, precision)
#define EACH_FORM_TWO(X, maths, NAME, name) X(maths, NAME, name, STD, std) X(maths, NAME, name, LOGSTD, logstd)
#define EACH_FORM_NO(X, maths, NAME, name)
#define NO_FORM LOGVAR /* which takes any number, as its place in the plan */
/* X(NAME, name) for a loss without any */
#define WITHOUT_FORM_FIVE(X, NAME, name)
#define WITHOUT_FORM_TWO(X, NAME, name)
#define WITHOUT_FORM_NO(X, NAME, name) X(NAME, name)

/* What each entry must name: a word that is none of these is undeclared here */
enum { OWN_IS_A_KIND_OF_MATHS, FAMILY_IS_A_KIND_OF_MATHS, NUMBERED_IS_A_KIND_OF_MATHS, BINNED_IS_A_KIND_OF_MATHS };
enum { FIVE_IS_A_SET_OF_FORMS, TWO_IS_A_SET_OF_FORMS, NO_IS_A_SET_OF_FORMS };
static const int WORDS_OF_LOSSES[] __attribute__((unused)) = {
#define LOSS(NAME, name, maths, forms_, ...) maths##_IS_A_KIND_OF_MATHS, forms_##_IS_A_SET_OF_FORMS,
    EACH_LOSS(LOSS)
#undef LOSS
};

enum loss {
#define LOSS(NAME, ...) NAME,
    EACH_LOSS(LOSS)
#undef LOSS
    N_LOSSES
};

static const traits LOSSES[N_LOSSES] = {
#define BIT(maths, NAME, name, FORM, form) | 1 << FORM
#define LOSS(NAME, name, maths, forms_, ...) [NAME] = {.forms = 0 EACH_FORM_##forms_(BIT, maths, NAME, name), __VA_ARGS__},
    EACH_LOSS(LOSS)
#undef LOSS
#undef BIT
};

#if defined(__OPTIMIZE__) && defined(__GNUC__) /* for the compiler sees then that these are never called */
#define LOSS(NAME, name, ...)                                                                                                       \
    void group_of_##name(void) __attribute__((error("losses.h: the entry of " #name " has no .group, which is 1, 4 or 8")));       \
    static inline void check_group_of_##name(void) {                                                                               \
        if (LOSSES[NAME].group != 1 && LOSSES[NAME].group != 4 && LOSSES[NAME].group != 8) group_of_##name();                      \
    }
EACH_LOSS(LOSS)
#undef LOSS
static inline void check_groups(void) {
#define LOSS(NAME, name, ...) check_group_of_##name();
    EACH_LOSS(LOSS)
#undef LOSS
}
#endif

#endif

#if defined(REAL) && !defined(MATHS_OF_LOSSES) /* once per type (next_type.h) */
#define MATHS_OF_LOSSES
#include "scale.h"
#include "location.h"
#include "gaussian.h"
#include "kl.h"
#include "pair.h"
#include "bernoulli.h"
#include "laplace.h"
#include "student_t.h"
#include "discretized.h"
#if REAL == 64 /* once: as wide numbers */
#define CAREFUL_OWN(name)
#define CAREFUL_NUMBERED(name)
#define CAREFUL_BINNED(name)
#define CAREFUL_FAMILY(name) \
    static wide_point careful_##name(const plan *p, const wide_element *e) { return careful_location(p, e, wide_##name); /* undeclared: #include its file */ }
#define LOSS(NAME, name, maths, ...) CAREFUL_##maths(name)
EACH_LOSS(LOSS)
#undef LOSS
static wide_point (*const careful_of[N_LOSSES])(const plan *, const wide_element *) = {
#define LOSS(NAME, name, ...) [NAME] = careful_##name,
    EACH_LOSS(LOSS)
#undef LOSS
};
#endif
#endif
