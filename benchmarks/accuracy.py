"""How wrong are the textbook formulas in NumPy, and fastelbo? Both against 80 digits, as two Markdown tables.

    python benchmarks/accuracy.py

KL(q ‖ N(0, I)) where q differs from the prior by 1 … 1e-18, in mean and log σ²; then NLL and gradients where
σ, and the residuals with it, are 1e-30 … 1e30. Needs no more than fastelbo. `identity` is where the MSE comes
from, shown by the race on its real data.
"""

from __future__ import annotations

import decimal
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

import fastelbo as fe

Array = np.ndarray[Any, np.dtype[Any]]
ROWS, D = 64, 32
LOG_2PI = Decimal("1.8378770664093454835606594728112352797227949472755668256343030809655313918545207954")
HALF = Decimal("0.5")
decimal.setcontext(decimal.Context(prec=80))


def normal(dtype: type, size: float, centre: float = 0.0) -> Array:
    """Normal variates, the same at every call but for size and centre."""
    return np.asarray(centre + size * np.random.default_rng(2013).standard_normal((2, ROWS, D)), dtype)


def exactly(array: Array) -> list[Decimal]:
    """The elements as they are: every float is a decimal number."""
    return [Decimal(float(a)) for a in array.ravel()]


def row_sums(terms: Sequence[Decimal]) -> list[Decimal]:
    """Sums of D terms each."""
    return [sum(terms[i : i + D], Decimal(0)) for i in range(0, len(terms), D)]


def worst(result: Array, exact: Sequence[Decimal], unit: Sequence[Decimal]) -> float:
    """The largest error, in a unit for each element; inf where the result is no number and should be one."""
    limit = Decimal(float(np.finfo(result.dtype).max))
    errors = [
        abs(Decimal(float(got)) - want) / one if np.isfinite(got) else Decimal("inf")
        for got, want, one in zip(result.ravel(), exact, unit, strict=True)
        if abs(want) <= limit
    ]
    return float(max(errors))


def kl_textbook(mean: Array, logvar: Array) -> Array:
    """What papers and tutorials have: its terms cancel near the prior."""
    return np.asarray(0.5 * (mean**2 + np.exp(logvar) - 1 - logvar).sum(axis=-1))


def kl_expm1(mean: Array, logvar: Array) -> Array:
    """The usual remedy: it cancels too, later."""
    return np.asarray(0.5 * (mean**2 + (np.expm1(logvar) - logvar)).sum(axis=-1))


def kl_row(distance: float) -> list[str]:
    """Worst relative error of each formula, and fastelbo's worst in ULP, at one distance from the prior."""
    theirs, ours = [], []
    for dtype in (np.float32, np.float64):
        mean, logvar = normal(dtype, distance)
        pairs = zip(exactly(mean), exactly(logvar), strict=True)
        exact = row_sums([HALF * (m * m + s.exp() - 1 - s) for m, s in pairs])
        theirs += [worst(form(mean, logvar), exact, exact) for form in (kl_textbook, kl_expm1)]
        ulp = [Decimal(float(np.spacing(dtype(want)))) for want in exact]
        ours.append(worst(fe.gaussian_kl(mean, logvar=logvar), exact, ulp))
    shown = ["> 100 %" if e > 1 else f"{100 * e:.2g} %" if e >= 1e-3 else f"{e:.0e}" for e in theirs]
    return [f"{distance:.0e}", *shown, *(f"{e:.2f} ULP" for e in ours)]


def nll_textbook(r: Array, logvar: Array) -> tuple[Array, Array, Array]:
    """Value, ∂mean and ∂logvar as the formulas stand, for x − mean = r."""
    inv_var = np.exp(-logvar)
    value = 0.5 * (math.log(2 * math.pi) + logvar + r**2 * inv_var).sum(axis=-1)
    return np.asarray(value), np.asarray(-r * inv_var), np.asarray(0.5 * (1 - r**2 * inv_var))


def nll_row(std: float) -> list[str]:
    """Worst errors at one σ, in eps of the terms: their sum for the value, the largest for a gradient."""
    r, logvar = normal(np.float32, std)[0], normal(np.float32, 1.0, 2 * math.log(std))[1]
    r_exact, s_exact = exactly(r), exactly(logvar)
    d_mean = [-a * (-s).exp() for a, s in zip(r_exact, s_exact, strict=True)]
    square = [-HALF * a * d for a, d in zip(r_exact, d_mean, strict=True)]
    terms = list(zip(s_exact, square, strict=True))
    value = row_sums([HALF * (LOG_2PI + s) + z for s, z in terms])
    eps = Decimal(float(np.finfo(np.float32).eps))
    units = (
        [eps * size for size in row_sums([HALF * (LOG_2PI + abs(s)) + z for s, z in terms])],
        [eps * abs(d) for d in d_mean],
        [eps * max(HALF, z) for z in square],
    )
    exact = (value, d_mean, [HALF - z for z in square])
    ours = fe.gaussian_nll_grad(r, np.zeros_like(r), logvar=logvar)
    results = (*nll_textbook(r, logvar), ours.value, ours.mean, ours.scale)
    errors = [worst(*each) for each in zip(results, exact * 2, units * 2, strict=True)]
    return [f"{std:.0e}", *("inf or NaN" if math.isinf(e) else f"{e:.2g} eps" for e in errors)]


@dataclass(frozen=True)
class Identity:
    """NLL = D·MSE/(2σ²) + (D/2)·log 2πσ² on one data set, row by row; σ² is the MSE of all, the optimum."""

    data: str
    var: float
    nll: float  # mean over the rows, by fastelbo
    right: float  # the same, by the right-hand side
    ulp: float  # worst difference of a row
    slip: float  # mean error of the right-hand side with MSE in place of D·MSE: the usual slip
    holds: bool


def identity(data: str, x: Array, mean: Array, bound: float = 20.0) -> Identity:
    """Compare, with the right-hand side in long double.

    `bound`, in ULP: the package promises 10·eps of the terms, and no term is negative here.
    """
    var = x.dtype.type(fe.optimal_var(x, mean))
    nll = fe.gaussian_nll(x, mean, var=float(var))
    wide, d = np.longdouble(var), x.shape[1]
    mse = np.mean((x.astype(np.longdouble) - mean) ** 2, axis=1)
    log_term = np.longdouble(d) / 2 * (np.log(wide) + np.log(8 * np.arctan(np.longdouble(1))))
    right = d * mse / (2 * wide) + log_term
    ulp = float(np.max(np.abs(nll - right) / np.spacing(nll)))
    slip = float(np.mean((d - 1) * mse / (2 * wide)))
    left = float(np.mean(nll, dtype=np.float64))
    return Identity(data, float(var), left, float(np.mean(right)), ulp, slip, ulp <= bound)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print Markdown."""
    for row in (head, ["---:"] * len(head), *rows):
        print(f"| {' | '.join(row)} |")


def main() -> None:
    """Print both tables."""
    np.seterr(all="ignore")
    print(f"KL(q ‖ N(0, I)), worst of {ROWS} rows of {D}\n")
    head = [f"{form}, {dtype}" for dtype in ("float32", "float64") for form in ("textbook", "with expm1")]
    head = ["distance", *head, "fastelbo, float32", "fastelbo, float64"]
    table(head, [kl_row(10.0**-k) for k in range(0, 19, 2)])
    print(f"\nNLL(logvar) and its gradients, float32, worst of {ROWS} rows of {D}\n")
    head = [f"{who}, {what}" for who in ("textbook", "fastelbo") for what in ("value", "∂mean", "∂logvar")]
    table(["σ", *head], [nll_row(10.0**k) for k in range(-30, 31, 10)])


if __name__ == "__main__":
    main()
