"""The computing dtype, which is NumPy's promotion of the arguments, but float32 or float64."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastelbo._rules.real import as_plain, is_bfloat16
from fastelbo._typing import Array


def as_operands(names: Sequence[str], passed: Sequence[Any]) -> tuple[list[Array], np.dtype[Any]]:
    """The arguments as arrays, and the computing dtype."""
    return as_computed(names, as_plain(names, passed))


def as_computed(names: Sequence[str], values: Sequence[Any]) -> tuple[list[Array], np.dtype[Any]]:
    """Plain arrays and scalars as arrays, and the computing dtype: NumPy's own promotion, but float32 or
    float64.

    bfloat16 counts as float16, of which NumPy knows how it goes with all others.
    """
    dtype = np.result_type(
        *[np.float16 if type(v) is np.ndarray and is_bfloat16(v.dtype) else v for v in values]
    )
    dtype = np.result_type(dtype, np.float32) if dtype.kind == "f" else np.dtype(np.float64)
    return [as_array(name, value, dtype) for name, value in zip(names, values, strict=True)], dtype


def as_array(name: str, value: Any, dtype: np.dtype[Any]) -> Array:
    """Scalars take the computing dtype here, rounded, but none becomes infinite by it; arrays keep theirs.

    And so do integers that float64 would round: the core subtracts them as they are, and `check_integers`
    says where it can't.
    """
    if type(value) is np.ndarray and (value.ndim or value.dtype == dtype):
        return value
    with np.errstate(all="ignore"):
        array = np.asarray(value, dtype)
    if type(value) is not np.ndarray and not np.isfinite(array) and math.isfinite(value):
        raise ValueError(
            f"{name} is {value!r}, which is {array} in {dtype}: pass np.float64({name}), and all is computed "
            "in float64"
        )
    if dtype.char == "d" and (type(value) is int or (type(value) is np.ndarray and value.dtype.kind in "iu")):
        whole = int(value)
        if whole != int(array):
            if not -(1 << 63) <= whole < 1 << 64:
                raise ValueError(
                    f"{name} is {whole}, which float64 would round: pass float({name}) if it may"
                )
            return np.asarray(value)
    return array
