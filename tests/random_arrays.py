"""Random arrays of any dtype, layout and place in memory, for calls.py."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import arenas
import declared
import variance
from fastelbo._declare import Scale

try:
    import ml_dtypes
except ImportError:  # not for every Python
    ml_dtypes = None

Array = np.ndarray

FLOATS = tuple(np.dtype(code) for code in "ffffdddde") + (
    (np.dtype(ml_dtypes.bfloat16),) if ml_dtypes else ()
)
INTEGERS = tuple(np.dtype(code) for code in "?bBhHiIqQ")
POOL = np.random.default_rng(20).integers(-32, 33, 1 << 19)
LARGE = 1 << 17  # threads from here on, as _core.pyx has it


class Arrays:
    """Arrays of a seed, each in guarded memory: of any dtype, in any layout, at any place."""

    usual: bool  # plain arrays of one dtype
    swaps: bool  # some are byte-swapped, or not aligned
    floats: Sequence[np.dtype]

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.memory = arenas.Arenas()

    def begin(self, number: int) -> None:
        """Those of another call."""
        self.random = random.Random(self.seed << 40 | number)
        self.memory.begin()
        self.chance = self.random.random
        self.pick = self.random.choice
        self.arguments: dict[str, Any] = {}
        self.positive = False

    def shape(self) -> tuple[int, ...]:
        if self.chance() < 0.0004:
            return self.pick(((1, LARGE + 9), (LARGE + 9, 1), (LARGE // 2 + 1, 2), (33, 2, 2111), (17, 9001)))
        sizes = [self.pick(SIDES) for _ in range(self.pick((0, 1, 1, 2, 2, 2, 2, 2, 3, 3, 4, 5)))]
        while math.prod(sizes) > 700:
            sizes[self.random.randrange(len(sizes))] = 2
        if self.chance() < 0.02 and sizes:
            sizes[self.random.randrange(len(sizes))] = 0
        return tuple(sizes)

    def part(self, shape: Sequence[int], stretch: float = 0.25) -> tuple[int, ...]:
        """A shape that broadcasts to `shape`."""
        if self.chance() < 0.4:
            return tuple(shape)
        sizes = [1 if self.chance() < stretch else n for n in shape]
        return tuple(sizes[self.random.randrange(len(sizes) + 1) if self.chance() < 0.5 else 0 :])

    def values(self, shape: Sequence[int], dtype: np.dtype, scale: str | None = None) -> Array:
        """Data within ±4, exact in every dtype; a scale with log σ² within ±2; or a mask."""
        count = math.prod(shape)
        start = self.random.randrange(POOL.size)
        eighths = POOL.take(np.arange(start, start + count), mode="wrap").reshape(shape)
        if scale is not None:
            form = declared.form_of(scale)
            if dtype.kind not in "fV":
                return np.asarray(abs(eighths) // 16 + declared.is_linear(form), dtype)
            return np.asarray(variance.raw_of(form, eighths / 16), dtype)
        return np.asarray(eighths / 8 if dtype.kind in "fV" else abs(eighths) // 8, dtype)

    def put(self, values: Array, output: bool = False) -> Array:
        """The values in memory of any layout; an output's has no element twice."""
        dtype, shape, kind = values.dtype, values.shape, 0.0 if self.usual else self.chance()
        order, steps = list(reversed(range(len(shape)))), [1] * len(shape)
        if 0.45 < kind < 0.55:
            order.reverse()
        elif kind >= 0.55:
            self.random.shuffle(order)
            steps = [self.pick((1, 1, 2, 3, -1, -2, 1 if output else 0)) for _ in shape]
        misaligned = 0
        if not output and self.swaps:
            if dtype.itemsize > 1 and dtype.kind != "V" and self.chance() < 0.4:
                dtype = dtype.newbyteorder("S")
            if dtype.itemsize > 1 and self.chance() < 0.4:
                misaligned = self.random.randrange(1, dtype.itemsize)
        strides = arenas.strides_of(shape, dtype.itemsize, order, steps)
        slack = sum(arenas.offsets(shape, strides, dtype.itemsize)) if self.chance() < 0.3 else 0
        place = "between" if slack else self.pick(("end", "end", "start", "between"))
        slack = slack // 16 * 16
        array = self.memory.array(shape, dtype, strides, place, slack, misaligned)
        arenas.filled(array, values)
        if not output and self.chance() < 0.15:
            array.flags.writeable = False
        return array

    def add(self, key: str, shape: Sequence[int], scale: bool = False) -> None:
        """An argument of this shape; one without axes may be a number."""
        integers = not self.usual and self.chance() < 0.08
        dtype = self.pick(INTEGERS if integers else self.floats)
        values = self.values(shape, dtype, key if scale else None)
        values = abs(values) if key == "weight" and self.positive else values  # of others Σ w may cancel
        if not shape and self.chance() < 0.7:
            self.arguments[key] = values.item() if self.chance() < 0.7 else values[()]
        elif self.chance() < 0.02:
            self.arguments[key] = values.tolist()
        else:
            self.arguments[key] = self.put(values)

    def add_scale(self, shape: Sequence[int], scale: Scale) -> None:
        self.add(self.pick(declared.forms(scale)), self.part(shape), scale=True)

    def add_number(self, key: str, shape: Sequence[int]) -> None:
        """An operand > 0."""
        array = self.put(
            np.resize(np.array([0.5, 3.0, np.inf, 1.0, 40.0], self.pick("fde")), self.part(shape))
        )
        self.arguments[key] = array if array.ndim or self.chance() < 0.3 else array.item()

    def unaligned(self, array: Array) -> Array:
        order, steps = list(reversed(range(array.ndim))), [1] * array.ndim
        strides = arenas.strides_of(array.shape, array.itemsize, order, steps)
        off = self.random.randrange(1, array.itemsize)
        return self.memory.array(array.shape, array.dtype, strides, misaligned=off)

    def arrays(self) -> list[str]:
        real = (*FLOATS, *INTEGERS)
        given = {key: value for key, value in self.arguments.items() if isinstance(value, Array)}
        return [key for key, value in given.items() if value.dtype.newbyteorder("=") in real]

    def altered(self, shape: Sequence[int]) -> tuple[int, ...]:
        """One axis more or less, one element more or less along one, another order, or none at all."""
        sizes, i = list(shape), self.random.randrange(len(shape) or 1)
        ways: list[Callable[[], Sequence[int]]] = [
            lambda: [*sizes[:i], self.pick((1, 1, 2)), *sizes[i:]],
            lambda: sizes[:i] + sizes[i + 1 :],
            lambda: sizes[:i] + [n + 1 for n in sizes[i : i + 1]] + sizes[i + 1 :],
            lambda: sizes[:i] + [max(0, n - 1) for n in sizes[i : i + 1]] + sizes[i + 1 :],
            lambda: [math.prod(sizes)],
            lambda: sizes[::-1],
            lambda: [*sizes[:i], 0, *sizes[i + 1 :]],
        ]
        return tuple(self.pick(ways)())


SIDES = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33)
