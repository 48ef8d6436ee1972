"""The negative ELBO."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastelbo._results import NegELBO, NegELBOGrad
from fastelbo.reference._losses import gaussian_kl_grad, gaussian_nll_grad
from fastelbo.reference._rows import Axis, event_axes, results, row_sizes
from fastelbo.reference._scales import as_array, pick


def neg_elbo_grad(
    x: ArrayLike,
    recon: ArrayLike,
    z_mean: ArrayLike,
    *,
    var: ArrayLike | None = None,
    std: ArrayLike | None = None,
    logvar: ArrayLike | None = None,
    logstd: ArrayLike | None = None,
    precision: ArrayLike | None = None,
    z_var: ArrayLike | None = None,
    z_std: ArrayLike | None = None,
    z_logvar: ArrayLike | None = None,
    z_logstd: ArrayLike | None = None,
    z_precision: ArrayLike | None = None,
    prior_mean: ArrayLike = 0.0,
    prior_var: ArrayLike | None = None,
    prior_std: ArrayLike | None = None,
    prior_logvar: ArrayLike | None = None,
    prior_logstd: ArrayLike | None = None,
    prior_precision: ArrayLike | None = None,
    x_scale: float = 1.0,
    beta: float = 1.0,
    axis: Axis = -1,
    z_axis: Axis = -1,
    full: bool = True,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    z_where: ArrayLike | None = None,
    min_var: float = 0.0,
    reduction: str = "mean",
    wrt: str | Sequence[str] = ("recon", "scale", "z_mean", "z_scale"),
    out: Sequence[Any] | None = None,
) -> NegELBOGrad:
    """Return the negative ELBO, its two losses and its gradients: see `fastelbo.neg_elbo_grad`."""
    x, recon, z_mean, prior_mean = (as_array(argument) for argument in (x, recon, z_mean, prior_mean))
    sampled = recon.ndim > x.ndim
    samples = len(recon) if sampled else 1
    if recon.shape[sampled:] != x.shape:
        raise ValueError(
            f"recon has shape {recon.shape}; it must be that of x, {x.shape}, or (S, *{x.shape})"
        )
    event = tuple(i - x.ndim for i in event_axes(x.ndim, axis))
    _, z_raw = pick("", (z_var, z_std, z_logvar, z_logstd, z_precision))  # type: ignore[misc]  # as above
    z_shapes = z_mean.shape, prior_mean.shape, z_raw.shape if z_mean.ndim == 0 else ()
    rows, z_rows = row_sizes(x.shape, event), row_sizes(np.broadcast_shapes(*z_shapes), z_axis)
    if rows != z_rows:
        raise ValueError(f"the rows of x have shape {rows}, those of z_mean {z_rows}")
    row_weight = None if weight is None else np.expand_dims(as_array(weight), event)
    if row_weight is not None and sampled:
        row_weight = row_weight[np.newaxis]
    nll = gaussian_nll_grad(
        x, recon, var=var, std=std, logvar=logvar, logstd=logstd, precision=precision, x_scale=x_scale,
        axis=event, full=full, weight=row_weight, where=where, min_var=min_var, reduction=reduction,
        wrt=("x", "mean", "scale"),
    )  # fmt: skip
    kl = gaussian_kl_grad(
        z_mean, var=z_var, std=z_std, logvar=z_logvar, logstd=z_logstd, precision=z_precision,
        prior_mean=prior_mean, prior_var=prior_var, prior_std=prior_std, prior_logvar=prior_logvar,
        prior_logstd=prior_logstd, prior_precision=prior_precision, axis=z_axis, weight=weight,
        where=z_where, reduction=reduction, wrt=("mean", "scale", "prior_mean", "prior_scale"),
    )  # fmt: skip
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
        return NegELBOGrad(*results(members, wrt, out))


def neg_elbo(
    x: ArrayLike,
    recon: ArrayLike,
    z_mean: ArrayLike,
    *,
    var: ArrayLike | None = None,
    std: ArrayLike | None = None,
    logvar: ArrayLike | None = None,
    logstd: ArrayLike | None = None,
    precision: ArrayLike | None = None,
    z_var: ArrayLike | None = None,
    z_std: ArrayLike | None = None,
    z_logvar: ArrayLike | None = None,
    z_logstd: ArrayLike | None = None,
    z_precision: ArrayLike | None = None,
    prior_mean: ArrayLike = 0.0,
    prior_var: ArrayLike | None = None,
    prior_std: ArrayLike | None = None,
    prior_logvar: ArrayLike | None = None,
    prior_logstd: ArrayLike | None = None,
    prior_precision: ArrayLike | None = None,
    x_scale: float = 1.0,
    beta: float = 1.0,
    axis: Axis = -1,
    z_axis: Axis = -1,
    full: bool = True,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    z_where: ArrayLike | None = None,
    min_var: float = 0.0,
    reduction: str = "mean",
) -> NegELBO:
    """Return the negative ELBO and its two losses: see `fastelbo.neg_elbo`."""
    value, nll, kl, *_ = neg_elbo_grad(
        x, recon, z_mean, var=var, std=std, logvar=logvar, logstd=logstd, precision=precision,
        z_var=z_var, z_std=z_std, z_logvar=z_logvar, z_logstd=z_logstd, z_precision=z_precision,
        prior_mean=prior_mean, prior_var=prior_var, prior_std=prior_std, prior_logvar=prior_logvar,
        prior_logstd=prior_logstd, prior_precision=prior_precision, x_scale=x_scale, beta=beta, axis=axis,
        z_axis=z_axis, full=full, weight=weight, where=where, z_where=z_where, min_var=min_var,
        reduction=reduction, wrt=(),
    )  # fmt: skip
    return NegELBO(value, nll, kl)
