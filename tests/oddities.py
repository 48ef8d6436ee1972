"""What may be passed in the place of an array or an option, and is odd, or wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import declared
from fastelbo._declare import EMPTY, FLOORS
from random_arrays import Array

NAN = float("nan")


def raising(error: type[Exception]) -> Callable[[Array], Any]:
    class Raises:
        def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
            raise error("no array")

    return lambda _: Raises()


class Wrapped:
    """An array-like that is no array, as those of other libraries."""

    def __init__(self, array: Array) -> None:
        self.array = array

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        return self.array


class Stubborn(np.ndarray):
    """A subclass that takes part in nothing."""

    __array_ufunc__ = None  # type: ignore[assignment]

    def __array_function__(self, *_: Any) -> Any:
        raise AssertionError("called")


class Liar(np.ndarray):
    """A subclass whose attributes are not those of its memory."""

    shape = property(lambda self: (1 << 40,))  # type: ignore[assignment]
    ndim = property(lambda self: 1)  # type: ignore[assignment]
    strides = property(lambda self: (1 << 20,))  # type: ignore[assignment]
    dtype = property(lambda self: np.dtype(bool))  # type: ignore[assignment]
    size = property(lambda self: 1 << 40)  # type: ignore[assignment]


#: What may be passed in an array's place, made of it.
OBJECTS: dict[str, Callable[[Array], Any]] = {
    "list": lambda a: a.tolist(),
    "tuple": lambda a: tuple(a.tolist()) if a.ndim else a.item(),
    "array-like": Wrapped,
    "subclass": lambda a: a.view(Stubborn),
    "liar": lambda a: a.view(Liar),
    "matrix-like": lambda a: a.view(np.recarray) if a.dtype.kind != "V" else a,
    "memoryview": lambda a: memoryview(np.array(a, np.float32)),
    "masked": np.ma.masked_array,
    "number": lambda a: 1.0,
    "int": lambda a: 1,
    "bool": lambda a: True,
    "large int": lambda a: 10**15,
    "larger int": lambda a: 10**400,
    "None": lambda a: None,
    "str": lambda a: "1.0",
    "bytes": lambda a: b"1.0",
    "strings": lambda a: a.astype("U8") if a.dtype.kind != "V" else "x",
    "complex": lambda a: 1j,
    "dict": lambda a: {"x": a},
    "set": lambda a: {1.0},
    "object": lambda a: object(),
    "class": lambda a: np.float32,
    "generator": lambda a: (x for x in (1.0, 2.0)),
    "ragged": lambda a: [[1.0], [1.0, 2.0]],
    "empty list": lambda a: [],
    "raises ValueError": raising(ValueError),
    "raises TypeError": raising(TypeError),
    "raises RuntimeError": raising(RuntimeError),
    "raises ZeroDivisionError": raising(ZeroDivisionError),
    "raises MemoryError": raising(MemoryError),
    "no array": lambda a: type("Liar", (), {"__array__": lambda self, dtype=None, copy=None: [1.0]})(),
}


def objects_for(key: str) -> dict[str, Callable[[Array], Any]]:
    """Of a log scale e to any of them can be represented: infinite answers are test_special's."""
    log = declared.is_log(key)
    return {what: make for what, make in OBJECTS.items() if not (log and what == "large int")}


NOT_REAL = ("F", "D", "g", "O", "U3", "S2", "M8[D]", "m8[s]", "V2", "V4", "i4,f4", "G")
#: Numbers of the whole call, and the ends of a range
OF_CALL = {key: none for loss in declared.LOSSES.values() for key, none in loss.parameters_of_call.items()}
WIDTHS = [key for key, none in OF_CALL.items() if none is EMPTY]
ENDS = [key for key in OF_CALL if key not in WIDTHS]
#: Options that are wrong, in most calls
WRONG: dict[str, Sequence[Any]] = {
    "axis": (7, -7, 1.0, "x", [0], (0, 0), (-1, 7), (None,), {}, np.int64(0), True, 0, (0, 1)),
    "z_axis": (7, 1.0, "x", (-1, -1), None, (), -1, 0),
    "reduction": ("all", None, 0, "Mean", ("sum",)),
    "full": (0, 1, "no", None, np.ones(2, bool)),
    **dict.fromkeys(
        FLOORS, (-1.0, NAN, math.inf, True, "0.1", None, [0.1, 0.2], 1j, object(), -0.0, 10**400)
    ),
    **dict.fromkeys(WIDTHS, (0.0, -1.0, NAN, math.inf, True, "1", None, [1.0], 1j, object(), 10**400)),
    **dict.fromkeys(ENDS, (NAN, math.inf, -math.inf, True, "1", None, [1.0], 1j, object(), 10**400)),
    "x_scale": (0.0, NAN, math.inf, True, np.True_, "1", None, [1.0, 2.0], 1j, 1e-300, 10**400),
    "beta": (-1.0, NAN, math.inf, True, np.array(False), "1", None, [1.0], 1j, -0.0),
    "min_kl": (-1.0, NAN, math.inf, True, "1", None, [1.0], 1j),
    "wrt": ("value", "y", None, 3, ("x", "y"), (1,), ([],), "scale", "prior_scale", ["mean"] * 2, {"mean"}),
    "out": ((), [], np.zeros(3), 3, "out", (None,), (np.zeros(2),) * 2),
    "per": ("rows", None, 1),
    "average": ("never", None, 1),
    "weight": (1.0, "1", None, np.ones(3), 1j, object()),
    "where": (1, 1.0, "True", None, np.ones(3), [1, 0], True, False, object()),
    "z_where": (1, "True", None, np.ones(3), True, False, object()),
    "rng": (None, 0, np.random, np.random.RandomState(0)),
    "eps": (None, 0.0, "eps", 1j),
    "n_samples": (0, -1, 1.0, "3", None, 2, True, np.int8(2)),
    "mean_shape": (None, (), 3, (3,), "3", (-1,), (2.0,), (1, 1, 1, 1)),
}
