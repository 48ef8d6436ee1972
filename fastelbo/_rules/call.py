"""One loss with its arguments checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fastelbo._declare import Loss, Names
from fastelbo._rules.frames import Frame, spread
from fastelbo._typing import Array


class Call(NamedTuple):
    """One loss, its arguments checked: all the core needs but the outputs."""

    loss: Loss
    names: Sequence[str]  # of the operands, as the caller knows them
    plain: Sequence[Any]  # what was passed: plain arrays, and Python scalars
    operands: Sequence[Array]  # the same, scalars in the computing dtype
    kinds: tuple[int, int]  # of the scale and the prior's, by SCALES; -1 for none
    dtype: np.dtype[Any]
    frame: Frame
    inputs: tuple[Array | None, ...]  # all that the core reads, as `inputs_of` has them
    floor: float = 0.0
    full: bool = True
    x_scale: float = 1.0
    parameters: tuple[float, ...] = ()

    @property
    def members(self) -> Names:
        """The operands' gradients among the results, in the core's order; a number, the last, has none."""
        return self.loss.operands[: len(self.operands)]


def inputs_of(
    operands: Sequence[Array], weight: Array | None, mask: Array | None
) -> tuple[Array | None, ...]:
    """All that the core reads, in its order: up to four operands, weight, where."""
    return (*four(operands, None), weight, mask)


def four(items: Sequence[Any], filler: Any) -> tuple[Any, ...]:
    return (*items, *[filler] * (4 - len(items)))


def views_of(call: Call) -> tuple[Array | None, ...]:
    return tuple([None if array is None else spread(array, call.frame) for array in call.inputs])


def scalars_of(call: Call) -> list[Array]:
    """Arrays without axes, as passed: the core reads copies of them, and yet no error may change them."""
    return [value for value in call.plain if type(value) is np.ndarray and not value.ndim]
