"""Arguments that are one word, one number or one shape."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from fastelbo._rules.real import real_array
from fastelbo._typing import Shape

_WayOut: TypeAlias = str | Callable[[Shape], str]  # of a message; it may depend on the shape that was passed


def choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    """The one of `choices` that `value` is, of whatever subclass of str."""
    if isinstance(value, str) and value in choices:
        return choices[choices.index(value)]
    few = len(choices) == 2
    listed = (" or " if few else ", ").join([repr(one) for one in choices])
    raise ValueError(f"{name} must be {'' if few else 'one of '}{listed}, not {value!r}")


def is_full(full: Any) -> bool:
    if isinstance(full, (bool, np.bool_)):
        return bool(full)
    raise TypeError(f"full must be True or False, not {full!r}")


def number(name: str, value: Any, what: str, positive: bool = False, instead: _WayOut = "") -> float:
    """A finite number >= 0, or > 0; `instead`: the way out for arrays."""
    real = one_number(name, value, instead)
    if not 0.0 <= float(real) < math.inf or (positive and real == 0):
        raise ValueError(f"{name} must be a finite {what} {'>' if positive else '>='} 0, not {value!r}")
    return float(real)


def one_number(name: str, value: Any, instead: _WayOut) -> Any:
    """A real number, which True and False are not."""
    real = real_array(name, value, alone=True)
    if np.ndim(real):
        way_out = instead(real.shape) if callable(instead) else instead
        if real.size == 1:
            way_out = f"pass {name}.item()" if hasattr(value, "item") else f"pass {name}{'[0]' * real.ndim}"
        way_out = f": {way_out}" if way_out else ""
        raise ValueError(f"{name} must be one number, not an array of shape {real.shape}{way_out}")
    if type(real) is bool or (type(real) is np.ndarray and real.dtype.char == "?"):
        raise TypeError(f"{name} must be a number, not {value!r}")
    return real


def variance_floor(name: str, floor: Any) -> float:
    """That of σ², from the option of this name; of a scale b it is of b²."""
    if name == "min_scale":
        least = number(name, floor, "scale", instead="pass scale=np.maximum(scale, min_scale)")
        if least and not 2.0**-511 <= least < 2.0**512:
            raise ValueError(f"{name} must be 0, or between 2**-511 and 2**512, not {floor!r}")
        return least * least
    return number("min_var", floor, "variance", instead="pass var=np.maximum(var, min_var)")


def x_factor(x_scale: Any, dtype: np.dtype[Any]) -> float:
    """`x_scale` as a number of the computing dtype, which it takes as Python scalars do."""
    if type(x_scale) is float and x_scale == 1.0:
        return 1.0
    real = one_number("x_scale", x_scale, "multiply x by it")
    with np.errstate(all="ignore"):
        factor = float(dtype.type(real))
    if not math.isfinite(factor) or factor == 0:
        rounded = f", which is {factor} in {dtype}" if math.isfinite(real) and real != 0 else ""
        raise ValueError(f"x_scale must be finite and not 0, not {x_scale!r}{rounded}")
    return factor


def count_of(name: str, value: Any) -> int:
    """A number of samples, or of elements."""
    try:
        if isinstance(value, bool):
            raise TypeError
        count = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an int, not {value!r}") from None
    if count < 1:
        raise ValueError(f"{name} must be at least 1, not {count}")
    return count


def shape_of(name: str, sizes: Any) -> Shape:
    """A shape passed as an argument, an int or a tuple of them, as NumPy takes it."""
    try:
        return tuple([operator.index(n) for n in (sizes if isinstance(sizes, tuple) else (sizes,))])
    except TypeError:
        raise TypeError(f"{name} must be a tuple of ints, not {sizes!r}") from None
