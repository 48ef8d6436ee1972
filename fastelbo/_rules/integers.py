"""Integers that float64 would round."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from fastelbo._rules.search import first_where
from fastelbo._typing import Array, Shape


def check_integers(
    names: Sequence[str],
    operands: Sequence[Array],
    shifted: Collection[str] = (),
    mask: Array | None = None,
    shape: Shape = (),
) -> None:
    """No integer that float64 would round: digits lost here may be all that the result is made of.

    shifted: those that count by their differences, so that an offset may be subtracted from all.
    """
    for name, array in zip(names, operands, strict=True):
        if array.dtype.kind not in "iu" or array.dtype.itemsize < 8:
            continue
        flat = first_where(array, _is_rounded, mask, shape or array.shape)
        if flat is not None:
            index = [int(i) for i in np.unravel_index(flat, array.shape)]
            first = "subtract an offset first, or " if name in shifted else ""
            raise ValueError(
                f"{name} has integers that float64 would round: {name}{index or ''} is {array.flat[flat]}; "
                f"{first}pass np.asarray({name}, np.float64) if they may be rounded"
            )


def _is_rounded(x: Array) -> Array:
    """Whether float64 lacks digits of 64-bit integers: the lower 11 bits go apart, so nothing overflows."""
    low = x & x.dtype.type(0x7FF)
    rest = (x - low).astype(np.float64) - x.astype(np.float64) + low.astype(np.float64)
    lacking: Array = rest != 0
    return lacking
