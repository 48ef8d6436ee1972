"""The numbers of a call in float64, and the sums of the absolute terms that each result is made of."""

from __future__ import annotations

import itertools
import types
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

import declared
import variance
from fastelbo._declare import FLOORS, Joint, Loss, Scale
from fastelbo.reference._rows import Rows, event_axes, sum_over
from fastelbo.reference._scales import log_variance
from signatures import Shape

if TYPE_CHECKING:
    from contract import Checks


def rounded(value: Any, dtype: np.dtype) -> np.ndarray:
    """In float64, but with the value that takes part: what has no axes is in the computing dtype."""
    array = np.asarray(value)
    with np.errstate(all="ignore"):
        return np.asarray(array if array.ndim else array.astype(dtype), np.float64)


class Plain:
    """The numbers of a call in float64."""

    def __init__(self, checks: Checks) -> None:
        given = checks.given
        self.arguments = given | {key: rounded(given[key], checks.dtype) for key in checks.names}
        of_call = list(checks.row.declared.parameters_of_call) if checks.row.declared else []
        for option in (*FLOORS, "min_kl", "beta", *of_call):
            if given.get(option) is not None:
                self.arguments[option] = float(np.asarray(given[option]))
        if "x_scale" in given:
            self.arguments["x_scale"] = float(checks.dtype.type(float(np.asarray(given["x_scale"]))))
        if given.get("weight") is not None:
            self.arguments["weight"] = np.asarray(np.asarray(given["weight"]).astype(checks.dtype), float)
        for option in ("axis", "z_axis"):
            if option in given and not isinstance(given[option], tuple) and given[option] is not None:
                self.arguments[option] = int(given[option])
        for option in ("where", "z_where"):
            if given.get(option) is not None:
                self.arguments[option] = np.array(given[option])


def _scale(scale: Scale, given: Mapping[str, Any], log_floor: float = -np.inf) -> Any:
    """s = log σ², ds/d(raw) and raw; of a prior that is not passed s = 0."""
    for form, key in zip(variance.SCALES, scale.names, strict=True):
        if key and given.get(key) is not None:
            raw = given[key]
            return (*log_variance(form, key, raw, given.get("where"), log_floor), raw)
    return np.zeros(()), np.zeros(()), np.zeros(())


def _rows(shape: Shape, given: Mapping[str, Any]) -> Rows:
    weight = given.get("weight")
    return Rows(
        shape, given["axis"], None if weight is None else abs(weight), given.get("where"),
        given.get("reduction", "none"),
    )  # fmt: skip


def loss_sizes(loss: Loss, given: Mapping[str, Any]) -> dict[str, Any]:
    """Of any loss, by the maths of its declaration at all signs of its two operands, and at 0.

    They are the sums of a term's parts, whichever cancel; beside these a unit, of what each is: 1 for a
    value, 1/σ for the gradient of data, d log σ²/d(raw) for that of a scale.
    """
    factor, floor = given.get("x_scale", 1.0), given.get(loss.floor, 0.0)
    log_floor = np.log(floor) * (1 if loss.floor == "min_var" else 2) if floor else -np.inf
    found = [_scale(scale, given, -np.inf if i else float(log_floor)) for i, scale in enumerate(loss.scales)]
    a = types.SimpleNamespace(**given, scales=[(s, slope) for s, slope, _ in found])
    for key, none in loss.parameters_of_call.items():
        setattr(a, key, none if given[key] is None else given[key])
    first, second = (abs(given[key]) for key in loss.operands[:2])
    total: dict[str, Any] = dict.fromkeys(loss.fields, 0.0)
    for one, two in [*itertools.product((1, -1), repeat=2), (0, 0)]:
        setattr(a, loss.operands[0], one * first)
        setattr(a, loss.operands[1], two * second)
        a.r = factor * one * first - two * second
        total = {key: size + abs(a_term) for (key, size), a_term in _zip(total, loss.maths(a))}
    inverse = np.exp(-found[-1][0] / 2) if found else 1.0
    units = {"value": 1.0} | {key: (1 + abs(factor)) * inverse for key in loss.operands[:2]}
    units |= {key: abs(slope) for key, (_, slope, _) in zip(loss.operands[2:], found, strict=True)}
    likes = dict(zip(loss.operands, [first, second, *[raw for _, _, raw in found]], strict=True))
    shapes = [first.shape, second.shape]
    if loss.scalar_mean and not first.ndim:
        shapes.append(likes[loss.operands[2]].shape)
    rows = _rows(np.broadcast_shapes(*shapes), given)
    return {
        key: rows.grad(size + units[key], likes[key]) if key in likes else rows.value(size + units[key])
        for key, size in total.items()
    }


def _zip(sizes: Mapping[str, Any], terms: Mapping[str, Any]) -> Any:
    return [((key, size), terms[key]) for key, size in sizes.items()]


def elbo_sizes(joint: Joint, given: dict[str, Any]) -> dict[str, Any]:
    x, recon, beta, reduction = given["x"], given["recon"], given["beta"], given["reduction"]
    sampled = recon.ndim > x.ndim
    samples = len(recon) if sampled else 1
    event = tuple([i - x.ndim for i in event_axes(x.ndim, given["axis"])])
    weight = given["weight"]
    spread = None if weight is None else np.expand_dims(weight, event)
    if spread is not None and sampled:
        spread = spread[np.newaxis]
    nll = _half(joint.nll, given, axis=event, weight=spread)
    kl = _half(joint.kl, given)
    value = nll["value"].mean(axis=0) if sampled and reduction == "none" else nll["value"]
    value = value / samples if reduction == "sum" else value
    share = 1 if reduction == "mean" else samples
    found = {"value": value + beta * kl["value"], "nll": value, "kl": kl["value"]}
    for half, factor, sizes in ((joint.nll, 1 / share, nll), (joint.kl, beta, kl)):
        own = declared.LOSSES[half.name].operands
        found |= {name: factor * sizes[mine] for name, mine in zip(half.operands, own, strict=True)}
    return found


def _half(half: Loss, given: Mapping[str, Any], **other: Any) -> dict[str, Any]:
    """Of a loss in a joint, where some of its arguments have other names."""
    own = declared.LOSSES[half.name]
    called = dict(zip(own.operands, half.operands, strict=True)) | {"axis": half.axis, "where": half.mask}
    for mine, there in zip(own.scales, half.scales, strict=True):
        called |= dict(zip(mine.names, there.names, strict=True))
    names = [parameter.name for parameter in own.parameters(grad=False) if parameter.name != "out"]
    return loss_sizes(own, {name: given[called.get(name, name)] for name in names} | other)


def best_var(x: Any, mean: Any, x_scale: float, axis: Any, min_var: float = 0.0, **given: Any) -> Any:
    """σ*² of the reference, 1 where nothing counts; and how large its terms are."""
    with np.errstate(all="ignore"):
        r, size = x_scale * x - mean, abs(x_scale * x) + abs(mean)
        rows = _rows(r.shape, given | {"axis": axis, "reduction": "none"})
        total, sse, most = (
            np.expand_dims(sum_over(rows.select(squares), rows.event), rows.event)
            for squares in (np.ones_like(r), r * r, size * size)
        )
        nothing = (total == 0) & (sse == 0)
        var = np.maximum(np.where(nothing, 1.0, sse / total), min_var)
        return var, np.where(nothing, 0.0, most / total)


def optimal_sizes(x: Any, mean: Any, x_scale: float, full: bool = True, **given: Any) -> dict[str, Any]:
    """What rounding makes of the MSE is a share of the squares of |x| + |mean|, not of r²."""
    r = abs(x_scale * x) + abs(mean)
    rows = _rows(r.shape, given)
    var, most = best_var(x, mean, x_scale, **given)
    return {
        "value": rows.value(full + abs(np.log(var)) / 2 + np.broadcast_to(most / var, r.shape)),
        "x": rows.grad(abs(x_scale) * r / var * (1 + most / var), x),
        "mean": rows.grad(r / var * (1 + most / var), mean),
        "variance": np.squeeze(most, rows.event),
    }


def sample_sizes(mean: Any, eps: Any, **given: Any) -> dict[str, Any]:
    s, _, _ = _scale(Scale(), given)
    return {"z": abs(mean) + np.exp(s / 2) * abs(eps), "eps": np.zeros(())}


def slope_sizes(grad_z: Any, eps: Any, mean_shape: Any, **given: Any) -> dict[str, Any]:
    s, slope, raw = _scale(Scale(), given)
    rows = Rows(grad_z.shape, (), None, None, "none")
    return {
        "mean": rows.grad(abs(grad_z), np.empty(raw.shape if mean_shape is None else mean_shape)),
        "scale": rows.grad(abs(grad_z * eps * np.exp(s / 2) * slope) / 2, raw),
    }


SIZES = {
    "optimal": optimal_sizes,
    "variance": lambda **given: {"value": optimal_sizes(**given)["variance"]},
    "sample": sample_sizes,
    "slope": slope_sizes,
}
