"""The importance-weighted bound: against 60 digits, at infinities, in any layout."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mp, mpf
from numpy.testing import assert_array_equal

import digits
import fastelbo as fe
import objectives
import rounding
import strategies
from marks import DTYPES, NOISY

RNG = np.random.default_rng(17)


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
    u, own, log_s = rounding.DOUBLE / 2, rounding.eps(dtype) / 2, math.log2(samples)
    for n in range(9):
        value, weights, ess = objectives.iwae_bound(log_w[:, n])
        top = float(log_w[:, n].max())
        of_sum = u * (log_s + log_s + 4)
        bound = of_sum + 3 * u * log_s + (own + u) * abs(value)
        rounding.check(got.value[n], value, bound, dtype, "value")
        for s in range(samples):
            bound = (u * (abs(float(log_w[s, n]) - top) + 4) + of_sum + own) * weights[s]
            rounding.check(got.weights[s, n], weights[s], bound, dtype, "weights")
        rounding.check(got.ess[n], ess, (6 * of_sum + 6 * u + own) * ess, dtype, "ess")


def test_weights_are_the_gradient():
    log_w = RNG.normal(size=5)
    weights = fe.iwae_bound(log_w).weights
    for s in range(5):

        def value(at, s=s):
            moved = digits.exact(log_w)
            moved[s] = at
            return objectives.iwae_bound(moved)[0]

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
@NOISY
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
