/* The NLL of a Laplace distribution of scale b, for a single element. Included once per type (real.h), after location.h.
 *
 *     term = log b + |z|, z = r/b    (log 2 comes once a row)
 *     d/dx = sign(r)/b, 0 at r = 0     d/dlog b = 1 - |z|     d/db = (1 - |z|)/b
 *
 * The family rounds once, in 1 - |z|. b is what other losses have as std, so its forms are std and logstd. */
#ifndef LAPLACE_H
#define LAPLACE_H

#include "location.h"

/* z may be 0 where r is not: the sign is r's */
INLINE RE(shape) RE(laplace)(RE(standard) at) {
    T size = RE(magnitude)(at.z);
    return (RE(shape)){.value = size, .slope = at.r > 0 ? (T)1 : at.r < 0 ? (T)-1 : at.r, .of_log = 1 - size};
}

#if REAL == 64 /* once */
static wide_shape wide_laplace(const wide_standard *at) {
    const wide size = wide_size(at->z);
    return (wide_shape){.value = size, .slope = wide_of(at->r.m > 0 ? 1 : at->r.m < 0 ? -1 : 0), .of_log = wide_plus(wide_of(1), wide_minus(size))};
}
#endif

#endif
