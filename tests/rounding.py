"""What rounding may do: units of the last place, and the comparison of results with exact numbers."""

import numpy as np
from mpmath import mp, mpf

from digits import exact
from variance import logvar, slope


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

    slacks = np.frompyfunc(one, 2, 3)(exact(raw), exact(prior_raw))
    return dict(zip(("value", "scale", "prior_scale"), slacks, strict=True))


def eps(dtype) -> float:
    """2u, a power of two: exact as a float, which unlike an mpf is quick to multiply an array with."""
    return float(np.finfo(dtype).eps)


DOUBLE = eps(np.float64)


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
