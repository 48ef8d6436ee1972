"""The variance that minimises the Gaussian NLL, and the NLL there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastelbo._results import OptimalNLLGrad
from fastelbo.reference._rows import Axis, Rows, results, sum_over
from fastelbo.reference._scales import as_array, difference

HALF_LOG_2PI = 0.5 * np.log(2 * np.pi)


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
