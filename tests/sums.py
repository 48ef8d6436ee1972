"""Numbers whose sums are 0, and computed, nothing but rounding errors: any other order of adding shows.

They come from raw PCG64 numbers by exact operations, and so are the same on every machine.
"""

import numpy as np

POOL = np.random.PCG64(1).random_raw(800_000)
#: The sum that accumulates them has 53 bits for float32 (24 bits), and 106 for float64: exponents reach beyond
REACH = {"f": 15, "d": 40}


def uniform(k: int, shape, dtype) -> np.ndarray:
    """The k-th array of numbers in [0, 1)."""
    bits = POOL[9973 * k :][: int(np.prod(shape, dtype=int))]
    return ((bits >> np.uint64(11)) * 2.0**-53).reshape(shape).astype(dtype)


def mirrored(array: np.ndarray, sign: int) -> np.ndarray:
    """Reversing any axis of the result multiplies it by `sign`, exactly."""
    for axis, size in enumerate(array.shape):
        if size > 1:
            array = array + np.flip(array, axis) if sign > 0 else array - np.flip(array, axis)
    return array


def even(k: int, shape, dtype) -> np.ndarray:
    """Scales from 1/8 to 8."""
    return np.clip(mirrored(uniform(k, shape, dtype), 1), 0.125, 8)


def odd(k: int, shape, dtype) -> np.ndarray:
    """Data and weights, of any sign and of exponents far apart."""
    reach = REACH[np.dtype(dtype).char]
    exponent = (uniform(k + 7, shape, np.float64) * (2 * reach + 1)).astype(int) - reach
    return mirrored(np.ldexp(uniform(k, shape, dtype), exponent), -1)
