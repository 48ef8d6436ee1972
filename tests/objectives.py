"""What is made of the losses, and samples, at 60 digits: the best variance, IWAE's bound, free bits."""

from typing import NamedTuple

import numpy as np
from mpmath import mp, mpf

import variance
from digits import Exact, Terms, each, exact, product, times
from summing import Sums


def _mean_square(sums: Sums, x, mean, x_scale: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """r; and of each event Σ w·r²/Σ w, with 1 where nothing counts, and Σ w."""
    r = mpf(float(x_scale)) * sums.spread(x) - sums.spread(mean)
    weights = np.broadcast_to(sums.factor, sums.shape)
    total = np.asarray(weights.sum(axis=sums.event, keepdims=True), object)
    squares = np.asarray((weights * r**2).sum(axis=sums.event, keepdims=True), object)
    return r, each(lambda s, w: s / w if w else mpf(1))(squares, total), total


def call_optimal(x, mean, axis=None, full=True, min_var=0.0, x_scale=1.0, weight=None, where=None,
                 reduction="none") -> dict[str, Exact]:  # fmt: skip
    sums = Sums(np.broadcast_shapes(np.shape(x), np.shape(mean)), axis, weight, where, reduction)
    r, mse, _ = _mean_square(sums, x, mean, x_scale)
    best = each(max)(mse, mpf(float(min_var)))
    zero = best == 0
    logs = each(lambda v, _: mp.log(v) / 2 if v else -mp.inf)(best, 0)
    ratio = np.where(zero, mpf(1), mse / np.where(zero, mpf(1), best)) / 2
    constant = mp.log(2 * mp.pi) / 2 if full else mpf(0)
    terms = Exact(constant + logs + ratio, constant + abs(logs) + ratio)
    slope = r / np.where(zero, mpf(1), best)
    factor = mpf(float(x_scale))
    found = {name: Exact(f * slope, abs(f * slope)) for name, f in (("x", factor), ("mean", mpf(-1)))}
    spread = Exact(*[np.broadcast_to(part, sums.shape) for part in terms])
    return {
        "value": sums.value(spread),
        "x": sums.grad(found["x"], x),
        "mean": sums.grad(found["mean"], mean),
    }


def call_variance(x, mean, axis=None, x_scale=1.0, weight=None, where=None) -> dict[str, Exact]:
    sums = Sums(np.broadcast_shapes(np.shape(x), np.shape(mean)), axis, weight, where, "none")
    _, mse, total = _mean_square(sums, x, mean, x_scale)
    mse = np.asarray(np.where(total == 0, mpf("nan"), mse).squeeze(axis=sums.event), object)
    return {"value": Exact(mse, mse)}


class Optimum(NamedTuple):
    """Of each event σ*², the NLL, and the sum of its terms' sizes; and w·r/σ*², which is −∂mean."""

    var: np.ndarray
    value: np.ndarray
    size: np.ndarray
    slope: np.ndarray


def optimum(x, mean, axis=None, min_var=0.0, **options) -> Optimum:
    nll = call_optimal(x, mean, axis, min_var=min_var, **options)
    best = call_variance(x, mean, axis, **options)["value"].value
    return Optimum(best, *nll["value"], -nll["mean"].value)


def sample_terms(mean: mpf, name: str, raw: mpf, eps: mpf) -> Terms:
    """μ and σε."""
    return mean, times(eps, variance.var(name, raw, mpf(1) / 2))


def sample_slope(grad_z: mpf, eps: mpf, name: str, raw: mpf) -> mpf:
    """∂raw of one sample, g·ε·dσ/d raw, with dσ = ½σ·d log σ²."""
    return times(product(grad_z, eps), variance.slope(name, raw, mpf(1) / 2) / 2)


def iwae_bound(log_w) -> tuple[mpf, list[mpf], mpf]:
    """The bound, the normalized weights and the effective sample size of one row."""
    weights = [mp.exp(w) for w in exact(log_w).ravel()]
    total = mp.fsum(weights)
    normalized = [w / total for w in weights]
    return mp.log(total / len(weights)), normalized, 1 / mp.fsum(w**2 for w in normalized)


def free_bits(kl, min_kl: float, per: str, average: str, weight=None) -> mpf:
    """The four modes for an (N, J) array, as their formulas say; its means are by `weight`, or plain."""
    kl, floor = exact(kl), mpf(min_kl)
    weight = exact(np.ones(len(kl)) if weight is None else weight)
    share = [w / mp.fsum(weight) for w in weight]
    groups = kl.T if per == "dim" else [kl.sum(axis=1)]

    def mean(numbers) -> mpf:
        return mp.fsum(map(mp.fmul, share, numbers))

    if average == "first":
        return mp.fsum(max(floor, mean(group)) for group in groups)
    return mp.fsum(mean([max(floor, one) for one in group]) for group in groups)
