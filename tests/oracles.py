"""The losses at 60 digits, by element and as whole calls, with the sizes by which an error is measured.

Written from the definitions in terms of σ², not from the kernels: a scale is σ² = rawᵏ or σ² = e^(k·raw), so
log σ², its slope and every power of σ² follow from one table row. `test_gradients` confirms the gradients
below by numerical differentiation of the values below, at 60 digits too.

Every quantity is the sum of the signed terms of its formula. Its *size* is what the policy's bounds multiply:
the sum of the terms' absolute values for a value, the largest of them for a gradient.

Infinite inputs
---------------
r = x − mean (Δ in the KL) and d = log σ²_q − log σ²_p are formed first: inf − inf there, or NaN in an
argument the formula uses, gives NaN. Then the limit in the infinite arguments, the finite ones held, and NaN
where there is none. The arithmetic of mpmath (inf·0 and inf − inf are NaN, 1/inf is 0) finds it, except for
r²·inf at r = 0, which is 0, and for the values, where one term outgrows another:

    NLL   log σ² = +inf: +inf for every r           KL   Δ or d infinite: +inf
          log σ² = −inf: +inf, but −inf for r = 0        (no term is negative)
    discretized NLL  log σ² = +inf: +inf, but log 2 in an open bin
          log σ² = −inf: 0 in the bin, log 2 on its edge, +inf outside

Laplace and Student's t are as the NLL is, but Student's gradients have limits where the NLL's have none, as
∂x = (ν + 1)/r at a scale of 0.

In the Bernoulli NLL max(l, 0) − x·l is one product, (1 − x)·l or −x·l, in which 0·inf is 0: the limit, too.
"""

from collections.abc import Callable, Iterable

import numpy as np
from mpmath import mp, mpf

from bins import discretized_gaussian_terms
from digits import Exact, Terms, each, evaluate, exact, times, times_each
from objectives import call_optimal, call_variance
from summing import Sums
from variance import FORMS, LINEAR, SCALES, logvar, slope, var

NLL_MEMBERS = ("value", "x", "mean", "scale")
BERNOULLI_MEMBERS = ("value", "x", "logits")
STUDENT_T_MEMBERS = LAPLACE_MEMBERS = NLL_MEMBERS
KL_MEMBERS = ("value", "mean", "scale", "prior_mean", "prior_scale")
#: τσ² of 53-bit numbers has 159 bits: two variances of linear form that differ by less are equal
SAME = mpf(2) ** -165


def nll_terms(member: str, x: mpf, mean: mpf, name: str, raw: mpf) -> Terms:
    r, s = x - mean, logvar(name, raw)
    if member == "value":
        if mp.isinf(s) and not mp.isnan(r):
            return (-mp.inf if s < 0 and r == 0 else mp.inf,)
        return mp.log(2 * mp.pi) / 2, s / 2, times(r * r, var(name, raw, -1)) / 2
    if member == "scale":
        return slope(name, raw) / 2, -times(r * r, slope(name, raw, -1)) / 2
    return (times(r, var(name, raw, -1)) * (1 if member == "x" else -1),)


def kl_terms(member: str, mean: mpf, prior_mean: mpf, q: str, raw: mpf, p: str, prior_raw: mpf) -> Terms:
    delta, d = mean - prior_mean, logvar(q, raw) - logvar(p, prior_raw)
    if member.endswith("mean"):
        return (times(delta, var(p, prior_raw, -1)) * (-1 if member == "prior_mean" else 1),)
    if mp.isnan(d):
        return (d,)
    if member == "value" and not mp.isnan(delta) and (mp.isinf(delta) or mp.isinf(d)):
        return (mp.inf,)
    # e^d − 1 and e^d − 1 − d lose the digits of d and of d²
    lost = max(0, -int(mp.mag(d))) if d and mp.isfinite(d) else 0
    equal = d == 0 or (abs(d) < SAME and (q in LINEAR or p in LINEAR))

    def half(minuend: mpf, subtrahend: mpf) -> mpf:
        return mpf(0) if equal else (minuend - subtrahend) / 2

    with mp.workprec(mp.prec + 2 * lost):
        if member == "value":
            h = half(var(q, raw) * var(p, prior_raw, -1) - 1, logvar(q, raw) - logvar(p, prior_raw))
            return h, times(delta * delta, var(p, prior_raw, -1)) / 2
        if member == "scale":
            return (half(slope(q, raw, 1) * var(p, prior_raw, -1), slope(q, raw)),)
        per_var = slope(p, prior_raw, -1)
        return half(slope(p, prior_raw), var(q, raw) * per_var), -times(delta * delta, per_var) / 2


def bernoulli_terms(member: str, x: mpf, logits: mpf) -> Terms:
    if member == "x":
        return (-logits,)
    if mp.isnan(x) or mp.isnan(logits):
        return (mp.nan,)
    if member == "logits":
        return 1 / (1 + mp.exp(-logits)), -x
    soft = mp.log1p(mp.exp(-abs(logits)))
    if mp.isinf(x) or mp.isinf(logits):
        return times(1 - x if logits > 0 else -x, logits) if logits else mpf(0), soft
    return max(logits, mpf(0)), -x * logits, soft


def laplace_terms(member: str, x: mpf, mean: mpf, name: str, raw: mpf) -> Terms:
    """b, the scale, takes the place of σ: 1/b = (σ²)^(−½), and half of d log σ²/d raw is d log b/d raw."""
    r, log_b = x - mean, logvar(name, raw) / 2
    if member == "value":
        if mp.isinf(log_b) and not mp.isnan(r):
            return (-mp.inf if log_b < 0 and r == 0 else mp.inf,)
        return mp.log(2), log_b, times(abs(r), var(name, raw, -mpf(1) / 2))
    if member == "scale":
        return slope(name, raw) / 2, -times(abs(r), slope(name, raw, -mpf(1) / 2)) / 2
    sign = r if mp.isnan(r) else mp.sign(r)
    return (times(sign, var(name, raw, -mpf(1) / 2)) * (1 if member == "x" else -1),)


def student_t_constant(df: mpf) -> mpf:
    """log Γ(ν/2) − log Γ((ν + 1)/2) + ½·log πν, whose parts cancel all but log ν digits."""
    if mp.isinf(df):
        return mp.log(2 * mp.pi) / 2
    half = df / 2
    if mp.mag(df) > mp.prec:  # log Γ(a + ½) − log Γ(a) = ½·log a − 1/(8a) + O(a⁻³)
        return mp.log(2 * mp.pi) / 2 + 1 / (8 * half)
    with mp.workprec(2 * mp.prec + 64):
        return mp.loggamma(half) - mp.loggamma(half + mpf(1) / 2) + mp.log(2 * mp.pi * half) / 2


def student_t_terms(member: str, x: mpf, mean: mpf, df: mpf, name: str, raw: mpf) -> Terms:
    """s, the scale, takes the place of σ. The terms of ∂s are those of (1 − z²)/(1 + z²/ν)."""
    r, s, v = x - mean, logvar(name, raw) / 2, var(name, raw)
    if any(map(mp.isnan, (r, s, df))):
        return (mp.nan,)
    if mp.isinf(df):
        if member != "value" or mp.isinf(s):
            return nll_terms(member, x, mean, name, raw)
        return student_t_constant(df), s, r * r / (2 * v)
    if member == "value":
        if mp.isinf(s) or mp.isinf(r):
            return (-mp.inf if s < 0 and r == 0 else mp.inf,)
        return student_t_constant(df), s, (df + 1) / 2 * _log1p(r * r / (df * v))
    if member == "scale":
        half = slope(name, raw) / 2  # d log s/d raw
        if mp.isinf(s) and mp.isinf(r) and s > 0:
            return (mp.nan,)
        if mp.isinf(r) or (v == 0 and r != 0):
            return (-times(df, half),)
        if r == 0 or mp.isinf(v):
            return (half,)
        t = r * r / (df * v)
        return half / (1 + t), -half * (r * r / v) / (1 + t)
    sign = 1 if member == "x" else -1
    if r == 0 or mp.isinf(r) or mp.isinf(v):
        return (mpf(0),)
    return (sign * (df + 1) * r / (df * v + r * r),)


def _log1p(t: mpf) -> mpf:
    """Some versions of mpmath lose the digits of a tiny t."""
    return t if mp.mag(t) < -mp.prec else mp.log1p(t)


def _scale(prefix: str, scales: dict) -> tuple[str, object]:
    """Take the scale with this prefix out of the keywords; without one the variance is 1."""
    given = [(name, scales[prefix + name]) for name in SCALES if prefix + name in scales]
    return given[0] if given else ("logvar", 0.0)


def nll(x, mean, members: Iterable[str] = NLL_MEMBERS, **scale) -> dict[str, Exact]:
    """Members of the NLL before any sum, in the shape that the arguments broadcast to."""
    name, raw = _scale("", scale)
    return evaluate(nll_terms, members, exact(x), exact(mean), name, exact(raw))


def laplace(x, mean, members: Iterable[str] = LAPLACE_MEMBERS, **scale) -> dict[str, Exact]:
    """Members of the Laplace NLL before any sum, in the shape that the arguments broadcast to."""
    ((name, raw),) = scale.items()
    return evaluate(laplace_terms, members, exact(x), exact(mean), name, exact(raw))


def student_t(x, mean, df, members: Iterable[str] = STUDENT_T_MEMBERS, **scale) -> dict[str, Exact]:
    """Members of Student's t NLL before any sum, in the shape that the arguments broadcast to."""
    ((name, raw),) = scale.items()
    arguments = exact(x), exact(mean), exact(df), name, exact(raw)
    return evaluate(student_t_terms, members, *arguments)


def kl(mean, prior_mean=0.0, members: Iterable[str] = KL_MEMBERS, **scales) -> dict[str, Exact]:
    """Members of the KL before any sum, in the shape that the arguments broadcast to."""
    (q, raw), (p, prior_raw) = _scale("", scales), _scale("prior_", scales)
    arguments = exact(mean), exact(prior_mean), q, exact(raw), p, exact(prior_raw)
    return evaluate(kl_terms, members, *arguments)


def bernoulli(x, logits, members: Iterable[str] = BERNOULLI_MEMBERS) -> dict[str, Exact]:
    """Members of the Bernoulli NLL before any sum, in the shape that the arguments broadcast to."""
    return evaluate(bernoulli_terms, members, exact(x), exact(logits))


def discretized_gaussian(
    x, mean, bin, low=None, high=None, members: Iterable[str] = NLL_MEMBERS, **scale
) -> dict[str, Exact]:
    """Members of the discretized Gaussian's NLL before any sum, as `nll`."""
    name, raw = _scale("", scale)
    ends = (-mp.inf if low is None else mpf(float(low))), (mp.inf if high is None else mpf(float(high)))
    arguments = exact(x), exact(mean), name, exact(raw), mpf(float(bin)), *ends
    found = evaluate(discretized_gaussian_terms, members, *arguments)
    if "value" in found:
        value, size = found["value"]
        found["value"] = Exact(value, each(max)(size, mpf(1)))
    return found


def _floored(terms: Callable[..., Terms]) -> Callable[..., Terms]:
    """These terms at σ² = max(σ², floor): a scale below has the gradient 0. With or without the constant."""

    def floored(
        member: str, x: mpf, mean: mpf, name: str, raw: mpf, floor: mpf, full: bool, *rest: mpf
    ) -> Terms:
        none = raw == (mp.inf if name == "precision" else -mp.inf if FORMS[name][0] == "exp" else 0)
        below = floor > 0 and (none or var(name, raw) < floor)
        if below and member == "scale":
            return (mpf(0),)
        found = terms(member, x, mean, *rest, *(("var", floor) if below else (name, raw)))
        return found[1:] if member == "value" and not full and len(found) > 1 else found

    return floored


def _call_location(terms, rest, floor, x, mean, axis=-1, full=True, weight=None, where=None, reduction="none",
                   x_scale=1.0, least=0, **others) -> dict[str, Exact]:  # fmt: skip
    ((name, raw),) = [(name, given) for name, given in others.items() if name in FORMS]
    sums = Sums(np.broadcast_shapes(np.shape(x), np.shape(mean)), axis, weight, where, reduction)
    factor = mpf(float(x_scale))
    x_one, mean_one, raw_one, *rest_one = map(sums.spread, (x, mean, raw, *rest))
    found = evaluate(
        _floored(terms), NLL_MEMBERS, factor * x_one, mean_one, name, raw_one, floor, bool(full), *rest_one
    )
    value, size = found["value"]
    return {
        "value": sums.value(Exact(value, each(max)(size, mpf(least)))),
        "x": sums.grad(times_each(factor, found["x"]), x),
        "mean": sums.grad(found["mean"], mean),
        "scale": sums.grad(found["scale"], raw),
    }


def _call_nll(x, mean, min_var=0.0, **others) -> dict[str, Exact]:
    return _call_location(nll_terms, (), mpf(float(min_var)), x, mean, **others)


def _call_laplace(x, mean, min_scale=0.0, **others) -> dict[str, Exact]:
    return _call_location(laplace_terms, (), mpf(float(min_scale)) ** 2, x, mean, **others)


def _call_student_t(x, mean, df, min_scale=0.0, **others) -> dict[str, Exact]:
    return _call_location(student_t_terms, (df,), mpf(float(min_scale)) ** 2, x, mean, **others)


def _call_discretized(x, mean, bin, low=None, high=None, min_var=0.0, **others) -> dict[str, Exact]:
    ends = (-mp.inf if low is None else mpf(float(low))), (mp.inf if high is None else mpf(float(high)))

    def terms(*of_element) -> Terms:
        return discretized_gaussian_terms(*of_element, mpf(float(bin)), *ends)

    return _call_location(terms, (), mpf(float(min_var)), x, mean, least=1, **others)


def _call_kl(mean, prior_mean=0.0, axis=-1, weight=None, where=None, reduction="none",
             **scales) -> dict[str, Exact]:  # fmt: skip
    (q, raw), (p, prior_raw) = _scale("", scales), _scale("prior_", scales)
    shapes = [np.shape(mean), np.shape(prior_mean), () if np.ndim(mean) else np.shape(raw)]
    sums = Sums(np.broadcast_shapes(*shapes), axis, weight, where, reduction)
    arguments = {"mean": mean, "scale": raw, "prior_mean": prior_mean, "prior_scale": prior_raw}
    one = {name: sums.spread(argument) for name, argument in arguments.items()}
    found = evaluate(
        kl_terms, KL_MEMBERS, one["mean"], one["prior_mean"], q, one["scale"], p, one["prior_scale"]
    )
    return {"value": sums.value(found["value"])} | {
        name: sums.grad(found[name], argument) for name, argument in arguments.items()
    }


def _call_bernoulli(x, logits, axis=-1, weight=None, where=None, reduction="none",
                    x_scale=1.0) -> dict[str, Exact]:  # fmt: skip
    sums = Sums(np.broadcast_shapes(np.shape(x), np.shape(logits)), axis, weight, where, reduction)
    factor = mpf(float(x_scale))
    found = bernoulli(factor * sums.spread(x), sums.spread(logits))
    return {
        "value": sums.value(found["value"]),
        "x": sums.grad(times_each(factor, found["x"]), x),
        "logits": sums.grad(found["logits"], logits),
    }


def _call_elbo(
    x, recon, z_mean, beta=1.0, prior_mean=0.0, axis=-1, z_axis=-1, full=True, weight=None, where=None,
    min_var=0.0, reduction="mean", x_scale=1.0, z_where=None, **scales,
) -> dict[str, Exact]:  # fmt: skip
    sampled, samples = np.ndim(recon) > np.ndim(x), mpf(len(recon) if np.ndim(recon) > np.ndim(x) else 1)
    axes = range(np.ndim(x)) if axis is None else np.atleast_1d(np.array(axis, int)).tolist()
    event = tuple([i % np.ndim(x) - np.ndim(x) for i in axes]) if np.ndim(x) else ()
    spread = None if weight is None else np.expand_dims(weight, event)
    spread = spread[np.newaxis] if sampled and spread is not None else spread
    decoder = {name: raw for name, raw in scales.items() if name in SCALES}
    latents = {name.removeprefix("z_"): raw for name, raw in scales.items() if name not in SCALES}
    nll = _call_nll(
        x, recon, min_var, axis=event, full=full, weight=spread, where=where, reduction=reduction,
        x_scale=x_scale, **decoder,
    )  # fmt: skip
    kl = _call_kl(z_mean, prior_mean, z_axis, weight, z_where, reduction, **latents)
    averaged = 1 if reduction == "mean" else 1 / samples  # that mean is over the rows of all samples
    value = nll["value"]
    if sampled and reduction == "none":
        value = Exact(*[np.asarray(part.sum(axis=0), object) for part in value])
    value, beta = times_each(averaged, value), mpf(float(beta))
    total = [one + beta * two for one, two in zip(value, kl["value"], strict=True)]
    own = {"x": "x", "recon": "mean", "scale": "scale"}
    theirs = {"z_mean": "mean", "z_scale": "scale", "prior_mean": "prior_mean", "prior_scale": "prior_scale"}
    return (
        {"value": Exact(*map(np.asarray, total)), "nll": value, "kl": kl["value"]}
        | {name: times_each(averaged, nll[member]) for name, member in own.items()}
        | {name: times_each(beta, kl[member]) for name, member in theirs.items()}
    )


CALLS = {
    "gaussian_nll": _call_nll,
    "gaussian_kl": _call_kl,
    "bernoulli_nll": _call_bernoulli,
    "laplace_nll": _call_laplace,
    "student_t_nll": _call_student_t,
    "discretized_gaussian_nll": _call_discretized,
    "neg_elbo": _call_elbo,
    "optimal_nll": call_optimal,
    "optimal_var": call_variance,
}


def call(name: str, /, **arguments) -> dict[str, Exact]:
    """All members of a public loss of these very numbers, weighted, summed and reduced.

    A value's size is the sum of its terms' sizes, and so is a summed gradient's.
    """
    loss = name.removesuffix("_grad")
    if loss not in CALLS:
        raise LookupError(f"{loss} has no oracle: add one to tests/oracles.py, and its row to CALLS")
    return CALLS[loss](**arguments)
