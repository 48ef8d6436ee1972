"""Free bits: the value, and the factor that is its gradient; padded rows, weights and masks."""

import math

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import fastelbo as fe
import objectives
import rounding
from marks import DTYPES, MODES, NOISY, PER_AND_AVERAGE

RNG = np.random.default_rng(17)

INF, NAN = np.inf, np.nan


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
        assert value == objectives.free_bits(kl, min_kl, per, average)
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
    assert value >= plain.value * (1 - 4 * rounding.eps(dtype))


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


@NOISY
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
        np.testing.assert_allclose(mine[rows], getattr(want, name), rtol=8 * rounding.eps(dtype))
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


@DTYPES
def test_a_floor_between_two_numbers_of_the_type(dtype):
    """KLs are compared as they are: 0.7 in float32 is below 0.7."""
    below, above = np.float32(0.7), np.nextafter(np.float32(0.7), np.float32(1))
    kl = np.array([[below, above]], dtype)
    got = fe.free_bits(kl, 0.7, per="dim", average="last")
    assert got.value == 0.7 + float(above)
    assert_array_equal(got.factor, [[0, 1]])
    assert_array_equal(fe.free_bits(kl, float(below), per="dim", average="last").factor, [[1, 1]])


# --- many numbers: exact sums, whatever their order ---------------------------------------------------------

#: What goes by columns, by rows, in parts, in panels; dimensions last, first, in the middle
LARGE = [
    ((128, 784), -1),
    ((784, 128), 0),
    ((70, 11, 40), 1),
    ((300_000, 2), -1),
    ((2, 300_000), -1),
    ((5000, 1), -1),
    ((1, 5000), -1),
    ((3000, 9), -1),
]


@DTYPES
@PER_AND_AVERAGE
@pytest.mark.parametrize(("shape", "axis"), LARGE)
def test_sums_of_many_are_exact(shape, axis, per, average, dtype):
    """Eighths: no sum of them is rounded, only means, and what is added of these."""
    kl = eighths(shape).astype(dtype)
    floor = 1.0 if per == "dim" else float(np.median(kl.sum(axis)))
    kl[kl.shape[0] // 2] = 1.0
    batch = tuple([i for i in range(kl.ndim) if i != axis % kl.ndim])
    wide = kl.astype(np.float64)
    m = wide.sum(axis, keepdims=True) if per == "row" else wide
    rows = kl.size // shape[axis]
    m = m.sum(batch, keepdims=True) / rows if average == "first" else m
    value, factor = fe.free_bits(kl, floor, per=per, average=average, axis=axis)
    exact = np.maximum(m, floor).sum() / (1 if average == "first" else rows)
    np.testing.assert_allclose(value, exact, rtol=1e-14 if average == "first" else 0)
    assert factor.dtype == dtype
    assert_array_equal(factor, m >= floor)

    weight = RNG.integers(0, 5, wide.sum(axis).shape) / 4.0
    real = RNG.random(weight.shape) < 0.8
    weight.flat[0], real.flat[0] = 1.0, True
    full = np.expand_dims(weight * real, axis)
    poisoned = np.where(np.expand_dims(real, axis), kl, dtype(np.nan))
    own = np.where(np.expand_dims(real, axis), wide, 0.0)
    got = fe.free_bits(
        poisoned, floor, per=per, average=average, axis=axis, weight=weight, where=np.expand_dims(real, axis)
    )
    m = own.sum(axis, keepdims=True) if per == "row" else own
    share = rows * (full / full.sum())
    if average == "first":
        m = (m * full).sum(batch, keepdims=True) / full.sum()
        np.testing.assert_allclose(got.value, np.maximum(m, floor).sum(), rtol=1e-14)
    else:
        np.testing.assert_allclose(got.value, (np.maximum(m, floor) * share).sum() / rows, rtol=1e-13)
    np.testing.assert_allclose(got.factor, (m >= floor) * share, rtol=4 * rounding.eps(dtype))


@DTYPES
@PER_AND_AVERAGE
@pytest.mark.parametrize(("shape", "axis"), LARGE)
def test_same_bits_in_any_layout_for_any_number_of_threads(shape, axis, per, average, dtype):
    """Through the fast door, and through the rules: as lists of axes, or byte-swapped."""
    kl = RNG.gamma(1.0, size=shape).astype(dtype)
    weight = RNG.random(kl.sum(axis).shape)
    real = np.expand_dims(RNG.random(weight.shape) < 0.8, axis)
    real.flat[0] = True
    floor = 1.0 if per == "dim" else float(np.median(kl.sum(axis)))
    twice = np.stack([kl, kl], axis=-1)[..., 0]
    layouts = [kl, np.array(kl, order="F"), twice, kl.astype(kl.dtype.newbyteorder()), kl[::-1].copy()[::-1]]
    for options in ({}, {"weight": weight}, {"where": real}, {"weight": weight, "where": real}):
        want = fe.free_bits(kl, floor, per=per, average=average, axis=axis, **options)
        try:
            for threads, own_axis in ((1, axis), (2, (axis,)), (3, axis)):
                fe.set_num_threads(threads)
                for array in layouts:
                    got = fe.free_bits(array, floor, per=per, average=average, axis=own_axis, **options)
                    assert got.value == want.value
                    assert_array_equal(got.factor, want.factor)
        finally:
            fe.set_num_threads(None)


@pytest.mark.parametrize("per", ["dim", "row"])
def test_weights_that_add_up_to_0_have_no_mean_even_of_an_infinite_kl(per):
    kl = np.array([np.inf]) if per == "dim" else np.array([np.finfo(np.float64).max] * 2)
    axis, weight = ((), np.zeros(1)) if per == "dim" else (0, np.array(0.0))
    assert np.isnan(fe.free_bits(kl, 1.0, per=per, average="last", axis=axis, weight=weight).value)
