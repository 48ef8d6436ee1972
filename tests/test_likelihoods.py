"""Identities that only one likelihood has. Bounds are those of promises.py: an element, 6 eps of its terms;
a sum, 10 of a value and 11 of a gradient; a bin 20.
"""

import numpy as np
import pytest
from mpmath import mp

import declared
import digits
import fastelbo as fe
import oracles
import rounding
import variance
from marks import DTYPES, TWO_FORMS
from rounding import eps

WRT = ("x", "mean", "scale")


def of(name: str):
    """Of a likelihood that this build has."""
    return pytest.mark.skipif(name not in declared.LOSSES, reason=f"{name} is not declared")


def arguments(dtype, count: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x, mean, and log σ within ±3, all rounded."""
    generator = np.random.default_rng(11)
    x, mean = generator.normal(0, 3, (2, count)).astype(dtype)
    return x, mean, generator.uniform(-3, 3, count).astype(dtype)


def raw_of(form: str, log) -> np.ndarray:
    return np.exp(log) if declared.is_linear(form) else log


LAPLACE = of("laplace_nll")
STUDENT_T = of("student_t_nll")
BINS = of("discretized_gaussian_nll")


@LAPLACE
@TWO_FORMS
@DTYPES
@pytest.mark.parametrize("options", [{}, {"reduction": "sum"}, {"weight": "rows"}], ids=str)
def test_the_best_laplace_scale_of_a_column_is_its_mean_distance(form, options, dtype):
    """There the gradient is 0, of terms w and w·|r|/b: but for their bound, and what rounding b moves."""
    x, mean, _ = (array.reshape(12, 5) for array in arguments(dtype))
    weight = np.ones((12, 1)) if "weight" not in options else np.arange(1.0, 13)[:, np.newaxis]
    best = np.average(abs(x.astype(float) - mean), axis=0, weights=weight[:, 0])
    raw = raw_of(form, np.log(best)).astype(dtype)
    options = options | ({"weight": weight} if "weight" in options else {})
    got = fe.laplace_nll_grad(x, mean, **{form: raw}, **options)
    slope = 1 / best if form == "scale" else 1.0
    moved = eps(dtype) * (1 if form == "scale" else np.maximum(1, abs(raw.astype(float))))
    assert np.all(abs(got.scale) <= (11 * eps(dtype) + moved) * weight.sum() * slope)
    near = [np.sum(fe.laplace_nll(x, mean, scale=best * by, **options)) for by in (0.9, 1, 1.1)]
    assert near[1] < min(near[0], near[2])


@LAPLACE
@DTYPES
def test_laplace_of_no_distance(dtype):
    """∂ at r = 0 is 0, and the value log 2b."""
    x, _, log = arguments(dtype)
    got = fe.laplace_nll_grad(x, x, logscale=log, axis=(), wrt=WRT)
    assert not np.any(got.x)
    assert not np.any(got.mean)
    assert np.all(got.scale == 1)
    want = np.log(2) + log.astype(float)
    assert np.all(abs(got.value - want) <= 6 * eps(dtype) * (1 + abs(want)))


@STUDENT_T
@TWO_FORMS
@DTYPES
@pytest.mark.parametrize("axis", [(), -1])
def test_many_degrees_of_freedom_are_gaussian(form, axis, dtype):
    x, mean, log = arguments(dtype)
    raw = raw_of(form, log)
    gaussian = {{"scale": "std", "logscale": "logstd"}[form]: raw}
    want = fe.gaussian_nll_grad(x, mean, **gaussian, axis=axis, wrt=WRT)
    sizes = oracles.call("gaussian_nll", x=x, mean=mean, **gaussian, axis=axis)
    for df in (np.inf, dtype(np.inf), np.full_like(x, np.inf)):
        got = fe.student_t_nll_grad(x, mean, df=df, **{form: raw}, axis=axis, wrt=WRT)
        for member, bound in (("value", 20), ("x", 12), ("mean", 12), ("scale", 12)):
            size = sizes[member].size.astype(float)
            assert np.all(abs(getattr(got, member) - getattr(want, member)) <= bound * eps(dtype) * size)


@STUDENT_T
@TWO_FORMS
@DTYPES
def test_one_degree_of_freedom_is_cauchy(form, dtype):
    """log π + log s + log(1 + z²): 4½ eps of these three."""
    x, mean, log = arguments(dtype)
    raw = raw_of(form, log)
    r = digits.exact(x) - digits.exact(mean)
    scale = np.frompyfunc(lambda y: y if form == "scale" else mp.exp(y), 1, 1)(digits.exact(raw))
    terms = [np.frompyfunc(mp.log, 1, 1)(part) for part in (scale, 1 + (r / scale) ** 2)]
    got = fe.student_t_nll(x, mean, df=1.0, **{form: raw}, axis=())
    size = mp.log(mp.pi) + abs(terms[0]) + terms[1]
    rounding.check(got, mp.log(mp.pi) + sum(terms), 6 * eps(dtype) * size, dtype, "Cauchy")


@BINS
@DTYPES
@pytest.mark.parametrize(("mean", "std"), [(0.3, 0.02), (-0.01, 1e-3), (0.5, 3.0), (2.0, 0.1), (0.25, 1e-5)])
def test_the_probabilities_of_all_bins_sum_to_1(mean, std, dtype):
    """Of numbers k/256, in which no edge is rounded: each is right to 20 eps·max(1, −log P) of itself."""
    pixels = np.arange(256, dtype=np.uint8)
    bins = {"bin": 2.0**-8, "low": 0.0, "high": 255 / 256, "x_scale": 2.0**-8}
    nll = fe.discretized_gaussian_nll(pixels, np.full(256, mean, dtype), std=dtype(std), axis=(), **bins)
    p = np.exp(-nll.astype(float))
    assert nll.dtype == dtype
    assert np.all(nll >= 0)
    assert abs(p.sum() - 1) <= 21 * eps(dtype) * np.sum(p * np.fmax(1, np.where(p > 0, nll, 0)))


@BINS
@DTYPES
@pytest.mark.parametrize("form", variance.SCALES)
def test_a_narrow_bin_holds_its_width_times_the_density(form, dtype):
    """As bin → 0 it is the Gaussian NLL − log bin, with its gradients."""
    x, mean, log = arguments(dtype)
    raw = np.asarray(variance.raw_of(form, 2 * log.astype(float))).astype(dtype)
    width = 2.0**-60
    got = fe.discretized_gaussian_nll_grad(x, mean, **{form: raw}, bin=width, axis=(), wrt=WRT)
    exact = declared.exact("gaussian_nll", {"x": x, "mean": mean, form: raw})
    value = exact["value"].value - mp.log(width)
    rounding.check(got.value, value, 20 * eps(dtype) * abs(value), dtype, "value")
    for member in WRT:
        answer, size = exact[member]
        rounding.check(getattr(got, member), answer, 20 * eps(dtype) * size, dtype, member)
