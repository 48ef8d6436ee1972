"""The best variance: the mean squared error of an event, in double."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import fastelbo as fe
from fastelbo import reference

X, MEAN = np.random.default_rng(0).normal(size=(2, 2, 4, 3))
F4, F8 = np.float32, np.float64


@pytest.mark.parametrize("axis", [None, -1, 0, (0, 2), ()])
def test_optimal_var_is_the_mean_squared_error(axis):
    assert_allclose(fe.optimal_var(X, MEAN, axis), ((X - MEAN) ** 2).mean(axis), rtol=1e-14)
    assert_allclose(fe.optimal_var(X, MEAN, axis=axis), reference.optimal_var(X, MEAN, axis), rtol=1e-14)


def test_optimal_var_computes_in_double_and_returns_the_computing_dtype():
    x, mean = X.astype(F4), MEAN.astype(F4)
    for axis in (None, -1):
        got = fe.optimal_var(x, mean, axis)
        assert got.dtype == F4
        assert_array_equal(got, ((x.astype(F8) - mean) ** 2).mean(axis).astype(F4))
    assert isinstance(fe.optimal_var(x, mean), F4)
    assert fe.optimal_var(np.array([1e19, 1e19, 1e19, 1e19], F4), F4(0)) == F4(1e38)  # SSE overflows float32
    assert fe.optimal_var(np.array([250, 0], np.uint8), np.array([0, 250], np.uint8)) == 62500.0


def test_optimal_var_follows_the_shape_rules():
    assert_allclose(fe.optimal_var(X[0], MEAN, axis=-1), ((X[0] - MEAN) ** 2).mean(-1))
    assert_allclose(fe.optimal_var(MEAN, 0.5), ((MEAN - 0.5) ** 2).mean())
    with pytest.raises(ValueError, match=r"\(4,\).*\(4, 1\)"):
        fe.optimal_var(np.ones(4), np.ones((4, 1)))
    assert np.isnan(fe.optimal_var(np.ones(0), np.ones(0)))
    assert fe.optimal_var(np.ones((0, 3)), 0.0, axis=-1).shape == (0,)
    assert np.isnan(fe.optimal_var(np.ones((2, 0)), 0.0, axis=-1)).all()
