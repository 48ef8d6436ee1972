"""Same bits for what is written in NumPy: blocks in C order, sums in a fixed order, the kernels' exp and log.

NumPy's own sums follow the strides, and its exp and log the machine. All here is float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias

import numpy as np

from fastelbo import _core
from fastelbo._typing import Array

Index: TypeAlias = tuple[slice, ...]

ELEMENTS: Final = 1 << 14  # of a block: its few temporaries stay in the L2 cache
LIFT: Final = 1100  # sums of float64 over 2^1100 do not overflow
LEAST: Final = -(1 << 20)  # an exponent for 0, below all others


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


def fold_parts(part: Callable[[slice], Array], n: int, most: int = ELEMENTS) -> Array:
    """`fold` over a first axis of size n, of which `part` gives slices of `most` at a time: the same
    additions, and so the same bits."""
    lengths = [n]  # of what is left after each halving
    while lengths[-1] > most:
        lengths.append((lengths[-1] + 1) // 2)

    def after(halvings: int, start: int, stop: int) -> Array:
        if not halvings:
            return part(slice(start, stop))
        half = lengths[halvings]
        halved = np.array(after(halvings - 1, start, stop))
        stop = min(stop + half, lengths[halvings - 1])
        if start + half < stop:
            halved[: stop - start - half] += after(halvings - 1, start + half, stop)
        return halved

    return fold(after(len(lengths) - 1, 0, lengths[-1]), (0,))


class Sums:
    """Sums of blocks into `result`: over `lead` leading axes, and over those it lacks or has with size 1.

    An error-free transformation (TwoSum) joins the blocks, so that their number costs no digits. What
    overflows on the way is added once more, as mantissas with a common exponent.
    """

    def __init__(self, result: Array, shape: tuple[int, ...], lead: int) -> None:
        own = (1,) * (len(shape) - result.ndim) + result.shape
        stretched = [i for i, (n, m) in enumerate(zip(own, shape, strict=True)) if n != m]
        self.result = result
        self.axes = (*range(lead), *[lead + i for i in stretched])
        self.spread = bool(stretched)
        self.far: list[Array] = []  # once a sum has overflowed: where, its exponent, total and what it lost
        if self.spread:
            self.total, self.lost = (np.zeros(result.shape, np.float64) for _ in range(2))

    def add(self, index: Index, block: Array) -> None:
        """Add one block, of which `index` is the place without the leading axes."""
        self.join(index, fold(block, self.axes))

    def overflows(self, index: Index, term: Array) -> bool:
        """Whether to call `join` with `split` for a block folded to `term`."""
        if not self.axes:
            return False
        at = part(self.result, index)
        joined = self.total[at] + term.reshape(self.result[at].shape) if self.spread else term
        return bool(self.far) or not np.isfinite(joined).all()

    def join(self, index: Index, term: Array, split: tuple[Array, Array] | None = None) -> None:
        """Add what a block was folded to, and once more as `fold_split` gives it."""
        at = part(self.result, index)
        term = term.reshape(self.result[at].shape)
        if not self.spread:
            if split is not None:
                term = np.where(np.isfinite(term), term, np.ldexp(*split).reshape(term.shape))
            self.result[at] = term
            return
        old = self.total[at]
        new = old + term
        if split is not None:
            self._join_far(at, old, ~np.isfinite(new), *[part.reshape(new.shape) for part in split])
        taken = new - old
        self.lost[at] += (old - (new - taken)) + (term - taken)
        self.total[at] = new

    def _join_far(self, at: Index, old: Array, now: Array, mantissa: Array, power: Array) -> None:
        """The same for sums that overflow `now`, or have: each by itself, whatever others are."""
        if not self.far:
            kinds = (bool, np.int64, np.float64, np.float64)
            self.far = [np.zeros(self.result.shape, kind) for kind in kinds]
        before, exponent, total, lost = [array[at] for array in self.far]
        # Below 2^-LIFT of the first unit there is nothing that the overflow would not have lost.
        unit = np.maximum(np.where(before, exponent, LIFT), power)
        total, lost = (
            np.where(before, np.ldexp(then, exponent - unit), np.ldexp(plain, -unit))
            for then, plain in ((total, old), (lost, self.lost[at]))
        )
        term = np.ldexp(mantissa, power - unit)
        new = total + term
        taken = new - total
        lost = lost + ((total - (new - taken)) + (term - taken))
        far = before | now
        for array, found in zip(self.far, (far, unit, new, lost), strict=True):
            array[at] = np.where(far, found, array[at])

    def finish(self) -> None:
        """Write what was added up."""
        if not self.spread:
            return
        result = _joined(self.total, self.lost)
        if self.far:
            far, exponent, total, rest = self.far
            result = np.where(far & ~np.isfinite(result), np.ldexp(_joined(total, rest), exponent), result)
        self.result[...] = result


def _joined(total: Array, lost: Array) -> Array:
    return np.where(np.isfinite(lost), total + lost, total)


def fold_split(mantissa: Array, exponent: Array, axes: Sequence[int]) -> tuple[Array, Array]:
    """`fold` of mantissa·2^exponent, where the numbers themselves or their sums may overflow."""
    top = np.where(mantissa == 0, LEAST, exponent).max(axis=tuple(axes), keepdims=True, initial=LEAST)
    return fold(np.ldexp(mantissa, exponent - top), axes), top
