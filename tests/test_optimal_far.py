"""The σ-VAE's NLL where squares, products or differences leave float64 or the dtype: against 60 digits."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from mpmath import mp
from numpy.testing import assert_array_equal

import fastelbo as fe
import rounding
import strategies
from marks import DTYPES
from objectives import optimum

RNG = np.random.default_rng(17)

#: Sizes of r whose squares leave float64, or are subnormal
FAR = (1e-320, 1e-200, 1e-170, 1.234567e-161, 3e-155, 1e-150, 1e151, 1e154, 1.3e154, 1e200, 1e300)


@pytest.mark.parametrize("floor", [0.0, 1e-320, 1e-280, 1e280])
@pytest.mark.parametrize("axis", [None, -1, 0])
@pytest.mark.parametrize("size", FAR)
def test_errors_whose_squares_leave_float64(size, axis, floor):
    """Alone, with weights, a mask and a factor, and beside an ordinary event."""
    noise = RNG.normal(size=(4, 3))
    x, mean = size * noise, np.zeros((4, 3))
    mask, weight = np.abs(noise) < 1.5, RNG.integers(1, 9, (4, 3)) / 8
    mask[np.arange(4), [0, 1, 2, 0]] = True  # something is left of each event
    if axis == -1:
        x[1] = noise[1]
    options = {"axis": axis, "min_var": floor}
    for extra in (
        {},
        {"weight": weight},
        {"where": mask},
        {"weight": weight, "where": mask, "x_scale": -2.0},
    ):
        var, value, terms, slope = optimum(x, mean, axis, floor, **extra)
        poisoned = np.where(extra.get("where", True), x, np.nan)
        got = fe.optimal_nll_grad(poisoned, mean, **options, **extra)
        rounding.check(got.value, value, 10 * rounding.DOUBLE * terms, np.float64, "value")
        checked = rounding.check(got.mean, -slope, 20 * rounding.DOUBLE * abs(slope), np.float64, "∂mean")
        assert checked or size < 1e-300
        plain = {name: option for name, option in extra.items() if name != "min_var"}
        got = fe.optimal_var(poisoned, mean, axis, **plain)
        rounding.check(got, var, 10 * rounding.DOUBLE * abs(var), np.float64, "variance")


@pytest.mark.parametrize(
    ("size", "value", "slope"), [(1e-170, -2340.1232, 1e170), (1e154, 2136.1023, 1e-154)]
)
def test_the_values_of_the_detour(size, value, slope):
    got = fe.optimal_nll_grad(np.full((2, 3), size), np.zeros((2, 3)))
    assert got.value.round(4) == value
    np.testing.assert_allclose(got.mean, -slope, rtol=1e-15)
    assert fe.optimal_var(np.full(4, 1e154), np.zeros(4)) == 1e308  # though the sum of squares overflows


def test_weights_of_any_size():
    """w·r² leaves float64 where neither does, and the largest r need not have the largest term."""
    x = np.array([[1.0, 1e-170], [1.0, 1e-170], [1e160, 1.0], [1.0, 3.0]])
    weight = np.array([[1e-300, 1e300], [1e300, 1e300], [1e-310, 1e10], [1e-310, 1e-310]])
    var, value, terms, slope = optimum(x, 0 * x, -1, weight=weight)
    rounding.check(fe.optimal_var(x, 0 * x, -1, weight=weight), var, 10 * rounding.DOUBLE * var, np.float64)
    got = fe.optimal_nll_grad(x, 0 * x, axis=-1, weight=weight)
    rounding.check(got.value, value, 10 * rounding.DOUBLE * terms, np.float64)
    for n in (1, 3):
        rounding.check(got.mean[n], -slope[n], 20 * rounding.DOUBLE * abs(slope[n]), np.float64)


@DTYPES
def test_subnormal_optimal_std(dtype):
    """σ* of a subnormal number has few digits, w·r/σ*² may have all."""
    tiny = float(np.finfo(dtype).tiny)
    x = np.array([[0.7, 0.3, 1e-3], [0.4, 0.2, 0.01]]) * tiny
    x, mean = x.astype(dtype), np.zeros((2, 3), dtype)
    for weight in (None, np.full((2, 3), 0.5)):
        options = {"axis": -1, "weight": weight}
        _, value, terms, slope = optimum(x, mean, **options)
        got = fe.optimal_nll_grad(x, mean, **options)
        rounding.check(got.value, value, 10 * rounding.eps(dtype) * terms, dtype)
        bound = (8 * rounding.eps(dtype) + 12 * rounding.DOUBLE) * abs(slope)
        assert rounding.check(got.mean, -slope, bound, dtype) >= 2


@DTYPES
def test_differences_beyond_the_dtype(dtype):
    """x − μ overflows, the NLL does not."""
    a = np.array([[0.9], [1.0], [1e-30]], dtype) * np.finfo(dtype).max
    for axis in (None, -1):
        var, value, terms, _ = optimum(a, -a, axis)
        rounding.check(fe.optimal_var(a, -a, axis), var, 10 * rounding.eps(dtype) * var, dtype)
        rounding.check(fe.optimal_nll(a, -a, axis=axis), value, 10 * rounding.eps(dtype) * terms, dtype)


@DTYPES
def test_gradients_of_differences_beyond_the_dtype(dtype):
    a = np.array([[0.9], [1.0], [1e-30]], dtype) * np.finfo(dtype).max
    for axis, weight in itertools.product((None, -1), (None, np.full((3, 1), 0.75, dtype))):
        slope = optimum(a, -a, axis, weight=weight).slope
        got = fe.optimal_nll_grad(a, -a, axis=axis, weight=weight)
        rounding.check(got.mean, -slope, (8 * rounding.eps(dtype) + 12 * rounding.DOUBLE) * abs(slope), dtype)


@pytest.mark.parametrize("width", [3, 20_000])
def test_splits_of_the_batch_change_no_bit_of_far_rows(width):
    """A long event is summed in blocks, several short ones are one block; layouts don't matter either."""
    x = 1e-170 * RNG.normal(size=(5, width))
    mask = RNG.random(x.shape) < 0.8
    whole = fe.optimal_nll_grad(x, 0 * x, axis=-1, where=mask)
    for n in range(5):
        alone = fe.optimal_nll_grad(x[n : n + 1], 0 * x[:1], axis=-1, where=mask[n : n + 1])
        assert_array_equal(alone.value[0], whole.value[n])
        assert_array_equal(alone.mean[0], whole.mean[n])
    turned = fe.optimal_nll_grad(np.asfortranarray(x).T, 0 * x.T, axis=0, where=mask.T)
    assert_array_equal(turned.value, whole.value)
    assert_array_equal(turned.mean.T, whole.mean)


EXTREMES = st.sampled_from([0.0, 1e-310, 1e-170, 1e-155, 1.0, 3.0, -2.0, 1e155, 1e170, 1e300])


@given(payload=st.data())
def test_extremes_in_every_argument(payload):
    """Scaled by 2ⁿ, x, μ and σ* are scaled alike, exactly; and nothing is more wrong than the policy says."""
    shape = payload.draw(strategies.shapes(min_dims=2, max_dims=2, max_side=4))
    x = payload.draw(hnp.arrays(np.float64, shape, elements=EXTREMES))
    weight = payload.draw(
        hnp.arrays(np.float64, shape, elements=st.sampled_from([0.0, 1.0, 2.5, 1e-30, 1e30]))
    )
    mask = payload.draw(hnp.arrays(bool, shape))
    min_var = payload.draw(st.sampled_from([0.0, 1e-300, 1.0]))
    options = {"axis": -1, "weight": weight, "where": mask, "min_var": min_var}
    _, value, terms, slope = optimum(x, 0 * x, **options)
    assert_array_equal(np.isinf(fe.optimal_nll(x, 0 * x, **options)), [mp.isinf(v) for v in value])
    finite = np.array([not mp.isinf(v) for v in value])
    options |= {name: options[name][finite] for name in ("weight", "where")}
    got = fe.optimal_nll_grad(x[finite], 0 * x[finite], **options)
    rounding.check(got.value, value[finite], 12 * rounding.DOUBLE * terms[finite], np.float64)
    rounding.check(got.mean, -slope[finite], 20 * rounding.DOUBLE * abs(slope[finite]), np.float64)
