"""The common shape of a call, and arrays as views of it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastelbo._typing import Array, Shape


class Frame(NamedTuple):
    """The common shape of a call, split into events (summed) and rows (what is left)."""

    data: str  # whose shape it is, for messages: "x and mean"
    shape: Shape
    events: Shape  # sorted axes
    rows: Shape  # sizes of the other axes
    order: Shape | None  # axes of the rows, then of the events; None where they already stand so


def frame_of(data: str, shape: Shape, events: Shape) -> Frame:
    """Rows are the axes that are no event axes."""
    row_axes = tuple([i for i in range(len(shape)) if i not in events])
    order = None if not events or events[0] == len(row_axes) else row_axes + events
    return Frame(data, shape, events, tuple([shape[i] for i in row_axes]), order)


def with_events(rows: Shape, frame: Frame) -> Shape:
    """The rows' shape with a size-1 axis for each event axis."""
    sizes = iter(rows)
    return tuple([1 if i in frame.events else next(sizes) for i in range(len(frame.shape))])


def along_rows(array: Array, frame: Frame) -> Array:
    """`array` of the rows' shape, or that of the last of them, with a size-1 axis for each event axis."""
    lacking = len(frame.rows) - array.ndim
    axes = range(lacking, len(frame.shape))
    return array[(..., *[np.newaxis if i in frame.events else slice(None) for i in axes])]


def spread(array: Array, frame: Frame, writeable: bool = False) -> Array:
    """`array` broadcast to the common shape, rows first: a view, never a copy.

    As np.broadcast_to and as_strided would do, at half their price.
    """
    if array.shape != frame.shape:
        access: Any = [["readwrite" if writeable else "readonly"]]
        flags: Any = ["multi_index", "reduce_ok", "zerosize_ok"]
        array = np.nditer([array], flags, access, itershape=frame.shape, order="C").itviews[0]
    return array if frame.order is None else array.transpose(frame.order)


def stretched(array: Array, frame: Frame) -> int:
    """The axes, in the core's order, an argument is broadcast along, as bits: by shape, never by strides.

    The core derives from these bits, and from nothing else, how it sums: so a layout never changes a result.
    """
    own, shape = array.shape, frame.shape
    if own == shape:
        return 0
    lacking, order = len(shape) - len(own), frame.order or range(len(shape))
    bits = 0
    for bit, i in enumerate(order):
        if i < lacking or own[i - lacking] != shape[i]:
            bits |= 1 << bit
    return bits
