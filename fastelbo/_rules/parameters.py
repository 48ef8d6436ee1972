"""What a loss takes beside data, scales and the common options."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastelbo._declare import Loss
from fastelbo._rules.options import number, one_number

HUGE = 1e38  # float32 ends there; a limit that is reached far below it needs no more


def at_most_infinite(value: Any) -> Any:
    """A number whose limit at inf is reached long before: a Python scalar keeps no call from float32."""
    return math.inf if type(value) in (int, float) and value > HUGE else value


def parameters(loss: Loss, given: Mapping[str, Any], dtype: np.dtype[Any]) -> tuple[float, ...]:
    """The numbers of the whole call as the core takes them: a width, and beyond what x a bin is open."""
    if not loss.parameters_of_call:
        return ()
    names = list(loss.parameters_of_call)
    width = number(names[0], given[names[0]], "width", positive=True)
    low, high = (_end(name, given[name], loss.parameters_of_call[name]) for name in names[1:])
    if low >= high:
        raise ValueError(f"{names[1]} must be below {names[2]}: they are {low} and {high}")
    found = np.array([width, low + 0.5 * width, high - 0.5 * width], dtype)
    if not 0 < found[0] < np.inf:
        raise ValueError(
            f"{names[0]} is {given[names[0]]!r}, which is {found[0]} in {dtype}: pass data of float64"
        )
    return tuple(found.tolist())


def _end(name: str, value: Any, none: float) -> float:
    if value is None:
        return none
    real = float(one_number(name, value, ""))
    if not math.isfinite(real):
        raise ValueError(f"{name} must be finite, or None for no end there, not {value!r}")
    return real
