"""The five forms of a scale, and arguments as float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


class Scale(NamedTuple):
    """One way to state σ: s = log σ² as a function of the argument, ds/d(argument), must it be > 0."""

    logvar: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    positive: bool


SCALES = {
    "var": Scale(lambda v: np.log(v), lambda v: 1 / v, True),
    "std": Scale(lambda std: 2 * np.log(std), lambda std: 2 / std, True),
    "logvar": Scale(lambda s: s, lambda s: np.ones_like(s), False),
    "logstd": Scale(lambda t: 2 * t, lambda t: np.full_like(t, 2.0), False),
    "precision": Scale(lambda tau: -np.log(tau), lambda tau: -1 / tau, True),
}


def as_array(argument: ArrayLike) -> Array:
    return np.asarray(argument, dtype=np.float64)


def difference(x: ArrayLike, mean: ArrayLike, x_scale: float = 1.0) -> Array:
    """x_scale·x - mean; of integers in long double, whose 64 bits hold those that float64 would round."""
    wide = any(np.asarray(argument).dtype.kind in "iu" for argument in (x, mean))
    dtype = np.longdouble if wide else np.float64
    return as_array(np.multiply(x_scale, np.asarray(x, dtype)) - np.asarray(mean, dtype))


def pick(prefix: str, given: Sequence[ArrayLike | None]) -> tuple[str, Array] | None:
    """Return the name and the value of the one scale that was given, or None."""
    chosen = [(name, as_array(raw)) for name, raw in zip(SCALES, given, strict=True) if raw is not None]
    if len(chosen) > 1 or not (chosen or prefix):
        raise TypeError(f"give exactly one of {', '.join(prefix + name for name in SCALES)}")
    return chosen[0] if chosen else None


def log_variance(
    form: str, name: str, raw: Array, where: ArrayLike | None, log_floor: float = -np.inf
) -> tuple[Array, Array]:
    """Return s = log σ² and ds/d(raw) of an argument of this form; below a floor of s the slope is 0."""
    scale = SCALES[form]
    # max(raw, 0) keeps NaN; the floor lifts σ² = 0, but not 1/σ² = 0
    defined = np.maximum(raw, 0.0) if scale.positive else raw
    s, slope = scale.logvar(defined), scale.slope(raw)
    below = s < log_floor
    bad = (raw < 0) | ((raw == 0) & ~below)  # a negative scale is none, however high the floor
    if scale.positive:
        assert_none(name, bad, where)
    return np.where(below, log_floor, s), np.where(below, 0.0, slope)


def check_positive(name: str, argument: Array, where: ArrayLike | None) -> None:
    assert_none(name, argument <= 0, where)


def assert_none(name: str, bad: NDArray[np.bool_], where: ArrayLike | None) -> None:
    """Raise where something bad counts."""
    if np.any(bad & (True if where is None else np.asarray(where))):
        raise ValueError(f"{name} must be > 0")
