"""The losses and samples in plain NumPy float64: the readable definition.

Every function has the signature of its namesake in `fastelbo` and the same rules for shapes, ``axis``,
``weight``, ``where``, ``min_var`` and ``reduction``, and computes in float64 by the textbook formula. It is
what the fast code is compared with, and what to read first. It is *not* the accurate code: KL by
``expm1(d) - d`` loses digits where the two Gaussians nearly agree, and infinite inputs are left to IEEE
arithmetic. It checks what would otherwise go wrong silently, not every mistake a caller can make.

Maths: with r = x − mean, s = log σ² and z = r·exp(−s/2), all in nats,

    NLL = Σ ½·log 2π + ½s + ½z²                 ∂x = z·exp(−s/2) = −∂mean        ∂s = ½(1 − z²)
    KL  = Σ ½(expm1(d) − d) + ½z²               ∂mean = z·exp(−s_p/2) = −∂prior_mean
          d = s_q − s_p, z from s_p             ∂s_q = ½·expm1(d)                ∂s_p = −½·expm1(d) − ½z²
    Bernoulli NLL = Σ log(1 + eˡ) − x·l         ∂x = −l                          ∂l = 1/(1 + e⁻ˡ) − x
    discretized NLL = Σ −log P, P = Φ(b) − Φ(a)   ∂x = E[t]/σ = −∂mean               ∂s = ½(1 − E[t²])
          b, a = z ± bin/(2σ), or ±∞ at an end     t ~ N(0, 1), cut to [a, b]
    a sample is mean + exp(s/2)·ε               ∂mean = g                        ∂s = ½·g·ε·exp(s/2)
    −ELBO = mean over samples of NLL(x, recon_s) + β·KL

A scale is one row of `SCALES`: it says how to get s from the argument, and ds/d(argument). The gradient of a
broadcast argument is the sum over what it was broadcast over.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._arrays import BernoulliNLLGrad, KLGrad, NegELBO, NegELBOGrad, NLLGrad
from .objectives import OptimalNLLGrad
from .sampling import Reparameterized, ReparameterizeGrad

__all__ = [
    "bernoulli_nll",
    "bernoulli_nll_grad",
    "gaussian_kl",
    "gaussian_kl_grad",
    "gaussian_nll",
    "gaussian_nll_grad",
    "neg_elbo",
    "neg_elbo_grad",
    "optimal_nll",
    "optimal_nll_grad",
    "optimal_var",
    "reparameterize",
    "reparameterize_grad",
]

Array = NDArray[np.float64]
Axis = int | tuple[int, ...] | None

HALF_LOG_2PI = 0.5 * np.log(2 * np.pi)


class Scale(NamedTuple):
    """One way to state σ: s = log σ² as a function of the argument, ds/d(argument), must it be > 0."""

    logvar: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    positive: bool


SCALES = {
    "var": Scale(lambda v: np.log(v), lambda v: 1 / v, True),
    "std": Scale(lambda std: 2 * np.log(std), lambda std: 2 / std, True),
    "logvar": Scale(lambda s: s, lambda s: np.ones_like(s), False),
    "logstd": Scale(lambda t: 2 * t, lambda t: np.full_like(t, 2.0), False),
    "precision": Scale(lambda tau: -np.log(tau), lambda tau: -1 / tau, True),
}


def _array(argument: ArrayLike) -> Array:
    return np.asarray(argument, dtype=np.float64)


def _difference(x: ArrayLike, mean: ArrayLike, x_scale: float = 1.0) -> Array:
    """x_scale·x - mean; of integers in long double, whose 64 bits hold those that float64 would round."""
    wide = any(np.asarray(argument).dtype.kind in "iu" for argument in (x, mean))
    dtype = np.longdouble if wide else np.float64
    return _array(np.multiply(x_scale, np.asarray(x, dtype)) - np.asarray(mean, dtype))


def _pick(prefix: str, given: Sequence[ArrayLike | None]) -> tuple[str, Array] | None:
    """Return the name and the value of the one scale that was given, or None."""
    chosen = [(name, _array(raw)) for name, raw in zip(SCALES, given, strict=True) if raw is not None]
    if len(chosen) > 1 or not (chosen or prefix):
        raise TypeError(f"give exactly one of {', '.join(prefix + name for name in SCALES)}")
    return chosen[0] if chosen else None


def _logvar(name: str, raw: Array, where: ArrayLike | None, min_var: float = 0.0) -> tuple[Array, Array]:
    """Return s = log σ² and ds/d(raw), floored: below min_var the slope is 0."""
    scale = SCALES[name]
    # max(raw, 0) keeps NaN; the floor lifts σ² = 0, but not 1/σ² = 0
    defined = np.maximum(raw, 0.0) if scale.positive else raw
    s, slope = scale.logvar(defined), scale.slope(raw)
    below = s < (np.log(min_var) if min_var > 0 else -np.inf)
    bad = (raw < 0) | ((raw == 0) & ~below)  # a negative scale is none, however high the floor
    if scale.positive and np.any(bad & (True if where is None else np.asarray(where))):
        raise ValueError(f"{name} must be > 0")
    return np.where(below, np.log(min_var), s), np.where(below, 0.0, slope)


def _event(ndim: int, axis: Axis) -> tuple[int, ...]:
    """The axes that are summed; a 0-d input is one event of size 1."""
    axes = range(ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    return tuple(i % ndim for i in axes) if ndim else ()


def _rows(shape: tuple[int, ...], axis: Axis) -> tuple[int, ...]:
    """The sizes of the other axes."""
    return tuple(n for i, n in enumerate(shape) if i not in _event(len(shape), axis))


def _sum(terms: Array, axes: tuple[int, ...]) -> Any:
    """The sum over these axes: of contiguous memory, where NumPy adds pairwise, not one by one."""
    kept = tuple(i for i in range(terms.ndim) if i not in axes)
    return np.sum(np.array(terms.transpose(kept + axes), order="C"), axis=tuple(range(len(kept), terms.ndim)))


class _Rows:
    """What ``axis``, ``weight``, ``where`` and ``reduction`` make of terms and of their derivatives."""

    def __init__(
        self,
        shape: tuple[int, ...],
        axis: Axis,
        weight: ArrayLike | None,
        where: ArrayLike | None,
        reduction: str,
    ) -> None:
        if reduction not in ("none", "sum", "mean"):
            raise ValueError(f"reduction is 'none', 'sum' or 'mean', not {reduction!r}")
        self.shape = shape
        self.event = _event(len(shape), axis)
        self.reduction = reduction
        self.n_rows = int(np.prod(_rows(shape, axis)))
        self.where = True if where is None else np.asarray(where)
        self.weight = _array(1.0 if weight is None else weight)
        if weight is not None and self.weight.ndim != len(shape):  # one weight a row
            self.weight = np.expand_dims(self.weight, self.event)

    def select(self, term: Array) -> Array:
        return np.broadcast_to(np.where(self.where, self.weight * term, 0.0), self.shape)

    def value(self, term: Array) -> Any:
        """Sum over the event axes, then reduce the rows."""
        rows = _sum(self.select(term), self.event)
        if self.reduction == "none":
            return rows
        return float(rows.sum() / np.float64(self.n_rows if self.reduction == "mean" else 1))

    def grad(self, derivative: Array, argument: Array) -> Array:
        """Sum the elementwise derivative over everything that `argument` was broadcast over."""
        full = self.select(derivative) / (self.n_rows if self.reduction == "mean" else 1)
        leading = full.ndim - argument.ndim
        stretched = tuple(i + leading for i, n in enumerate(argument.shape) if n == 1)
        return np.reshape(_sum(full, (*range(leading), *stretched)), argument.shape)


def _results(
    members: dict[str, Callable[[], Any]], wrt: str | Sequence[str], out: Sequence[Any] | None
) -> list[Any]:
    """Compute the members asked for, each written to its place in `out` where one is given."""
    gradients = [name for name in members if name not in ("value", "nll", "kl")]
    wanted = {*((wrt,) if isinstance(wrt, str) else wrt)}
    if not wanted <= set(gradients):
        raise ValueError(f"wrt takes {', '.join(gradients)}, not {sorted(wanted - set(gradients))}")
    skipped = set(gradients) - wanted
    return _write([None if name in skipped else compute() for name, compute in members.items()], out)


def _write(results: Sequence[Any], out: Sequence[Any] | None) -> list[Any]:
    places = [None] * len(results) if out is None else out
    for result, place in zip(results, places, strict=True):
        if place is not None:
            place[...] = result
    return [result if place is None else place for result, place in zip(results, places, strict=True)]


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
    name, raw = _pick("", (var, std, logvar, logstd, precision))  # type: ignore[misc]  # never None without prefix
    with np.errstate(all="ignore"):
        r, x, mean = _difference(x, mean, x_scale), _array(x), _array(mean)
        s, slope = _logvar(name, raw, where, min_var)
        inv_std = np.exp(-0.5 * s)
        z = r * inv_std
        rows = _Rows(np.broadcast_shapes(x.shape, mean.shape), axis, weight, where, reduction)
        members = {
            "value": lambda: rows.value((HALF_LOG_2PI if full else 0.0) + 0.5 * s + 0.5 * z * z),
            "x": lambda: rows.grad(x_scale * z * inv_std, x),
            "mean": lambda: rows.grad(-z * inv_std, mean),
            "scale": lambda: rows.grad(0.5 * np.where(slope == 0, 0.0, 1 - z * z) * slope, raw),
        }
        return NLLGrad(*_results(members, wrt, out))


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
    name, raw = _pick("", (var, std, logvar, logstd, precision))  # type: ignore[misc]  # never None without prefix
    prior = _pick("prior_", (prior_var, prior_std, prior_logvar, prior_logstd, prior_precision))
    prior_name, prior_raw = prior or ("logvar", _array(0.0))
    with np.errstate(all="ignore"):
        r, mean, prior_mean = _difference(mean, prior_mean), _array(mean), _array(prior_mean)
        s_q, slope_q = _logvar(name, raw, where)
        s_p, slope_p = _logvar(prior_name, prior_raw, where)
        inv_std = np.exp(-0.5 * s_p)
        z = r * inv_std
        d = s_q - s_p
        shapes = mean.shape, prior_mean.shape, raw.shape if mean.ndim == 0 else ()
        rows = _Rows(np.broadcast_shapes(*shapes), axis, weight, where, reduction)
        members = {
            "value": lambda: rows.value(0.5 * (np.expm1(d) - d) + 0.5 * z * z),
            "mean": lambda: rows.grad(z * inv_std, mean),
            "scale": lambda: rows.grad(0.5 * np.expm1(d) * slope_q, raw),
            "prior_mean": lambda: rows.grad(-z * inv_std, prior_mean),
            "prior_scale": lambda: rows.grad(-0.5 * (np.expm1(d) + z * z) * slope_p, prior_raw),
        }
        return KLGrad(*_results(members, wrt, out))


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
    x, logits = _array(x), _array(logits)
    with np.errstate(all="ignore"):
        rows = _Rows(np.broadcast_shapes(x.shape, logits.shape), axis, weight, where, reduction)
        members = {
            "value": lambda: rows.value(np.logaddexp(0.0, logits) - x_scale * x * logits),
            "x": lambda: rows.grad(-x_scale * logits, x),
            "logits": lambda: rows.grad(1 / (1 + np.exp(-logits)) - x_scale * x, logits),
        }
        return BernoulliNLLGrad(*_results(members, wrt, out))


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


_erfc = np.frompyfunc(math.erfc, 1, 1)


def _mills(t: Array) -> Array:
    """(1 − Φ(t))/φ(t) for t ≥ 0: erfc where that has its digits, then its continued fraction."""
    near = np.minimum(t, 3.0)
    fraction = np.copy(t)
    for k in range(100, 0, -1):
        fraction = t + k / fraction
    of_near = np.sqrt(np.pi / 2) * np.asarray(_erfc(near / np.sqrt(2)), np.float64) * np.exp(0.5 * near**2)
    return np.where(t < 3, of_near, 1 / fraction)


def _cut(z: Array, h: Array, a: Array, open_end: NDArray[np.bool_]) -> tuple[Array, Array, Array]:
    """Return −log P, E[t] and 1 − E[t²] of t ~ N(0, 1) cut to [a, z + h], a = z − h and z ≥ 0, or to [a, ∞).

    No difference of Φ is formed that cancels. With y = zh, φ(z + h) = φ(a)·exp(−2y).
    """
    # a narrow bin: P = 2h·φ(z)·(mean of exp(−ys − h²s²/2) over −1 ≤ s ≤ 1), by Gauss and Legendre
    narrow = ~open_end & (h < 0.5) & (z * h < 0.25)
    width, y = np.where(narrow, h, 0.25)[..., np.newaxis], np.where(narrow, z * h, 0.0)[..., np.newaxis]
    nodes, weights = np.polynomial.legendre.leggauss(16)
    density = 0.5 * weights * np.exp(-y * nodes - 0.5 * (width * nodes) ** 2)
    total = density.sum(axis=-1)
    offset, square = (nodes * density).sum(axis=-1) / total, (nodes**2 * density).sum(axis=-1) / total
    narrow_value = HALF_LOG_2PI + 0.5 * z * z - np.log(2 * h) - np.log(total)
    narrow_mean, narrow_square = z + h * offset, z * z + 2 * z * h * offset + h * h * square
    # beyond the mean: P = φ(a)·(mills(a) − exp(−2y)·mills(b)); around it: 1 − P is the two tails
    ratio = np.where(open_end, 0.0, np.exp(-2 * z * h))
    beyond, size = a >= 0, np.abs(a)
    of_b = np.where(ratio == 0, 0.0, ratio * _mills(z + h))
    part = _mills(size) - of_b
    phi = np.exp(-0.5 * a * a - HALF_LOG_2PI)
    tails = phi * (_mills(size) + of_b)
    value = np.where(beyond, 0.5 * a * a + HALF_LOG_2PI - np.log(part), -np.log1p(-tails))
    density_at_a = np.where(beyond, 1 / part, phi / (1 - tails))
    of_edges = np.where(ratio == 0, 0.0, ratio * (z + h)) - a
    scale = np.where(density_at_a == 0, 0.0, density_at_a * of_edges)
    return (
        np.where(narrow, narrow_value, value),
        np.where(narrow, narrow_mean, density_at_a * (1 - ratio)),
        np.where(narrow, 1 - narrow_square, scale),
    )


def discretized_gaussian_nll_grad(
    x: ArrayLike,
    mean: ArrayLike,
    *,
    var: ArrayLike | None = None,
    std: ArrayLike | None = None,
    logvar: ArrayLike | None = None,
    logstd: ArrayLike | None = None,
    precision: ArrayLike | None = None,
    bin: float,
    low: float | None = None,
    high: float | None = None,
    x_scale: float = 1.0,
    axis: Axis = -1,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    min_var: float = 0.0,
    reduction: str = "none",
    wrt: str | Sequence[str] = ("mean", "scale"),
    out: Sequence[Any] | None = None,
) -> NLLGrad:
    """Return the discretized Gaussian NLL and its gradients: see `fastelbo.discretized_gaussian_nll_grad`."""
    name, raw = _pick("", (var, std, logvar, logstd, precision))  # type: ignore[misc]  # never None without prefix
    if not 0 < bin < np.inf:
        raise ValueError(f"bin must be finite and > 0, not {bin!r}")
    with np.errstate(all="ignore"):
        r, x, mean = _difference(x, mean, x_scale), _array(x), _array(mean)
        s, slope = _logvar(name, raw, where, min_var)
        inv_std = np.exp(-0.5 * s)
        below = x_scale * x <= (-np.inf if low is None else low)
        above = x_scale * x >= (np.inf if high is None else high)
        sign = np.where(above, 1.0, np.where(below | (r < 0), -1.0, 1.0))  # turned to z ≥ 0, or open above
        z, h, a = np.abs(r) * inv_std, 0.5 * bin * inv_std, (sign * r - 0.5 * bin) * inv_std
        shape = np.broadcast_shapes(r.shape, s.shape)
        value, mean_t, rest = _cut(*(np.broadcast_to(part, shape) for part in (z, h, a, below | above)))
        rows = _Rows(np.broadcast_shapes(x.shape, mean.shape), axis, weight, where, reduction)
        members = {
            "value": lambda: rows.value(value),
            "x": lambda: rows.grad(x_scale * sign * mean_t * inv_std, x),
            "mean": lambda: rows.grad(-sign * mean_t * inv_std, mean),
            "scale": lambda: rows.grad(0.5 * np.where(slope == 0, 0.0, rest) * slope, raw),
        }
        return NLLGrad(*_results(members, wrt, out))


def discretized_gaussian_nll(
    x: ArrayLike,
    mean: ArrayLike,
    *,
    var: ArrayLike | None = None,
    std: ArrayLike | None = None,
    logvar: ArrayLike | None = None,
    logstd: ArrayLike | None = None,
    precision: ArrayLike | None = None,
    bin: float,
    low: float | None = None,
    high: float | None = None,
    x_scale: float = 1.0,
    axis: Axis = -1,
    weight: ArrayLike | None = None,
    where: ArrayLike | None = None,
    min_var: float = 0.0,
    reduction: str = "none",
    out: Any = None,
) -> Any:
    """Return the discretized Gaussian NLL of each event: see `fastelbo.discretized_gaussian_nll`."""
    return discretized_gaussian_nll_grad(
        x, mean, var=var, std=std, logvar=logvar, logstd=logstd, precision=precision, bin=bin, low=low,
        high=high, x_scale=x_scale, axis=axis, weight=weight, where=where, min_var=min_var,
        reduction=reduction, wrt=(), out=(out, None, None, None),
    ).value  # fmt: skip


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
    x, recon, z_mean, prior_mean = (_array(argument) for argument in (x, recon, z_mean, prior_mean))
    sampled = recon.ndim > x.ndim
    samples = len(recon) if sampled else 1
    if recon.shape[sampled:] != x.shape:
        raise ValueError(
            f"recon has shape {recon.shape}; it must be that of x, {x.shape}, or (S, *{x.shape})"
        )
    event = tuple(i - x.ndim for i in _event(x.ndim, axis))
    _, z_raw = _pick("", (z_var, z_std, z_logvar, z_logstd, z_precision))  # type: ignore[misc]  # as above
    z_shapes = z_mean.shape, prior_mean.shape, z_raw.shape if z_mean.ndim == 0 else ()
    rows, z_rows = _rows(x.shape, event), _rows(np.broadcast_shapes(*z_shapes), z_axis)
    if rows != z_rows:
        raise ValueError(f"the rows of x have shape {rows}, those of z_mean {z_rows}")
    row_weight = None if weight is None else np.expand_dims(_array(weight), event)
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
        return NegELBOGrad(*_results(members, wrt, out))


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
    squares = _difference(x, mean, x_scale) ** 2
    rows = _Rows(squares.shape, axis, weight, where, "none")
    with np.errstate(all="ignore"):
        return rows.value(squares) / rows.value(np.ones_like(squares))


# --- the σ-VAE, and samples ---------------------------------------------------------------------------------


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
        r, x, mean = _difference(x, mean, x_scale), _array(x), _array(mean)
        rows = _Rows(r.shape, axis, weight, where, reduction)
        total = np.expand_dims(_sum(rows.select(np.ones_like(r)), rows.event), rows.event)
        sse = np.expand_dims(_sum(rows.select(r**2), rows.event), rows.event)
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
        return OptimalNLLGrad(*_results(members, wrt, out))


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
    mean = _array(mean)
    name, raw = _pick("", (var, std, logvar, logstd, precision))  # type: ignore[misc]  # never None without prefix
    with np.errstate(all="ignore"):
        s, _ = _logvar(name, raw, None)
        if (eps is None) == (rng is None):
            raise TypeError("pass one of eps and rng")
        if rng is not None:
            eps = rng.standard_normal((() if n_samples is None else (n_samples,)) + (mean.shape or raw.shape))
        eps = _array(eps)  # type: ignore[arg-type]  # given, or drawn
        return Reparameterized(*_write([mean + np.exp(0.5 * s) * eps, eps], out))


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
    grad_z, eps = _array(grad_z), _array(eps)
    name, raw = _pick("", (var, std, logvar, logstd, precision))  # type: ignore[misc]  # never None without prefix
    with np.errstate(all="ignore"):
        s, slope = _logvar(name, raw, None)
        rows = _Rows(grad_z.shape, (), None, None, "none")
        d_mean = rows.grad(grad_z, np.empty(raw.shape if mean_shape is None else mean_shape))
        d_scale = rows.grad(0.5 * grad_z * eps * np.exp(0.5 * s) * slope, raw)
        return ReparameterizeGrad(*_write([d_mean, d_scale], out))
