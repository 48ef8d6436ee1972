"""The mean square of x − μ, for any r that is a number: also where r² leaves the range of float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import numpy as np

from fastelbo import _blocks, _core
from fastelbo._families.gaussian import GAUSSIAN_NLL
from fastelbo._losses import gaussian_nll, gaussian_nll_grad
from fastelbo._rules.frames import spread
from fastelbo._rules.integers import check_integers
from fastelbo._rules.joint import joint_frame
from fastelbo._rules.weights import as_mask, as_weight, is_of_rows
from fastelbo._threads import get_num_threads
from fastelbo._typing import Array

#: A mean square below which a square, a product with w or the quotient may have been subnormal, which costs
#: up to 2⁻¹⁰⁷⁵ each: 2⁻⁷⁵ of it
LEAST: Final = 2.0**-1000
NONE: Final = -(1 << 20)  # the exponent of 0: below all others
ROWS: Final = 1 << 15  # events of which something is kept at once
LOOKED_AT: Final = 1 << 16  # elements looked at together


def pieces(
    x: Array, mean: Array, axis: Any, weight: Any, where: Any
) -> tuple[tuple[int, ...], Iterator[tuple[Any, tuple[Array, Array, Any, Any]]]]:
    """The rows' shape, and x, mean, weight and where of at most ROWS events at a time.

    An event's bits are its own; and what is kept of each while it is computed is then not kept of all.
    """
    frame = joint_frame(GAUSSIAN_NLL, ("x", "mean"), (x, mean), axis)
    if math.prod(frame.rows) <= ROWS:
        return frame.rows, iter([(..., (x, mean, weight, where))])
    mask = None if where is None else as_mask(where, frame)
    weights = None if weight is None else as_weight(weight, np.dtype(np.float64), frame)
    whole = x, mean, weights, mask

    def cut() -> Iterator[tuple[Any, tuple[Array, Array, Any, Any]]]:
        for index in _blocks.blocks(frame.rows, ROWS):
            of_rows = iter(index)
            full = tuple(
                [slice(None) if i in frame.events else next(of_rows) for i in range(len(frame.shape))]
            )
            at: list[Any] = [None if a is None else (..., *_blocks.part(a, full)) for a in whole]
            views: Any = [None if a is None else a[i] for a, i in zip(whole, at, strict=True)]
            yield index, tuple(views)

    return frame.rows, cut()


class MeanSquare(NamedTuple):
    """Σ w·r²/Σ w of each event, mantissa·2^exponent, in float64; NaN where Σ w is 0."""

    mantissa: Any  # the mean square itself where the exponent is 0, which it nearly always is
    exponent: Any
    total: Any  # Σ w of what counts, times 2^-power
    power: Any  # 0 but where Σ w overflows
    nothing: Any  # whether nothing counts


def mean_square(
    x: Array, mean: Array, axis: Any, x_factor: float, weight: Any = None, where: Any = None
) -> MeanSquare:
    """Σ w·r²/Σ w over the event axes, from the caller's arrays, without temporaries of their size."""
    event = _Event(x, mean, axis, x_factor, weight, where)
    squares, total, odd = event.sums()
    with np.errstate(all="ignore"):
        half_sum: Any = squares / 2
        if np.any(odd):
            half_sum = np.where(odd, _half_sum(x, mean, axis, weight, where, x_factor), half_sum)[()]
        nothing = (total == 0) & (half_sum == 0)
        sure = abs(half_sum) >= LEAST * (event.count + abs(total))
        result: Any = np.divide(2 * half_sum, total)
        far = ~(sure & (abs(result) >= LEAST) & (abs(result) < np.inf) | nothing)
        exponent: Any = 0
        power: Any = 0
        if far.any():
            far = far & ~_settled(event, half_sum, total, far)
            result = result + 0.0  # not -0, by a negative Σ w
        if far.any():
            sums, top = event.split_sums(event.terms, far)
            divisor, shift = np.frexp(total)
            if weight is not None and not np.all(np.isfinite(total) | ~far):
                beyond = far & ~np.isfinite(total)
                of_weights, most = event.split_sums(event.weights, beyond)
                divisor, shift = np.where(beyond, of_weights, divisor), np.where(beyond, most, shift)
                total, power = np.where(beyond, of_weights, total)[()], np.where(beyond, most, 0)[()]
            nothing = np.where(far, (divisor == 0) & (sums == 0), nothing)[()]
            result = np.where(far, sums / divisor, result)[()]
            exponent = np.where(far & (sums != 0), top - shift, 0)[()]
        if np.any(total == 0):
            result, exponent = (
                np.where(total == 0, gone, part)[()] for gone, part in ((np.nan, result), (0, exponent))
            )
    return MeanSquare(result, exponent, total, power, nothing)


def _half_sum(x: Array, mean: Array, axis: Any, weight: Any, where: Any, x_factor: float) -> Any:
    """½ Σ w·r² of each event. A strong float64 makes the core compute in double, from arrays as they are."""
    one = np.float64(1.0)
    return gaussian_nll(x, mean, var=one, x_scale=x_factor, axis=axis, full=False, weight=weight, where=where)


class _Event:
    """What is summed, as views of the common shape, rows first: additions follow the event alone."""

    def __init__(self, x: Array, mean: Array, axis: Any, x_factor: float, weight: Any, where: Any) -> None:
        frame = joint_frame(GAUSSIAN_NLL, ("x", "mean"), (x, mean), axis)
        mask = None if where is None else as_mask(where, frame)
        weights = None if weight is None else as_weight(weight, np.dtype(np.float64), frame)
        if x_factor != 1.0:
            check_integers(("x", "mean"), (x, mean), GAUSSIAN_NLL.shifted, mask, frame.shape)
        self.arguments = x, mean, axis, where  # as they were passed
        self.frame, self.count = frame, math.prod([frame.shape[i] for i in frame.events])
        self.x_factor, self.rows = x_factor, frame.rows
        self.own_weight = weights
        self.views = [None if a is None else spread(a, frame) for a in (x, mean, weights, mask)]
        self.shape: tuple[int, ...] = self.views[0].shape  # type: ignore[union-attr]  # x
        self.axes = tuple(range(len(frame.rows), len(self.shape)))
        self.kept = frame.rows + (1,) * len(self.axes)

    def sums(self) -> tuple[Any, Any, Any]:
        """Σ w·r² and Σ w of each event, and which others have to sum: as the core finds them."""
        by_row = self.own_weight is not None and is_of_rows(self.own_weight, self.frame)
        found = _core.sums_of_squares(
            True, len(self.frame.events), tuple(self.views), by_row, self.x_factor, get_num_threads
        )
        squares, total, odd = (each.reshape(self.rows)[()] for each in found)
        return squares, total, odd

    def blocks(self, index: _blocks.Index) -> list[Any]:
        """x, mean, weight and mask there; None for those that there are not."""
        return [None if view is None else view[index] for view in self.views]

    def has_negative_weights(self) -> bool:
        """Whether there is one; NaN aside."""
        return bool(np.fmin.reduce(np.asarray(self.own_weight), axis=None, initial=0) < 0)

    def terms(self, index: _blocks.Index) -> tuple[Array, Array]:
        """w·r² of a block, as mantissas and exponents."""
        x, mean, weight, mask = self.blocks(index)
        mantissa, exponent = _split_difference(x, mean, self.x_factor)
        mantissa, exponent = mantissa * mantissa, 2 * exponent
        if weight is not None:
            factor, power = np.frexp(np.asarray(weight, np.float64))
            mantissa, exponent = mantissa * factor, exponent + power
        return _counted(mantissa, exponent, mask)

    def weights(self, index: _blocks.Index) -> tuple[Array, Array]:
        """The same of w."""
        *_, weight, mask = self.blocks(index)
        mantissa, power = np.frexp(np.asarray(weight, np.float64))
        return _counted(mantissa, power.astype(np.int64), mask)

    def split_sums(
        self, terms: Callable[[_blocks.Index], tuple[Array, Array]], far: Any
    ) -> tuple[Array, Array]:
        """Sums over the events in `far`, by the exponent of the largest term: (mantissa, exponent)."""
        far = np.reshape(far, self.kept)
        # The dtype is named: without it, some NumPy keeps a reference to it in every call
        top, sums = np.full(far.shape, NONE), np.zeros(far.shape, np.float64)
        adder = _blocks.Sums(sums, self.shape, 0)
        indices = [index for index in _blocks.blocks(self.shape) if np.any(far[_blocks.part(far, index)])]
        for index in indices:
            _, exponent = terms(index)
            at = _blocks.part(top, index)
            top[at] = np.maximum(top[at], exponent.max(axis=self.axes, keepdims=True))
        for index in indices:
            mantissa, exponent = terms(index)
            adder.add(index, np.ldexp(mantissa, exponent - top[_blocks.part(top, index)]))
        adder.finish()
        return sums.reshape(self.rows), top.reshape(self.rows)

    def any(self, test: Callable[[_blocks.Index], Array], events: Any) -> Array:
        """In which of `events` an element passes a test; one that does spares the rest of its event."""
        left = np.array(np.reshape(events, self.kept))
        found = np.zeros(self.kept, bool)
        for index in _blocks.blocks(self.shape, LOOKED_AT):
            at = _blocks.part(left, index)
            if left[at].any():
                found[at] |= left[at] & test(index).any(axis=self.axes, keepdims=True)
                left[at] &= ~found[at]
        return found.reshape(self.rows)

    def infinite(self, index: _blocks.Index) -> Array:
        """Elements that count and are infinite."""
        x, mean, _, mask = self.blocks(index)
        found = np.zeros(x.shape, bool)
        for block in (x, mean):
            if block.dtype.kind not in "biu":
                found |= np.isinf(block)
        return found if mask is None else found & mask

    def nonzero(self, index: _blocks.Index) -> Array:
        """Elements of which w·r² is not 0."""
        x, mean, weight, mask = self.blocks(index)
        comparable = self.x_factor == 1.0 and x.dtype.kind == mean.dtype.kind == "f"
        found: Array = x != mean if comparable else _split_difference(x, mean, self.x_factor)[0] != 0
        if weight is not None:
            found &= weight != 0
        return found if mask is None else found & mask


def _settled(event: _Event, half_sum: Any, total: Any, far: Any) -> Any:
    """The events in `far` whose NaN, infinity or 0 is no matter of range: what they hold is so itself."""
    settled = np.isnan(half_sum) | np.isnan(total)
    infinite = far & np.isinf(half_sum) & np.isfinite(total)
    if event.own_weight is not None and (settled.any() or infinite.any()) and event.has_negative_weights():
        # Only they make infinite terms of both signs, some of which may be too large and no infinity.
        x, mean, axis, where = event.arguments
        settled = np.isnan(_half_sum(x, mean, axis, None, where, event.x_factor))
    elif infinite.any():
        settled = settled | event.any(event.infinite, infinite)
    zero = far & (half_sum == 0) & np.isfinite(total)
    if zero.any():
        settled = settled | (zero & ~event.any(event.nonzero, zero))
    return settled


def _counted(mantissa: Array, exponent: Array, mask: Array | None) -> tuple[Array, Array]:
    if mask is not None:
        mantissa = np.where(mask, mantissa, 0.0)
    return mantissa, np.where(mantissa == 0, NONE, exponent)


def _split_difference(x: Array, mean: Array, x_factor: float) -> tuple[Array, Array]:
    """c·x − μ, up to its sign, rounded once also beyond the range of float64: (mantissa, exponent)."""
    r = _difference(x, mean, x_factor)
    mantissa, exponent = np.frexp(r)
    exponent = exponent.astype(np.int64)
    # 2^-1020 of x and μ lose no digit that counts where r is beyond; 2^600 of them are numbers where c·x is
    # subnormal
    small = (abs(r) < 2.0**-1022) & (abs(x) < 2.0**400) & (x_factor != 1.0)
    for unfit, shift in ((~np.isfinite(r), -1020), (small, 600)):
        if unfit.any():
            x_there, mean_there = (np.ldexp(np.array(block, np.float64), shift) for block in (x, mean))
            part, power = np.frexp(_difference(x_there, mean_there, x_factor))
            mantissa, exponent = np.where(unfit, (part, power - np.int64(shift)), (mantissa, exponent))
            exponent = exponent.astype(np.int64)
    return mantissa, exponent


def _difference(x: Array, mean: Array, x_factor: float) -> Array:
    """c·x − μ, up to its sign, rounded once: the core's, where it is the gradient at variance 1."""
    gradient = gaussian_nll_grad(x, mean, var=np.float64(1.0), x_scale=x_factor, axis=(), wrt=("mean",))
    return np.asarray(gradient.mean)
