"""Which axes are summed, and what becomes of the rows."""

from __future__ import annotations

import operator
from typing import Any, Final

import numpy as np

from fastelbo._declare import DEFAULT_AXIS
from fastelbo._rules.options import choice
from fastelbo._typing import Shape

REDUCTIONS: Final = ("none", "sum", "mean")


def event_axes(axis: Any, shape: Shape, data: str, name: str = "axis") -> Shape:
    """The axes that are summed, sorted; 0-d data is one event of size 1, as for NumPy's reductions."""
    ndim = len(shape)
    if axis is DEFAULT_AXIS:
        return (ndim - 1,) if ndim else ()
    if axis is None:
        return tuple(range(ndim))
    try:
        if any(isinstance(i, bool) for i in as_tuple(axis)):
            raise TypeError
        axes = [operator.index(i) for i in as_tuple(axis)]
    except TypeError:
        raise TypeError(f"{name} must be an int, a tuple of ints, () or None, not {axis!r}") from None
    span = ndim or 1
    for i in axes:
        if not -span <= i < span:
            raise np.exceptions.AxisError(f"{name} {i} is out of bounds for {data} of shape {shape}")
    events = sorted({i % span for i in axes})
    if len(events) < len(axes):
        raise ValueError(f"{name}={axis!r} names an axis twice")
    return tuple(events) if ndim else ()


def as_tuple(axis: Any) -> tuple[Any, ...]:
    return axis if type(axis) is tuple else (axis,)


def counts_from_the_end(axis: Any) -> bool:
    return axis is None or all(i < 0 for i in as_tuple(axis))


def check_reduction(reduction: Any, axis: Any, shape: Shape) -> str:
    """The reduction, as a plain string."""
    name = choice("reduction", reduction, REDUCTIONS)
    if name != "none":
        check_one_event(f"reduction={name!r} of 1-D data", axis, shape)
    return name


def check_one_event(what: str, axis: Any, shape: Shape) -> None:
    """1-D data are an event, or a batch of numbers: where that changes the result, someone has to say it."""
    if axis is DEFAULT_AXIS and len(shape) == 1:
        size = shape[0]
        raise ValueError(
            f"{what}, axis not given: one event of size {size}, or {size} observations? "
            "pass axis=-1 or axis=()"
        )
