"""A checked call goes to the core."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

from fastelbo import _core
from fastelbo._rules.call import Call, views_of
from fastelbo._rules.domain import raise_domain
from fastelbo._rules.frames import spread, stretched
from fastelbo._threads import get_num_threads
from fastelbo._typing import Array

#: What a call came to: its result, and what was run for it, which the door keeps for calls that are like it
Found: TypeAlias = tuple[Any, tuple[_core.Prepared | None, ...]]


def run(
    call: Call, reduction: str, results: dict[str, Array], check_first: bool
) -> tuple[Any, _core.Prepared | None]:
    """Fill `results`: the rows unless they are reduced, and the gradients asked for; the reduced value, and
    what was run."""
    prepared = prepare(call, reduction, results, check_first)
    return carry_out(call, prepared, reduction, results), prepared


def prepare(
    call: Call,
    reduction: str,
    results: dict[str, Array],
    check_first: bool,
    factor: float = 1.0,
    value_unit: float = 0.0,
    join: tuple[Array | None, float, Array, Array, float] | None = None,
) -> _core.Prepared | None:
    """The call as the core will run it, gradients times `factor`, with all memory that it takes: it may write
    over inputs, and memory must not run out then. None where there are no elements."""
    frame = call.frame
    if 0 in frame.shape:
        return None
    broadcast = [stretched(array, frame) for array in call.operands]
    gradients = [
        spread(results[name], frame, writeable=True) if name in results else None for name in call.members
    ]
    views, in_order = views_of(call), call.loss.in_core_order
    return _core.prepare(
        call.loss.kernel, call.dtype.char == "d", len(frame.events), (*in_order(views[:4], None), *views[4:]),
        in_order(broadcast, 0), *call.kinds, call.floor, call.full, reduction, results.get(call.loss.value),
        in_order(gradients, None), check_first, get_num_threads, factor, call.x_scale, value_unit, join,
        call.parameters,
    )  # fmt: skip


def carry_out(call: Call, prepared: _core.Prepared | None, reduction: str, results: dict[str, Array]) -> Any:
    """Run what `prepare` made; the reduced value."""
    if prepared is None:
        return _fill_empty(call, results, reduction)
    total, bad = prepared.run()
    if bad:
        raise_domain(call)
    return total


def check(call: Call, prepared: _core.Prepared | None) -> None:
    """Raise if a scale is not positive, and write nothing."""
    if prepared is not None and prepared.check():
        raise_domain(call)


def _fill_empty(call: Call, results: dict[str, Array], reduction: str) -> float:
    """No elements: values of empty events and gradients of broadcast arguments are empty sums."""
    for result in results.values():
        result.fill(0)
    return math.nan if reduction == "mean" and 0 in call.frame.rows else 0.0
