"""The polynomials of fastelbo/src/losses/discretized.h, printed by ``python tests/coefficients.py``.

Chebyshev interpolation at 50 digits; what is below the type's rounding error is dropped.
"""

import itertools
from collections.abc import Callable

from mpmath import mp, mpf

mp.dps = 50

#: dtype: (K of q = 1 − 2K/(t + K), relative size below which terms are dropped)
TYPES = {"f32": (3, mpf(2) ** -27), "f64": (5, mpf(2) ** -56)}
POINTS = 36


def mills(t: mpf) -> mpf:
    """(1 − Φ(t))/φ(t)."""
    return mp.hyperu(mpf(1) / 2, mpf(1) / 2, t * t / 2) / mp.sqrt(2)


def flat_mills(q: mpf, k: int) -> mpf:
    """(1 + t)·mills(t) of q = 1 − 2K/(t + K) in [−1, 1]."""
    t = k * (1 + q) / (1 - q)
    return (1 + t) * mills(t)


def second_moment(y2: mpf, q: mpf) -> mpf:
    """½∫ s²·sinh(ys)/(ys)·exp(−qs²/2) ds over [−1, 1]."""
    terms = itertools.product(range(14), range(20))
    return mp.fsum(
        y2**i / mp.factorial(2 * i + 1) * (-q / 2) ** j / mp.factorial(j) / (2 * i + 2 * j + 3)
        for i, j in terms
    )


def chebyshev(values: list[mpf]) -> list[mpf]:
    """Coefficients of the polynomial through these values at the Chebyshev points of [−1, 1]."""
    n = len(values)
    return [
        (2 if k else 1)
        * mp.fsum(v * mp.cos(mp.pi * (2 * j + 1) * k / (2 * n)) for j, v in enumerate(values))
        / n
        for k in range(n)
    ]


def points(n: int, low: mpf, high: mpf) -> list[mpf]:
    return [(low + high) / 2 + (high - low) / 2 * mp.cos(mp.pi * (2 * j + 1) / (2 * n)) for j in range(n)]


def powers(coefficients: list[mpf], low: mpf, high: mpf) -> list[mpf]:
    """Chebyshev coefficients on [low, high] as those of the argument's powers."""
    slope, shift = 2 / (high - low), -(high + low) / (high - low)

    def times_u(p: list[mpf]) -> list[mpf]:
        return [
            a + b
            for a, b in zip([shift * c for c in p] + [mpf(0)], [mpf(0)] + [slope * c for c in p], strict=True)
        ]

    total, before, now = [mpf(0)] * len(coefficients), [mpf(1)], [shift, slope]
    for c in coefficients:
        for i, a in enumerate(before):
            total[i] += c * a
        twice = [2 * a for a in times_u(now)]
        before, now = now, [a - (before[i] if i < len(before) else 0) for i, a in enumerate(twice)]
    return total


def fit(f: Callable[[mpf], mpf], low, high, drop: mpf, n: int = POINTS) -> list[mpf]:
    low, high = mpf(low), mpf(high)
    found = chebyshev([f(x) for x in points(n, low, high)])
    while abs(found[-1]) < drop * abs(found[0]):
        found.pop()
    return powers(found, low, high)


def fit_plane(f: Callable[[mpf, mpf], mpf], x_top, y_top, drop: mpf, n: int = 12) -> list[list[mpf]]:
    """Coefficients [i][j] of xⁱyʲ on [0, x_top] × [0, y_top]."""
    x_top, y_top = mpf(x_top), mpf(y_top)
    rows = [chebyshev([f(x, y) for y in points(n, mpf(0), y_top)]) for x in points(n, mpf(0), x_top)]
    columns = [chebyshev([row[j] for row in rows]) for j in range(n)]  # [j][i]
    kept = []
    for i in range(n):
        row = [columns[j][i] for j in range(n)]
        while row and abs(row[-1]) < drop * abs(columns[0][0]):
            row.pop()
        kept.append(powers(row, mpf(0), y_top) if row else [])
    width = len(kept[0])
    by_power = [
        powers([row[j] if j < len(row) else mpf(0) for row in kept], mpf(0), x_top) for j in range(width)
    ]  # [j][i]
    while not kept[-1]:
        kept.pop()
    # a power x^i takes part from every Chebyshev row at or above it; those rows are no longer than row i
    return [[by_power[j][i] for j in range(len(kept[i]))] for i in range(len(kept))]


def written(x: mpf, dtype: str) -> str:
    """A hexadecimal literal of the nearest float."""
    with mp.workprec(24 if dtype == "f32" else 53):
        nearest = float(+x)
    mantissa, exponent = nearest.hex().split("p")
    digits = mantissa.rstrip("0").rstrip(".")
    return f"{digits}p{exponent}" + ("f" if dtype == "f32" else "")


def main() -> None:
    for dtype, (k, drop) in TYPES.items():
        y_top, q_top = mpf(1) / 16, mpf(1) / 4
        found = {
            f"(1 + t) mills(t), K = {k}": fit(lambda q, k=k: flat_mills(q, k), -1, 1, drop),
            "sinh(y)/y, of y^2": fit(lambda x: mp.sinh(mp.sqrt(x)) / mp.sqrt(x), 0, y_top, drop, 12),
            "cosh(y), of y^2": fit(lambda x: mp.cosh(mp.sqrt(x)), 0, y_top, drop, 12),
        }
        for i, row in enumerate(fit_plane(second_moment, y_top, q_top, 4 * drop)):
            found[f"g1, of q, times y^{2 * i}"] = row
        for name, coefficients in found.items():
            print(f"{dtype}: {name}")
            print("    " + ", ".join(written(c, dtype) for c in coefficients))


if __name__ == "__main__":
    main()
