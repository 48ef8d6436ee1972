"""Every `out` that is unfit to be written to: its exception, and a message that names it."""

import re

import numpy as np
import pytest

import fastelbo as fe
import strategies
import sums
from messages import pattern
from unit_calls import A, kl_grad, nll, nll_grad

BAD_OUT = {
    "list": (lambda shape: np.zeros(shape).tolist(), TypeError, "must be a NumPy array or None, not list"),
    "float": (lambda shape: 0.0, TypeError, "must be a NumPy array or None, not float"),
    "masked": (lambda shape: np.ma.zeros(shape), TypeError, "must be a NumPy array or None, not MaskedArray"),
    "float32": (
        lambda shape: np.zeros(shape, np.float32),
        ValueError,
        "must have the computing dtype, native float64, not float32",
    ),
    "integer": (
        lambda shape: np.zeros(shape, np.int64),
        ValueError,
        "must have the computing dtype, native float64, not int64",
    ),
    "swapped": (
        lambda shape: np.zeros(shape, ">f8"),
        ValueError,
        "must have the computing dtype, native float64, not >f8",
    ),
    "larger": (lambda shape: np.zeros((2, *shape)), ValueError, "must have shape …, not (2,"),
    "flat": (lambda shape: np.zeros((*shape, 1)), ValueError, "must have shape"),
    "read-only": (lambda shape: sums.read_only(np.zeros(shape)), ValueError, "is read-only"),
    "unaligned": (
        lambda shape: strategies.LAYOUTS["unaligned"](np.zeros(shape)),
        ValueError,
        "is not aligned",
    ),
    "broadcast": (
        lambda shape: np.lib.stride_tricks.as_strided(np.zeros(1), shape, (0,) * len(shape)),
        ValueError,
        "overlaps itself",
    ),
    "sliding": (
        lambda shape: np.lib.stride_tricks.as_strided(np.zeros(9), shape, (8,) * len(shape)),
        ValueError,
        "overlaps itself",
    ),
}


@pytest.mark.parametrize("kind", BAD_OUT)
def test_out_must_be_fit_to_write_to(kind):
    make, exception, message = BAD_OUT[kind]
    if kind != "sliding":
        with pytest.raises(exception, match="^out " + pattern(message)):
            nll(out=make((4,)))
        with pytest.raises(exception, match=re.escape("out[0] (value) ") + pattern(message)):
            kl_grad(out=(make((4,)), None, None, None, None))
    with pytest.raises(exception, match=re.escape("out[2] (mean) ") + pattern(message)):
        nll_grad(out=(None, None, make((4, 3)), None))
    with pytest.raises(exception, match=re.escape("out[1] (mean) ") + pattern(message)):
        kl_grad(out=(None, make((4, 3)), None, None, None))


V, G, H = np.empty(4), np.empty((4, 3)), np.empty((8, 3))
OUT = {
    "an array": (
        nll_grad,
        {"out": V},
        TypeError,
        "out must be a tuple (value, x, mean, scale), or None, not ndarray",
    ),
    "a list": (kl_grad, {"out": [V, G]}, TypeError, "tuple (value, mean, scale, prior_mean, prior_scale)"),
    "a tuple for a value": (nll, {"out": (V,)}, TypeError, "out must be a NumPy array or None, not tuple"),
    "too few": (
        nll_grad,
        {"out": (V, G, G)},
        ValueError,
        "out must have 4 members (value, x, mean, scale), not 3",
    ),
    "too many": (kl_grad, {"out": (None,) * 6}, ValueError, "out must have 5 members…not 6"),
    "not asked for": (
        nll_grad,
        {"out": (V, G, None, None)},
        ValueError,
        "out[1] (x) is given, but wrt does not name 'x'",
    ),
    "not there": (
        kl_grad,
        {"out": (V, None, None, None, G)},
        ValueError,
        "out[4] (prior_scale) is given, but wrt",
    ),
    "reduced": (
        nll,
        {"out": V, "reduction": "sum"},
        ValueError,
        "out must be None: with reduction='sum'…Python float",
    ),
    "reduced 0-d": (
        nll,
        {"out": np.empty(()), "reduction": "mean"},
        ValueError,
        "out must be None…Python float",
    ),
    "reduced grad": (
        nll_grad,
        {"out": (V, None, None, None), "reduction": "mean"},
        ValueError,
        "out[0] (value) must be None",
    ),
    "scale's shape": (
        nll_grad,
        {"var": np.ones(3), "out": (None, None, None, G)},
        ValueError,
        "out[3] (scale) must have shape (3,), not (4, 3)",
    ),
    "twice the same": (
        nll_grad,
        {"var": A + 1, "out": (V, None, G, G)},
        ValueError,
        "out[2] (mean) and out[3] (scale) overlap",
    ),
    "overlapping": (
        kl_grad,
        {"var": A + 1, "out": (None, H[:4], H[3:7], None, None)},
        ValueError,
        "out[1] (mean) and out[2] (scale) overlap",
    ),
    "value and gradient": (
        nll_grad,
        {"out": (G[:, 0], None, G, None)},
        ValueError,
        "out[0] (value) and out[2] (mean) overlap",
    ),
}


@pytest.mark.parametrize("case", OUT)
def test_out_must_match_what_is_asked(case):
    function, options, exception, message = OUT[case]
    with pytest.raises(exception, match=pattern(message)):
        function(**options)


F = np.zeros((4, 3), np.float32)
ASKED = {
    "a scalar": ({"var": np.float64(1.0)}, "var is float64; pass float(var) to compute in float32"),
    "an array": ({"mean": A}, "mean is float64; pass np.asarray(mean, np.float32) to"),
    "both": (
        {"mean": A, "var": np.float64(1.0)},
        "mean is float64, var is float64; pass np.asarray(mean, np.float32), float(var) to",
    ),
    "integers": ({"mean": A.astype(np.int32)}, "mean is int32; pass np.asarray(mean, np.float32) to"),
}


@pytest.mark.parametrize("case", ASKED)
def test_out_of_float32_says_who_asked_for_float64(case):
    options, message = ASKED[case]
    prefix = "native float64, not float32: "
    with pytest.raises(ValueError, match=pattern(prefix + message)):
        nll(**{"x": F, "mean": F} | options, out=np.empty(4, np.float32))
    with pytest.raises(ValueError, match=pattern(prefix + message)):
        nll_grad(**{"x": F, "mean": F} | options, out=(None, None, np.empty((4, 3), np.float32), None))


def test_out_of_float32_of_the_others_says_it_too():
    wide, f = np.float64(1.0), np.empty((4, 3), np.float32)
    asked = pattern("not float32: std is float64; pass float(std) to compute in float32")
    with pytest.raises(ValueError, match=asked):
        fe.reparameterize(F, std=wide, eps=F, out=(f, None))
    with pytest.raises(ValueError, match=asked):
        fe.neg_elbo_grad(F, F, F, std=wide, z_var=1.0, out=(None,) * 4 + (f,) + (None,) * 5)
    with pytest.raises(
        ValueError, match=pattern("not float32: x is float64; pass np.asarray(x, np.float32)")
    ):
        fe.optimal_nll_grad(A, F, out=(None, None, f))
