"""Exact numbers, at 60 digits: arrays of them, products with limits, and formulas as sums of their terms."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from mpmath import mp, mpf

DIGITS = 60
mp.dps = DIGITS
Terms = tuple[mpf, ...]


def times(delta: mpf, factor: mpf) -> mpf:
    """0·∞ is 0, where the first factor is the one that is 0."""
    return mpf(0) if delta == 0 and not mp.isnan(factor) else delta * factor


def product(*factors: mpf) -> mpf:
    """A factor of 0 makes 0, of infinite ones too: the limit."""
    if any(f == 0 for f in factors) and not any(mp.isnan(f) for f in factors):
        return mpf(0)
    return mp.fprod(factors)


class Exact(NamedTuple):
    """Object arrays of mpf: the answer, and what the bound multiplies."""

    value: np.ndarray
    size: np.ndarray


def exact(argument) -> np.ndarray:
    """Object array of mpf, each exactly the number given."""
    with np.errstate(invalid="ignore"):  # NaN
        return np.asarray(np.frompyfunc(mpf, 1, 1)(np.asarray(argument).astype(object)), object)


def evaluate(terms: Callable[..., Terms], members: Iterable[str], *arrays) -> dict[str, Exact]:
    def one(member: str, *arguments: mpf) -> tuple[mpf, mpf]:
        found = terms(member, *arguments)
        sizes = [abs(term) for term in found]
        return sum(found, mpf(0)), sum(sizes) if member == "value" else max(sizes)

    function = np.frompyfunc(one, 1 + len(arrays), 2)
    return {member: Exact(*map(np.asarray, function(member, *arrays))) for member in members}


def each(function: Callable[..., mpf]) -> Callable[..., np.ndarray]:
    ufunc = np.frompyfunc(function, 2, 1)
    return lambda *arrays: np.asarray(ufunc(*arrays), object)


def times_each(factor, part: Exact) -> Exact:
    return Exact(np.asarray(factor * part.value), np.asarray(abs(factor) * part.size))
