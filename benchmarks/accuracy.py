"""How wrong are the textbook formulas in NumPy, and fastelbo? Both against 80 digits, as two Markdown tables.

    python benchmarks/accuracy.py

KL(q ‖ N(0, I)) where q differs from the prior by 1 … 1e-18, in mean and log σ²; then NLL and gradients where
σ, and the residuals with it, are 1e-30 … 1e30. Needs no more than fastelbo. The textbook formulas are those
of the race. Its own checks are here too: `reference` and `off` for each result, `identity` for where the MSE
comes from.
"""

from __future__ import annotations

import decimal
import math
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np

import fastelbo as fe
import losses
from losses import Elbo, Loss
from processes import Args, Array, FailedError, sample

ROWS, D = 64, 32
LOG_2PI = Decimal("1.8378770664093454835606594728112352797227949472755668256343030809655313918545207954")
HALF = Decimal("0.5")
EXACT: Args = {"c": HALF * LOG_2PI, "half": HALF, "one": 1}  # the numbers in the table's text
BLOCK = 2**15  # elements of a reference at a time, in the caches
# Of the size of the terms: more than this is a wrong formula, not a rounding error.
TOLERANCE = {"float32": 1e-3, "float64": 1e-9}
decimal.setcontext(decimal.Context(prec=80))


def normal(dtype: type, size: float, centre: float = 0.0) -> Array:
    """Normal variates, the same at every call but for size and centre."""
    return np.asarray(centre + size * np.random.default_rng(2013).standard_normal((2, ROWS, D)), dtype)


def exactly(array: Array) -> Any:
    """The elements as they are: every float is a decimal number."""
    return np.frompyfunc(lambda a: Decimal(float(a)), 1, 1)(array)


def worst(result: Array, exact: Array, unit: Array) -> float:
    """The largest error, in a unit for each element; inf where the result is no number and should be one."""
    limit = Decimal(float(np.finfo(result.dtype).max))
    errors = [
        abs(Decimal(float(got)) - want) / one if np.isfinite(got) else Decimal("inf")
        for got, want, one in zip(result.ravel(), exact.ravel(), unit.ravel(), strict=True)
        if abs(want) <= limit
    ]
    return float(max(errors))


def kl_textbook(mean: Array, logvar: Array, **numbers: Any) -> Array:
    """What papers and tutorials have: its terms cancel near the prior."""
    return np.asarray(losses.rows(losses.OP["kl"], np, **numbers)(mean=mean, logvar=logvar))


def kl_expm1(mean: Array, logvar: Array) -> Array:
    """The usual remedy: it cancels too, later."""
    return np.asarray(0.5 * (mean**2 + (np.expm1(logvar) - logvar)).sum(axis=-1))


def kl_exact(mean: Array, logvar: Array) -> Array:
    """The textbook's formula, to 80 digits."""
    return kl_textbook(exactly(mean), exactly(logvar), **EXACT)


def kl_row(distance: float) -> list[str]:
    """Worst relative error of each formula, and fastelbo's worst in ULP, at one distance from the prior."""
    theirs, ours = [], []
    for dtype in (np.float32, np.float64):
        mean, logvar = normal(dtype, distance)
        exact = kl_exact(mean, logvar)
        theirs += [worst(form(mean, logvar), exact, exact) for form in (kl_textbook, kl_expm1)]
        ulp = exactly(np.spacing(exact.astype(dtype)))
        ours.append(worst(fe.gaussian_kl(mean, logvar=logvar), exact, ulp))
    shown = ["> 100 %" if e > 1 else f"{100 * e:.2g} %" if e >= 1e-3 else f"{e:.0e}" for e in theirs]
    return [f"{distance:.0e}", *shown, *(f"{e:.2f} ULP" for e in ours)]


def nll_textbook(r: Array, logvar: Array, **numbers: Any) -> list[Any]:
    """Value, ∂mean and ∂logvar as the formulas stand, for x − mean = r."""
    op, args = losses.OP["nll_logvar"], {"x": r, "mean": np.zeros_like(r), "logvar": logvar}
    functions = [losses.function(op.args, text, np, **numbers) for text in op.grads.values()]
    return [f(**args) for f in (losses.rows(op, np, **numbers), *functions)]


def nll_row(std: float) -> list[str]:
    """Worst errors at one σ, in eps of the terms: their sum for the value, the largest for a gradient."""
    r, logvar = normal(np.float32, std)[0], normal(np.float32, 1.0, 2 * math.log(std))[1]
    _, d_mean, d_logvar = exact = nll_textbook(exactly(r), exactly(logvar), **EXACT)
    square, eps = HALF - d_logvar, Decimal(float(np.finfo(np.float32).eps))
    size = (HALF * (LOG_2PI + abs(exactly(logvar))) + square).sum(axis=-1)
    units = [eps * size, eps * abs(d_mean), eps * square.clip(HALF)]
    ours = fe.gaussian_nll_grad(r, np.zeros_like(r), logvar=logvar)
    results = (*nll_textbook(r, logvar), ours.value, ours.mean, ours.scale)
    errors = [worst(*each) for each in zip(results, exact * 2, units * 2, strict=True)]
    return [f"{std:.0e}", *("inf or NaN" if math.isinf(e) else f"{e:.2g} eps" for e in errors)]


class Identity(NamedTuple):
    """NLL = D·MSE/(2σ²) + (D/2)·log 2πσ² on one data set, row by row; σ² is the MSE of all, the optimum."""

    data: str
    var: float
    nll: float  # mean over the rows, by fastelbo
    right: float  # the same, by the right-hand side in long double
    ulp: float  # worst difference of a row
    slip: float  # mean error of the right-hand side with MSE in place of D·MSE: the usual slip
    holds: bool  # within 20 ULP: the package promises 10·eps of the terms, and no term is negative here


def identity(data: str, x: Array, mean: Array) -> Identity:
    """Both sides compared."""
    var = x.dtype.type(fe.optimal_var(x, mean))
    nll = fe.gaussian_nll(x, mean, var=float(var))
    wide, d = np.longdouble(var), x.shape[1]
    mse = np.mean((x.astype(np.longdouble) - mean) ** 2, axis=1)
    right = d * mse / (2 * wide) + wide.dtype.type(d) / 2 * np.log(8 * np.arctan(wide.dtype.type(1)) * wide)
    ulp = float(np.max(np.abs(nll - right) / np.spacing(nll)))
    slip = float(np.mean((d - 1) * mse / (2 * wide)))
    left = float(np.mean(nll, dtype=np.float64))
    return Identity(data, float(var), left, float(np.mean(right)), ulp, slip, ulp <= 20)


class Reference(NamedTuple):
    """What is right, in float64: values, the size of their terms, and a sample of each gradient."""

    value: Array
    magnitude: Array
    grads: tuple[Array, ...]


def reference(loss: Loss, args: Args) -> Reference:
    """The answer of `fastelbo.reference`, element by element."""
    if isinstance(loss, Elbo):
        parts = [(losses.share(own), reference(op, own)) for op, own in loss.parts(args)]
        value, size = (np.sum([getattr(r, k).mean() for _, r in parts]) for k in ("value", "magnitude"))
        return Reference(value, size, tuple(weight * g for weight, r in parts for g in r.grads))
    shape = args["mean"].shape
    flat = {k: np.broadcast_to(a, shape).reshape(-1) if np.ndim(a) else a for k, a in args.items()}

    def answer(some: Args, wrt: Iterable[str]) -> tuple[Array, ...]:
        f, names = losses.public(loss, some, grad=True, module="fastelbo.reference")
        found = f(axis=(), wrt=[names[k] for k in wrt])
        return (found.value, *(getattr(found, names[k]) for k in wrt))

    terms, row_grads = np.empty(shape), np.zeros(len(loss.row_grads))
    for i in range(0, terms.size, BLOCK):
        block = {k: a[i : i + BLOCK] if np.ndim(a) else a for k, a in flat.items()}
        terms.reshape(-1)[i : i + BLOCK], *totals = answer(block, loss.row_grads)
        row_grads += totals
    _, *grads = answer({k: sample(a) if np.ndim(a) else a for k, a in flat.items()}, loss.grads)
    return Reference(terms.sum(-1), np.abs(terms).sum(-1), (*grads, *row_grads))


def off(answer: Any, expected: Reference, dtype: str) -> float:
    """Worst error in eps of the size of the terms; raises where that is no matter of rounding."""
    value, grads = answer
    largest = float(np.max(np.abs(value - expected.value) / expected.magnitude))
    if not largest <= TOLERANCE[dtype]:
        raise FailedError(f"wrong value, off by {largest:.1e} of the terms")
    for got, want in zip(grads, expected.grads, strict=False):
        error = float(np.max(np.abs(got - want)) / np.max(np.abs(want)))
        if not error <= TOLERANCE[dtype]:
            raise FailedError(f"wrong gradient, off by {error:.1e}")
    return largest / float(np.finfo(dtype).eps)


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
