"""Scales that must be > 0, and which one is not."""

from __future__ import annotations

from typing import NoReturn

import numpy as np

from fastelbo._declare import FORMS, Loss
from fastelbo._rules.call import Call
from fastelbo._rules.search import first_where
from fastelbo._typing import Array


def check_positive(call: Call) -> None:
    """var, std, precision > 0, looked at before anything is written or drawn."""
    scale, linear = call.operands[2], not call.names[2].startswith("log")
    if linear and scale.size and np.fmin.reduce(scale, axis=None) <= 0:
        raise_domain(call)


def raise_domain(call: Call) -> NoReturn:
    """The core met a scale that is not positive: name the first, in C order of the argument as passed."""
    names = call.names[2:]
    for name, value, scale, kind in zip(names, call.plain[2:], call.operands[2:], call.kinds, strict=False):
        form = FORMS[kind] if kind < len(FORMS) else ""
        if form.startswith("log"):
            continue
        # min_var lifts what is not negative, but only caps a precision
        lifted = call.floor > 0.0 and form in ("var", "std")
        flat = first_where(
            scale, _is_negative if lifted else _is_not_positive, call.inputs[-1], call.frame.shape
        )
        if flat is None:
            continue
        index = [int(i) for i in np.unravel_index(flat, scale.shape)]
        shown = str(scale.flat[flat])
        negative = scale.flat[flat] < 0 and form in ("var", "std")
        ways_out = [f"pass it as {_logarithm(call.loss, name)} if it is a logarithm"] if negative else []
        if not index and type(value) in (float, int) and value > 0:
            shown = f"{value!r}, which is 0 in {scale.dtype}"
            ways_out = [f"pass np.float64({name}) to compute in float64"]
        elif call.loss.zero_scale and form in ("var", "std") and not negative:
            ways_out += [f"pass {_logarithm(call.loss, name)}, which is -np.inf for a σ of 0"]
        elif name == call.loss.number and call.loss.number_limit:
            ways_out += [call.loss.number_limit]
        uses = [f"{call.loss.mask} to leave elements out"] if call.loss.mask and index else []
        if call.loss.floor and form in ("var", "std") and not negative:
            uses += [f"{call.loss.floor} for a floor"]
        ways_out += [f"use {', '.join(uses)}"] if uses else []
        hint = f" ({', '.join(ways_out)})" if ways_out else ""
        raise ValueError(f"{name} must be > 0: {name}{index or ''} is {shown}{hint}")
    raise ValueError(f"{' and '.join(names)} must be > 0; an argument was changed during the call")


def _logarithm(loss: Loss, name: str) -> str:
    """The keyword for the logarithm of what this one is."""
    names = next(scale.names for scale in loss.scales if name in scale.names)
    return names[FORMS.index(f"log{FORMS[names.index(name)]}")]


def _is_not_positive(x: Array) -> Array:
    bad: Array = x <= 0
    return bad


def _is_negative(x: Array) -> Array:
    bad: Array = x < 0
    return bad
