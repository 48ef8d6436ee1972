"""Samples, and the way back from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastelbo._results import Reparameterized, ReparameterizeGrad
from fastelbo.reference._rows import Rows, written
from fastelbo.reference._scales import as_array, log_variance, pick


def reparameterize(
    mean: ArrayLike,
    *,
    var: ArrayLike | None = None,
    std: ArrayLike | None = None,
    logvar: ArrayLike | None = None,
    logstd: ArrayLike | None = None,
    precision: ArrayLike | None = None,
    eps: ArrayLike | None = None,
    rng: np.random.Generator | None = None,
    n_samples: int | None = None,
    out: Sequence[Any] | None = None,
) -> Reparameterized:
    """Return samples of a diagonal Gaussian, and their ε: see `fastelbo.reparameterize`."""
    mean = as_array(mean)
    name, raw = pick("", (var, std, logvar, logstd, precision))  # type: ignore[misc]  # never None without prefix
    with np.errstate(all="ignore"):
        s, _ = log_variance(name, name, raw, None)
        if (eps is None) == (rng is None):
            raise TypeError("pass one of eps and rng")
        if rng is not None:
            eps = rng.standard_normal((() if n_samples is None else (n_samples,)) + (mean.shape or raw.shape))
        eps = as_array(eps)  # type: ignore[arg-type]  # given, or drawn
        return Reparameterized(*written([mean + np.exp(0.5 * s) * eps, eps], out))


def reparameterize_grad(
    grad_z: ArrayLike,
    eps: ArrayLike,
    *,
    var: ArrayLike | None = None,
    std: ArrayLike | None = None,
    logvar: ArrayLike | None = None,
    logstd: ArrayLike | None = None,
    precision: ArrayLike | None = None,
    mean_shape: tuple[int, ...] | None = None,
    out: Sequence[Any] | None = None,
) -> ReparameterizeGrad:
    """Return the gradients of the mean and the scale: see `fastelbo.reparameterize_grad`."""
    grad_z, eps = as_array(grad_z), as_array(eps)
    name, raw = pick("", (var, std, logvar, logstd, precision))  # type: ignore[misc]  # never None without prefix
    with np.errstate(all="ignore"):
        s, slope = log_variance(name, name, raw, None)
        rows = Rows(grad_z.shape, (), None, None, "none")
        d_mean = rows.grad(grad_z, np.empty(raw.shape if mean_shape is None else mean_shape, np.float64))
        d_scale = rows.grad(0.5 * grad_z * eps * np.exp(0.5 * s) * slope, raw)
        return ReparameterizeGrad(*written([d_mean, d_scale], out))
