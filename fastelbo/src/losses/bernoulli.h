/* The NLL of a Bernoulli by its logit, for a single element. Included once per type (real.h).
 *
 *     term = log(1 + exp(l)) - x l, l = logit    d/dl = 1/(1 + exp(-l)) - x   d/dx = -l */
#ifndef BERNOULLI_H
#define BERNOULLI_H

#include "scale.h"
#include "wide_scale.h"

/* log(1 + e), 0 <= e <= 1 */
INLINE T RE(log1p_of_unit)(T e) {
    T u = 1 + e;
    return RE(log_of)(RE(inexact)(RE(split_exponent)(u, 1), (e - (u - 1)) / u));
}

/* r = l: the logits take the place of a Gaussian's x, and x that of its scale. A factor of 0 makes 0, whatever the other's limit. */
INLINE RE(point) RE(bernoulli)(T l, T x) {
    T e = RE(exp)(l > 0 ? -l : l), slope = l > 0 ? 1 - x : -x, linear = slope * l;
    RE(point) y = {0};
    y.term = ((slope == 0) | ((l == 0) & (slope == slope)) ? (T)0 : linear) + RE(log1p_of_unit)(e);
    y.first = (l > 0 ? (T)1 : e) / (1 + e) - x;
    y.scale = -l;
    return y;
}

/* ---- as wide numbers ------------------------------------------------------------------------------------------------------ */

#if REAL == 64 /* once */
/* l: the logits; of x slope = 1 - x or -x, which a logit beyond the range of T may meet */
static wide_point careful_bernoulli(const plan *p, const wide_element *e) {
    const double l = double_of(e->r);
    const wide x = wide_times(wide_of(e->raw), wide_of(p->x_scale));
    const wide slope = l > 0 ? wide_plus(wide_of(1), wide_minus(x)) : wide_minus(x);
    const double far = -magnitude_f64(l);
    const point_f64 at_zero = bernoulli_f64(far, 0);
    /* log(1 + e^-|l|) and its derivative, both e^-|l| beyond the range of double */
    const wide rest = far < -700 ? wide_exp(far) : wide_of(at_zero.term), of_rest = far < -700 ? rest : wide_of(at_zero.first);
    return (wide_point){.term = wide_plus(wide_times(slope, wide_of(l)), rest),
                        .first = l > 0 ? wide_plus(slope, wide_minus(of_rest)) : wide_plus(slope, of_rest),
                        .scale = wide_of(-l)};
}
#endif

#endif
