"""What the tests know of each loss, from its declaration: its arguments, their forms, and the results.

A likelihood that is declared, and has an oracle in oracles.py, is in every suite that iterates over these.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

import oracles
import variance
from fastelbo import _families, reference
from fastelbo._declare import EMPTY, Loss, Scale

Names = tuple[str, ...]

JOINTS = _families.JOINTS
#: Those with an oracle: test_reference names the others
LOSSES: dict[str, Loss] = {name: loss for name, loss in _families.LOSSES.items() if name in oracles.CALLS}
WITH_SCALES = tuple([name for name, loss in LOSSES.items() if loss.scales])
#: A likelihood has one scale; a divergence that of a prior, too
LIKELIHOODS = tuple([name for name, loss in LOSSES.items() if len(loss.scales) == 1])
DIFFERENCES = tuple([name for name, loss in LOSSES.items() if loss.differences])


def forms(scale: Scale) -> Names:
    """The keywords that pass it."""
    return tuple([name for name in scale.names if name])


def form_of(key: str) -> str:
    """The form that a scale's keyword names, whosever scale it is; another argument's name."""
    return key.removeprefix("z_").removeprefix("prior_")


def is_log(key: str) -> bool:
    """Whether a keyword passes the logarithm of a scale."""
    return variance.FORMS.get(form_of(key), ("",))[0] == "exp"


def is_linear(key: str) -> bool:
    """Whether a keyword passes a scale that must be > 0."""
    return variance.FORMS.get(form_of(key), ("",))[0] == "power"


def gradients(loss: Loss) -> dict[str, Names]:
    """By the names of its gradients, the keywords that pass what each is with respect to."""
    found = {name: (name,) for name in loss.operands[:2]}
    found |= dict(zip(loss.operands[2:], map(forms, loss.scales), strict=True))
    return {name: found[name] for name in loss.fields if name in found}


def members(loss: Loss, given: Iterable[str]) -> Names:
    """The results there are for these arguments: the value, and the gradients of what is passed or preset."""
    have = {*given, *loss.defaults}
    return (loss.value, *[name for name, keys in gradients(loss).items() if have.intersection(keys)])


def gradient_of(loss: Loss, key: str) -> str:
    """The gradient with respect to an argument."""
    return next(name for name, keys in gradients(loss).items() if key in keys)


def choices(loss: Loss) -> list[Names]:
    """Every way to pass its scales: one of all their forms each, and no prior's at first."""
    needed = [forms(scale) for scale in loss.scales if scale.required]
    all_scales = [forms(scale) for scale in loss.scales]
    found = list(itertools.product(*needed))
    return found + (list(itertools.product(*all_scales)) if len(needed) < len(all_scales) else [])


def parameters(loss: Loss) -> list[dict[str, float]]:
    """Numbers of the whole call: those without a default alone, and all. A range is −1 … 1."""
    needed = {name: 0.5 for name, none in loss.parameters_of_call.items() if none is EMPTY}
    ends = {name: np.sign(none) for name, none in loss.parameters_of_call.items() if none is not EMPTY}
    return [needed, needed | {name: float(end) for name, end in ends.items()}] if ends else [needed]


def plain(loss: Loss) -> dict[str, float]:
    """Ordinary numbers for what a call needs beside data and scales."""
    return ({loss.number: 3.0} if loss.number else {}) | parameters(loss)[0]


def exact(name: str, arguments: Mapping[str, Any], members: Iterable[str] | None = None) -> dict:
    """Members at 60 digits before any sum, in the shape that the data and scales broadcast to."""
    loss = LOSSES[name]
    of_call = {key: arguments[key] for key in loss.parameters_of_call if key in arguments}
    arrays = dict.fromkeys(loss.defaults, 0.0) | {k: a for k, a in arguments.items() if k not in of_call}
    spread = dict(zip(arrays, np.broadcast_arrays(*arrays.values()), strict=True))
    found = oracles.call(name, **spread, **of_call, axis=())
    return found if members is None else {member: found[member] for member in members}


def of_squares(name: str) -> bool:
    """Whether the value is Σ r² times a factor of the scale, which one scale lets the core form of Σ r²."""
    loss = LOSSES[name]
    one, two = loss.operands[:2]
    unit = {key: float(variance.raw_of(form_of(key), 0.0)) for key in choices(loss)[0]}
    data = {one: [0.0, 1.0, 2.0], two: 0.0}
    at = getattr(reference, name)(**data, **unit, **plain(loss), axis=())
    return loss.differences and bool(np.isclose(at[2] - at[0], 4 * (at[1] - at[0])))
