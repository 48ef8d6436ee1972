"""The σ-VAE's NLL under weights, masks and reductions: against 60 digits and the Gaussian NLL."""

import math

import numpy as np
import pytest
from mpmath import mp
from numpy.testing import assert_array_equal

import fastelbo as fe
import rounding
from fastelbo._rules.axes import event_axes
from marks import DTYPES, REDUCTIONS
from objectives import optimum

RNG = np.random.default_rng(17)

WEIGHTS = ("none", "rows", "features", "elements", "some 0")
MASKS = ("none", "features", "elements", "a row", "all")


def weight_of(which, shape, rows, dtype):
    eighths = RNG.integers(1, 17, shape).astype(dtype) / 8
    made = {
        "none": None,
        "rows": RNG.integers(1, 17, rows).astype(dtype) / 8,
        "features": eighths[:1],
        "elements": eighths,
        "some 0": np.where(RNG.random(shape) < 0.4, dtype(0), eighths),
    }
    return made[which]


def mask_of(which, shape):
    noise = RNG.random(shape) < 0.6
    a_row = np.arange(shape[0])[:, None] != 1
    return {"none": None, "features": noise[0], "elements": noise, "a row": a_row, "all": np.array(False)}[
        which
    ]


@DTYPES
@REDUCTIONS
@pytest.mark.parametrize("axis", [None, -1, 0, ()])
@pytest.mark.parametrize("which_mask", MASKS)
@pytest.mark.parametrize("which_weight", WEIGHTS)
def test_mask_and_weight(which_weight, which_mask, axis, reduction, dtype):
    """Against 60 digits, with NaN where elements are removed, and once more in place.

    The bounds are those of `test_optimal_nll`; rows that are summed may each be wrong by theirs.
    """
    shape = (3, 5)
    x, mean = (RNG.normal(size=shape).astype(dtype) for _ in range(2))
    events = event_axes(axis, shape, "x")
    rows = tuple([n for i, n in enumerate(shape) if i not in events])
    weight, mask = weight_of(which_weight, shape, rows, dtype), mask_of(which_mask, shape)
    everywhere = np.broadcast_to(True if mask is None else mask, shape)
    var, value, size, slope = optimum(x, mean, axis, 0.25, weight=weight, where=mask)
    x, mean = np.where(everywhere, x, dtype(np.nan)), np.where(everywhere, mean, dtype(np.inf))
    options = {"axis": axis, "weight": weight, "where": mask}
    eps = rounding.eps(dtype)

    got_var = np.asarray(fe.optimal_var(x, mean, **options))
    for row in np.ndindex(*rows):
        assert mp.isnan(var[row]) == np.isnan(got_var[row])
        if not mp.isnan(var[row]):
            rounding.check(got_var[row], var[row], 6 * eps * var[row], dtype, "variance")

    options |= {"min_var": 0.25, "reduction": reduction}
    got = fe.optimal_nll_grad(x, mean, **options, wrt=("x", "mean"))
    assert_array_equal(got.value, fe.optimal_nll(x, mean, **options))
    count = {"none": 1, "sum": 1, "mean": math.prod(rows)}[reduction]
    if reduction == "none":
        rounding.check(got.value, value, 10 * eps * size, dtype, "value")
        assert got.value.dtype == dtype
    else:
        assert type(got.value) is float
        bound = 10 * rounding.DOUBLE * np.sum(size) / count  # of unrounded rows
        rounding.check(got.value, np.asarray(np.sum(value) / count), bound, np.float64, "value")
    bound = (8 * eps + 12 * rounding.DOUBLE) * abs(slope) / count
    rounding.check(got.x, slope / count, bound, dtype, "∂x")
    assert_array_equal(got.x, -got.mean)
    assert np.all(got.x[~everywhere] == 0)

    out = (np.empty(rows, dtype) if reduction == "none" else None, x.copy(), mean.copy())
    again = fe.optimal_nll_grad(out[1], out[2], **options, wrt=("x", "mean"), out=out)
    for one, two, place in zip(again, got, out, strict=True):
        assert_array_equal(one, two)
        assert place is None or one is place
    if which_weight in ("elements", "some 0"):
        out = (None, weight.copy(), None)
        again = fe.optimal_nll_grad(x, mean, **options | {"weight": out[1]}, wrt="x", out=out)
        assert_array_equal(again.x, got.x)


@pytest.mark.parametrize("axis", [None, -1])
def test_it_is_gaussian_nll_at_its_minimum_with_the_same_weights(axis):
    x, mean = RNG.normal(size=(2, 4, 7))
    options = {"axis": axis, "weight": RNG.random((4, 7)), "where": RNG.random((4, 7)) < 0.7}
    var = np.expand_dims(fe.optimal_var(x, mean, **options), (0, 1) if axis is None else axis)
    got = fe.optimal_nll(x, mean, **options)
    np.testing.assert_allclose(got, fe.gaussian_nll(x, mean, var=var, **options), rtol=1e-13)
    for factor in (0.9, 1.1):
        assert np.all(fe.gaussian_nll(x, mean, var=factor * var, **options) > got)


def test_missing_pixels_are_as_if_they_were_not_there():
    x, mean = RNG.normal(size=(2, 6, 9))
    mask = RNG.random((6, 9)) < 0.7
    got = fe.optimal_nll_grad(np.where(mask, x, np.nan), mean, where=mask)
    want = fe.optimal_nll_grad(x[mask], mean[mask])
    np.testing.assert_allclose(got.value, want.value, rtol=1e-14)
    np.testing.assert_allclose(got.mean[mask], want.mean, rtol=1e-14)


@DTYPES
def test_nothing_that_counts(dtype):
    """Costs nothing, without a floor too, and pulls nowhere; its variance is a mean of nothing."""
    x, mean = np.full((2, 3), np.nan, dtype), np.zeros((2, 3), dtype)
    mask = np.array([[False] * 3, [True] * 3])
    x[1] = 1.0, 2.0, 3.0
    for options in ({"where": mask}, {"weight": np.array([0.0, 1.0]), "where": mask}):
        got = fe.optimal_nll_grad(x, mean, axis=-1, **options)
        assert got.value[0] == 0
        assert_array_equal(got.mean[0], 0)
        np.testing.assert_allclose(got.value[1], fe.optimal_nll(x[1], mean[1]), rtol=1e-6)
        assert np.isnan(fe.optimal_var(x, mean, -1, **options)[0])
    got = fe.optimal_nll_grad(mean, mean, weight=0.0)
    assert got.value == 0
    assert_array_equal(got.mean, 0)
    assert fe.optimal_nll(np.zeros((2, 0)), np.zeros((2, 0)), axis=-1, reduction="mean") == 0
    assert math.isnan(fe.optimal_nll(np.zeros((0, 2)), np.zeros((0, 2)), axis=-1, reduction="mean"))


def test_negative_weights():
    """As the formula says, which has a minimum or maximum over σ² where Σ w·r²/Σ w is positive."""
    x = np.array([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0]])
    weight = np.array([[2.0, -0.25], [-1.0, -1.0], [1.0, -0.5], [1.0, -1.0]])
    options = {"axis": -1, "weight": weight}
    assert_array_equal(fe.optimal_var(x, 0 * x, **options), [1 / 1.75, 2.5, -2.0, np.nan])
    got = fe.optimal_nll_grad(x, 0 * x, **options)
    want = fe.gaussian_nll_grad(x[:2], 0 * x[:2], var=[[1 / 1.75], [2.5]], axis=-1, weight=weight[:2])
    np.testing.assert_allclose(got.value, [*want.value, np.nan, np.nan])
    np.testing.assert_allclose(got.mean[:2], want.mean)
    assert np.isnan(got.mean[2:]).all()
