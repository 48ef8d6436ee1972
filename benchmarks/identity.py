"""Where the MSE comes from, shown on real data: NLL = D·MSE/(2σ²) + (D/2)·log 2πσ², row by row."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal, localcontext

import numpy as np

import inputs
from inputs import Array

PI = Decimal("3.141592653589793238462643383279502884197169")
BOUND = 20  # ULP: the package promises 10·eps of the terms, and no term is negative here


@dataclass(frozen=True)
class Shown:
    """The identity on one data set and dtype. Differences are worst cases over the rows."""

    case: str
    dtype: str
    shape: tuple[int, int]
    var: float  # σ² = MSE over everything: the optimum
    nll: float  # mean over the rows, by fastelbo
    right: float  # the same, by the right-hand side
    ulp: float  # worst difference
    slip: float  # mean error of the right-hand side with MSE in place of D·MSE: the usual slip

    @property
    def holds(self) -> bool:
        """Whether the difference is one of rounding."""
        return self.ulp <= BOUND


def exact_sse(x: Array, mean: Array) -> list[float]:
    """Σ (x − mean)² of each row, correctly rounded: each step keeps its error, fsum adds them all."""
    x, minus = x.astype(np.float64), -mean.astype(np.float64)
    r = x + minus
    shift = r - x
    r_low = (x - (r - shift)) + (minus - shift)  # Knuth's TwoSum
    high = r * (2.0**27 + 1)
    high = high - (high - r)
    low = r - high
    square = r * r
    square_low = ((high * high - square) + 2 * high * low) + low * low  # Dekker's product
    parts = np.concatenate([square, square_low, 2 * r * r_low], axis=1)
    return [math.fsum(row) for row in parts.tolist()]


def show(case: str, dtype: str) -> Shown:
    """Compare fastelbo's NLL with the right-hand side in 40-digit arithmetic."""
    import fastelbo as fe

    data = inputs.load(case, dtype).nll
    x, mean = data["x"], data["mean"]
    n, d = x.shape
    var = float(x.dtype.type(fe.optimal_var(x, mean)))
    nll = fe.gaussian_nll(x, mean, var=var)
    with localcontext() as context:
        context.prec = 40
        log_term = Decimal(d) / 2 * (2 * PI * Decimal(var)).ln()
        mse = [Decimal(sse) / d for sse in exact_sse(x, mean)]
        right = [d * m / (2 * Decimal(var)) + log_term for m in mse]
        slip = [(d - 1) * m / (2 * Decimal(var)) for m in mse]
        off = [
            abs(Decimal(float(a)) - b) / Decimal(float(np.spacing(a)))
            for a, b in zip(nll, right, strict=True)
        ]
    left = float(np.mean(nll, dtype=np.float64))
    return Shown(case, dtype, (n, d), var, left, float(sum(right) / n), float(max(off)), float(sum(slip) / n))
