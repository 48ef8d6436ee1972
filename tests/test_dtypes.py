"""Which dtype a call computes in, and what may stand for an array."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import fastelbo as fe
from fastelbo import reference

X, MEAN = np.random.default_rng(0).normal(size=(2, 2, 4, 3))

F2, F4, F8, I4, U1, B1 = np.float16, np.float32, np.float64, np.int32, np.uint8, np.bool_


@pytest.mark.parametrize(
    ("x", "mean", "scale", "computing"),
    [
        (F4, F4, F4, F4),
        (F4, F8, F4, F8),
        (F4, F4, F8, F8),
        (U1, F4, F4, F4),  # 8-bit images
        (F4, F4, B1, F4),
        (np.int16, F4, F4, F4),
        (I4, F4, F4, F8),  # NumPy's promotion
        (I4, I4, I4, F8),  # integers only
        (B1, U1, B1, F8),
        (F2, F2, F2, F4),  # at least float32
        (F2, U1, F2, F4),
        (F4, F4, 1.5, F4),  # Python scalars are weak,
        (U1, F2, 2, F4),
        (U1, U1, 1.5, F8),
        (2, 1.5, True, F8),
        (F4, 0.1, 3, F4),
        (F4, F4, np.float64(1.5), F8),  # NumPy scalars and 0-d arrays are not
        (F4, F4, np.array(1.5), F8),
        (F4, F4, np.float16(1.5), F4),
        (F4, F4, [1.0, 2.0, 3.0], F8),
        (">f4", "<f4", ">f4", F4),
        (">f8", F4, F4, F8),
    ],
)
def test_computing_dtype_is_numpys_promotion(x, mean, scale, computing):
    dtypes = (str, type)
    x, mean, scale = (np.ones((2, 3), arg) if isinstance(arg, dtypes) else arg for arg in (x, mean, scale))
    got = fe.gaussian_nll_grad(x, mean, var=scale, axis=(), wrt=("x", "mean", "scale"))
    kl = fe.gaussian_kl_grad(
        x, var=mean, prior_var=scale, axis=(), wrt=("mean", "scale", "prior_mean", "prior_scale")
    )
    for member in (*got, *kl):
        assert member.dtype == np.dtype(computing)
        assert member.dtype.isnative
        assert isinstance(member, np.ndarray if member.ndim else np.generic)
    assert_allclose(got.value, reference.gaussian_nll(x, mean, var=scale, axis=()), rtol=1e-6)


@pytest.mark.parametrize(
    "option", [{"weight": np.ones(2)}, {"where": np.ones((2, 3), bool)}, {"min_var": np.float64(0.5)}]
)
def test_weight_where_and_min_var_take_no_part_in_the_computing_dtype(option):
    assert fe.gaussian_nll(np.ones((2, 3), F4), 0.0, var=1.0, **option).dtype == F4


@pytest.mark.parametrize("option", [{"prior_mean": np.zeros(3)}, {"prior_var": np.float64(1.0)}])
def test_priors_take_part_in_the_computing_dtype(option):
    assert fe.gaussian_kl(np.ones((2, 3), F4), var=1.0, **option).dtype == F8


def test_python_scalars_round_to_the_computing_dtype_silently():
    x = np.zeros(3, F4)
    with np.errstate(all="raise"):
        assert np.isfinite(fe.gaussian_nll(x, 1e-300, logvar=10**2))
        assert fe.gaussian_nll(x, np.inf, logvar=1.0) == np.inf


@pytest.mark.parametrize("value", [1e39, -1e300, 10**40])
def test_no_python_scalar_becomes_infinite(value):
    """By one rule for all of them; in float64, for which a NumPy scalar asks, none does."""
    x = np.ones((2, 3), F4)
    calls = {
        "mean": lambda v: fe.gaussian_nll(x, v, logvar=1.0),
        "x": lambda v: fe.gaussian_nll_grad(v, x, logvar=x).value,
        "logvar": lambda v: fe.gaussian_nll(x, x, logvar=v),
        "prior_mean": lambda v: fe.gaussian_kl(x, var=1.0, prior_mean=v),
        "prior_std": lambda v: fe.gaussian_kl(x, var=1.0, prior_std=abs(v)),
        "std": lambda v: fe.gaussian_nll(x, x, std=abs(v), reduction="sum"),
        "logits": lambda v: fe.bernoulli_nll(x, v),
        "z_precision": lambda v: fe.neg_elbo(x, x, x, var=1.0, z_precision=abs(v)).value,
    }
    for name, call in calls.items():
        with pytest.raises(
            ValueError, match=rf"{name} is .*, which is -?inf in float32: pass np.float64\({name}\)"
        ):
            call(value)
        call(np.float64(value))


def test_array_likes_pass_and_results_are_plain_arrays(tmp_path):
    class Tagged(np.ndarray):
        pass

    class Wrapped:
        def __array__(self, dtype=None, copy=None):
            return X[0]

    want = fe.gaussian_nll(X[0], MEAN[0], var=1.0)
    mapped = np.memmap(tmp_path / "x", X.dtype, "w+", shape=(4, 3))
    mapped[...] = X[0]
    for x in (X[0].tolist(), tuple(map(tuple, X[0])), X[0].view(Tagged), mapped, Wrapped()):
        got = fe.gaussian_nll_grad(x, MEAN[0], var=1.0, wrt="x")
        assert type(got.value) is np.ndarray
        assert type(got.x) is np.ndarray
        assert_array_equal(got.value, want)
