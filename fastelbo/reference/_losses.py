"""Functions of the losses, made of the maths in their declarations."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from fastelbo import _families
from fastelbo._declare import FORMS, Loss, function
from fastelbo.reference._rows import Rows, results
from fastelbo.reference._scales import Array, as_array, check_positive, difference, log_variance


def _scales(loss: Loss, given: dict[str, Any]) -> list[tuple[Array, Array, Array]]:
    """Of each scale s = log σ², ds/d(argument), and the argument; a prior that is not passed has s = 0."""
    found = []
    for scale in loss.scales:
        passed = [(kind, name) for kind, name in enumerate(scale.names) if name and given[name] is not None]
        if len(passed) > 1 or (scale.required and not passed):
            raise TypeError(f"give exactly one of {', '.join(filter(None, scale.names))}")
        kind, name = passed[0] if passed else (FORMS.index("logvar"), "")
        raw = as_array(given[name] if passed else 0.0)
        floor = given[loss.floor] if loss.floor and scale is loss.scales[0] else 0.0
        log_floor = -np.inf if floor == 0 else np.log(floor) * (1 if loss.floor == "min_var" else 2)
        found.append((*log_variance(FORMS[kind], name, raw, given["where"], log_floor), raw))
    return found


def evaluate(loss: Loss, grad: bool, given: dict[str, Any]) -> Any:
    """Any of them; `given` has all parameters of its public function by name."""
    assert loss.maths is not None  # of no public loss
    own = (*loss.operands[:2], *([loss.number] if loss.number else []))
    a = SimpleNamespace(**(given | {name: as_array(given[name]) for name in own}))
    with np.errstate(all="ignore"):
        if loss.differences:
            first, second = (given[name] for name in loss.operands[:2])
            a.r = difference(first, second, given.get("x_scale", 1.0))
        found = _scales(loss, given)
        a.scales = [(s, slope) for s, slope, _ in found]
        if loss.number:
            check_positive(loss.number, getattr(a, loss.number), given["where"])
        for name, none in loss.parameters_of_call.items():
            setattr(a, name, none if given[name] is None else float(given[name]))
        terms = loss.maths(a)
        likes = [*[getattr(a, name) for name in loss.operands[:2]], *[raw for _, _, raw in found]]
        shapes = [like.shape for like in likes[:2]]
        if loss.scalar_mean and not shapes[0]:  # it stands for a constant of the scale's shape
            shapes.append(likes[2].shape)
        options = [given[name] for name in ("axis", "weight", "where", "reduction")]
        rows = Rows(np.broadcast_shapes(*shapes), *options)
        members: dict[str, Callable[[], Any]] = {"value": functools.partial(rows.value, terms["value"])}
        of = dict(zip(loss.operands, likes, strict=True))
        members |= {name: functools.partial(rows.grad, terms[name], of[name]) for name in loss.fields[1:]}
        out = given["out"] if grad or given["out"] is None else (given["out"], *[None] * len(of))
        computed = results(members, given["wrt"] if grad else (), out)
        return loss.result(*computed) if grad else computed[0]


def _function(loss: Loss, grad: bool) -> Callable[..., Any]:
    parameters = loss.parameters(grad)
    name, names = loss.name + "_grad" * grad, [parameter.name for parameter in parameters]

    def call(*args: Any) -> Any:
        return evaluate(loss, grad, dict(zip(names, args, strict=True)))

    doc = f"What `fastelbo.{name}` returns, by the textbook formula in float64."
    return function(name, parameters, loss.returns(grad), doc, call)


#: By their names
functions = {
    each.__name__: each
    for each in [_function(loss, grad) for loss in _families.LOSSES.values() for grad in (False, True)]
}
