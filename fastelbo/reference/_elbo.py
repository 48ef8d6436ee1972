"""The negative ELBO, of two losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastelbo import _families
from fastelbo._declare import Joint, Loss, function
from fastelbo.reference._losses import evaluate as evaluate_loss
from fastelbo.reference._rows import event_axes, results, row_sizes
from fastelbo.reference._scales import as_array


def _half(loss: Loss, given: dict[str, Any], **other: Any) -> Any:
    """One of the two with all its gradients; `given` calls some of its arguments otherwise."""
    own = _families.LOSSES[loss.name]
    called = dict(zip(own.operands, loss.operands, strict=True)) | {"axis": loss.axis, "where": loss.mask}
    for mine, there in zip(own.scales, loss.scales, strict=True):
        called |= dict(zip(mine.names, there.names, strict=True))
    names = [parameter.name for parameter in own.parameters(grad=True)]
    taken = {name: given[called.get(name, name)] for name in names if name not in ("wrt", "out")}
    return evaluate_loss(own, True, taken | {"wrt": own.fields[1:], "out": None} | other)


def evaluate(joint: Joint, grad: bool, given: dict[str, Any]) -> Any:
    """`given` has all parameters of the public function by name."""
    x, recon, z_mean, prior_mean = (
        as_array(given[name]) for name in (*joint.nll.operands[:2], *joint.kl.operands[:2])
    )
    reduction, beta, weight = given["reduction"], given["beta"], given["weight"]
    sampled = recon.ndim > x.ndim
    samples = len(recon) if sampled else 1
    if recon.shape[sampled:] != x.shape:
        raise ValueError(
            f"recon has shape {recon.shape}; it must be that of x, {x.shape}, or (S, *{x.shape})"
        )
    event = tuple(i - x.ndim for i in event_axes(x.ndim, given[joint.nll.axis]))
    z_scales = [given[name] for name in joint.kl.scales[0].names if given[name] is not None]
    z_shapes = z_mean.shape, prior_mean.shape, np.shape(z_scales[0]) if z_mean.ndim == 0 else ()
    z_rows = row_sizes(np.broadcast_shapes(*z_shapes), given[joint.kl.axis])
    if row_sizes(x.shape, event) != z_rows:
        raise ValueError(f"the rows of x have shape {row_sizes(x.shape, event)}, those of z_mean {z_rows}")
    row_weight = None if weight is None else np.expand_dims(as_array(weight), event)
    if row_weight is not None and sampled:
        row_weight = row_weight[np.newaxis]
    nll, kl = _half(joint.nll, given, axis=event, weight=row_weight), _half(joint.kl, given)
    with np.errstate(all="ignore"):
        average = nll.value.mean(axis=0) if sampled and reduction == "none" else nll.value
        average = average / samples if reduction == "sum" else average
        share = 1 if reduction == "mean" else samples  # that mean was over the rows of all samples
        members = {
            "value": lambda: average + beta * kl.value,
            "nll": lambda: average,
            "kl": lambda: kl.value,
            "x": lambda: nll.x / share,
            "recon": lambda: nll.mean / share,
            "scale": lambda: nll.scale / share,
            "z_mean": lambda: beta * kl.mean,
            "z_scale": lambda: beta * kl.scale,
            "prior_mean": lambda: beta * kl.prior_mean,
            "prior_scale": lambda: beta * kl.prior_scale,
        }
        found = results(members, given["wrt"] if grad else (), given["out"] if grad else None)
        return joint.result(*found) if grad else joint.value_result(*found[:3])


def _function(joint: Joint, grad: bool) -> Callable[..., Any]:
    parameters = joint.parameters(grad)
    name, names = joint.name + "_grad" * grad, [parameter.name for parameter in parameters]

    def call(*args: Any) -> Any:
        return evaluate(joint, grad, dict(zip(names, args, strict=True)))

    doc = f"What `fastelbo.{name}` returns, by the textbook formula in float64."
    return function(name, parameters, joint.returns(grad), doc, call)


#: By their names
functions = {
    each.__name__: each
    for each in [_function(joint, grad) for joint in _families.JOINTS.values() for grad in (False, True)]
}
