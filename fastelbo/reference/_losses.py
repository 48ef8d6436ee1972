"""The losses, their gradients, and the variance that minimises the Gaussian NLL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastelbo._results import BernoulliNLLGrad, KLGrad, NLLGrad, OptimalNLLGrad
from fastelbo.reference._rows import Axis, Rows, results, sum_over
from fastelbo.reference._scales import as_array, difference, log_variance, pick

HALF_LOG_2PI = 0.5 * np.log(2 * np.pi)


def gaussian_nll_grad(
    x: ArrayLike,
    mean: ArrayLike,
    *,
    var: ArrayLike | None = None,
    std: ArrayLike | None = None,
    logvar: ArrayLike | None = None,
    logstd: ArrayLike | None = None,
    precision: ArrayLike | None = None,
    x_scale: float = 1.0,
    axis: Axis = -1,
    full: bool = True,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    min_var: float = 0.0,
    reduction: str = "none",
    wrt: str | Sequence[str] = ("mean", "scale"),
    out: Sequence[Any] | None = None,
) -> NLLGrad:
    """Return the Gaussian negative log-likelihood and its gradients: see `fastelbo.gaussian_nll_grad`."""
    name, raw = pick("", (var, std, logvar, logstd, precision))  # type: ignore[misc]  # never None without prefix
    with np.errstate(all="ignore"):
        r, x, mean = difference(x, mean, x_scale), as_array(x), as_array(mean)
        s, slope = log_variance(name, raw, where, min_var)
        inv_std = np.exp(-0.5 * s)
        z = r * inv_std
        rows = Rows(np.broadcast_shapes(x.shape, mean.shape), axis, weight, where, reduction)
        members = {
            "value": lambda: rows.value((HALF_LOG_2PI if full else 0.0) + 0.5 * s + 0.5 * z * z),
            "x": lambda: rows.grad(x_scale * z * inv_std, x),
            "mean": lambda: rows.grad(-z * inv_std, mean),
            "scale": lambda: rows.grad(0.5 * np.where(slope == 0, 0.0, 1 - z * z) * slope, raw),
        }
        return NLLGrad(*results(members, wrt, out))


def gaussian_nll(
    x: ArrayLike,
    mean: ArrayLike,
    *,
    var: ArrayLike | None = None,
    std: ArrayLike | None = None,
    logvar: ArrayLike | None = None,
    logstd: ArrayLike | None = None,
    precision: ArrayLike | None = None,
    x_scale: float = 1.0,
    axis: Axis = -1,
    full: bool = True,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    min_var: float = 0.0,
    reduction: str = "none",
    out: Any = None,
) -> Any:
    """Return the Gaussian negative log-likelihood of each event: see `fastelbo.gaussian_nll`."""
    return gaussian_nll_grad(
        x, mean, var=var, std=std, logvar=logvar, logstd=logstd, precision=precision, x_scale=x_scale,
        axis=axis, full=full, weight=weight, where=where, min_var=min_var, reduction=reduction, wrt=(),
        out=(out, None, None, None),
    ).value  # fmt: skip


def gaussian_kl_grad(
    mean: ArrayLike,
    *,
    var: ArrayLike | None = None,
    std: ArrayLike | None = None,
    logvar: ArrayLike | None = None,
    logstd: ArrayLike | None = None,
    precision: ArrayLike | None = None,
    prior_mean: ArrayLike = 0.0,
    prior_var: ArrayLike | None = None,
    prior_std: ArrayLike | None = None,
    prior_logvar: ArrayLike | None = None,
    prior_logstd: ArrayLike | None = None,
    prior_precision: ArrayLike | None = None,
    axis: Axis = -1,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: str = "none",
    wrt: str | Sequence[str] = ("mean", "scale"),
    out: Sequence[Any] | None = None,
) -> KLGrad:
    """Return KL(q ‖ p) of diagonal Gaussians and its gradients: see `fastelbo.gaussian_kl_grad`."""
    name, raw = pick("", (var, std, logvar, logstd, precision))  # type: ignore[misc]  # never None without prefix
    prior = pick("prior_", (prior_var, prior_std, prior_logvar, prior_logstd, prior_precision))
    prior_name, prior_raw = prior or ("logvar", as_array(0.0))
    with np.errstate(all="ignore"):
        r, mean, prior_mean = difference(mean, prior_mean), as_array(mean), as_array(prior_mean)
        s_q, slope_q = log_variance(name, raw, where)
        s_p, slope_p = log_variance(prior_name, prior_raw, where)
        inv_std = np.exp(-0.5 * s_p)
        z = r * inv_std
        d = s_q - s_p
        shapes = mean.shape, prior_mean.shape, raw.shape if mean.ndim == 0 else ()
        rows = Rows(np.broadcast_shapes(*shapes), axis, weight, where, reduction)
        members = {
            "value": lambda: rows.value(0.5 * (np.expm1(d) - d) + 0.5 * z * z),
            "mean": lambda: rows.grad(z * inv_std, mean),
            "scale": lambda: rows.grad(0.5 * np.expm1(d) * slope_q, raw),
            "prior_mean": lambda: rows.grad(-z * inv_std, prior_mean),
            "prior_scale": lambda: rows.grad(-0.5 * (np.expm1(d) + z * z) * slope_p, prior_raw),
        }
        return KLGrad(*results(members, wrt, out))


def gaussian_kl(
    mean: ArrayLike,
    *,
    var: ArrayLike | None = None,
    std: ArrayLike | None = None,
    logvar: ArrayLike | None = None,
    logstd: ArrayLike | None = None,
    precision: ArrayLike | None = None,
    prior_mean: ArrayLike = 0.0,
    prior_var: ArrayLike | None = None,
    prior_std: ArrayLike | None = None,
    prior_logvar: ArrayLike | None = None,
    prior_logstd: ArrayLike | None = None,
    prior_precision: ArrayLike | None = None,
    axis: Axis = -1,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: str = "none",
    out: Any = None,
) -> Any:
    """Return KL(q ‖ p) of each pair of diagonal Gaussians: see `fastelbo.gaussian_kl`."""
    return gaussian_kl_grad(
        mean, var=var, std=std, logvar=logvar, logstd=logstd, precision=precision, prior_mean=prior_mean,
        prior_var=prior_var, prior_std=prior_std, prior_logvar=prior_logvar, prior_logstd=prior_logstd,
        prior_precision=prior_precision, axis=axis, weight=weight, where=where, reduction=reduction,
        wrt=(), out=(out, None, None, None, None),
    ).value  # fmt: skip


def bernoulli_nll_grad(
    x: ArrayLike,
    logits: ArrayLike,
    *,
    x_scale: float = 1.0,
    axis: Axis = -1,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: str = "none",
    wrt: str | Sequence[str] = ("logits",),
    out: Sequence[Any] | None = None,
) -> BernoulliNLLGrad:
    """Return the Bernoulli negative log-likelihood and its gradients: see `fastelbo.bernoulli_nll_grad`."""
    x, logits = as_array(x), as_array(logits)
    with np.errstate(all="ignore"):
        rows = Rows(np.broadcast_shapes(x.shape, logits.shape), axis, weight, where, reduction)
        members = {
            "value": lambda: rows.value(np.logaddexp(0.0, logits) - x_scale * x * logits),
            "x": lambda: rows.grad(-x_scale * logits, x),
            "logits": lambda: rows.grad(1 / (1 + np.exp(-logits)) - x_scale * x, logits),
        }
        return BernoulliNLLGrad(*results(members, wrt, out))


def bernoulli_nll(
    x: ArrayLike,
    logits: ArrayLike,
    *,
    x_scale: float = 1.0,
    axis: Axis = -1,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    reduction: str = "none",
    out: Any = None,
) -> Any:
    """Return the Bernoulli negative log-likelihood of each event: see `fastelbo.bernoulli_nll`."""
    return bernoulli_nll_grad(
        x, logits, x_scale=x_scale, axis=axis, weight=weight, where=where, reduction=reduction, wrt=(),
        out=(out, None, None),
    ).value  # fmt: skip


def optimal_var(
    x: ArrayLike,
    mean: ArrayLike,
    axis: Axis = None,
    *,
    x_scale: float = 1.0,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
) -> Any:
    """Return the shared σ² that minimises the NLL, the mean squared error: see `fastelbo.optimal_var`."""
    squares = difference(x, mean, x_scale) ** 2
    rows = Rows(squares.shape, axis, weight, where, "none")
    with np.errstate(all="ignore"):
        return rows.value(squares) / rows.value(np.ones_like(squares))


def optimal_nll_grad(
    x: ArrayLike,
    mean: ArrayLike,
    *,
    x_scale: float = 1.0,
    axis: Axis = None,
    full: bool = True,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    min_var: float = 0.0,
    reduction: str = "none",
    wrt: str | Sequence[str] = ("mean",),
    out: Sequence[Any] | None = None,
) -> OptimalNLLGrad:
    """Return the NLL at the shared optimal variance, and its gradients: see `fastelbo.optimal_nll_grad`."""
    with np.errstate(all="ignore"):
        r, x, mean = difference(x, mean, x_scale), as_array(x), as_array(mean)
        rows = Rows(r.shape, axis, weight, where, reduction)
        total = np.expand_dims(sum_over(rows.select(np.ones_like(r)), rows.event), rows.event)
        sse = np.expand_dims(sum_over(rows.select(r**2), rows.event), rows.event)
        nothing = (total == 0) & (sse == 0)  # no element counts: the NLL is 0
        mse = np.where(nothing, 1.0, sse / np.where(total == 0, np.nan, total))
        var = np.maximum(np.where(mse < 0, np.nan, mse), min_var)
        if wrt and np.any(var == 0):
            raise ValueError("the optimal variance is 0: pass min_var")
        log_term = (HALF_LOG_2PI if full else 0.0) + 0.5 * np.log(var)
        terms = np.where(nothing, 0.0, log_term + 0.5 * np.where(var > mse, mse / var, 1.0))
        members = {
            "value": lambda: rows.value(terms),
            "x": lambda: rows.grad(x_scale * r / var, x),
            "mean": lambda: rows.grad(-r / var, mean),
        }
        return OptimalNLLGrad(*results(members, wrt, out))


def optimal_nll(
    x: ArrayLike,
    mean: ArrayLike,
    *,
    x_scale: float = 1.0,
    axis: Axis = None,
    full: bool = True,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    min_var: float = 0.0,
    reduction: str = "none",
) -> Any:
    """Return the Gaussian NLL at the shared optimal variance: see `fastelbo.optimal_nll`."""
    return optimal_nll_grad(
        x, mean, x_scale=x_scale, axis=axis, full=full, weight=weight, where=where, min_var=min_var,
        reduction=reduction, wrt=(),
    ).value  # fmt: skip
