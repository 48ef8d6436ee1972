"""The σ-VAE's NLL and its gradients: against 60 digits, the reference, and the Gaussian NLL's minimum."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mp, mpf
from numpy.testing import assert_array_equal

import digits
import fastelbo as fe
import rounding
import strategies
from marks import DTYPES, NOISY
from objectives import optimum

RNG = np.random.default_rng(17)


def events(dtype, size):
    """x and mean of the size of r given, as (6, 33)."""
    return [(size * RNG.normal(size=(6, 33))).astype(dtype) for _ in range(2)]


SIZES = pytest.mark.parametrize("size", [1e-35, 1e-6, 1.0, 1e15])
#: As a share of the MSE
FLOORS = pytest.mark.parametrize("floor", [0.0, 1e-3, 10.0])


@DTYPES
@SIZES
@FLOORS
def test_optimal_nll(dtype, size, floor):
    """Within the policy's 10 eps·Σ|term|, terms ½·log 2π, ½·log σ² and ½r²/σ²; −∂mean = r/σ².

    The gradient is good to 6 eps at a given σ. σ is good to half of the 10 eps of an MSE in double and one
    more for √, and is rounded to `dtype`, ½ eps; it counts twice.
    """
    x, mean = events(dtype, size)
    min_var = floor * size**2
    got = fe.optimal_nll_grad(x, mean, axis=-1, min_var=min_var, wrt=("x", "mean"))
    assert_array_equal(got.value, fe.optimal_nll(x, mean, axis=-1, min_var=min_var))
    assert got.value.dtype == got.x.dtype == got.mean.dtype == dtype
    assert_array_equal(got.x, -got.mean)
    _, value, terms, slope = optimum(x, mean, -1, min_var)
    rounding.check(got.value, value, 10 * rounding.eps(dtype) * terms, dtype, "value")
    bound = (7 * rounding.eps(dtype) + 12 * rounding.DOUBLE) * abs(slope)
    for n in range(len(x)):
        assert rounding.check(got.x[n], slope[n], bound[n], dtype, "∂x") > 0


@FLOORS
def test_the_variance_adds_nothing_to_the_gradient(floor):
    """The envelope theorem, by mpmath's derivative of the value, in which σ² moves with the mean."""
    x, mean = RNG.normal(size=(2, 5))
    min_var = floor * float(fe.optimal_var(x, mean))
    got = fe.optimal_nll_grad(x, mean, min_var=min_var)
    for i in range(5):

        def value(at, i=i):
            moved = digits.exact(mean)
            moved[i] = at
            return optimum(x, moved, min_var=min_var).value.item()

        derivative = mp.diff(value, mpf(mean[i]))
        assert abs(derivative - mpf(float(got.mean[i]))) <= 20 * rounding.DOUBLE * abs(derivative)


@pytest.mark.parametrize("axis", [None, -1, (), 0, (-1, -2)])
def test_optimal_nll_is_the_minimum_of_gaussian_nll(axis):
    """At σ²*, where ∂var is 0 but for rounding: 24 eps of its terms, D/(2σ²) each."""
    x, mean = RNG.normal(size=(2, 4, 7))
    var = fe.optimal_var(x, mean, axis=axis)
    axes = range(2) if axis is None else axis
    full = np.expand_dims(var, tuple(axes) if isinstance(axes, range) else axes)
    got = fe.optimal_nll(x, mean, axis=axis)
    at = fe.gaussian_nll_grad(x, mean, var=full, axis=axis)
    assert np.shape(got) == np.shape(at.value)
    np.testing.assert_allclose(got, at.value, rtol=0, atol=20 * rounding.DOUBLE * x.size * 4)
    counts = x.size / max(1, np.size(var))
    assert np.all(abs(at.scale) <= 24 * rounding.DOUBLE * counts / full)
    for factor in (0.9, 1.1):
        assert np.all(fe.gaussian_nll(x, mean, var=factor * full, axis=axis) > got)
    terms = x.size / np.size(got) / 2
    dropped = got - fe.optimal_nll(x, mean, axis=axis, full=False)
    np.testing.assert_allclose(dropped, terms * math.log(2 * math.pi), rtol=1e-13, atol=1e-13)


def parities():
    shapes = [
        ((4, 7), (4, 7)),
        ((7,), (3, 4, 7)),
        ((3, 4, 7), (4, 7)),
        ((4, 7), ()),
        ((), ()),
        ((0, 7), (0, 7)),
    ]
    return itertools.product(shapes, [None, -1, ()], [0.0, 0.5, 4.0], [True, False])


@DTYPES
def test_parity_with_the_reference(dtype):
    """Within 20 eps of the terms' absolute sum, which normal numbers and σ² from 0.5 keep below 40 each."""
    for (x_shape, mean_shape), axis, min_var, full in parities():
        x, mean = (RNG.normal(size=shape).astype(dtype) for shape in (x_shape, mean_shape))
        if (axis == () and min_var == 0.0) or (axis is not None and x.size == 0):
            min_var = 0.5
        options = {"axis": axis, "full": full, "min_var": min_var, "wrt": ("mean", "x")}
        if 0 in x_shape and axis is None:
            assert fe.optimal_nll(x, mean) == 0.0
            continue
        got, want = (module.optimal_nll_grad(x, mean, **options) for module in (fe, fe.reference))
        for mine, theirs in zip(got, want, strict=True):
            assert np.shape(mine) == np.shape(theirs)
            assert mine.dtype == dtype
            atol = 20 * rounding.eps(dtype) * 40 * max(x.size, mean.size)
            np.testing.assert_allclose(mine, theirs, rtol=0, atol=atol)


def test_an_mse_of_0():
    """The value has a limit, −inf, the gradient has none; a floor gives both. NaN stays in its row."""
    x = np.array([[1.0, 2.0], [3.0, 5.0], [np.nan, 0.0]])
    mean = np.array([[1.0, 2.0], [3.0, 4.0], [0.0, 0.0]])
    value = fe.optimal_nll(x, mean, axis=-1)
    assert value[0] == -np.inf
    assert np.isfinite(value[1])
    assert np.isnan(value[2])
    with pytest.raises(ValueError, match=r"variance of event \[0\] is 0, as x equals mean.*min_var"):
        fe.optimal_nll_grad(x, mean, axis=-1)
    with pytest.raises(ValueError, match=r"the optimal variance is 0, as x equals mean.*min_var"):
        fe.optimal_nll_grad(x[0], mean[0])
    assert fe.optimal_nll_grad(x[0], mean[0], wrt=()).value == -np.inf
    got = fe.optimal_nll_grad(x, mean, axis=-1, min_var=0.25)
    assert np.isclose(got.value[0], fe.gaussian_nll(x[0], mean[0], var=0.25), rtol=1e-14)
    np.testing.assert_allclose(got.mean[:2], [[0, 0], [0, -2]], rtol=1e-14)
    assert np.isnan(got.mean[2, 0])


@NOISY
def test_infinite_errors_in_silence(noisy):
    with np.errstate(all=noisy):
        wanted = {(np.inf, 1.0): np.inf, (np.nan, 1.0): np.nan, (0.0, 0.0): -np.inf, (): 0.0}
        for x, want in wanted.items():
            x = np.array(x)
            assert_array_equal(fe.optimal_nll(x, np.zeros_like(x)), want)
            assert_array_equal(fe.optimal_nll(x, np.zeros_like(x), weight=np.ones(x.shape)), want)
            fe.optimal_nll_grad(x, np.zeros_like(x), min_var=1.0)


def test_small_squares_in_float32():
    """(1e-30)² is no float32, but the NLL is."""
    x = np.full(8, 1e-30, np.float32)
    r = float(x[0])
    got = fe.optimal_nll_grad(x, np.zeros_like(x))
    assert np.isclose(got.value, 4 * (1 + math.log(2 * math.pi) + 2 * math.log(r)), rtol=1e-6)
    np.testing.assert_allclose(got.mean, np.full(8, -1 / r), rtol=1e-6)


@given(payload=st.data())
def test_optimal_nll_in_any_layout_and_into_any_out(payload):
    shape, dtype = payload.draw(strategies.shapes()), payload.draw(strategies.dtypes)
    x, mean = (RNG.normal(size=shape).astype(dtype) for _ in range(2))
    layouts = [payload.draw(strategies.layouts) for _ in range(2)]
    want = fe.optimal_nll_grad(x, mean, axis=-1, wrt=("x", "mean"))
    got = fe.optimal_nll_grad(layouts[0](x), layouts[1](mean), axis=-1, wrt=("x", "mean"))
    out = (np.empty_like(want.value)[..., None][..., 0] if want.value.ndim else np.empty((), dtype), x, mean)
    inside = fe.optimal_nll_grad(x, mean, axis=-1, wrt=("x", "mean"), out=out)
    for mine, over, place, theirs in zip(got, inside, out, want, strict=True):
        assert_array_equal(mine, theirs)
        assert_array_equal(over, theirs)
        assert over is place
