"""The mean square of x − μ, for any r that is a number: also where r² leaves the range of float64."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from fastelbo import _arrays, _blocks, _core
from fastelbo._arrays import Array, Frame

#: A mean square below which a square, a product with w or the quotient may have been subnormal, which costs
#: up to 2⁻¹⁰⁷⁵ each: 2⁻⁷⁵ of it
LEAST: Final = 2.0**-1000
NONE: Final = -(1 << 20)  # the exponent of 0: below all others


class MeanSquare(NamedTuple):
    """Σ w·r²/Σ w of each event, mantissa·2^exponent, in float64; NaN where Σ w is 0."""

    mantissa: Any  # the mean square itself where the exponent is 0, which it nearly always is
    exponent: Any
    total: Any  # Σ w of what counts
    nothing: Any  # whether nothing counts


def mean_square(
    x: Array, mean: Array, axis: Any, x_factor: float, weight: Any = None, where: Any = None
) -> MeanSquare:
    """Σ w·r²/Σ w over the event axes, from the caller's arrays, without temporaries of their size."""
    half_sum = _half_sum(x, mean, axis, weight, where, x_factor)
    shape = (x if x.ndim >= mean.ndim else mean).shape
    count = np.float64(np.prod(shape, dtype=np.int64) // max(half_sum.size, 1))
    total: Any = count
    with np.errstate(all="ignore"):
        if weight is not None or where is not None:
            two, zero = (np.broadcast_to(np.float64(number), shape) for number in (2, 0))
            total = _half_sum(two, zero, axis, weight, where, 1.0) / 2
        nothing = (total == 0) & (half_sum == 0)
        sure = abs(half_sum) >= LEAST * (count + abs(total))
        result: Any = np.divide(half_sum, total / 2, out=half_sum if half_sum.ndim else None)
        far = ~(sure & (abs(result) >= LEAST) & (abs(result) < np.inf) | nothing)
        exponent: Any = 0
        if far.any():
            frame = _arrays.joint_frame("nll", ("x", "mean"), (x, mean), axis)
            sums, top = _split_sums(x, mean, frame, x_factor, weight, where, far)
            divisor, power = np.frexp(total)
            nothing = np.where(far, (total == 0) & (sums == 0), nothing)[()]
            result = np.where(far, sums / divisor, result)[()]
            exponent = np.where(far & (sums != 0), top - power, 0)[()]
        if np.any(total == 0):
            result, exponent = (
                np.where(total == 0, gone, part)[()] for gone, part in ((np.nan, result), (0, exponent))
            )
    return MeanSquare(result, exponent, total, nothing)


def _half_sum(x: Array, mean: Array, axis: Any, weight: Any, where: Any, x_factor: float) -> Any:
    """½ Σ w·r² of each event. A strong float64 makes the core compute in double, from arrays as they are."""
    return _core.nll(
        x, mean, np.float64(1.0), None, None, None, None, axis, False, weight, where, 0.0, "none", None,
        x_factor,
    )  # fmt: skip


def _split_sums(
    x: Array, mean: Array, frame: Frame, x_factor: float, weight: Any, where: Any, far: Any
) -> tuple[Array, Array]:
    """Σ w·r² of the events in `far`, by the exponent of the largest term: (mantissa, exponent)."""
    weights = None if weight is None else _arrays.as_weight(weight, np.dtype(np.float64), frame)
    mask = None if where is None else _arrays.as_mask(where, frame)
    views = [None if a is None else _rows_first(a, frame) for a in (x, mean, weights, mask)]
    shape = views[0].shape  # type: ignore[union-attr]  # x
    events = tuple(range(len(frame.rows), len(shape)))
    far = np.reshape(far, frame.rows + (1,) * len(events))
    top, sums = np.full(far.shape, NONE), np.zeros(far.shape)
    adder = _blocks.Sums(sums, shape, 0)
    indices = [index for index in _blocks.blocks(shape) if np.any(far[_blocks.part(far, index)])]
    for index in indices:
        _, exponent = _terms(x_factor, *[None if view is None else view[index] for view in views])
        at = _blocks.part(top, index)
        top[at] = np.maximum(top[at], exponent.max(axis=events, keepdims=True))
    for index in indices:
        mantissa, exponent = _terms(x_factor, *[None if view is None else view[index] for view in views])
        adder.add(index, np.ldexp(mantissa, exponent - top[_blocks.part(top, index)]))
    adder.finish()
    return sums.reshape(frame.rows), top.reshape(frame.rows)


def _rows_first(array: Array, frame: Frame) -> Array:
    """A view of the common shape, rows first: the order of the additions is then that of the event alone."""
    view = np.broadcast_to(array, frame.shape)
    return view if frame.order is None else view.transpose(frame.order)


def _terms(x_factor: float, x: Any, mean: Any, weight: Any, mask: Any) -> tuple[Array, Array]:
    """w·r² of a block, as mantissas and exponents."""
    x, mean = (np.array(block, np.float64, order="C") for block in (x, mean))
    r = _difference(x, mean, x_factor)
    beyond, down = (
        ~np.isfinite(r),
        1020,
    )  # then x is not so small that 2^-down of it would lose a digit that counts
    lowered = _difference(np.ldexp(x, -down), np.ldexp(mean, -down), x_factor)
    mantissa, exponent = np.frexp(np.where(beyond, lowered, r))
    mantissa, exponent = mantissa * mantissa, 2 * (exponent.astype(np.int64) + np.where(beyond, down, 0))
    if weight is not None:
        factor, power = np.frexp(np.asarray(weight, np.float64))
        mantissa, exponent = mantissa * factor, exponent + power
    if mask is not None:
        mantissa = np.where(mask, mantissa, 0.0)
    return mantissa, np.where(mantissa == 0, NONE, exponent)


def _difference(x: Array, mean: Array, x_factor: float) -> Array:
    """c·x − μ, up to its sign, rounded once: the core's, where it is the gradient at variance 1."""
    gradient = _core.nll_grad(
        x, mean, np.float64(1.0), None, None, None, None, (), False, None, None, 0.0, "none", ("mean",),
        None, x_factor,
    )  # fmt: skip
    return np.asarray(gradient.mean)
