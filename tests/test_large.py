"""More than 2³¹ elements: one number, 0 bytes apart, in place of each argument, so that the answer is known.

2³¹ + 7 = 3 · 3 · 5 · 131 · 364289 elements take tenths of a second and no memory.
"""

import math

import numpy as np
import pytest
from numpy import broadcast_to

import fastelbo as fe
import oracles
import rounding
from effort import LARGE
from rounding import eps, ulp

COUNT = 2**31 + 7
SHAPES = [(1, COUNT), (15, COUNT // 15), (COUNT // 15, 15), (COUNT // 393, 3, 131)]
ON_DEMAND = pytest.mark.skipif(
    not LARGE,
    reason="takes 20 s, or 2 GB: run with HYPOTHESIS_PROFILE=large",
)
X, MEAN, RAW = np.uint8(200), np.float32(198.5), np.float32(0.75)  # computed in float32


@pytest.mark.parametrize("per_element", [False, True], ids=["one scale", "a scale for each element"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_nll(shape, per_element):
    x, mean = broadcast_to(X, shape), broadcast_to(MEAN, shape)
    got = fe.gaussian_nll(x, mean, std=broadcast_to(RAW, shape) if per_element else RAW, reduction="sum")
    value, size = oracles.nll(np.float32(X), MEAN, ("value",), std=RAW)["value"]
    rounding.check(got, value * COUNT, 10 * eps(np.float32) * size * COUNT, np.float32, "sum")


@pytest.mark.parametrize("shape", SHAPES[:2], ids=str)
def test_kl(shape):
    mean, std = broadcast_to(np.float32(1e-3), shape), broadcast_to(RAW, shape)
    got = fe.gaussian_kl(mean, std=std, reduction="sum")
    value = oracles.kl(mean.flat[0], members=("value",), std=RAW)["value"].value * COUNT
    rounding.check(got, value, 6 * ulp(value, np.float32), np.float32, "sum")


@pytest.mark.parametrize(("shape", "of_mean"), [(SHAPES[0], ()), (SHAPES[2], (15,))], ids=str)
def test_gradients_of_broadcast_arguments(shape, of_mean):
    mean = broadcast_to(MEAN, of_mean)
    got = fe.gaussian_nll_grad(broadcast_to(X, shape), mean, std=RAW, reduction="sum")
    exact = oracles.nll(np.float32(X), MEAN, ("mean", "scale"), std=RAW)
    for member, count in (("mean", COUNT // mean.size), ("scale", COUNT)):
        value, size = exact[member]
        bound = 11 * eps(np.float32) * size * count
        rounding.check(getattr(got, member), value * count, bound, np.float32, member)


def test_offsets_beyond_two_gigabytes():
    """Zeros, which the system maps to a single page; all of them count, and so do both ends."""
    x = np.zeros(COUNT, np.uint8)
    x[0], x[-1] = 1, 3
    assert fe.gaussian_nll(x, broadcast_to(np.float32(0), COUNT), var=1.0, full=False) == (1 + 9) / 2
    assert fe.gaussian_nll(x[::-1], np.float32(0), std=1.0, full=False) == (1 + 9) / 2


@ON_DEMAND
def test_the_element_that_is_wrong_is_found():
    var = np.ones(COUNT, np.bool_)
    var[-1] = False
    with pytest.raises(ValueError, match=rf"var\[{COUNT - 1}\] is False"):
        fe.gaussian_kl(broadcast_to(np.float32(0), COUNT), var=var)


@ON_DEMAND
def test_more_than_two_to_the_31_rows():
    x = broadcast_to(X, COUNT)
    got = fe.gaussian_nll(x, broadcast_to(MEAN, COUNT), std=RAW, axis=(), reduction="mean")
    value, size = oracles.nll(np.float32(X), MEAN, ("value",), std=RAW)["value"]
    assert math.isclose(got, value, abs_tol=10 * eps(np.float32) * float(size))
