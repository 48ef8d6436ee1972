"""Same bits for what is written in NumPy: blocks in C order, sums in a fixed order, the kernels' exp and log.

NumPy's own sums follow the strides, and its exp and log the machine. All here is float64.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

import numpy as np

from fastelbo import _core
from fastelbo._typing import Array

Index: TypeAlias = tuple[slice, ...]

ELEMENTS: Final = 1 << 14  # of a block: its few temporaries stay in the L2 cache


def elementary(name: str, x: Array) -> Array:
    """exp or log as the kernels compute them, for any shape."""
    flat = np.ascontiguousarray(x, np.float64).ravel()
    return _core.elementary(name, flat).reshape(np.shape(x))


def blocks(shape: tuple[int, ...], most: int = ELEMENTS) -> Iterator[Index]:
    """Indices of blocks, in C order, that cover `shape`: at most `most` elements each."""
    split, size = len(shape), 1
    while split and size * shape[split - 1] <= most:
        split -= 1
        size *= shape[split]
    whole = (slice(None),) * (len(shape) - split)
    if not split:
        yield whole
        return
    step = max(1, most // size)
    for lead in np.ndindex(*shape[: split - 1]):
        for start in range(0, shape[split - 1], step):
            yield (*[slice(i, i + 1) for i in lead], slice(start, start + step), *whole)


def part(array: Array, index: Index) -> Index:
    """The index of the same block in an array that broadcasts to the shape `index` is for."""
    own = index[len(index) - array.ndim :]
    return tuple([slice(None) if n == 1 else i for n, i in zip(array.shape, own, strict=True)])


def fold(block: Array, axes: Sequence[int]) -> Array:
    """Sum over `axes`, which stay with size 1, by halves: each element goes through log₂(n) additions."""
    summed = [block.shape[i] for i in axes]
    kept = [n for i, n in enumerate(block.shape) if i not in axes]
    rows = np.moveaxis(block, axes, range(len(axes))).reshape(math.prod(summed), *kept)
    while len(rows) > 1:
        half = (len(rows) + 1) // 2
        halved = rows[:half].copy()
        halved[: len(rows) - half] += rows[half:]
        rows = halved
    if not len(rows):
        rows = np.zeros((1, *kept), np.float64)
    return rows.reshape([1 if i in axes else n for i, n in enumerate(block.shape)])


class Sums:
    """Sums of blocks into `result`: over `lead` leading axes, and over those it lacks or has with size 1.

    An error-free transformation (TwoSum) joins the blocks, so that their number costs no digits.
    """

    def __init__(self, result: Array, shape: tuple[int, ...], lead: int) -> None:
        own = (1,) * (len(shape) - result.ndim) + result.shape
        stretched = [i for i, (n, m) in enumerate(zip(own, shape, strict=True)) if n != m]
        self.result = result
        self.axes = (*range(lead), *[lead + i for i in stretched])
        self.spread = bool(stretched)
        if self.spread:
            self.total, self.lost = (np.zeros(result.shape, np.float64) for _ in range(2))

    def add(self, index: Index, block: Array) -> None:
        """Add one block, of which `index` is the place without the leading axes."""
        at = part(self.result, index)
        term = fold(block, self.axes).reshape(self.result[at].shape)
        if not self.spread:
            self.result[at] = term
            return
        old = self.total[at]
        new = old + term
        taken = new - old
        self.lost[at] += (old - (new - taken)) + (term - taken)
        self.total[at] = new

    def finish(self) -> None:
        """Write what was added up."""
        if self.spread:
            self.result[...] = np.where(np.isfinite(self.lost), self.total + self.lost, self.total)
