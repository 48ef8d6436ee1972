/* The maths of all losses, and the table of what there is of each as wide numbers. Included once per type (real.h). */
#ifndef MATHS_H
#define MATHS_H

#include "scale.h"
#include "location.h"
#include "gaussian.h"
#include "kl.h"
#include "pair.h"
#include "bernoulli.h"
#include "laplace.h"
#if REAL == 64 /* once: as wide numbers */
#define CAREFUL_OWN(name)
#define CAREFUL_FAMILY(name) \
    static wide_point careful_##name(const plan *p, const wide_element *e) { return careful_location(p, e, wide_##name); }
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
