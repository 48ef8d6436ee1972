"""The shape that two operands have in common."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fastelbo._declare import Loss
from fastelbo._rules.axes import as_tuple, counts_from_the_end, event_axes
from fastelbo._rules.fits import fits
from fastelbo._rules.frames import Frame, frame_of
from fastelbo._typing import Array, Shape


def joint_frame(
    loss: Loss, names: Sequence[str], operands: Sequence[Array], axis: Any, axis_name: str = "axis"
) -> Frame:
    """The frame of two operands whose shapes are equal, or one of which lacks leading axes of the other."""
    (a_name, b_name), (a, b) = names[:2], (operands[0].shape, operands[1].shape)
    if loss.scalar_mean and not a and not fits(operands[2].shape, b):
        a = operands[2].shape
    shape = a if a == b else _joint_shape(a_name, b_name, a, b)
    data = f"{a_name} and {b_name}"
    events = event_axes(axis, shape, data, axis_name)
    if len(a) != len(b) and a and b and not counts_from_the_end(axis):  # a scalar has no axes to be counted
        own = a if all(-len(a) <= i < len(a) for i in as_tuple(axis)) else shape
        way_out = tuple([i - len(own) for i in event_axes(axis, own, data, axis_name)])
        raise ValueError(
            f"{axis_name}={axis!r} may count from the wrong end: {a_name} has {len(a)} axes, "
            f"{b_name} {len(b)}; pass {axis_name}={way_out}"
        )
    return frame_of(data, shape, events)


def _joint_shape(a_name: str, b_name: str, a: Shape, b: Shape) -> Shape:
    """One may lack leading axes of the other, but size-1 axes are never stretched.

    By NumPy's rule (N, 1) against (N,) is an N x N loss, which fits a slope of 0 to y = 2x.
    """
    (name, shape), (short_name, short) = ((a_name, a), (b_name, b))[:: 1 if len(a) >= len(b) else -1]
    if shape[len(shape) - len(short) :] == short:
        return shape
    raise ValueError(
        f"{a_name} has shape {a} and {b_name} has shape {b}; they must be equal, or one may lack leading "
        f"axes of the other{mismatch(name, shape, short_name, short)}"
    )


def mismatch(name: str, shape: Shape, short_name: str, short: Shape, samples: bool = True) -> str:
    """The way out for two shapes that do not match, after a colon; empty where none suggests itself.

    samples: `name` may have an axis of them. np.reshape and its like take lists and columns of pandas too.
    """
    if shape == (*short, 1):
        return f": pass np.reshape({name}, {short}), or np.reshape({short_name}, {shape})"
    if shape[len(shape) - len(short) :] == short:
        return f": pass np.broadcast_to({short_name}, {shape}) if you mean that"
    if all(1 in (m, n) or m == n for m, n in zip(reversed(shape), reversed(short), strict=False)):
        stretched = f"np.broadcast_to({short_name}, {shape})"
        if not fits(short, shape):
            stretched = f"np.broadcast_arrays({name}, {short_name})"
        return f": size-1 axes are not stretched; if you mean that, use {stretched}"
    if shape == short[::-1]:
        return f": pass np.asarray({short_name}).T if its axes are in the other order"
    if shape[0] == short[0] and math.prod(shape) == math.prod(short):
        return f": pass np.reshape({name}, {short})"
    ways_out = []
    if shape[:-1] == short:
        repeated = f"np.broadcast_to(np.reshape({short_name}, {(*short, 1)}), {shape})"
        ways_out = [f"{repeated} if {short_name} is the same along the last axis"]
    for i in range(1, len(shape) if samples and (len(short) > 1 or short_name == "x" or not ways_out) else 0):
        if shape[:i] + shape[i + 1 :] == short:
            ways_out += [f"np.moveaxis({name}, {i}, 0) if its axis {i} is that of the samples"]
            break
    return f": pass {', or '.join(ways_out)}" if ways_out else ""
