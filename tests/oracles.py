"""The losses at 60 digits, elementwise, and the sizes by which the precision policy measures an error.

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

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from mpmath import mp, mpf

DIGITS = 60
mp.dps = DIGITS

#: name: (is σ² a power of raw, or an exponential of it; k)
SCALES = {
    "var": ("power", 1),
    "std": ("power", 2),
    "logvar": ("exp", 1),
    "logstd": ("exp", 2),
    "precision": ("power", -1),
}
#: of Laplace and Student's t: their scale stands where σ does, but is not the standard deviation
FORMS = SCALES | {"scale": SCALES["std"], "logscale": SCALES["logstd"]}
LINEAR = tuple(name for name, (kind, _) in SCALES.items() if kind == "power")
LOG = tuple(name for name, (kind, _) in SCALES.items() if kind == "exp")
NLL_MEMBERS = ("value", "x", "mean", "scale")
BERNOULLI_MEMBERS = ("value", "x", "logits")
STUDENT_T_MEMBERS = LAPLACE_MEMBERS = NLL_MEMBERS
KL_MEMBERS = ("value", "mean", "scale", "prior_mean", "prior_scale")

#: τσ² of 53-bit numbers has 159 bits: two variances of linear form that differ by less are equal
SAME = mpf(2) ** -165

Terms = tuple[mpf, ...]


def raw_of(name: str, logvar):
    """Float64 array of the scale's argument for a given log σ²: for making inputs, never for checking."""
    kind, k = FORMS[name]
    with np.errstate(over="ignore", under="ignore"):
        return np.exp(np.asarray(logvar) / k) if kind == "power" else np.asarray(logvar) / k


def logvar(name: str, raw: mpf) -> mpf:
    kind, k = FORMS[name]
    return k * (mp.log(raw) if kind == "power" else raw)


def var(name: str, raw: mpf, power: int = 1) -> mpf:
    kind, k = FORMS[name]
    return raw ** (k * power) if kind == "power" else mp.exp(k * power * raw)


def slope(name: str, raw: mpf, power: int = 0) -> mpf:
    """(d log σ² / d raw)·(σ²)^power, as one power of raw, so that it has a limit where the product has."""
    kind, k = FORMS[name]
    if kind == "power":
        exponent = k * power - 1
        return k * raw**exponent if exponent else mpf(k)  # mpmath's versions differ on nan⁰
    return k * mp.exp(k * power * raw) if power or mp.isnan(raw) else mpf(k)


def _times(delta: mpf, factor: mpf) -> mpf:
    return mpf(0) if delta == 0 and not mp.isnan(factor) else delta * factor


def nll_terms(member: str, x: mpf, mean: mpf, name: str, raw: mpf) -> Terms:
    r, s = x - mean, logvar(name, raw)
    if member == "value":
        if mp.isinf(s) and not mp.isnan(r):
            return (-mp.inf if s < 0 and r == 0 else mp.inf,)
        return mp.log(2 * mp.pi) / 2, s / 2, _times(r * r, var(name, raw, -1)) / 2
    if member == "scale":
        return slope(name, raw) / 2, -_times(r * r, slope(name, raw, -1)) / 2
    return (_times(r, var(name, raw, -1)) * (1 if member == "x" else -1),)


def kl_terms(member: str, mean: mpf, prior_mean: mpf, q: str, raw: mpf, p: str, prior_raw: mpf) -> Terms:
    delta, d = mean - prior_mean, logvar(q, raw) - logvar(p, prior_raw)
    if member.endswith("mean"):
        return (_times(delta, var(p, prior_raw, -1)) * (-1 if member == "prior_mean" else 1),)
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
            return h, _times(delta * delta, var(p, prior_raw, -1)) / 2
        if member == "scale":
            return (half(slope(q, raw, 1) * var(p, prior_raw, -1), slope(q, raw)),)
        per_var = slope(p, prior_raw, -1)
        return half(slope(p, prior_raw), var(q, raw) * per_var), -_times(delta * delta, per_var) / 2


def bernoulli_terms(member: str, x: mpf, logits: mpf) -> Terms:
    if member == "x":
        return (-logits,)
    if mp.isnan(x) or mp.isnan(logits):
        return (mp.nan,)
    if member == "logits":
        return 1 / (1 + mp.exp(-logits)), -x
    soft = mp.log1p(mp.exp(-abs(logits)))
    if mp.isinf(x) or mp.isinf(logits):
        return _times(1 - x if logits > 0 else -x, logits) if logits else mpf(0), soft
    return max(logits, mpf(0)), -x * logits, soft


def laplace_terms(member: str, x: mpf, mean: mpf, name: str, raw: mpf) -> Terms:
    """b, the scale, takes the place of σ: 1/b = (σ²)^(−½), and half of d log σ²/d raw is d log b/d raw."""
    r, log_b = x - mean, logvar(name, raw) / 2
    if member == "value":
        if mp.isinf(log_b) and not mp.isnan(r):
            return (-mp.inf if log_b < 0 and r == 0 else mp.inf,)
        return mp.log(2), log_b, _times(abs(r), var(name, raw, -mpf(1) / 2))
    if member == "scale":
        return slope(name, raw) / 2, -_times(abs(r), slope(name, raw, -mpf(1) / 2)) / 2
    sign = r if mp.isnan(r) else mp.sign(r)
    return (_times(sign, var(name, raw, -mpf(1) / 2)) * (1 if member == "x" else -1),)


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
            return (-_times(df, half),)
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


class _Cut(NamedTuple):
    """t ~ N(0, 1) cut to [a, b]: −log P of the interval, and what adds up to E[t] and to 1 − E[t²]."""

    value: mpf
    mean: Terms
    scale: Terms


def _cut(near: mpf, width: mpf, name: str, raw: mpf) -> _Cut:
    """Of a = near/σ and b = (near + width)/σ; near + width/2 ≥ 0, or the width is infinite."""

    def edges() -> tuple[mpf, mpf]:
        inverse = var(name, raw, -mpf(1) / 2)
        with mp.workprec(2300):
            far = width if mp.isinf(width) else near + width
        return _times(near, inverse), far if mp.isinf(far) else _times(far, inverse)

    a, b = edges()
    if a == mp.inf:
        return _Cut(a, (a,), (mpf(1), -a))
    if a == -mp.inf and b == mp.inf:
        return _Cut(mpf(0), (mpf(0),), (mpf(0),))
    if b == 0:  # σ is infinite
        return _Cut(mp.inf, (mpf(0),), (mpf(1),))
    sigma = var(name, raw, mpf(1) / 2)
    if mp.isfinite(a) and mp.mag(a) > 4000:  # where nothing is left of 1 beside a², and of a tail beside 1
        return _Cut(a * a / 2, (a,), (mpf(1), -a * a)) if a > 0 else _Cut(mpf(0), (mpf(0),), (mpf(0),))
    if mp.isfinite(b) and mp.mag(width) - mp.mag(sigma) < -4000:  # as narrow as a density is
        z = _times(near + width / 2, 1 / sigma)
        value = z * z / 2 + logvar(name, raw) / 2 - mp.log(width) + mp.log(2 * mp.pi) / 2
        return _Cut(value, (z,), (mpf(1), -z * z))
    lost = 0
    # exp loses the digits of a²; differences of Φ and of t·φ(t) those of the width and its cube
    if mp.isfinite(a):
        lost = 3 * max(0, int(mp.mag(1 + abs(a))))
    if mp.isfinite(a) and mp.isfinite(b):
        lost += 3 * max(0, int(mp.mag(abs(a) + 1) - mp.mag(width) - mp.mag(var(name, raw, -mpf(1) / 2))))
    with mp.workprec(mp.prec + lost):
        a, b = edges()
        below, above = [mp.erfc(abs(t) / mp.sqrt(2)) / 2 if mp.isfinite(t) else mpf(0) for t in (a, b)]
        p = below - above if a >= 0 else 1 - (below + above)
        value = -mp.log(p) if a >= 0 else -mp.log1p(-(below + above))

        def phi(t: mpf, power: int = 0) -> mpf:
            """t^power·φ(t)/P."""
            return t**power * mp.exp(-t * t / 2) / mp.sqrt(2 * mp.pi) / p if mp.isfinite(t) else mpf(0)

        zero = mpf(0)
        mean = phi(max(a, zero)) - phi(max(b, zero)), phi(min(a, zero)) - phi(min(b, zero))
        return _Cut(value, mean, (mpf(1), phi(b, 1) - phi(a, 1) - 1))


def discretized_gaussian_terms(
    member: str, x: mpf, mean: mpf, name: str, raw: mpf, width: mpf, low: mpf, high: mpf
) -> Terms:
    """Of x and mean: the part of E[t] from t > 0 and that from t < 0; of a scale: 1 and −E[t²].

    A probability near 1 makes a value near 0: the bound of a value multiplies max(1, value).
    """
    if mp.isnan(x) or mp.isnan(mean) or mp.isnan(raw):
        return (mp.nan,)
    below, above = x - width / 2 < low, x + width / 2 > high
    infinite = logvar(name, raw) == mp.inf
    with mp.workprec(2300):  # exact
        r = x - mean
        sign = 1 if above else -1 if below or r < 0 else 1
        near = sign * r - width / 2
    if mp.isnan(r):
        return (mp.nan,)
    if member == "value" and infinite and not (below or above):
        return (mp.inf,)
    if mp.isinf(r) and infinite:
        return (mp.nan,)
    cut = _cut(near, mp.inf if below or above else width, name, raw)
    if member == "value":
        return (cut.value,)
    if member == "scale":
        if cut.value == mp.inf and name == "precision" and raw == mp.inf:
            return (near**2 / 2,)
        return tuple([_times(term, slope(name, raw) / 2) for term in cut.scale])
    sign = sign if member == "x" else -sign
    return tuple([sign * _times(term, var(name, raw, -mpf(1) / 2)) for term in cut.mean])


class Exact(NamedTuple):
    """Object arrays of mpf: the answer, and what the bound multiplies."""

    value: np.ndarray
    size: np.ndarray


def _scale(prefix: str, scales: dict) -> tuple[str, object]:
    """Take the scale with this prefix out of the keywords; without one the variance is 1."""
    given = [(name, scales[prefix + name]) for name in SCALES if prefix + name in scales]
    return given[0] if given else ("logvar", 0.0)


def _exact(argument) -> np.ndarray:
    """Object array of mpf, each exactly the number given."""
    with np.errstate(invalid="ignore"):  # NaN
        return np.asarray(np.frompyfunc(mpf, 1, 1)(np.asarray(argument).astype(object)), object)


def _evaluate(terms: Callable[..., Terms], members: Iterable[str], *arrays) -> dict[str, Exact]:
    def one(member: str, *arguments: mpf) -> tuple[mpf, mpf]:
        found = terms(member, *arguments)
        sizes = [abs(term) for term in found]
        return sum(found, mpf(0)), sum(sizes) if member == "value" else max(sizes)

    function = np.frompyfunc(one, 1 + len(arrays), 2)
    return {member: Exact(*map(np.asarray, function(member, *arrays))) for member in members}


def nll(x, mean, members: Iterable[str] = NLL_MEMBERS, **scale) -> dict[str, Exact]:
    """Members of the NLL before any sum, in the shape that the arguments broadcast to."""
    name, raw = _scale("", scale)
    return _evaluate(nll_terms, members, _exact(x), _exact(mean), name, _exact(raw))


def laplace(x, mean, members: Iterable[str] = LAPLACE_MEMBERS, **scale) -> dict[str, Exact]:
    """Members of the Laplace NLL before any sum, in the shape that the arguments broadcast to."""
    ((name, raw),) = scale.items()
    return _evaluate(laplace_terms, members, _exact(x), _exact(mean), name, _exact(raw))


def student_t(x, mean, df, members: Iterable[str] = STUDENT_T_MEMBERS, **scale) -> dict[str, Exact]:
    """Members of Student's t NLL before any sum, in the shape that the arguments broadcast to."""
    ((name, raw),) = scale.items()
    arguments = _exact(x), _exact(mean), _exact(df), name, _exact(raw)
    return _evaluate(student_t_terms, members, *arguments)


def kl(mean, prior_mean=0.0, members: Iterable[str] = KL_MEMBERS, **scales) -> dict[str, Exact]:
    """Members of the KL before any sum, in the shape that the arguments broadcast to."""
    (q, raw), (p, prior_raw) = _scale("", scales), _scale("prior_", scales)
    arguments = _exact(mean), _exact(prior_mean), q, _exact(raw), p, _exact(prior_raw)
    return _evaluate(kl_terms, members, *arguments)


def bernoulli(x, logits, members: Iterable[str] = BERNOULLI_MEMBERS) -> dict[str, Exact]:
    """Members of the Bernoulli NLL before any sum, in the shape that the arguments broadcast to."""
    return _evaluate(bernoulli_terms, members, _exact(x), _exact(logits))


def discretized_gaussian(
    x, mean, bin, low=None, high=None, members: Iterable[str] = NLL_MEMBERS, **scale
) -> dict[str, Exact]:
    """Members of the discretized Gaussian's NLL before any sum, as `nll`."""
    name, raw = _scale("", scale)
    ends = (-mp.inf if low is None else mpf(float(low))), (mp.inf if high is None else mpf(float(high)))
    arguments = _exact(x), _exact(mean), name, _exact(raw), mpf(float(bin)), *ends
    found = _evaluate(discretized_gaussian_terms, members, *arguments)
    if "value" in found:
        value, size = found["value"]
        found["value"] = Exact(value, _each(max)(size, mpf(1)))
    return found


def neg_elbo(x, recon, z_mean, beta: float = 1.0, prior_mean=0.0, **scales) -> dict[str, Exact]:
    """Rows of value, nll and kl, and the gradients of the values' sum in the shapes of their arguments.

    x is (N, D), recon (N, D) or (S, N, D), z_mean (N, J); a gradient's size is the sum of its terms' sizes.
    """
    decoder = {name: raw for name, raw in scales.items() if name in SCALES}
    latents = {name.removeprefix("z_"): raw for name, raw in scales.items() if name not in SCALES}
    (_, raw), (_, z_raw), (_, prior_raw) = (
        _scale("", decoder), _scale("", latents), _scale("prior_", latents)
    )  # fmt: skip
    share = mpf(1) / (len(recon) if np.ndim(recon) > np.ndim(x) else 1)
    nlls, kls = nll(x, recon, **decoder), kl(z_mean, prior_mean, **latents)
    halves = (
        (nlls, share, np.shape(recon), {"x": ("x", x), "recon": ("mean", recon), "scale": ("scale", raw)}),
        (kls, mpf(beta), np.shape(z_mean), {
            "z_mean": ("mean", z_mean), "z_scale": ("scale", z_raw),
            "prior_mean": ("prior_mean", prior_mean), "prior_scale": ("prior_scale", prior_raw),
        }),
    )  # fmt: skip
    found = {}
    for elements, factor, full, arguments in halves:
        for name, (member, argument) in arguments.items():
            parts = [factor * sum_to(part, full, np.shape(argument)) for part in elements[member]]
            found[name] = Exact(*parts)
    rows = (np.shape(x)[0],)
    averages = [share * sum_to(part.sum(axis=-1), part.shape[:-1], rows) for part in nlls["value"]]
    divergences = [part.sum(axis=-1) for part in kls["value"]]
    totals = [one + mpf(beta) * two for one, two in zip(averages, divergences, strict=True)]
    return {"value": Exact(*totals), "nll": Exact(*averages), "kl": Exact(*divergences)} | found


def sum_to(array, full_shape: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
    """Sum elementwise gradients over all that an argument of this shape was broadcast over."""
    array = np.broadcast_to(array, full_shape)
    own = (1,) * (array.ndim - len(shape)) + tuple(shape)
    axes = tuple([i for i, n in enumerate(own) if n == 1])
    return np.asarray(array.sum(axis=axes), object).reshape(shape)


def logvar_slack(q: str, raw, p: str, prior_raw, dtype) -> dict[str, np.ndarray]:
    """How far value and ∂d may move when d is wrong by the 3u·max(|s_q|, |s_p|) allowed to mixed forms.

    ½h and ½expm1 are convex, so each moves most at one end of the interval.
    """
    functions = (lambda d: mp.exp(d) - d, mp.exp)  # h and expm1, but for constants

    def one(raw: mpf, prior_raw: mpf) -> tuple[mpf, mpf, mpf]:
        s_q, s_p = logvar(q, raw), logvar(p, prior_raw)
        d, error = s_q - s_p, 1.5 * eps(dtype) * max(abs(s_q), abs(s_p))
        value, grad = [max(abs(f(d + error) - f(d)), abs(f(d - error) - f(d))) / 2 for f in functions]
        return value, grad * abs(slope(q, raw)), grad * abs(slope(p, prior_raw))

    slacks = np.frompyfunc(one, 2, 3)(_exact(raw), _exact(prior_raw))
    return dict(zip(("value", "scale", "prior_scale"), slacks, strict=True))


def eps(dtype) -> float:
    """2u, a power of two: exact as a float, which unlike an mpf is quick to multiply an array with."""
    return float(np.finfo(dtype).eps)


def smallest(dtype) -> mpf:
    """The smallest subnormal."""
    return mpf(float(np.finfo(dtype).smallest_subnormal))


def ulp(exact, dtype) -> np.ndarray:
    """The distance between neighbouring floats of `dtype` at each exact number."""
    digits = np.finfo(dtype).nmant + 1
    return np.frompyfunc(
        lambda y: max(mp.ldexp(1, int(mp.mag(y)) - digits), smallest(dtype)) if y else smallest(dtype), 1, 1
    )(exact)


compared = 0  # by `check`, so far: pytest's summary says it


def check(got, exact, bound, dtype, what: str = "") -> int:
    """Assert |got − exact| ≤ bound wherever the answer is representable; if not, name the worst element.

    Where the answer is not a normal number the bound is one smallest subnormal more, as rounding is absolute.
    Returns how many answers were representable.
    """
    got, exact, bound = np.broadcast_arrays(np.asarray(got), np.asarray(exact), np.asarray(bound))
    largest, normal = mpf(float(np.finfo(dtype).max)), mpf(float(np.finfo(dtype).tiny))
    worst, report, checked = mpf(0), "", 0
    global compared
    for index in np.ndindex(exact.shape):
        y, allowed = exact[index], bound[index]
        if mp.isnan(y) or abs(y) + allowed > largest:
            continue
        checked += 1
        allowed += smallest(dtype) if abs(y) < normal else 0
        error = abs(mpf(float(got[index])) - y)
        ratio = error / allowed if allowed else mp.inf if error else mpf(0)
        if ratio > worst or mp.isnan(ratio):
            worst = mp.inf if mp.isnan(ratio) else ratio
            report = f"{got[index]!r} for {mp.nstr(y, 20)} at {index} is {mp.nstr(worst, 4)} × the bound"
    assert worst <= 1, f"{what}: {report}"
    compared += checked
    return checked


def kind(y: mpf, size: mpf, dtype) -> str:
    """Class of an exact answer as a float: nan, inf, -inf, finite; "any" within 16·eps·size of overflow."""
    if mp.isnan(y):
        return "nan"
    if mp.isinf(y):
        return "inf" if y > 0 else "-inf"
    beyond = abs(y) - mpf(float(np.finfo(dtype).max))
    if abs(beyond) <= 16 * eps(dtype) * size:
        return "any"
    return "finite" if beyond < 0 else "inf" if y > 0 else "-inf"


# --- whole calls --------------------------------------------------------------------------------------------


class _Sums:
    """What `axis`, `weight`, `where` and `reduction` make of elements of this shape."""

    def __init__(self, shape: tuple[int, ...], axis, weight, where, reduction: str) -> None:
        axes = range(len(shape)) if axis is None else np.atleast_1d(np.array(axis, int)).tolist()
        self.shape, self.event = shape, tuple([i % len(shape) for i in axes]) if shape else ()
        self.rows = tuple([n for i, n in enumerate(shape) if i not in self.event])
        self.mask = np.broadcast_to(True if where is None else np.asarray(where), shape)
        factor = _exact(1.0 if weight is None else weight)
        if weight is not None and factor.ndim != len(shape):
            factor = np.expand_dims(factor, self.event)
        self.factor = np.where(self.mask, factor, mpf(0))
        self.counted = weight is not None or where is not None
        self.reduced = reduction != "none"
        self.share = 1 / mpf(math.prod(self.rows)) if reduction == "mean" else mpf(1)

    def spread(self, argument) -> np.ndarray:
        """An argument for each element; 1 in the place of what the mask removes."""
        return np.where(self.mask, _exact(argument), mpf(1))

    def _weighted(self, part: Exact) -> list[np.ndarray]:
        """Answer and size; of infinite or undefined elements too, a weight of 0 makes 0."""
        if not self.counted:
            return [np.broadcast_to(a, self.shape) for a in part]
        return [_each(_product)(f, np.broadcast_to(a, self.shape)) for f, a in
                zip((self.factor, abs(self.factor)), part, strict=True)]  # fmt: skip

    def value(self, part: Exact) -> Exact:
        rows = [np.asarray(a.sum(axis=self.event), object) for a in self._weighted(part)]
        return Exact(*[np.asarray(self.share * a.sum() if self.reduced else a) for a in rows])

    def grad(self, part: Exact, argument) -> Exact:
        parts = [self.share * sum_to(a, self.shape, np.shape(argument)) for a in self._weighted(part)]
        return Exact(*map(np.asarray, parts))


def _each(function: Callable[..., mpf]) -> Callable[..., np.ndarray]:
    ufunc = np.frompyfunc(function, 2, 1)
    return lambda *arrays: np.asarray(ufunc(*arrays), object)


def _times_each(factor, part: Exact) -> Exact:
    return Exact(np.asarray(factor * part.value), np.asarray(abs(factor) * part.size))


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
                   x_scale=1.0, **others) -> dict[str, Exact]:  # fmt: skip
    ((name, raw),) = [(name, given) for name, given in others.items() if name in FORMS]
    sums = _Sums(np.broadcast_shapes(np.shape(x), np.shape(mean)), axis, weight, where, reduction)
    factor = mpf(float(x_scale))
    x_one, mean_one, raw_one, *rest_one = map(sums.spread, (x, mean, raw, *rest))
    found = _evaluate(
        _floored(terms), NLL_MEMBERS, factor * x_one, mean_one, name, raw_one, floor, bool(full), *rest_one
    )
    return {
        "value": sums.value(found["value"]),
        "x": sums.grad(_times_each(factor, found["x"]), x),
        "mean": sums.grad(found["mean"], mean),
        "scale": sums.grad(found["scale"], raw),
    }


def _call_nll(x, mean, min_var=0.0, **others) -> dict[str, Exact]:
    return _call_location(nll_terms, (), mpf(float(min_var)), x, mean, **others)


def _call_laplace(x, mean, min_scale=0.0, **others) -> dict[str, Exact]:
    return _call_location(laplace_terms, (), mpf(float(min_scale)) ** 2, x, mean, **others)


def _call_student_t(x, mean, df, min_scale=0.0, **others) -> dict[str, Exact]:
    return _call_location(student_t_terms, (df,), mpf(float(min_scale)) ** 2, x, mean, **others)


def _call_discretized(x, mean, bin, low=None, high=None, axis=-1, weight=None, where=None, min_var=0.0,
                      reduction="none", x_scale=1.0, **scale) -> dict[str, Exact]:  # fmt: skip
    name, raw = _scale("", scale)
    sums = _Sums(np.broadcast_shapes(np.shape(x), np.shape(mean)), axis, weight, where, reduction)
    factor, floor = mpf(float(x_scale)), mpf(float(min_var))
    ends = (-mp.inf if low is None else mpf(float(low))), (mp.inf if high is None else mpf(float(high)))

    def terms(member: str, x: mpf, mean: mpf, raw: mpf) -> Terms:
        none = raw == {"precision": mp.inf, "logvar": -mp.inf, "logstd": -mp.inf}.get(name, 0)
        below = floor > 0 and (none or var(name, raw) < floor)
        if below and member == "scale":
            return (mpf(0),)
        form = ("var", floor) if below else (name, raw)
        return discretized_gaussian_terms(member, x, mean, *form, mpf(float(bin)), *ends)

    found = _evaluate(terms, NLL_MEMBERS, factor * sums.spread(x), sums.spread(mean), sums.spread(raw))
    value, size = found["value"]
    return {
        "value": sums.value(Exact(value, _each(max)(size, mpf(1)))),
        "x": sums.grad(_times_each(factor, found["x"]), x),
        "mean": sums.grad(found["mean"], mean),
        "scale": sums.grad(found["scale"], raw),
    }


def _call_kl(mean, prior_mean=0.0, axis=-1, weight=None, where=None, reduction="none",
             **scales) -> dict[str, Exact]:  # fmt: skip
    (q, raw), (p, prior_raw) = _scale("", scales), _scale("prior_", scales)
    shapes = [np.shape(mean), np.shape(prior_mean), () if np.ndim(mean) else np.shape(raw)]
    sums = _Sums(np.broadcast_shapes(*shapes), axis, weight, where, reduction)
    arguments = {"mean": mean, "scale": raw, "prior_mean": prior_mean, "prior_scale": prior_raw}
    one = {name: sums.spread(argument) for name, argument in arguments.items()}
    found = _evaluate(
        kl_terms, KL_MEMBERS, one["mean"], one["prior_mean"], q, one["scale"], p, one["prior_scale"]
    )
    return {"value": sums.value(found["value"])} | {
        name: sums.grad(found[name], argument) for name, argument in arguments.items()
    }


def _call_bernoulli(x, logits, axis=-1, weight=None, where=None, reduction="none",
                    x_scale=1.0) -> dict[str, Exact]:  # fmt: skip
    sums = _Sums(np.broadcast_shapes(np.shape(x), np.shape(logits)), axis, weight, where, reduction)
    factor = mpf(float(x_scale))
    found = bernoulli(factor * sums.spread(x), sums.spread(logits))
    return {
        "value": sums.value(found["value"]),
        "x": sums.grad(_times_each(factor, found["x"]), x),
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
    value, beta = _times_each(averaged, value), mpf(float(beta))
    total = [one + beta * two for one, two in zip(value, kl["value"], strict=True)]
    own = {"x": "x", "recon": "mean", "scale": "scale"}
    theirs = {"z_mean": "mean", "z_scale": "scale", "prior_mean": "prior_mean", "prior_scale": "prior_scale"}
    return (
        {"value": Exact(*map(np.asarray, total)), "nll": value, "kl": kl["value"]}
        | {name: _times_each(averaged, nll[member]) for name, member in own.items()}
        | {name: _times_each(beta, kl[member]) for name, member in theirs.items()}
    )


def _mean_square(sums: _Sums, x, mean, x_scale: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """r; and of each event Σ w·r²/Σ w, with 1 where nothing counts, and Σ w."""
    r = mpf(float(x_scale)) * sums.spread(x) - sums.spread(mean)
    weights = np.broadcast_to(sums.factor, sums.shape)
    total = np.asarray(weights.sum(axis=sums.event, keepdims=True), object)
    squares = np.asarray((weights * r**2).sum(axis=sums.event, keepdims=True), object)
    return r, _each(lambda s, w: s / w if w else mpf(1))(squares, total), total


def _call_optimal(x, mean, axis=None, full=True, min_var=0.0, x_scale=1.0, weight=None, where=None,
                  reduction="none") -> dict[str, Exact]:  # fmt: skip
    sums = _Sums(np.broadcast_shapes(np.shape(x), np.shape(mean)), axis, weight, where, reduction)
    r, mse, _ = _mean_square(sums, x, mean, x_scale)
    best = _each(max)(mse, mpf(float(min_var)))
    zero = best == 0
    logs = _each(lambda v, _: mp.log(v) / 2 if v else -mp.inf)(best, 0)
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


def _call_variance(x, mean, axis=None, x_scale=1.0, weight=None, where=None) -> dict[str, Exact]:
    sums = _Sums(np.broadcast_shapes(np.shape(x), np.shape(mean)), axis, weight, where, "none")
    _, mse, total = _mean_square(sums, x, mean, x_scale)
    mse = np.asarray(np.where(total == 0, mpf("nan"), mse).squeeze(axis=sums.event), object)
    return {"value": Exact(mse, mse)}


CALLS = {
    "gaussian_nll": _call_nll,
    "gaussian_kl": _call_kl,
    "bernoulli_nll": _call_bernoulli,
    "laplace_nll": _call_laplace,
    "student_t_nll": _call_student_t,
    "discretized_gaussian_nll": _call_discretized,
    "neg_elbo": _call_elbo,
    "optimal_nll": _call_optimal,
    "optimal_var": _call_variance,
}


def call(name: str, /, **arguments) -> dict[str, Exact]:
    """All members of a public loss of these very numbers, weighted, summed and reduced.

    A value's size is the sum of its terms' sizes, and so is a summed gradient's.
    """
    loss = name.removesuffix("_grad")
    if loss not in CALLS:
        raise LookupError(f"{loss} has no oracle: add one to tests/oracles.py, and its row to CALLS")
    return CALLS[loss](**arguments)


# --- samples, and what is made of the losses ----------------------------------------------------------------


def _product(*factors: mpf) -> mpf:
    """A factor of 0 makes 0, of infinite ones too: the limit."""
    if any(f == 0 for f in factors) and not any(mp.isnan(f) for f in factors):
        return mpf(0)
    return mp.fprod(factors)


def sample_terms(mean: mpf, name: str, raw: mpf, eps: mpf) -> Terms:
    """μ and σε."""
    return mean, _times(eps, var(name, raw, mpf(1) / 2))


def sample_slope(grad_z: mpf, eps: mpf, name: str, raw: mpf) -> mpf:
    """∂raw of one sample, g·ε·dσ/d raw, with dσ = ½σ·d log σ²."""
    return _times(_product(grad_z, eps), slope(name, raw, mpf(1) / 2) / 2)


def optimal_nll(x, mean, min_var=0.0) -> mpf:
    """NLL of one event at σ² = max(MSE, min_var)."""
    squares = [(a - b) ** 2 for a, b in zip(_exact(x).ravel(), _exact(mean).ravel(), strict=True)]
    best = max(mp.fsum(squares) / len(squares), mpf(min_var))
    return sum(mp.log(2 * mp.pi * best) / 2 + r2 / (2 * best) for r2 in squares)


def iwae_bound(log_w) -> tuple[mpf, list[mpf], mpf]:
    """The bound, the normalized weights and the effective sample size of one row."""
    weights = [mp.exp(w) for w in _exact(log_w).ravel()]
    total = mp.fsum(weights)
    normalized = [w / total for w in weights]
    return mp.log(total / len(weights)), normalized, 1 / mp.fsum(w**2 for w in normalized)


def free_bits(kl, min_kl: float, per: str, average: str) -> mpf:
    """The four modes for an (N, J) array, as their formulas say."""
    kl, floor = _exact(kl), mpf(min_kl)
    n_rows, groups = len(kl), kl.T if per == "dim" else [kl.sum(axis=1)]
    if average == "first":
        return sum(max(floor, mp.fsum(group) / n_rows) for group in groups)
    return sum(mp.fsum(max(floor, one) for one in group) for group in groups) / n_rows
