"""What ``axis``, ``weight``, ``where``, ``reduction``, ``wrt`` and ``out`` make of terms and derivatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastelbo._declare import VALUES
from fastelbo.reference._scales import Array, as_array

Axis = int | tuple[int, ...] | None


class Rows:
    """What ``axis``, ``weight``, ``where`` and ``reduction`` make of terms and of their derivatives."""

    def __init__(
        self,
        shape: tuple[int, ...],
        axis: Axis,
        weight: ArrayLike | None,
        where: ArrayLike | None,
        reduction: str,
    ) -> None:
        if reduction not in ("none", "sum", "mean"):
            raise ValueError(f"reduction is 'none', 'sum' or 'mean', not {reduction!r}")
        self.shape = shape
        self.event = event_axes(len(shape), axis)
        self.reduction = reduction
        self.n_rows = int(np.prod(row_sizes(shape, axis)))
        self.where = True if where is None else np.asarray(where)
        self.weight = as_array(1.0 if weight is None else weight)
        if weight is not None and self.weight.ndim != len(shape):  # one weight a row
            self.weight = np.expand_dims(self.weight, self.event)

    def select(self, term: Array) -> Array:
        return np.broadcast_to(np.where(self.where, self.weight * term, 0.0), self.shape)

    def value(self, term: Array) -> Any:
        """Sum over the event axes, then reduce the rows."""
        rows = sum_over(self.select(term), self.event)
        if self.reduction == "none":
            return rows
        return float(rows.sum() / np.float64(self.n_rows if self.reduction == "mean" else 1))

    def grad(self, derivative: Array, argument: Array) -> Array:
        """Sum the elementwise derivative over everything that `argument` was broadcast over."""
        full = self.select(derivative) / (self.n_rows if self.reduction == "mean" else 1)
        leading = full.ndim - argument.ndim
        stretched = tuple(i + leading for i, n in enumerate(argument.shape) if n == 1)
        return np.reshape(sum_over(full, (*range(leading), *stretched)), argument.shape)


def event_axes(ndim: int, axis: Axis) -> tuple[int, ...]:
    """The axes that are summed; a 0-d input is one event of size 1."""
    axes = range(ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    return tuple(i % ndim for i in axes) if ndim else ()


def row_sizes(shape: tuple[int, ...], axis: Axis) -> tuple[int, ...]:
    """The sizes of the other axes."""
    return tuple(n for i, n in enumerate(shape) if i not in event_axes(len(shape), axis))


def sum_over(terms: Array, axes: tuple[int, ...]) -> Any:
    """The sum over these axes: of contiguous memory, where NumPy adds pairwise, not one by one."""
    kept = tuple(i for i in range(terms.ndim) if i not in axes)
    return np.sum(np.array(terms.transpose(kept + axes), order="C"), axis=tuple(range(len(kept), terms.ndim)))


def results(
    members: dict[str, Callable[[], Any]], wrt: str | Sequence[str], out: Sequence[Any] | None
) -> list[Any]:
    """Compute the members asked for, each written to its place in `out` where one is given."""
    gradients = [name for name in members if name not in VALUES]
    wanted = {*((wrt,) if isinstance(wrt, str) else wrt)}
    if not wanted <= set(gradients):
        raise ValueError(f"wrt takes {', '.join(gradients)}, not {sorted(wanted - set(gradients))}")
    skipped = set(gradients) - wanted
    return written([None if name in skipped else compute() for name, compute in members.items()], out)


def written(results: Sequence[Any], out: Sequence[Any] | None) -> list[Any]:
    places = [None] * len(results) if out is None else out
    for result, place in zip(results, places, strict=True):
        if place is not None:
            place[...] = result
    return [result if place is None else place for result, place in zip(results, places, strict=True)]
