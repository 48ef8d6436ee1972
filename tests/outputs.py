"""Calls of the Gaussian losses with all gradients, and outputs of any layout, for the tests of `out`."""

import numpy as np
from numpy.lib.stride_tricks import as_strided

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
