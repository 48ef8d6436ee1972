"""Memory for the arguments of one call, which tells what else was written, and where reading ended.

Every array lies in a region of an arena, among guard bytes: NaN in every floating dtype, so that reading one
shows in a result. An arena has a page without access at either end, so that an element too many faults
where a region ends there.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Sequence

import numpy as np

Array = np.ndarray

GUARD = 0xFF
MARGIN = 64  # guard bytes beside an array that does not end where its arena does


def fenced(size: int) -> Array:
    """Bytes, in whole pages, between two without access; where the system has no mprotect, just bytes."""
    page = mmap.PAGESIZE
    pages = mmap.mmap(-1, -size // page * -page + 2 * page)
    whole = np.frombuffer(pages, np.uint8)
    if sys.platform.startswith("linux"):
        libc = ctypes.CDLL(None, use_errno=True)
        for begin in (0, whole.size - page):
            if libc.mprotect(ctypes.c_void_p(whole.ctypes.data + begin), ctypes.c_size_t(page), 0):
                raise OSError(ctypes.get_errno(), "mprotect")
    return whole[page:-page]


def address(array: Array) -> int:
    return array.__array_interface__["data"][0]


def offsets(shape: Sequence[int], strides: Sequence[int], itemsize: int) -> tuple[int, int]:
    """Bytes that an array takes before its first element, and from there on."""
    if 0 in shape:
        return 0, 0
    ends = [(n - 1) * step for n, step in zip(shape, strides, strict=True)]
    return -sum(end for end in ends if end < 0), sum(end for end in ends if end > 0) + itemsize


def same_view(array: Array, region: Array, of: Array) -> Array:
    """The bytes of `of`, which has one for each of `region`, in which `array` lies: (*shape, itemsize)."""
    at = address(array) - address(region)
    return np.ndarray((*array.shape, array.itemsize), of.dtype, of, at, (*array.strides, 1))


class Arenas:
    """Regions for the arrays of one call; `begin` takes them back for the next."""

    def __init__(self, size: int = 1 << 16) -> None:
        self.size = size
        self.pool: list[Array] = []
        self.begin()

    def begin(self) -> None:
        self.regions: list[Array] = []
        self.before: list[Array] = []

    def region(self, size: int) -> Array:
        """A fresh arena, or the part of one, of at least `size` bytes: all guard bytes."""
        used = len(self.regions)
        if size > self.size:
            whole = fenced(size)
        else:
            while used >= len(self.pool):
                self.pool.append(fenced(self.size))
            whole = self.pool[used]
        return whole

    def array(
        self,
        shape: Sequence[int],
        dtype: np.dtype,
        strides: Sequence[int],
        place: str = "end",
        slack: int = 0,
        misaligned: int = 0,
    ) -> Array:
        """An array of guard bytes that ends with its arena, begins with it, or lies in "between".

        `slack` is for arrays to come in the same region.
        """
        below, above = offsets(shape, strides, dtype.itemsize)
        margin = MARGIN + slack if place == "between" else slack
        size = below + above + 2 * margin + misaligned
        size = -size // 16 * -16 if place == "between" else max(size, 1)
        whole = self.region(size)
        region = whole[-size:] if place == "end" else whole[:size]
        region.fill(GUARD)
        self.regions.append(region)
        start = size - margin - misaligned - above if place == "end" else margin + misaligned + below
        return np.ndarray(shape, dtype, region, start, strides)

    def region_of(self, array: Array) -> Array | None:
        """The region that an array lies in; an array without elements lies nowhere."""
        at = address(array)
        inside = (region for region in self.regions if array.size and 0 <= at - address(region) < region.size)
        return next(inside, None)

    def watch(self) -> None:
        """Remember all bytes."""
        self.before = [region.copy() for region in self.regions]

    def assert_unchanged(self, but: Sequence[Array], never: Sequence[Array] = ()) -> None:
        """No byte differs from what was watched, except those of `but` that are not of `never`."""
        for region, before in zip(self.regions, self.before, strict=True):
            changed = region != before
            if not changed.any():
                continue
            written = changed.copy()
            for arrays, kept in ((but, False), (never, True)):
                for array in arrays:
                    if self.region_of(array) is region:
                        same_view(array, region, changed)[...] = kept and same_view(array, region, written)
            where = np.flatnonzero(changed)
            assert not where.size, f"byte {where[0]} of {region.size} was written, and {where.size} in all"


def strides_of(
    shape: Sequence[int],
    itemsize: int,
    order: Sequence[int],
    steps: Sequence[int],
) -> list[int]:
    """Strides of axes packed in an order, innermost first, each `step` elements apart; 0 repeats one."""
    strides, extent = [0] * len(shape), itemsize
    for axis, step in zip(order, steps, strict=True):
        strides[axis] = extent * step
        if step:
            extent *= max(1, shape[axis]) * abs(step)
    return strides


def filled(array: Array, values: Array) -> Array:
    """`array` with these values, also where elements share memory: each then has the first of them."""
    repeated = tuple([slice(0, 1) if step == 0 else slice(None) for step in array.strides])
    array[repeated] = values[repeated]
    return array
