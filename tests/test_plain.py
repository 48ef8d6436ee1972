"""Plain arrays go through compiled ways of their own: the bits are those of all other layouts."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import fastelbo as fe
from marks import DTYPES

RNG = np.random.default_rng(23)


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
