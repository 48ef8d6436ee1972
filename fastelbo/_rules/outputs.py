"""The arrays that results are written to: those in `out`, and new ones."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from fastelbo import _core
from fastelbo._declare import VALUES
from fastelbo._rules.call import Call
from fastelbo._rules.overlap import overlap, overlaps_itself
from fastelbo._typing import Array, Shape


def given_arrays(
    out: Any,
    fields: tuple[str, ...],
    grad: bool,
    reduction: str,
    dtype: np.dtype[Any],
    shapes: dict[str, Shape],
    arguments: tuple[Sequence[str], Sequence[Any]],
) -> tuple[dict[str, Array], dict[str, Any]]:
    """The arrays in `out` by name, checked, and the same as they were passed; none if `out` is None.

    The core writes through their pointers without a further look: so all is read off plain views, made once,
    as the attributes of a subclass are its own affair. `shapes` has the values and the gradients asked for,
    `arguments` what makes the dtype: names and plain values.
    """
    if out is None:
        return {}, {}
    if not grad:
        labels, out = {"value": "out"}, (out,)
    elif not isinstance(out, tuple):
        raise TypeError(f"out must be a tuple ({', '.join(fields)}), or None, not {type(out).__name__}")
    elif len(out) != len(fields):
        raise ValueError(f"out must have {len(fields)} members ({', '.join(fields)}), not {len(out)}")
    else:
        labels = {name: f"out[{i}] ({name})" for i, name in enumerate(fields)}
    passed = {name: array for name, array in zip(labels, out, strict=True) if array is not None}
    for name, array in passed.items():
        if not _writes_through(array):
            raise TypeError(f"{labels[name]} must be a NumPy array or None, not {type(array).__name__}")
    given = {name: np.asarray(array) for name, array in passed.items()}
    for name, array in given.items():
        if name in VALUES and reduction != "none":
            fault = f"must be None: with reduction={reduction!r} the value is a Python float"
        elif name not in shapes:
            fault = f"is given, but wrt does not name {name!r}"
        elif array.dtype != dtype:
            fault = f"must have the computing dtype, native {dtype}, not {array.dtype}"
            fault += _asked_for_double(*arguments) if array.dtype == np.float32 else ""
        elif array.shape != shapes[name]:
            fault = f"must have shape {shapes[name]}, not {array.shape}"
        elif not array.flags.writeable:
            fault = "is read-only"
        elif not array.flags.aligned:
            fault = "is not aligned"
        elif overlaps_itself(array):
            fault = "overlaps itself in memory, as np.broadcast_to's results do"
        else:
            continue
        raise ValueError(f"{labels[name]} {fault}")
    for one, two in itertools.combinations(given, 2):
        if overlap(given[one], given[two]):
            raise ValueError(f"{labels[one]} and {labels[two]} overlap in memory")
    return given, passed


def _asked_for_double(names: Sequence[str], plain: Sequence[Any]) -> str:
    """Which argument made float64 of float32, and the way out."""
    arrays = [(name, value) for name, value in zip(names, plain, strict=True) if type(value) is np.ndarray]
    wide = [(name, value) for name, value in arrays if np.result_type(value, np.float32) == np.float64]
    if not wide:
        return ""
    causes = ", ".join([f"{name} is {value.dtype}" for name, value in wide])
    ways_out = [f"np.asarray({name}, np.float32)" if value.ndim else f"float({name})" for name, value in wide]
    return f": {causes}; pass {', '.join(ways_out)} to compute in float32"


def _writes_through(array: Any) -> bool:
    """np.memmap does, say; a masked array would keep its mask. By type: `__class__` may be anything."""
    return issubclass(type(array), np.ndarray) and not issubclass(type(array), np.ma.MaskedArray)


def allocate(call: Call, reduction: str, asked: Iterable[str], given: dict[str, Array]) -> dict[str, Array]:
    """Where the core writes: arrays of the caller's, or new ones."""
    names = (call.loss.value, *call.members)
    results = {name: array for name, array in given.items() if name in names}
    if reduction == "none" and call.loss.value not in results:
        results[call.loss.value] = _core.empty(call.frame.rows, call.dtype)
    for name, operand in zip(call.members, call.operands, strict=False):
        if name in asked and name not in results:  # laid out like its argument, as NumPy's ufuncs do
            results[name] = _core.empty_like(operand, call.dtype)
    return results


def as_returned(results: dict[str, Array], passed: dict[str, Any]) -> dict[str, Any]:
    """Given arrays are returned themselves, and other 0-d results are NumPy scalars."""
    return {name: array if array.ndim else array[()] for name, array in results.items()} | passed
