/* THE LOSSES, one entry each: from it follow the enum, the loops for every form of the scale, set of gradients, type and instruction set,
 * the tables of these, and what all others know of a loss. No other file compares a loss with another.
 *
 *     LOSS(NAME, name, forms, traits)
 *
 * `forms`, of the scale, says which maths there is, for a single element (terms.h): FIVE, RE(name_var)(r, raw, ordinary) and so on for std,
 * logvar, logstd and precision; NO form, RE(name)(r, x) alone; and for both careful_name (careful.h). Traits that are not named are 0. */
#ifndef FASTELBO_LOSSES_H
#define FASTELBO_LOSSES_H

#define EACH_LOSS(LOSS)                                                                                                                \
    LOSS(NLL, nll, FIVE, .constant = 0x1.d67f1c864beb5p-1 /* log(2 pi)/2 */, .group = 8, .squares = OVER_VARIANCE, .two_products = 1 << STD, \
         .of_scale = BY_CANCELLING)                                                                                                    \
    LOSS(KL, kl, FIVE, .group = 4 /* its bound leaves less */, .squares = ALONE, .of_scale = AT_PRIOR)                                 \
    LOSS(BERNOULLI, bernoulli, NO, .group = 8, .x = SCALE, .of_scale = WITH_R)

/* X(NAME, name, FORM, form) for each form of the scale */
#define EACH_FORM_FIVE(X, NAME, name) X(NAME, name, VAR, var) X(NAME, name, STD, std) X(NAME, name, LOGVAR, logvar) X(NAME, name, LOGSTD, logstd) X(NAME, name, PRECISION, precision)
#define EACH_FORM_NO(X, NAME, name)
#define NO_FORM LOGVAR /* which takes any number, as its place in the plan */
/* X(NAME, name) for a loss without any */
#define WITHOUT_FORM_FIVE(X, NAME, name)
#define WITHOUT_FORM_NO(X, NAME, name) X(NAME, name)

enum loss {
#define LOSS(NAME, ...) NAME,
    EACH_LOSS(LOSS)
#undef LOSS
    N_LOSSES
};

/* What is to be known of a loss beside its maths */
typedef struct {
    int forms;       /* bit s: it has a scale, in form s; none: no scale at all */
    double constant; /* of an element, where `full` adds it */
    int group;       /* additions that a lane may do in T: what the loss's bound leaves for them (sums.inc.h) */
    enum argument x; /* which argument is x, that x_scale multiplies */
    /* A sum of squares, times a factor of the scale alone, and a function of the scale: where that is constant along the event, exp and log
     * once a row will do. ALONE: the scale is no factor of them, unless there is a prior's */
    enum { NONE_OF_THEM, ALONE, OVER_VARIANCE } squares;
    int two_products; /* bit s: of r to form d/dx, under ordinary scales of form s, so that digits of a subnormal r may be lost between them;
                         none: the loss has no r/v, whatever its scale */
    /* When d/d(scale) is 0, or nearly, by right: as r is 0; under an ordinary scale, as its parts cancel; as scale and prior scale are equal,
     * which makes such terms too */
    enum { WITH_R, BY_CANCELLING, AT_PRIOR } of_scale;
} traits;

static const traits LOSSES[N_LOSSES] = {
#define BIT(NAME, name, FORM, form) | 1 << FORM
#define LOSS(NAME, name, forms_, ...) [NAME] = {.forms = 0 EACH_FORM_##forms_(BIT, NAME, name), __VA_ARGS__},
    EACH_LOSS(LOSS)
#undef LOSS
#undef BIT
};

#endif
