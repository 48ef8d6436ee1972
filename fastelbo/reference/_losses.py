"""The maths of each loss, and what makes a function of it.

A function of its public name returns the term of an element under "value", without what the options `axis`,
`weight`, `where` and `reduction` make of it; and for each gradient the derivative, with the argument that it is
taken by.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, TypeAlias

import numpy as np

from fastelbo import _families
from fastelbo._declare import FORMS, Loss, function
from fastelbo.reference._rows import Rows, results
from fastelbo.reference._scales import Array, as_array, difference, log_variance

HALF_LOG_2PI = 0.5 * np.log(2 * np.pi)

Terms: TypeAlias = dict[str, Any]


def gaussian_nll(a: SimpleNamespace) -> Terms:
    r, x, mean = difference(a.x, a.mean, a.x_scale), as_array(a.x), as_array(a.mean)
    s, slope, raw = a.scales[0]
    inv_std = np.exp(-0.5 * s)
    z = r * inv_std
    return {
        "value": (HALF_LOG_2PI if a.full else 0.0) + 0.5 * s + 0.5 * z * z,
        "x": (a.x_scale * z * inv_std, x),
        "mean": (-z * inv_std, mean),
        "scale": (0.5 * np.where(slope == 0, 0.0, 1 - z * z) * slope, raw),
    }


def gaussian_kl(a: SimpleNamespace) -> Terms:
    r, mean, prior_mean = difference(a.mean, a.prior_mean), as_array(a.mean), as_array(a.prior_mean)
    (s_q, slope_q, raw), (s_p, slope_p, prior_raw) = a.scales
    inv_std = np.exp(-0.5 * s_p)
    z = r * inv_std
    d = s_q - s_p
    return {
        "value": 0.5 * (np.expm1(d) - d) + 0.5 * z * z,
        "mean": (z * inv_std, mean),
        "scale": (0.5 * np.expm1(d) * slope_q, raw),
        "prior_mean": (-z * inv_std, prior_mean),
        "prior_scale": (-0.5 * (np.expm1(d) + z * z) * slope_p, prior_raw),
    }


def bernoulli_nll(a: SimpleNamespace) -> Terms:
    x, logits = as_array(a.x), as_array(a.logits)
    return {
        "value": np.logaddexp(0.0, logits) - a.x_scale * x * logits,
        "x": (-a.x_scale * logits, x),
        "logits": (1 / (1 + np.exp(-logits)) - a.x_scale * x, logits),
    }


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


def _maths_of(loss: Loss) -> Callable[[SimpleNamespace], Terms]:
    maths: Callable[[SimpleNamespace], Terms] | None = globals().get(loss.name)
    if maths is None:
        raise NotImplementedError(f"fastelbo/reference/_losses.py has no function {loss.name}, its maths")
    return maths


def evaluate(loss: Loss, grad: bool, given: dict[str, Any]) -> Any:
    """Any of them; `given` has all parameters of its public function by name."""
    with np.errstate(all="ignore"):
        scales = _scales(loss, given)
        terms = _maths_of(loss)(SimpleNamespace(**given, scales=scales))
        shapes = [np.shape(given[name]) for name in loss.operands[:2]]
        if loss.scalar_mean and not shapes[0]:  # it stands for a constant of the scale's shape
            shapes.append(scales[0][2].shape)
        rows = Rows(
            np.broadcast_shapes(*shapes), given["axis"], given["weight"], given["where"], given["reduction"]
        )
        value = terms.pop("value")
        members = {"value": functools.partial(rows.value, value)}
        members |= {name: functools.partial(rows.grad, *terms[name]) for name in loss.fields[1:]}
        out = given["out"] if grad or given["out"] is None else (given["out"], *[None] * len(terms))
        found = results(members, given["wrt"] if grad else (), out)
        return loss.result(*found) if grad else found[0]


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
