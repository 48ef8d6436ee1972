"""Exact elements, weighted, masked and summed; and gradients, summed where an argument was broadcast."""

import math

import numpy as np
from mpmath import mpf

from digits import Exact, each, exact, product


def sum_to(array, full_shape: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
    """Sum elementwise gradients over all that an argument of this shape was broadcast over."""
    array = np.broadcast_to(array, full_shape)
    own = (1,) * (array.ndim - len(shape)) + tuple(shape)
    axes = tuple([i for i, n in enumerate(own) if n == 1])
    return np.asarray(array.sum(axis=axes), object).reshape(shape)


class Sums:
    """What `axis`, `weight`, `where` and `reduction` make of elements of this shape."""

    def __init__(self, shape: tuple[int, ...], axis, weight, where, reduction: str) -> None:
        axes = range(len(shape)) if axis is None else np.atleast_1d(np.array(axis, int)).tolist()
        self.shape, self.event = shape, tuple([i % len(shape) for i in axes]) if shape else ()
        self.rows = tuple([n for i, n in enumerate(shape) if i not in self.event])
        self.mask = np.broadcast_to(True if where is None else np.asarray(where), shape)
        factor = exact(1.0 if weight is None else weight)
        if weight is not None and factor.ndim != len(shape):
            factor = np.expand_dims(factor, self.event)
        self.factor = np.where(self.mask, factor, mpf(0))
        self.counted = weight is not None or where is not None
        self.reduced = reduction != "none"
        self.share = 1 / mpf(math.prod(self.rows)) if reduction == "mean" else mpf(1)

    def spread(self, argument) -> np.ndarray:
        """An argument for each element; 1 in the place of what the mask removes."""
        return np.where(self.mask, exact(argument), mpf(1))

    def _weighted(self, part: Exact) -> list[np.ndarray]:
        """Answer and size; of infinite or undefined elements too, a weight of 0 makes 0."""
        if not self.counted:
            return [np.broadcast_to(a, self.shape) for a in part]
        return [each(product)(f, np.broadcast_to(a, self.shape)) for f, a in
                zip((self.factor, abs(self.factor)), part, strict=True)]  # fmt: skip

    def value(self, part: Exact) -> Exact:
        rows = [np.asarray(a.sum(axis=self.event), object) for a in self._weighted(part)]
        return Exact(*[np.asarray(self.share * a.sum() if self.reduced else a) for a in rows])

    def grad(self, part: Exact, argument) -> Exact:
        parts = [self.share * sum_to(a, self.shape, np.shape(argument)) for a in self._weighted(part)]
        return Exact(*map(np.asarray, parts))
