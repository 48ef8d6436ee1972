"""exp, log, expm1 and log1p: a share of `exhaustive.py`. The bound, 1.0 ULP, is the precision policy's."""

from types import SimpleNamespace

import numpy as np
import pytest

import exhaustive
from effort import effort
from exhaustive import FUNCTIONS
from fastelbo import _core
from marks import DTYPES

NAMES = pytest.mark.parametrize("name", FUNCTIONS)

INF, NAN = np.inf, np.nan
#: Inputs, and answers that are exact, the signs of zeros included
EXACT = {
    "exp": [(0.0, 1.0), (-0.0, 1.0), (INF, INF), (-INF, 0.0), (1e4, INF), (-1e4, 0.0), (NAN, NAN)],
    "log": [(1.0, 0.0), (0.0, -INF), (-0.0, -INF), (INF, INF), (-INF, NAN), (-1e-40, NAN), (NAN, NAN)],
    "expm1": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -1.0), (1e4, INF), (-1e4, -1.0), (NAN, NAN)],
    "log1p": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, NAN), (-1.0, -INF), (-2.0, NAN), (NAN, NAN)],
}


@NAMES
@DTYPES
def test_special_values(name, dtype):
    x, want = np.array(EXACT[name], dtype).T
    got = _core.elementary(name, x.copy())
    np.testing.assert_array_equal(got, want)
    for answer, exact in zip(got, want, strict=True):
        assert np.isnan(exact) or np.signbit(answer) == np.signbit(exact)


@NAMES
def test_float32(name):
    every = np.arange(0, 1 << 32, 4099, dtype=np.uint64).astype(np.uint32).view(np.float32)
    for x in (every, exhaustive.hard(name, np.float32)):
        worst = exhaustive.worst_by_wider(name, x)
        assert worst.ulps <= exhaustive.BOUND, worst


@NAMES
def test_float64(name):
    hard = exhaustive.hard(name, np.float64)
    for x in (exhaustive.random_f64(name, 10_000), hard[:9], hard[9::3].copy()):
        worst = exhaustive.worst_by_mpmath(name, x)
        assert worst.ulps <= exhaustive.BOUND, worst


@pytest.mark.skipif(not exhaustive.HAS_WIDER, reason="long double is no wider than float64 here")
@NAMES
def test_many_float64(name):
    for x in np.array_split(exhaustive.random_f64(name, effort(300_000, 10_000_000)), 100):
        worst = exhaustive.worst_by_wider(name, x)
        assert worst.ulps <= exhaustive.BOUND, worst


@pytest.mark.parametrize("error", [0, 2, -2, NAN, INF])
@pytest.mark.parametrize(
    ("measure", "dtype"),
    [
        (exhaustive.worst_by_wider, np.float32),
        (exhaustive.worst_by_wider, np.float64),
        (exhaustive.worst_by_mpmath, np.float64),
    ],
)
@NAMES
def test_the_measurement_sees_what_is_wrong(name, measure, dtype, error, monkeypatch):
    """Of answers of 2 and a little."""
    x = np.array([{"exp": 0.7, "log": 7.5, "expm1": 1.1, "log1p": 6.5}[name]], dtype)
    wrong = getattr(np, name)(x) + dtype(2 * error * np.finfo(dtype).eps)
    monkeypatch.setattr(exhaustive, "_core", SimpleNamespace(elementary=lambda name, x: wrong))
    worst = measure(name, x)
    assert worst.ulps > 1 if error else worst.ulps <= 1


@NAMES
def test_every_length_gives_the_same_answers(name):
    """Whole vectors and what is left over."""
    for dtype in (np.float32, np.float64):
        x = np.linspace(0.01, 3, 100).astype(dtype)
        want = _core.elementary(name, x)
        for length in range(70):
            np.testing.assert_array_equal(_core.elementary(name, x[:length].copy()), want[:length])
