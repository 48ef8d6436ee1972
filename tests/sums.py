"""Numbers whose sums are 0, and computed, nothing but rounding errors: any other order of adding shows.

They come from raw PCG64 numbers by exact operations, and so are the same on every machine.
"""

import functools

import numpy as np

POOL = np.random.PCG64(1).random_raw(800_000)
#: What accumulates the sums has 53 bits for float32 (24 bits), 106 for float64: the exponents reach further
REACH = {"f": 30, "d": 60}


def uniform(k: int, shape, dtype) -> np.ndarray:
    """The k-th array of numbers in [0, 1)."""
    bits = POOL[9973 * k :][: int(np.prod(shape, dtype=int))]
    return ((bits >> np.uint64(11)) * 2.0**-53).reshape(shape).astype(dtype)


def read_only(array: np.ndarray) -> np.ndarray:
    array = np.asarray(array)
    array.flags.writeable = False
    return array


@functools.lru_cache(maxsize=64)
def partners(size: int) -> np.ndarray:
    """All indices but the last of an odd size in random pairs; for each its partner."""
    order = np.argsort(POOL[:size], kind="stable")
    first, second = order[: size - 1 : 2], order[1::2]
    partner = np.arange(size)
    partner[first], partner[second] = second, first
    return partner


def paired(array: np.ndarray, sign: int) -> np.ndarray:
    """Make it even (sign 1) or odd (−1): exchanging partners along an axis multiplies by `sign`, exactly."""
    for axis, size in enumerate(array.shape):
        if size > 1:
            partner = array.take(partners(size), axis)
            array = array + partner if sign > 0 else array - partner
    return array


@functools.lru_cache(maxsize=64)
def scale(k: int, shape, dtype) -> np.ndarray:
    """From 1/8 to 8, even."""
    return read_only(np.clip(paired(uniform(k, shape, dtype), 1), 0.125, 8))


@functools.lru_cache(maxsize=64)
def wide(k: int, shape, dtype, sign: int) -> np.ndarray:
    """Of exponents far apart. Odd ones sum to 0; and so do products of even ones with odd ones."""
    reach = REACH[np.dtype(dtype).char]
    share = paired(uniform(k + 7, shape, np.float64), 1) * 1009 % 1  # even
    exponent = (share * (2 * reach + 1)).astype(int) - reach
    return read_only(np.ldexp(paired(uniform(k, shape, dtype), sign), exponent))


@functools.lru_cache(maxsize=64)
def mask(k: int, shape) -> np.ndarray:
    """Four fifths are True; even."""
    return read_only(paired(uniform(k, shape, np.float64), 1) % 0.25 < 0.2)
