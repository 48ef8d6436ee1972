/* What a loss is made of: its arguments, the forms of a scale, and what is to be known of it beside its maths. */
#ifndef FASTELBO_TRAITS_H
#define FASTELBO_TRAITS_H

enum argument { FIRST, SECOND, SCALE, PRIOR, N_GRADS, WEIGHT = N_GRADS, WHERE, N_ARGUMENTS };
enum scale { VAR, STD, LOGVAR, LOGSTD, PRECISION, N_SCALES, NUMBER = N_SCALES, N_KINDS, UNIT = -1 }; /* NUMBER: no scale, in the prior's place */
#define N_PARAMETERS 3

enum { TAKES_X = 1, TAKES_NUMBER = 2, TAKES_LOST = 4 };
enum { ALL_FORMS = 1 << VAR | 1 << STD | 1 << LOGVAR | 1 << LOGSTD | 1 << PRECISION };

/* What is to be known of a loss beside its maths */
typedef struct {
    int forms;       /* bit s: it has a scale, in form s; none: no scale at all */
    int takes;       /* TAKES_X, x itself; TAKES_NUMBER, one for each element, > 0, in the prior's place; TAKES_LOST, what r is rounded by */
    int adds_log;    /* of careful_location: log sigma to its value */
    double constant; /* of an element, where `full` adds it */
    int group;       /* additions that a lane may do in T: what the loss's bound leaves for them (sums.h) */
    enum argument x; /* which argument is x, that x_scale multiplies */
    /* A sum of squares, times a factor of the scale alone, and a function of the scale: where that is constant along the event, exp and log
     * once a row will do. ALONE: the scale is no factor of them, unless there is a prior's */
    enum { NONE_OF_THEM, ALONE, OVER_VARIANCE } squares;
    int fades;        /* its gradients have limits as r grows without end: where r itself is infinite, and x and mean are not, they lie short of these */
    int two_products; /* bit s: of r to form d/dx, under ordinary scales of form s, so that digits of a subnormal r may be lost between them;
                         none: the loss has no r/v, whatever its scale */
    /* When d/d(scale) is 0, or nearly, by right: as r is 0; under an ordinary scale, as its parts cancel; as scale and prior scale are equal,
     * which makes such terms too; or not even then, as terms and gradients fade away, d/dx too, whatever r is */
    enum { WITH_R, BY_CANCELLING, AT_PRIOR, FADING } of_scale;
} traits;

#endif
