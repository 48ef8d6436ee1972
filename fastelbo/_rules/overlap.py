"""Which arrays share memory."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable
from typing import Final

import numpy as np

from fastelbo._typing import Array

OVERLAP_WORK: Final = 10_000  # candidates np.shares_memory may try; past it "may share" counts as "shares"


def share_memory(some: Iterable[Array], others: Iterable[Array | None]) -> bool:
    """Whether any two of them overlap."""
    pairs = itertools.product(some, others)
    return any(two is not None and overlap(one, two) for one, two in pairs)


def overlap(one: Array, two: Array) -> bool:
    if one is two or not np.may_share_memory(one, two):
        return one is two and one.size > 0
    try:
        return np.shares_memory(one, two, max_work=OVERLAP_WORK)  # type: ignore[arg-type]  # any int
    except np.exceptions.TooHardError:
        return True


def overlaps_itself(array: Array) -> bool:
    if array.flags.forc or array.size < 2:
        return False
    axes = sorted([(abs(step), n) for step, n in zip(array.strides, array.shape, strict=True) if n > 1])
    extent = array.itemsize
    for step, n in axes:
        if step < extent:
            break
        extent += step * (n - 1)
    else:
        return False  # every axis steps over all the smaller ones
    if not axes[0][0]:
        return True
    # Interleaved axes, from as_strided: are the (aligned) addresses distinct?
    offsets = functools.reduce(np.add.outer, [step * np.arange(n) for step, n in axes])
    return np.unique(offsets).size < array.size
