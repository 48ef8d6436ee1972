"""Calls of the Gaussian losses with all gradients, and outputs of any layout, for the tests of `out`."""

import itertools

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided
from numpy.testing import assert_array_equal

import fastelbo as fe

RNG = np.random.default_rng(3)
SHAPE = (5, 7)
NLL_WRT = ("x", "mean", "scale")
KL_WRT = ("mean", "scale", "prior_mean", "prior_scale")


def inputs(dtype=np.float64, names=NLL_WRT, shape=SHAPE):
    return {name: RNG.uniform(1, 2, shape).astype(dtype) for name in names}


def nll_grad(args, out=None, **options):
    options = {"wrt": NLL_WRT} | options
    return fe.gaussian_nll_grad(args["x"], args["mean"], var=args["scale"], out=out, **options)


def kl_grad(args, out=None, **options):
    scales = {"var": args["scale"], "prior_var": args["prior_scale"]}
    options = {"wrt": KL_WRT} | options
    return fe.gaussian_kl_grad(args["mean"], prior_mean=args["prior_mean"], out=out, **scales, **options)


GRADS = {"nll": (nll_grad, NLL_WRT), "kl": (kl_grad, KL_WRT)}


def interleaved(shape, dtype):
    """Neither axis steps over the other, yet no two elements meet: 3 and 2 items apart, shape (2, 3) only."""
    item = np.dtype(dtype).itemsize
    return as_strided(np.zeros(8, dtype), (2, 3), (3 * item, 2 * item))


LAYOUTS = {
    "C": np.empty,
    "F": lambda shape, dtype: np.empty(shape, dtype, order="F"),
    "spaced": lambda shape, dtype: np.empty([2 * n for n in shape], dtype)[
        (slice(None, None, 2),) * len(shape)
    ],
    "reversed": lambda shape, dtype: np.empty(shape, dtype)[(slice(None, None, -1),) * len(shape)],
    "column": lambda shape, dtype: np.empty((*shape, 3), dtype)[..., 1],
    "interleaved": interleaved,
}


def assert_an_error_leaves_all_untouched(grad, args, names, values: int = 1, **options):
    """Where a scale is not positive, with any of the gradients over their arguments."""
    before = {name: array.copy() for name, array in args.items()}
    for use in itertools.product([False, True], repeat=len(names)):
        places = (args[name] if used else None for name, used in zip(names, use, strict=True))
        with pytest.raises(ValueError, match="must be > 0"):
            grad(args, (*[None] * values, *places), **options)
        for name, array in args.items():
            assert_array_equal(array, before[name])
