"""The discretized Gaussian at 60 digits: the probability of a bin, however narrow or far out."""

from typing import NamedTuple

from mpmath import mp, mpf

from digits import Terms, times
from variance import logvar, slope, var


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
        return times(near, inverse), far if mp.isinf(far) else times(far, inverse)

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
        z = times(near + width / 2, 1 / sigma)
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
        return tuple([times(term, slope(name, raw) / 2) for term in cut.scale])
    sign = sign if member == "x" else -sign
    return tuple([sign * times(term, var(name, raw, -mpf(1) / 2)) for term in cut.mean])
