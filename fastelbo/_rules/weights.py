"""Weights and masks: what counts, and how much."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastelbo._rules.dtypes import as_array
from fastelbo._rules.fits import check_fits, fits, placements
from fastelbo._rules.frames import Frame, along_rows
from fastelbo._rules.real import real_array
from fastelbo._typing import Array, Shape


def as_weight(weight: Any, dtype: np.dtype[Any], frame: Frame) -> Array:
    """The rows' shape, or as many axes as the data: told by the number alone, so N = D changes no meaning."""
    array = as_array("weight", real_array("weight", weight), dtype)
    own, shape = array.shape, frame.shape
    if len(own) == len(shape) and fits(own, shape):
        return array
    if own == frame.rows:
        return along_rows(array, frame)
    rows, placed = frame.rows, placements(own, shape)
    way_out = "" if own else "multiply the result by a scalar. "
    if own and placed:
        ways = " or ".join([f"np.reshape(weight, {candidate})" for candidate in placed])
        way_out = f"did you mean {ways}? "
        if len(own) == len(rows) == 1 and fits(own, shape):
            way_out += f"In a batch of {own[0]} rows it would have weighted those. "
    features = tuple([n if i in frame.events else 1 for i, n in enumerate(shape)])
    kinds = {"rows": rows, "features": features} if rows and frame.events else {}
    shapes = ", ".join([f"{fit} to weight {what}" for what, fit in (kinds | {"elements": shape}).items()])
    raise ValueError(
        f"weight has shape {own}, and {frame.data} have shape {shape}: {way_out}Pass shape {shapes}; "
        "with as many axes as the data, any may be 1"
    )


def is_of_rows(weight: Array, frame: Frame) -> bool:
    """Whether a weight, as `as_weight` returns it, is the same along each event, by its shape."""
    return all(1 in (weight.shape[i], frame.shape[i]) for i in frame.events)


def row_weight(weight: Any, dtype: np.dtype[Any], rows: Shape, why: str) -> Array:
    """One weight a row, for losses that share their rows but not their events."""
    array = as_array("weight", real_array("weight", weight), dtype)
    if array.shape == rows:
        return array
    way_out = "" if array.ndim else "; multiply the result by a scalar"
    if array.ndim and array.size == math.prod(rows):
        way_out = f": pass np.reshape(weight, {rows})"
    raise ValueError(
        f"weight has shape {array.shape}; it must have that of the rows, {rows}, as {why}{way_out}"
    )


def as_mask(where: Any, frame: Frame, name: str = "where", weight: bool = True) -> Array:
    """weight: the loss takes one that can stand in for this mask."""
    mask = real_array(name, where)
    mask = mask if type(mask) is np.ndarray else np.asarray(mask)
    if mask.dtype.char != "?":
        instead = ", or use weight" if weight else ""
        raise TypeError(f"{name} must be boolean, not {mask.dtype}: pass np.not_equal({name}, 0){instead}")
    check_fits(name, mask, frame)
    return mask
