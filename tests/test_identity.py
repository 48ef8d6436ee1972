"""Where the MSE comes from: the Gaussian NLL of one shared σ² in its three forms, and the two usual slips.

    NLL = SSE/(2σ²) + (D/2)·log(2πσ²) = D·MSE/(2σ²) + (D/2)·log(2πσ²),   NLL/D = MSE/(2σ²) + ½·log(2πσ²)

The right-hand sides are computed at 60 digits from the very floats that the left-hand side got.
"""

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st
from mpmath import mp, mpf

import fastelbo as fe
import rounding
import strategies
import variance
from marks import DTYPES
from rounding import eps

C = mp.log(2 * mp.pi) / 2


def exact(x, mean, scale):
    """Exact r² and Σ|term| of each element, and log σ²."""
    ((name, raw),) = scale.items()
    r2 = np.asarray(np.frompyfunc(lambda a, b: (mpf(float(a)) - mpf(float(b))) ** 2, 2, 1)(x, mean), object)
    s = variance.logvar(name, mpf(float(raw)))
    return r2, r2 / mp.exp(s) / 2 + C + abs(s) / 2, s


def check_normal(r2, dtype):
    """An error relative to the mean of squares needs squares, and a sum of them, that are normal numbers."""
    limits = np.finfo(dtype)
    assume(all(y == 0 or y >= float(limits.tiny) for y in r2.flat) and r2.sum() <= float(limits.max))


@given(strategies.gaussians(), st.booleans())
def test_sum_of_squares(problem, full):
    """SSE, or with full=False without the 2π, within the policy's 10·eps·Σ|term|."""
    x, mean, scale = problem
    r2, terms, s = exact(x, mean, scale)
    identity = r2.sum() / (2 * mp.exp(s)) + x.size * (s / 2 + (C if full else 0))
    bound = 10 * eps(x.dtype) * (terms - (0 if full else C)).sum()
    got = fe.gaussian_nll(x, mean, **scale, full=full, axis=None)
    rounding.check(got, identity, bound, x.dtype, "SSE form")


@given(strategies.gaussians())
def test_mean_of_squares(problem):
    """D·MSE, by the package's own MSE: 6 eps of its term more (r twice, r², 8 additions and /D are 12 u)."""
    x, mean, scale = problem
    r2, terms, s = exact(x, mean, scale)
    check_normal(r2, x.dtype)
    identity = x.size * (mpf(float(fe.optimal_var(x, mean))) / (2 * mp.exp(s)) + s / 2 + C)
    bound = eps(x.dtype) * (10 * terms.sum() + 6 * r2.sum() / (2 * mp.exp(s)))
    rounding.check(fe.gaussian_nll(x, mean, **scale, axis=None), identity, bound, x.dtype, "D·MSE form")


@given(strategies.gaussians())
def test_per_element(problem):
    """MSE/(2σ²) + ½·log(2πσ²) is NLL/D; and each element by itself is its own event."""
    x, mean, scale = problem
    r2, terms, s = exact(x, mean, scale)
    elements = fe.gaussian_nll(x, mean, **scale, axis=())
    rounding.check(elements, r2 / (2 * mp.exp(s)) + s / 2 + C, 10 * eps(x.dtype) * terms, x.dtype, "element")
    per_element = float(fe.gaussian_nll(x, mean, **scale, axis=None)) / x.size  # one more rounding, float64
    identity = r2.sum() / x.size / (2 * mp.exp(s)) + s / 2 + C
    bound = (10 * eps(x.dtype) + eps(float)) * terms.sum() / x.size
    rounding.check(per_element, identity, bound, x.dtype, "NLL/D")


@given(strategies.gaussians())
def test_full_false_drops_the_constant_only(problem):
    x, mean, scale = problem
    _, terms, _ = exact(x, mean, scale)
    assume(2 * terms.sum() < float(np.finfo(x.dtype).max))
    whole, part = (fe.gaussian_nll(x, mean, **scale, axis=None, full=full) for full in (True, False))
    error = abs(mpf(float(whole)) - mpf(float(part)) - x.size * C)
    assert error <= 2 * 10 * eps(x.dtype) * terms.sum()  # the policy's bound, twice


@DTYPES
def test_first_slip_the_mean_for_the_sum(dtype):
    """MSE/(2σ²) + (D/2)·log(2πσ²) forgets D − 1 of the D squares: 1709 nats at D = 784, σ² = 0.04."""
    size, var, mse = 784, dtype(0.04), 0.1746
    r = np.full(size, np.sqrt(mse), dtype)
    slip = mse / (2 * float(var)) + size / 2 * np.log(2 * np.pi * float(var))
    assert round(float(fe.gaussian_nll(r, np.zeros_like(r), var=var)) - slip) == 1709
    assert round((size - 1) * mse / (2 * float(var))) == 1709


def test_second_slip_the_variance_for_its_logarithm():
    """−½·log Π σᵢ² is −½ Σ log σᵢ², not −½ Σ σᵢ²: with the slip the optimum is σ² = |r|, not σ² = r²."""
    r = np.array([0.1, 0.5, 2.0, 10.0])
    slipped = 0.5 - r**2 / (2 * abs(r) ** 2)  # d/dσ² of the slipped ½σ² + r²/(2σ²), at σ² = |r|
    rounding = 6 * np.finfo(float).eps / 2  # the policy's 6 eps, of terms of ½ in units of 1/σ²
    assert np.all(abs(slipped) <= rounding)
    right, wrong = (fe.gaussian_nll_grad(r, 0 * r, var=v, axis=(), wrt="scale").scale for v in (r**2, abs(r)))
    assert np.all(abs(right * r**2) <= rounding * 1.5)  # r² was rounded: u of the term more
    assert np.all(abs(wrong * abs(r)) >= 0.24)  # ½(1 − |r|)


@given(strategies.gaussians(), strategies.scale_names)
def test_optimum_is_the_mean_squared_error(problem, name):
    """At σ*² = MSE the gradient vanishes and NLL = (D/2)·(1 + log 2π + log MSE), for every form of scale."""
    x, mean, scale = problem
    r2, _, _ = exact(x, mean, scale)
    check_normal(r2, x.dtype)
    dtype, size, mse = x.dtype, x.size, r2.sum() / x.size
    limits = np.finfo(dtype)
    assume(100 * float(limits.tiny) < mse < float(limits.max) / 100)  # so that σ² and 1/σ² are normal
    raw = dtype.type(variance.raw_of(name, np.log(float(mse))))
    value, *_, gradient = fe.gaussian_nll_grad(x, mean, **{name: raw}, axis=None, wrt="scale")

    # raw is a float64 log and exp (4·(|s| + 1)·eps64 is ample) rounded once, which moves s by u·|s|, or by
    # |k|·u for a linear raw
    s = variance.logvar(name, mpf(float(raw)))
    missed = abs(mp.log(mse) - s)
    assert missed <= eps(dtype) * max(abs(s), 2) / 2 + 4 * (abs(s) + 1) * eps(float)
    # ∂s = (D/2)(1 − MSE/v) follows that; and its sum over D elements, whose terms are ½ and ½r²/v, has an
    # error of 11·eps·Σ|largest term| (see test_accuracy), and the terms sum to D at the optimum
    slope = abs(variance.slope(name, mpf(float(raw))))
    bound = slope * size * (abs(mp.expm1(missed)) / 2 + 11 * eps(dtype))
    rounding.check(gradient, mpf(0), bound, dtype, "gradient")
    # the NLL is stationary: its own bound, and the square of what was missed
    optimum = size * (1 + 2 * C + mp.log(mse)) / 2
    bound = 10 * eps(dtype) * size * (C + abs(s) / 2 + mpf(1) / 2) + size * missed**2
    rounding.check(value, optimum, bound, dtype, "optimum")
