"""The first element that is not what it must be, for messages: without a mask of all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from fastelbo._typing import Array, Shape

CHUNK: Final = 1 << 16  # elements looked at together in the search for a bad scale: bounds its memory


def first_where(
    array: Array, is_bad: Callable[[Array], Array], mask: Array | None, shape: Shape
) -> int | None:
    """Flat index of the first bad element that counts: as one does if any it is broadcast to does."""
    counts = None
    if mask is not None:
        padded = (1,) * (len(shape) - array.ndim) + array.shape
        stretched = tuple([i for i, n in enumerate(padded) if n == 1])
        mask = mask[(np.newaxis,) * (len(shape) - mask.ndim)]
        if stretched:
            mask = np.any(mask, axis=stretched, keepdims=True)
        counts = np.broadcast_to(mask, padded)[(0,) * (len(shape) - array.ndim)]
    for start in range(0, array.size, CHUNK):
        bad = is_bad(array.flat[start : start + CHUNK])
        if counts is not None:
            bad &= counts.flat[start : start + CHUNK]
        if bad.any():
            return start + int(bad.argmax())
    return None
