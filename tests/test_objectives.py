"""The σ-VAE's NLL, the importance-weighted bound, free bits, and what a mix optimises."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from mpmath import mp, mpf
from numpy.testing import assert_array_equal

import fastelbo as fe
import oracles
import strategies
from fastelbo._rules.axes import event_axes

DTYPES = pytest.mark.parametrize("dtype", strategies.DTYPES)
RNG = np.random.default_rng(17)
DOUBLE = oracles.eps(np.float64)


# --- the σ-VAE ----------------------------------------------------------------------------------------------


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
    for n in range(len(x)):
        r = oracles._exact(x[n]) - oracles._exact(mean[n])
        var = max(mp.fsum(r**2) / len(r), mpf(min_var))
        exact = oracles.optimal_nll(x[n], mean[n], min_var)
        terms = len(r) * (mp.log(2 * mp.pi) + abs(mp.log(var))) / 2 + mp.fsum(r**2) / (2 * var)
        oracles.check(got.value[n], exact, 10 * oracles.eps(dtype) * terms, dtype, "value")
        bound = (7 * oracles.eps(dtype) + 12 * DOUBLE) * abs(r / var)
        assert oracles.check(got.x[n], r / var, bound, dtype, "∂x") > 0


@FLOORS
def test_the_variance_adds_nothing_to_the_gradient(floor):
    """The envelope theorem, by mpmath's derivative of the value, in which σ² moves with the mean."""
    x, mean = RNG.normal(size=(2, 5))
    min_var = floor * float(fe.optimal_var(x, mean))
    got = fe.optimal_nll_grad(x, mean, min_var=min_var)
    for i in range(5):

        def value(at, i=i):
            moved = oracles._exact(mean)
            moved[i] = at
            return oracles.optimal_nll(oracles._exact(x), moved, min_var)

        derivative = mp.diff(value, mpf(mean[i]))
        assert abs(derivative - mpf(float(got.mean[i]))) <= 20 * DOUBLE * abs(derivative)


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
    np.testing.assert_allclose(got, at.value, rtol=0, atol=20 * DOUBLE * x.size * 4)
    counts = x.size / max(1, np.size(var))
    assert np.all(abs(at.scale) <= 24 * DOUBLE * counts / full)
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
            atol = 20 * oracles.eps(dtype) * 40 * max(x.size, mean.size)
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


@pytest.mark.parametrize("noisy", ["raise", "warn"])
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


@DTYPES
@pytest.mark.parametrize("axis", [None, -1])
@pytest.mark.parametrize(
    "shape",
    [(1,), (7,), (5, 1), (1, 5), (4, 7), (3, 4, 7), (300, 700), (2, 40_000), (40_000, 2), (40_000,)],
    ids=str,
)
def test_plain_arrays_have_the_bits_of_all_others(shape, axis, dtype):
    """They go through doors, views of every other element through the rules."""
    x, mean = RNG.normal(size=(2, *shape)).astype(dtype)
    apart = [np.stack([array, array], axis=-1)[..., 0] for array in (x, mean)]
    results = []
    for threads, arrays in ((1, (x, mean)), (2, (x, mean)), (2, apart)):
        fe.set_num_threads(threads)
        grad = fe.optimal_nll_grad(*arrays, axis=axis, wrt=("x", "mean"))
        found = (fe.optimal_var(*arrays, axis), fe.optimal_nll(*arrays, axis=axis), *grad)
        results.append([*found, fe.optimal_nll(*arrays, axis=axis, full=False)])
    fe.set_num_threads(None)
    for got in results[1:]:
        for mine, theirs in zip(got, results[0], strict=True):
            assert_array_equal(mine, theirs)
            assert mine.dtype == theirs.dtype == dtype
            assert type(mine) is type(theirs)


@DTYPES
@pytest.mark.parametrize("shape", [(1,), (9,), (9, 1), (1, 9), (8, 5), (40, 3, 7), (700, 300)], ids=str)
def test_the_bound_of_plain_arrays_has_the_bits_of_all_others(shape, dtype):
    log_w = RNG.normal(size=shape).astype(dtype)
    apart = np.stack([log_w, log_w], axis=-1)[..., 0]
    for axis in range(-len(shape), len(shape)):
        results = fe.iwae_bound(log_w, axis), fe.iwae_bound(apart, axis), fe.iwae_bound(log_w, (axis,))
        for got in results[1:]:
            for mine, theirs in zip(got, results[0], strict=True):
                assert_array_equal(mine, theirs)
                assert type(mine) is type(theirs)


# --- mask, weight and reduction, and what float64 cannot square ---------------------------------------------


def exact_optimum(x, mean, weight, mask, axis, min_var=0.0, x_scale=1.0):
    """Rows of σ*² and NLL, their terms' absolute sum, and w·r/σ*², each an object array of mpf."""
    x, mean, weight = (oracles._exact(part) for part in np.broadcast_arrays(x, mean, weight)[:3])
    shape, events = x.shape, event_axes(axis, x.shape, "x")
    rows = tuple([n for i, n in enumerate(shape) if i not in events])
    kept = [i for i in range(len(shape)) if i not in events]
    mask = np.broadcast_to(mask, shape)
    var, value, size = (np.full(rows, mpf(0), object) for _ in range(3))
    slope, slopes = np.full(shape, mpf(0), object), np.ndindex(*shape)
    places: dict[tuple[int, ...], list[tuple[int, ...]]] = {row: [] for row in np.ndindex(*rows)}
    for index in slopes:
        if mask[index]:
            places[tuple([index[i] for i in kept])].append(index)
    for row, some in places.items():
        r = {i: mpf(x_scale) * x[i] - mean[i] for i in some}
        total, sse = mp.fsum(weight[i] for i in some), mp.fsum(weight[i] * r[i] ** 2 for i in some)
        var[row] = sse / total if total else mp.nan
        if not total:
            continue
        best = max(var[row], mpf(min_var))
        log_term = mp.log(2 * mp.pi * best) if best else -mp.inf
        value[row] = (total * log_term + sse / best) / 2 if best else -mp.inf
        size[row] = total * (mp.log(2 * mp.pi) + abs(mp.log(best))) / 2 + sse / best / 2 if best else mpf(0)
        for i in some:
            slope[i] = weight[i] * r[i] / best if best else mpf(0)
    return var, value, size, slope


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
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
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
    full_weight = np.ones(shape) if weight is None else weight
    if which_weight == "rows":
        full_weight = np.expand_dims(weight, events)
    everywhere = np.broadcast_to(True if mask is None else mask, shape)
    var, value, size, slope = exact_optimum(x, mean, full_weight, everywhere, axis, 0.25)
    x, mean = np.where(everywhere, x, dtype(np.nan)), np.where(everywhere, mean, dtype(np.inf))
    options = {"axis": axis, "weight": weight, "where": mask}
    eps = oracles.eps(dtype)

    got_var = np.asarray(fe.optimal_var(x, mean, **options))
    for row in np.ndindex(*rows):
        assert mp.isnan(var[row]) == np.isnan(got_var[row])
        if not mp.isnan(var[row]):
            oracles.check(got_var[row], var[row], 6 * eps * var[row], dtype, "variance")

    options |= {"min_var": 0.25, "reduction": reduction}
    got = fe.optimal_nll_grad(x, mean, **options, wrt=("x", "mean"))
    assert_array_equal(got.value, fe.optimal_nll(x, mean, **options))
    count = {"none": 1, "sum": 1, "mean": math.prod(rows)}[reduction]
    if reduction == "none":
        oracles.check(got.value, value, 10 * eps * size, dtype, "value")
        assert got.value.dtype == dtype
    else:
        assert type(got.value) is float
        bound = 10 * DOUBLE * np.sum(size) / count  # of unrounded rows
        oracles.check(got.value, np.asarray(np.sum(value) / count), bound, np.float64, "value")
    bound = (8 * eps + 12 * DOUBLE) * abs(slope) / count
    oracles.check(got.x, slope / count, bound, dtype, "∂x")
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
        var, value, terms, slope = exact_optimum(
            x,
            mean,
            extra.get("weight", 1.0),
            extra.get("where", True),
            axis,
            floor,
            extra.get("x_scale", 1.0),
        )
        poisoned = np.where(extra.get("where", True), x, np.nan)
        got = fe.optimal_nll_grad(poisoned, mean, **options, **extra)
        oracles.check(got.value, value, 10 * DOUBLE * terms, np.float64, "value")
        checked = oracles.check(got.mean, -slope, 20 * DOUBLE * abs(slope), np.float64, "∂mean")
        assert checked or size < 1e-300
        plain = {name: option for name, option in extra.items() if name != "min_var"}
        got = fe.optimal_var(poisoned, mean, axis, **plain)
        oracles.check(got, var, 10 * DOUBLE * abs(var), np.float64, "variance")


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
    var, value, terms, slope = exact_optimum(x, 0 * x, weight, True, -1)
    oracles.check(fe.optimal_var(x, 0 * x, -1, weight=weight), var, 10 * DOUBLE * var, np.float64)
    got = fe.optimal_nll_grad(x, 0 * x, axis=-1, weight=weight)
    oracles.check(got.value, value, 10 * DOUBLE * terms, np.float64)
    for n in (1, 3):
        oracles.check(got.mean[n], -slope[n], 20 * DOUBLE * abs(slope[n]), np.float64)


@DTYPES
def test_subnormal_optimal_std(dtype):
    """σ* of a subnormal number has few digits, w·r/σ*² may have all."""
    tiny = float(np.finfo(dtype).tiny)
    x = np.array([[0.7, 0.3, 1e-3], [0.4, 0.2, 0.01]]) * tiny
    x, mean = x.astype(dtype), np.zeros((2, 3), dtype)
    for weight in (1.0, np.full((2, 3), 0.5)):
        _, value, terms, slope = exact_optimum(x, mean, weight, True, -1)
        options = {"axis": -1, "weight": None if np.ndim(weight) == 0 else weight}
        got = fe.optimal_nll_grad(x, mean, **options)
        oracles.check(got.value, value, 10 * oracles.eps(dtype) * terms, dtype)
        bound = (8 * oracles.eps(dtype) + 12 * DOUBLE) * abs(slope)
        assert oracles.check(got.mean, -slope, bound, dtype) >= 2


@DTYPES
def test_differences_beyond_the_dtype(dtype):
    """x − μ overflows, the NLL does not."""
    a = np.array([[0.9], [1.0], [1e-30]], dtype) * np.finfo(dtype).max
    for axis in (None, -1):
        var, value, terms, _ = exact_optimum(a, -a, 1.0, True, axis)
        oracles.check(fe.optimal_var(a, -a, axis), var, 10 * oracles.eps(dtype) * var, dtype)
        oracles.check(fe.optimal_nll(a, -a, axis=axis), value, 10 * oracles.eps(dtype) * terms, dtype)


@DTYPES
def test_gradients_of_differences_beyond_the_dtype(dtype):
    a = np.array([[0.9], [1.0], [1e-30]], dtype) * np.finfo(dtype).max
    for axis, weight in itertools.product((None, -1), (None, np.full((3, 1), 0.75, dtype))):
        slope = exact_optimum(a, -a, 1.0 if weight is None else weight, True, axis)[3]
        got = fe.optimal_nll_grad(a, -a, axis=axis, weight=weight)
        oracles.check(got.mean, -slope, (8 * oracles.eps(dtype) + 12 * DOUBLE) * abs(slope), dtype)


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
    _, value, terms, slope = exact_optimum(x, 0 * x, weight, mask, -1, min_var)
    assert_array_equal(np.isinf(fe.optimal_nll(x, 0 * x, **options)), [mp.isinf(v) for v in value])
    finite = np.array([not mp.isinf(v) for v in value])
    options |= {name: options[name][finite] for name in ("weight", "where")}
    got = fe.optimal_nll_grad(x[finite], 0 * x[finite], **options)
    oracles.check(got.value, value[finite], 12 * DOUBLE * terms[finite], np.float64)
    oracles.check(got.mean, -slope[finite], 20 * DOUBLE * abs(slope[finite]), np.float64)


X = np.zeros((4, 3))
OPTIMAL_MISUSE = {
    "shapes": ({"mean": np.zeros((4, 1))}, r"x has shape \(4, 3\) and mean has shape \(4, 1\)"),
    "axis": ({"axis": 2}, "axis"),
    "wrong end": ({"mean": X[0], "axis": 1}, "may count from the wrong end"),
    "min_var": ({"min_var": -1.0}, "min_var must be a finite variance >= 0, not -1.0"),
    "wrt": ({"wrt": "scale"}, "wrt must name some of 'x', 'mean', not 'scale'"),
    "where": ({"where": np.ones(4, bool)}, r"where has shape \(4,\), which does not broadcast to \(4, 3\)"),
    "weight": (
        {"weight": np.ones(3)},
        r"did you mean np.reshape\(weight, \(1, 3\)\)\? Pass shape \(4, 3\) to weight elements",
    ),
    "reduction": ({"reduction": "avg"}, "reduction must be one of 'none', 'sum', 'mean', not 'avg'"),
    "reduced": (
        {"reduction": "sum", "out": (X[:, 0], None, None), "axis": -1},
        r"out\[0\] \(value\) must be None: with reduction='sum'",
    ),
    "out": ({"out": (None, None, None, None)}, r"3 members \(value, x, mean\), not 4"),
    "out not asked for": ({"out": (None, X, None)}, r"out\[1\] \(x\) is given, but wrt does not name 'x'"),
    "out shape": ({"out": (X, None, None)}, r"out\[0\] \(value\) must have shape \(\)"),
}


@pytest.mark.parametrize("case", OPTIMAL_MISUSE)
def test_misuse_of_optimal_nll(case):
    options, match = OPTIMAL_MISUSE[case]
    with pytest.raises(ValueError, match=match):
        fe.optimal_nll_grad(**{"x": X, "mean": X, "min_var": 1.0} | options)


# --- the importance-weighted bound --------------------------------------------------------------------------


@DTYPES
@pytest.mark.parametrize("samples", [1, 2, 5, 64])
@pytest.mark.parametrize("level", [0.0, -1e4, 1e30])
@pytest.mark.parametrize("spread", [0.0, 1.0, 50.0])
def test_iwae_bound(samples, level, spread, dtype):
    """In double, u = 2⁻⁵³, and rounded to `dtype` in the end.

    Rounding d = log w − max costs e^d |d|·u of itself, and e^d is good to 2 u more. Their sum is wrong by the
    mean of |d|·u under the weights, at most log S·u, by these 2 u, and by log₂(S)·u for its additions. The
    quotient costs u, the logarithm 2 u of at most log S, the sum with max one u of the value.
    """
    log_w = (level + spread * RNG.normal(size=(samples, 9))).astype(dtype)
    got = fe.iwae_bound(log_w)
    assert got.value.shape == got.ess.shape == (9,)
    assert got.value.dtype == got.weights.dtype == got.ess.dtype == dtype
    u, own, log_s = DOUBLE / 2, oracles.eps(dtype) / 2, math.log2(samples)
    for n in range(9):
        value, weights, ess = oracles.iwae_bound(log_w[:, n])
        top = float(log_w[:, n].max())
        of_sum = u * (log_s + log_s + 4)
        bound = of_sum + 3 * u * log_s + (own + u) * abs(value)
        oracles.check(got.value[n], value, bound, dtype, "value")
        for s in range(samples):
            bound = (u * (abs(float(log_w[s, n]) - top) + 4) + of_sum + own) * weights[s]
            oracles.check(got.weights[s, n], weights[s], bound, dtype, "weights")
        oracles.check(got.ess[n], ess, (6 * of_sum + 6 * u + own) * ess, dtype, "ess")


def test_weights_are_the_gradient():
    log_w = RNG.normal(size=5)
    weights = fe.iwae_bound(log_w).weights
    for s in range(5):

        def value(at, s=s):
            moved = oracles._exact(log_w)
            moved[s] = at
            return oracles.iwae_bound(moved)[0]

        assert abs(mp.diff(value, mpf(log_w[s])) - mpf(weights[s])) < 1e-15


INF, NAN = np.inf, np.nan
IWAE_SPECIAL = [
    # log w of one row, value, weights, ess
    ([-3.0], -3.0, [1.0], 1.0),
    ([-1e300], -1e300, [1.0], 1.0),
    ([2.0, 2.0, 2.0, 2.0], 2.0, [0.25] * 4, 4.0),
    ([0.0, -INF], -math.log(2), [1.0, 0.0], 1.0),
    ([-INF, -INF], -INF, [NAN, NAN], NAN),
    ([-INF], -INF, [NAN], NAN),
    ([INF, 0.0, -INF], INF, [1.0, 0.0, 0.0], 1.0),
    ([INF], INF, [1.0], 1.0),
    ([INF, INF, 0.0], INF, [NAN, NAN, 0.0], NAN),
    ([NAN, 0.0, INF], NAN, [NAN, NAN, NAN], NAN),
    ([NAN, -INF], NAN, [NAN, NAN], NAN),
    ([1e308, -1e308], 1e308, [1.0, 0.0], 1.0),
    ([], NAN, [], NAN),
]


@pytest.mark.parametrize(("log_w", "value", "weights", "ess"), IWAE_SPECIAL)
@pytest.mark.parametrize("noisy", ["raise", "warn"])
def test_special_log_weights(log_w, value, weights, ess, noisy):
    """Alone, and beside an ordinary row."""
    with np.errstate(all=noisy):
        alone = fe.iwae_bound(np.array(log_w, float))
        beside = fe.iwae_bound(np.array([log_w, np.zeros(len(log_w))]), axis=1)
    assert_array_equal(alone.value, value)
    assert_array_equal(alone.weights, weights)
    assert_array_equal(alone.ess, ess)
    assert isinstance(alone.value, np.float64)
    for mine, theirs in zip(beside, alone, strict=True):
        assert_array_equal(mine[0], theirs)
    if log_w:
        assert (beside.value[1], beside.ess[1]) == (0.0, len(log_w))


@given(payload=st.data())
def test_iwae_bound_in_any_layout_and_along_any_axis(payload):
    shape = payload.draw(strategies.shapes())
    log_w = (10 * RNG.normal(size=shape)).astype(payload.draw(strategies.dtypes))
    axis, axes = payload.draw(strategies.axes(len(shape)))
    got = fe.iwae_bound(payload.draw(strategies.layouts)(log_w), axis=axis)
    flat = np.moveaxis(log_w, sorted(axes), range(len(axes)))
    rows = flat.shape[len(axes) :]
    plain = fe.iwae_bound(flat.reshape(-1, *rows))
    assert_array_equal(got.value, plain.value)
    assert_array_equal(got.ess, plain.ess)
    assert_array_equal(
        np.moveaxis(got.weights, sorted(axes), range(len(axes))), plain.weights.reshape(flat.shape)
    )
    assert np.all((got.ess >= 1) & (got.ess <= math.prod(flat.shape[: len(axes)])))


@pytest.mark.parametrize("spread", [1e-8, 1.0, 100.0])
def test_the_effective_sample_size_stays_between_1_and_s(spread):
    """Nearly equal weights, whose rounding would push it over S."""
    ess = fe.iwae_bound(spread * np.random.default_rng(0).normal(size=(5, 1000))).ess
    assert ess.min() >= 1
    assert ess.max() <= 5


def test_misuse_of_iwae_bound():
    with pytest.raises(np.exceptions.AxisError):
        fe.iwae_bound(np.zeros((2, 3)), axis=2)
    with pytest.raises(TypeError, match="log_w has dtype complex128"):
        fe.iwae_bound(np.zeros(2, complex))


# --- free bits ----------------------------------------------------------------------------------------------

MODES = list(itertools.product(("dim", "row"), ("first", "last")))
PER_AND_AVERAGE = pytest.mark.parametrize(("per", "average"), MODES)


def eighths(shape) -> np.ndarray:
    """KLs whose sums and means over 2ⁿ are exact, some of them equal to a floor of 1 or 5."""
    return RNG.integers(0, 17, shape) / 8.0


@PER_AND_AVERAGE
@pytest.mark.parametrize("min_kl", [0.0, 1.0, 5.0])
def test_free_bits(per, average, min_kl):
    """The value is the formula's, and the factor its derivative to the right: both exactly."""
    for _ in range(10):
        kl = eighths((8, 5))
        kl[:, 1] = 1.0
        kl[0] = 1.0
        value, factor = fe.free_bits(kl, min_kl, per=per, average=average)
        assert type(value) is float
        assert value == oracles.free_bits(kl, min_kl, per, average)
        assert factor.shape == (1 if average == "first" else 8, 1 if per == "row" else 5)
        full = np.broadcast_to(factor, kl.shape)
        for index in np.ndindex(kl.shape):
            step = np.zeros_like(kl)
            step[index] = 2.0**-10
            moved, _ = fe.free_bits(kl + step, min_kl, per=per, average=average)
            assert (moved - value) * 2**10 * 8 == full[index]


@PER_AND_AVERAGE
@DTYPES
def test_the_factor_is_a_weight_of_the_kl(per, average, dtype):
    """The gradients of the mean KL times the factor, and the same by weight=factor."""
    mean, logvar = RNG.normal(size=(2, 8, 5)).astype(dtype)
    kl = fe.gaussian_kl(mean, logvar=logvar, axis=())
    value, factor = fe.free_bits(kl, 0.8 if per == "dim" else 4.0, per=per, average=average)
    assert factor.dtype == dtype
    assert set(factor.ravel()) <= {0, 1}
    plain = fe.gaussian_kl_grad(mean, logvar=logvar, reduction="mean")
    weighted = fe.gaussian_kl_grad(mean, logvar=logvar, weight=factor, reduction="mean")
    assert_array_equal(plain.mean * factor, weighted.mean)
    assert_array_equal(plain.scale * factor, weighted.scale)
    assert value >= plain.value * (1 - 4 * oracles.eps(dtype))


def test_without_a_floor_it_is_the_mean_kl():
    mean = RNG.normal(size=(8, 5))
    kl = fe.gaussian_kl(mean, var=0.5, axis=())
    for per, average in MODES:
        value, factor = fe.free_bits(kl, 0.0, per=per, average=average)
        assert np.isclose(value, fe.gaussian_kl(mean, var=0.5, reduction="mean"), rtol=1e-14)
        assert np.all(factor == 1)


@PER_AND_AVERAGE
def test_free_bits_of_more_axes(per, average):
    """Axes of dimensions are one, axes of the batch are one."""
    kl = eighths((2, 4, 3, 5))
    got = fe.free_bits(kl, 1.0, per=per, average=average, axis=(0, 2))
    flat = np.moveaxis(kl, (0, 2), (2, 3)).reshape(20, 6)
    want = fe.free_bits(flat, 1.0, per=per, average=average)
    assert np.isclose(got.value, want.value, rtol=1e-15)
    moved = np.moveaxis(np.broadcast_to(got.factor, kl.shape), (0, 2), (2, 3)).reshape(20, 6)
    assert_array_equal(moved, np.broadcast_to(want.factor, moved.shape))


@pytest.mark.parametrize("noisy", ["raise", "warn"])
def test_special_kls(noisy):
    with np.errstate(all=noisy):
        for per, average in MODES:
            got = fe.free_bits(np.array([[0.0, NAN], [2.0, 2.0]]), 1.0, per=per, average=average)
            assert math.isnan(got.value)
            full = np.broadcast_to(got.factor, (2, 2))
            assert np.isnan(full[0, 1])
            assert np.isnan(full[0, 0]) == (per == "row")
            assert np.isnan(full[1, 1]) == (average == "first")
            got = fe.free_bits(np.array([[0.0, INF], [2.0, 2.0]]), 1.0, per=per, average=average)
            assert got.value == INF
            assert np.broadcast_to(got.factor, (2, 2))[0, 1] == 1
            assert math.isnan(fe.free_bits(np.zeros((0, 2)), 1.0, per=per, average=average).value)
    one = np.array([0.5, 2.0], np.float32)
    assert fe.free_bits(one, 1.0, per="dim", average="last", axis=-1).value == 3.0
    assert fe.free_bits(one, 1.0, per="row", average="last", axis=()).value == 1.5
    with pytest.raises(ValueError, match="one event of size 2, or 2 observations"):
        fe.free_bits(one, 1.0, per="dim", average="last")


@PER_AND_AVERAGE
def test_padded_rows_are_in_no_mean(per, average):
    """Five real rows of eight: as if the others were not there, whatever they hold."""
    kl = RNG.gamma(1.0, size=(8, 4))
    kl[5:] = 0.0
    real = np.arange(8) < 5
    value, factor = fe.free_bits(kl[:5], 0.9, per=per, average=average)
    for rubbish in (0.0, np.nan, np.inf):
        kl[5:] = rubbish
        got = fe.free_bits(kl, 0.9, per=per, average=average, where=real[:, None])
        assert np.isclose(got.value, value, rtol=1e-15)
        full = np.broadcast_to(got.factor, kl.shape)
        np.testing.assert_allclose(full[:5], np.broadcast_to(8 / 5 * factor, (5, 4)), rtol=1e-15)
        assert_array_equal(full[5:], 0)
    kl[5:] = 0.0
    weighted = fe.free_bits(kl, 0.9, per=per, average=average, weight=real)
    assert weighted.value == got.value
    assert_array_equal(np.broadcast_to(weighted.factor, kl.shape), full)


def test_padded_steps():
    """Without a mask the padding dilutes the mean, here to 5/8."""
    kl = np.array([[0.7, 1.2704]] * 5 + [[0.0, 0.0]] * 3)
    assert round(fe.free_bits(kl, 0.2, per="dim", average="first").value, 4) == 1.2315
    masked = fe.free_bits(kl, 0.2, per="dim", average="first", where=np.arange(8)[:, None] < 5)
    assert round(masked.value, 4) == 1.9704


@PER_AND_AVERAGE
@pytest.mark.parametrize("which", ["where", "weight", "both"])
def test_the_factor_is_the_derivative(per, average, which):
    """N times it: exactly, as all sums are, of 8 rows whose weights add up to a power of two."""
    kl = eighths((8, 5))
    weight = np.array([1, 2, 0, 4, 3, 2, 3, 1]) / 8
    where = RNG.random((8, 5)) < 0.7
    where[:, 1], where[3] = False, False
    options = {"weight": weight, "where": where}
    options = options if which == "both" else {which: options[which]}
    value, factor = fe.free_bits(kl, 1.0, per=per, average=average, **options)
    full = np.broadcast_to(factor, kl.shape)
    for index in np.ndindex(kl.shape):
        step = np.zeros_like(kl)
        step[index] = 2.0**-10
        moved = fe.free_bits(kl + step, 1.0, per=per, average=average, **options).value
        assert np.isclose((moved - value) * 2**10 * 8, full[index], rtol=1e-9, atol=1e-9)
    if which != "weight":
        assert_array_equal(full[~where], 0)
        poisoned = np.where(where, kl, np.nan)
        again = fe.free_bits(poisoned, 1.0, per=per, average=average, **options)
        assert again.value == value
        assert_array_equal(again.factor, factor)


@PER_AND_AVERAGE
@DTYPES
def test_the_factor_is_a_weight_of_the_masked_kl(per, average, dtype):
    """With reduction="mean", as without a mask; and NaN in padded means and scales touches nothing."""
    mean, logvar = RNG.normal(size=(2, 6, 4, 5)).astype(dtype)
    real = (np.arange(4) < np.array([[4], [1], [2], [3], [4], [2]]))[..., None]
    mean, logvar = (np.where(real, a, dtype(np.nan)) for a in (mean, logvar))
    kl = fe.gaussian_kl(mean, logvar=logvar, axis=(), where=real)
    floor = 0.6 if per == "dim" else 3.0
    factor = fe.free_bits(kl, floor, per=per, average=average, where=real).factor
    got = fe.gaussian_kl_grad(mean, logvar=logvar, weight=factor, where=real, reduction="mean")
    rows = real[..., 0]
    short = fe.free_bits(kl[rows], floor, per=per, average=average).factor
    want = fe.gaussian_kl_grad(mean[rows], logvar=logvar[rows], weight=short, reduction="mean")
    for name in ("mean", "scale"):
        mine = getattr(got, name)
        np.testing.assert_allclose(mine[rows], getattr(want, name), rtol=8 * oracles.eps(dtype))
        assert_array_equal(mine[~rows], 0)


@PER_AND_AVERAGE
def test_free_bits_of_no_rows_that_count(per, average):
    """A mean of nothing; a dimension of which nothing is left is not there."""
    kl, nothing = np.full((4, 3), np.nan), np.zeros((4, 3), bool)
    got = fe.free_bits(kl, 1.0, per=per, average=average, where=nothing)
    assert math.isnan(got.value)
    assert_array_equal(got.factor, 0)
    assert math.isnan(fe.free_bits(0 * kl + 1, 1.0, per=per, average=average, weight=np.zeros(4)).value)
    kl[:, :2] = eighths((4, 2))
    got = fe.free_bits(kl, 1.0, per=per, average=average, where=[True, True, False])
    assert got.value == fe.free_bits(kl[:, :2], 1.0, per=per, average=average).value


def test_a_mean_at_the_floor_counts():
    """Of any number of rows: Σ w·KL and Σ w are divided, not multiplied by 1/Σ w."""
    for rows in range(1, 50):
        kl = np.full((50, 1), 0.75)
        got = fe.free_bits(kl, 0.75, per="dim", average="first", where=np.arange(50)[:, None] < rows)
        assert got.value == 0.75
        assert np.all(got.factor[:rows] > 0)


FREE_BITS_MISUSE = {
    "per": ({"per": "batch"}, ValueError, "per must be 'dim' or 'row', not 'batch'"),
    "average": ({"average": "none"}, ValueError, "average must be 'first' or 'last', not 'none'"),
    "negative": ({"min_kl": -1.0}, ValueError, "min_kl must be a finite number of nats >= 0, not -1.0"),
    "NaN": ({"min_kl": NAN}, ValueError, "min_kl must be a finite number of nats"),
    "inf": ({"min_kl": INF}, ValueError, "min_kl must be a finite number of nats"),
    "array": ({"min_kl": np.ones(3)}, ValueError, r"not an array of shape \(3,\): call free_bits for each"),
    "no mode": ({"per": None}, ValueError, "per must be 'dim' or 'row', not None"),
    "where": ({"where": np.ones(4, bool)}, ValueError, r"where has shape \(4,\), which does not broadcast"),
    "where of 1": ({"where": 1}, TypeError, "where must be boolean"),
    "weight": (
        {"weight": np.ones((4, 3))},
        ValueError,
        r"weight has shape \(4, 3\); it must have that of the rows, \(4,\), as the mean over the batch is",
    ),
}


@pytest.mark.parametrize("case", FREE_BITS_MISUSE)
def test_misuse_of_free_bits(case):
    options, exception, match = FREE_BITS_MISUSE[case]
    with pytest.raises(exception, match=match):
        fe.free_bits(**{"kl": X, "min_kl": 1.0, "per": "dim", "average": "last"} | options)


# --- what a mix optimises -----------------------------------------------------------------------------------


def test_the_usual_mixes():
    d = 784
    assert fe.implied_objective("mean", "sum", n_features=d) == (d / 2, 1.0, 1.0)
    assert fe.implied_objective("sum", "sum") == (0.5, 1.0, 1.0)
    assert fe.implied_objective("sum", "sum", error_weight=0.5) == (1.0, 1.0, 1.0)
    assert fe.implied_objective("mean", "mean", n_features=d, n_latents=16) == (24.5, 1.0, 1 / 16)
    assert fe.implied_objective("mean", "sum", n_features=d, var=1.0) == (1.0, d / 2, 2 / d)
    assert fe.implied_objective("sum", "sum", kl_weight=4.0, var=0.5).beta == 4.0


@pytest.mark.parametrize("error", ["mean", "sum"])
@pytest.mark.parametrize("kl", ["mean", "sum"])
@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.5, 3.0)])
@pytest.mark.parametrize("var", [None, 0.3])
def test_gradients_of_the_mix_are_those_of_the_negative_elbo(error, kl, weights, var):
    """Times `scale`; and so are the values, but for the constant. The mix is differentiated by hand."""
    x, recon = RNG.normal(size=(2, 6, 11))
    mean, logvar = RNG.normal(size=(2, 6, 3))
    implied = fe.implied_objective(
        error, kl, n_features=11, n_latents=3, error_weight=weights[0], kl_weight=weights[1], var=var
    )
    assert implied.var == var if var else implied.beta == 1.0
    a, b = weights[0] / (11 if error == "mean" else 1), weights[1] / (3 if kl == "mean" else 1)
    nll = fe.gaussian_nll_grad(x, recon, var=implied.var)
    divergence = fe.gaussian_kl_grad(mean, logvar=logvar)
    pairs = [
        (a * 2 * (recon - x), nll.mean),
        (b * mean, implied.beta * divergence.mean),
        (b * (np.exp(logvar) - 1) / 2, implied.beta * divergence.scale),
    ]
    for mix, elbo in pairs:
        np.testing.assert_allclose(mix, implied.scale * elbo, rtol=1e-13)
    mix = a * np.sum((x - recon) ** 2, axis=-1) + b * divergence.value
    elbo = nll.value + implied.beta * divergence.value
    constant = 11 / 2 * math.log(2 * math.pi * implied.var)
    np.testing.assert_allclose(mix, implied.scale * (elbo - constant), rtol=1e-12)


IMPLIED_MISUSE = {
    "error": (("none", "sum"), {}, ValueError, "error must be 'sum' or 'mean', not 'none'"),
    "kl": (("sum", "batch"), {}, ValueError, "kl must be 'sum' or 'mean', not 'batch'"),
    "no features": (("mean", "sum"), {}, TypeError, "error='mean' needs n_features"),
    "no latents": (("sum", "mean"), {}, TypeError, "kl='mean' needs n_latents"),
    "0 features": (("mean", "sum"), {"n_features": 0}, ValueError, "n_features must be at least 1, not 0"),
    "half a feature": (("mean", "sum"), {"n_features": 0.5}, TypeError, "n_features must be an int, not 0.5"),
    "weight": (
        ("sum", "sum"),
        {"kl_weight": 0.0},
        ValueError,
        "kl_weight must be a finite factor > 0, not 0.0",
    ),
    "var": (("sum", "sum"), {"var": -1.0}, ValueError, "var must be a finite variance > 0, not -1.0"),
    "true features": (
        ("mean", "sum"),
        {"n_features": True},
        TypeError,
        "n_features must be an int, not True",
    ),
    "true latents": (("sum", "mean"), {"n_latents": True}, TypeError, "n_latents must be an int, not True"),
    "true error weight": (
        ("sum", "sum"),
        {"error_weight": True},
        TypeError,
        "error_weight must be a number, not True",
    ),
    "true KL weight": (
        ("sum", "sum"),
        {"kl_weight": np.True_},
        TypeError,
        "kl_weight must be a number, not np.True_",
    ),
    "true var": (("sum", "sum"), {"var": True}, TypeError, "var must be a number, not True"),
    "a huge weight": (
        ("sum", "sum"),
        {"kl_weight": 10**400},
        ValueError,
        "kl_weight is an int beyond the range of float64",
    ),
    "var too large": (
        ("sum", "sum"),
        {"kl_weight": 1e308, "error_weight": 0.1},
        ValueError,
        "the var of this mix is too large",
    ),
    "var too small": (
        ("sum", "sum"),
        {"kl_weight": 1e-300, "error_weight": 1e300},
        ValueError,
        "the var of this mix is too small",
    ),
    "too many features": (
        ("mean", "sum"),
        {"n_features": 10**400},
        ValueError,
        "var of this mix is too large",
    ),
    "beta too large": (("sum", "sum"), {"var": 1e-309}, ValueError, "beta of this mix is too large"),
    "scale too large": (
        ("sum", "sum"),
        {"var": 1e200, "error_weight": 1e200, "kl_weight": 1e308},
        ValueError,
        "scale of this mix is too large",
    ),
}


@pytest.mark.parametrize("var", [None, 1e-308, 0.3, 1.7e308])
@pytest.mark.parametrize("sizes", [(1, 1), (784, 3), (10**300, 7), (3, 10**400)])
def test_implied_objective_at_extremes(sizes, var):
    """Right to the last digit wherever all three numbers are floats, whatever their products are."""
    for a, b in itertools.product([5e-324, 1e-200, 0.1, 3.0, 1e200, 1.7e308], repeat=2):
        options = {"n_features": sizes[0], "n_latents": sizes[1], "error_weight": a, "kl_weight": b}
        error, kl = mpf(a) / sizes[0], mpf(b) / sizes[1]
        sigma2 = kl / (2 * error) if var is None else mpf(var)
        want = (sigma2, mpf(1) if var is None else kl / (2 * error * sigma2), 2 * sigma2 * error)
        if all(0 < float(exact) < math.inf for exact in want):
            got = fe.implied_objective("mean", "mean", var=var, **options)
            for mine, exact in zip(got, want, strict=True):
                assert type(mine) is float
                assert abs(mine - exact) <= oracles.ulp(exact, np.float64) / 2 * (1 + mpf(2) ** -100)
        else:
            with pytest.raises(ValueError, match=r"^the (var|beta|scale) of this mix is too (large|small) "):
                fe.implied_objective("mean", "mean", var=var, **options)
