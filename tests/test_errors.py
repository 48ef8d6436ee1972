"""Every misuse: its exception, and a message that names the argument and the way out."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastelbo as fe

A = np.zeros((4, 3))
ROW = np.zeros(4)
DAY = np.zeros((4, 3), "M8[D]")
FIVE = "var, std, logvar, logstd, precision"
FIVE_PRIOR = "prior_var, prior_std, prior_logvar, prior_logstd, prior_precision"


def defaults(function, *data):
    """`function` of zeros with unit variance, but for what the case says; `bare` leaves out the scale."""

    def call(bare=False, **options):
        scale = {} if bare or options.keys() & set(FIVE.split(", ")) else {"var": 1.0}
        return function(**dict.fromkeys(data, A) | scale | options)

    call.__name__ = function.__name__
    return call


nll, nll_grad = defaults(fe.gaussian_nll, "x", "mean"), defaults(fe.gaussian_nll_grad, "x", "mean")
kl, kl_grad = defaults(fe.gaussian_kl, "mean"), defaults(fe.gaussian_kl_grad, "mean")

EVERY = (nll, nll_grad, kl, kl_grad)
NLL = (nll, nll_grad)
KL = (kl, kl_grad)
GRAD = (nll_grad, kl_grad)

# functions, options, exception, what the message must say (in this order, "…" for anything between)
CASES = {
    # scales
    "no scale": (EVERY, {"bare": True}, TypeError, f"exactly one of {FIVE}; got none"),
    "two scales": (
        EVERY,
        {"var": 1.0, "logvar": 0.0},
        TypeError,
        f"exactly one of {FIVE}; got var and logvar",
    ),
    "three scales": (
        EVERY,
        {"var": 1.0, "std": 1.0, "precision": 1.0},
        TypeError,
        "got var and std and precision",
    ),
    "two priors": (
        KL,
        {"prior_std": 1.0, "prior_precision": 1.0},
        TypeError,
        f"at most one of {FIVE_PRIOR}; got prior_std and prior_precision",
    ),
    "misspelt": (EVERY, {"log_var": 1.0}, TypeError, "log_var"),
    # shapes of x and mean
    "(N,) and (N, 1)": (
        NLL,
        {"x": np.zeros(32), "mean": np.zeros((32, 1))},
        ValueError,
        "x has shape (32,) and mean has shape (32, 1)…"
        "pass np.reshape(mean, (32,)), or np.reshape(x, (32, 1))",
    ),
    "(N, 1) and (N,)": (
        NLL,
        {"x": np.zeros((32, 1)), "mean": np.zeros(32)},
        ValueError,
        "x has shape (32, 1) and mean has shape (32,)…"
        "pass np.reshape(x, (32,)), or np.reshape(mean, (32, 1))",
    ),
    "size-1 axis": (
        NLL,
        {"mean": np.zeros((4, 1))},
        ValueError,
        "x has shape (4, 3) and mean has shape (4, 1)…size-1 axes are not stretched…np.broadcast_to",
    ),
    "other order": (
        NLL,
        {"mean": np.zeros((3, 4))},
        ValueError,
        "(4, 3)…(3, 4)…axes of the other: pass np.asarray(mean).T if",
    ),
    "flat images": (
        NLL,
        {"x": np.zeros((4, 5, 6)), "mean": np.zeros((4, 30))},
        ValueError,
        "x has shape (4, 5, 6) and mean has shape (4, 30)…axes of the other: pass np.reshape(x, (4, 30))",
    ),
    "samples second": (
        NLL,
        {"mean": np.zeros((4, 2, 3))},
        ValueError,
        "(4, 3)…(4, 2, 3)…: pass np.moveaxis(mean, 1, 0) if its axis 1 is that of the samples",
    ),
    "leading size-1 axis": (NLL, {"mean": np.zeros((1, 3))}, ValueError, "(4, 3)…(1, 3)…np.broadcast_to"),
    "no match": (
        NLL,
        {"mean": np.zeros((4, 2))},
        ValueError,
        "(4, 3)…(4, 2)…equal, or one may lack leading axes",
    ),
    "trailing axis lacking": (NLL, {"mean": ROW}, ValueError, "x has shape (4, 3) and mean has shape (4,)"),
    "prior mean": (
        KL,
        {"prior_mean": np.zeros((4, 1))},
        ValueError,
        "mean has shape (4, 3) and prior_mean has shape (4, 1)…np.broadcast_to",
    ),
    "prior mean of rows": (
        KL,
        {"prior_mean": np.zeros((4, 3, 1))},
        ValueError,
        "np.reshape(prior_mean, (4, 3)), or np.reshape(mean, (4, 3, 1))",
    ),
    "scalar mean, wrong prior": (
        KL,
        {"mean": 0.0, "logvar": A, "prior_mean": np.zeros((4, 1))},
        ValueError,
        "(4, 3)…(4, 1)",
    ),
    # shapes of the scales and of where
    "scale by rows": (
        EVERY,
        {"var": np.ones(4)},
        ValueError,
        "var has shape (4,)…does not broadcast to (4, 3)…np.reshape(var, (4, 1))",
    ),
    "scale by rows, axis=0": (
        EVERY,
        {"var": np.ones((3, 1)), "axis": 0},
        ValueError,
        "var has shape (3, 1)…(4, 3)",
    ),
    "scale too large": (
        EVERY,
        {"logvar": np.zeros((2, 4, 3))},
        ValueError,
        "logvar has shape (2, 4, 3)…(4, 3)…not broadcast to logvar…np.broadcast_to",
    ),
    "scale stretches": (
        EVERY,
        {"mean": np.zeros((1, 3)), "x": np.zeros((1, 3)), "std": A + 1},
        ValueError,
        "std…(1, 3)",
    ),
    "scale of nothing": (EVERY, {"var": np.ones(0)}, ValueError, "var has shape (0,)"),
    "prior scale": (
        KL,
        {"prior_logstd": np.zeros(4)},
        ValueError,
        "prior_logstd has shape (4,)…(4, 3)…np.reshape(prior_logstd, (4, 1))",
    ),
    "where by rows": (
        EVERY,
        {"where": np.ones(4, bool)},
        ValueError,
        "where has shape (4,)…np.reshape(where, (4, 1))",
    ),
    "where too large": (
        EVERY,
        {"where": np.ones((2, 4, 3), bool)},
        ValueError,
        "where has shape (2, 4, 3)…(4, 3)",
    ),
    "where of 0 and 1": (
        EVERY,
        {"where": np.ones((4, 3), np.uint8)},
        TypeError,
        "where must be boolean…uint8…np.not_equal(where, 0)",
    ),
    "where of floats": (
        EVERY,
        {"where": 1.0},
        TypeError,
        "where must be boolean…float64…np.not_equal(where, 0)",
    ),
    "where of indices": (EVERY, {"where": [0, 2]}, TypeError, "where must be boolean…np.not_equal(where, 0)"),
    "scale by rows, a shorter batch": (
        EVERY,
        {"std": np.ones(4)},
        ValueError,
        "one for each row is np.reshape(std, (4, 1)), as (4,) is one for each element of the last axis",
    ),
    "scale by channels": (
        NLL,
        {"x": np.zeros((4, 3, 5, 6)), "mean": np.zeros((4, 3, 5, 6)), "std": np.ones(3), "axis": (1, 2, 3)},
        ValueError,
        "along axis 1 of them it is np.reshape(std, (3, 1, 1))",
    ),
    "where by channels": (
        NLL,
        {
            "x": np.zeros((4, 3, 5, 6)),
            "mean": np.zeros((4, 3, 5, 6)),
            "where": np.ones(3, bool),
            "axis": None,
        },
        ValueError,
        "along axis 1 of them it is np.reshape(where, (3, 1, 1))",
    ),
    # weight
    "weight by features": (
        EVERY,
        {"weight": np.ones(3)},
        ValueError,
        "weight has shape (3,)…(4, 3)…did you mean np.reshape(weight, (1, 3))? In a batch of 3 rows it would "
        "have weighted those. Pass shape (4,) to weight rows, (1, 3) to weight features, (4, 3) to weight el",
    ),
    "weight by channels": (
        NLL,
        {
            "x": np.zeros((4, 3, 5, 6)),
            "mean": np.zeros((4, 3, 5, 6)),
            "weight": np.ones(3),
            "axis": (1, 2, 3),
        },
        ValueError,
        "did you mean np.reshape(weight, (1, 3, 1, 1))? Pass shape (4,) to weight rows",
    ),
    "scalar weight": (
        EVERY,
        {"weight": 2.0},
        ValueError,
        "weight has shape ()…multiply the result by a scalar",
    ),
    "weight of neither": (
        EVERY,
        {"weight": np.ones(5)},
        ValueError,
        "weight has shape (5,)…shape (4,) to weight rows",
    ),
    "weight of size 1": (EVERY, {"weight": np.ones(1)}, ValueError, "weight has shape (1,)"),
    "weight too large": (EVERY, {"weight": np.ones((1, 4, 3))}, ValueError, "weight has shape (1, 4, 3)"),
    "weight by rows, axis=0": (
        EVERY,
        {"weight": np.ones(4), "axis": 0},
        ValueError,
        "shape (3,) to weight rows, (4, 1)",
    ),
    # axis
    "axis too large": (
        EVERY,
        {"axis": 2},
        np.exceptions.AxisError,
        "axis 2 is out of bounds for …of shape (4, 3)",
    ),
    "axis too small": (EVERY, {"axis": (0, -3)}, np.exceptions.AxisError, "axis -3 is out of bounds"),
    "axis twice": (EVERY, {"axis": (1, -1)}, ValueError, "axis=(1, -1) names an axis twice"),
    "axis a float": (
        EVERY,
        {"axis": 1.0},
        TypeError,
        "axis must be an int, a tuple of ints, () or None, not 1.0",
    ),
    "axis a list": (EVERY, {"axis": [0, 1]}, TypeError, "axis must be…tuple of ints…[0, 1]"),
    "axis a string": (EVERY, {"axis": "rows"}, TypeError, "axis must be…'rows'"),
    "axis of 0-d": (EVERY, {"x": 1.0, "mean": 1.0, "axis": 1}, np.exceptions.AxisError, "axis 1"),
    "axis, different ndim": (
        NLL,
        {"mean": np.zeros((2, 4, 3)), "axis": 1},
        ValueError,
        "axis=1…wrong end: x has 2 axes, mean 3; pass axis=(-1,)",
    ),
    "axis, images and samples": (
        NLL,
        {"x": np.zeros((4, 1, 2, 3)), "mean": np.zeros((2, 4, 1, 2, 3)), "axis": (1, 2, 3)},
        ValueError,
        "x has 4 axes, mean 5; pass axis=(-3, -2, -1)",
    ),
    "axis of the samples": (
        NLL,
        {"mean": np.zeros((2, 4, 3)), "axis": 2},
        ValueError,
        "x has 2 axes, mean 3; pass axis=(-1,)",
    ),
    "axis, different ndim, mixed": (
        NLL,
        {"mean": np.zeros(3), "axis": (0, -1)},
        ValueError,
        "wrong end…axis=(-2, -1)",
    ),
    "axis, different priors": (
        KL,
        {"prior_mean": np.zeros(3), "axis": 0},
        ValueError,
        "wrong end…prior_mean 1",
    ),
    # reduction, min_var
    "reduction": (
        EVERY,
        {"reduction": "avg"},
        ValueError,
        "reduction must be one of 'none', 'sum', 'mean', not 'avg'",
    ),
    "no reduction": (EVERY, {"reduction": None}, ValueError, "reduction must be one of 'none'…not None"),
    "1-D data": (
        EVERY,
        {"x": ROW, "mean": ROW, "reduction": "mean"},
        ValueError,
        "one event of size 4, or 4 observations? pass axis=-1 or axis=()",
    ),
    "negative min_var": (
        NLL,
        {"min_var": -1.0},
        ValueError,
        "min_var must be a finite variance >= 0, not -1.0",
    ),
    "NaN min_var": (NLL, {"min_var": np.nan}, ValueError, "min_var must be…nan"),
    "infinite min_var": (NLL, {"min_var": np.inf}, ValueError, "min_var must be…inf"),
    "min_var array": (
        NLL,
        {"min_var": [0.1, 0.2]},
        ValueError,
        "min_var must be one number…(2,): pass var=np.max",
    ),
    "min_var string": (NLL, {"min_var": "0.1"}, TypeError, "min_var…<U3"),
    "min_var of KL": (KL, {"min_var": 0.1}, TypeError, "min_var"),
    # wrt
    "wrt unknown": (
        (nll_grad,),
        {"wrt": ("mean", "recon")},
        ValueError,
        "wrt must name some of 'x', 'mean', 'scale', not 'recon'",
    ),
    "wrt unknown, KL": (
        (kl_grad,),
        {"wrt": "x"},
        ValueError,
        "wrt must name some of 'mean', 'scale', 'prior_mean', 'prior_scale', not 'x'",
    ),
    "wrt the value": (GRAD, {"wrt": "value"}, ValueError, "not 'value'"),
    "wrt the form": (GRAD, {"wrt": "logvar"}, ValueError, "not 'logvar'; the scale's gradient is 'scale'"),
    "wrt no name": (GRAD, {"wrt": None}, TypeError, "wrt must be one name or several of…None"),
    "wrt a prior that is not there": (
        (kl_grad,),
        {"wrt": ("mean", "prior_scale")},
        ValueError,
        "'prior_scale', but no prior scale was passed",
    ),
    "wrt of a value function": ((nll, kl), {"wrt": "mean"}, TypeError, "wrt"),
}


def run(function, options):
    if function in KL:
        options = {name: value for name, value in options.items() if name != "x"}
    return function(**options)


def pattern(message):
    return ".*".join(re.escape(part) for part in message.split("…"))


@pytest.mark.parametrize(
    ("function", "case"),
    [
        pytest.param(function, case, id=f"{case}-{function.__name__}")
        for case in CASES
        for function in CASES[case][0]
    ],
)
def test_misuse(function, case):
    _, options, exception, message = CASES[case]
    with pytest.raises(exception, match=pattern(message)) as caught:
        run(function, options)
    assert caught.type is exception


def test_axis_error_is_both_of_numpys_kinds():
    for kind in (ValueError, IndexError):
        with pytest.raises(kind):
            nll(axis=5)


# --- dtypes -------------------------------------------------------------------------------------------------

BAD = {
    "complex": (A.astype(complex), "complex128"),
    "complex scalar": (1j, "complex128"),
    "object": (A.astype(object), "object"),
    "None": (None, "object"),
    "string": (np.full((4, 3), "1.0"), "<U3"),
    "bytes": (np.full((4, 3), b"1.0"), "S3"),
    "Python string": ("1.0", "<U3"),
    "datetime": (DAY, "datetime64"),
    "timedelta": (DAY - DAY, "timedelta64"),
    "longdouble": (A.astype(np.longdouble), str(np.dtype(np.longdouble))),
    "record": (np.zeros((4, 3), "f4,f4"), "f4"),
    "masked": (np.ma.masked_less(A, 0.5), "masked array"),
    "huge integers": ([[2**70] * 3] * 4, "object"),
}
ARGUMENTS = {
    "x": lambda bad: nll(x=bad),
    "mean": lambda bad: nll(mean=bad),
    "logvar": lambda bad: nll_grad(logvar=bad),
    "weight": lambda bad: nll(weight=bad),
    "min_var": lambda bad: nll(min_var=bad),
    "prior_mean": lambda bad: kl(prior_mean=bad),
    "prior_logstd": lambda bad: kl_grad(prior_logstd=bad),
    "where": lambda bad: kl(where=bad),
}


OPTIONAL = ("logvar", "prior_logstd", "weight", "where")  # where None means: not given


@pytest.mark.parametrize(
    ("argument", "kind"),
    [(name, kind) for name in ARGUMENTS for kind in BAD if not (kind == "None" and name in OPTIONAL)],
)
def test_dtypes_that_are_not_real(argument, kind):
    bad, dtype = BAD[kind]
    with pytest.raises(TypeError, match=pattern(f"{argument}…{dtype}")):
        ARGUMENTS[argument](bad)


def test_a_masked_array_is_told_its_way_out():
    with pytest.raises(TypeError, match=re.escape("pass mean.filled(...), or mean.data and")):
        nll(mean=np.ma.masked_array(A))
    with pytest.raises(TypeError, match="masked"):
        nll(x=np.ma.masked)


def test_a_ragged_list_names_its_argument():
    with pytest.raises(ValueError, match="mean does not make an array: "):
        nll(mean=[[1.0], [1.0, 2.0]])


def test_what_refuses_to_become_an_array_has_the_last_word():
    class Tensor:
        def __array__(self, dtype=None, copy=None):
            raise RuntimeError("use tensor.detach().numpy()")

    with pytest.raises(RuntimeError, match="detach") as caught:
        nll(mean=Tensor())
    assert caught.value.__notes__ == ["raised by np.asarray(mean)"]


def test_bfloat16_of_another_library_is_told_its_way_out():
    class Tensor:
        dtype = "torch.bfloat16"  # as its str() is

        def __array__(self, dtype=None, copy=None):
            raise TypeError("Got unsupported ScalarType BFloat16")

    way_out = "pass mean.float().numpy(), or mean.view(torch.int16).numpy().view(ml_dtypes.bfloat16)"
    with pytest.raises(TypeError, match=pattern(f"mean is a tensor of bfloat16…{way_out}")) as caught:
        nll(mean=Tensor())
    assert "ScalarType" in str(caught.value.__cause__)


def test_a_column_with_missing_values_is_told_its_way_out():
    class Column:
        def __array__(self, dtype=None, copy=None):
            return np.array([1.0, None])

        def to_numpy(self, dtype, na_value):
            return np.array([1.0, na_value], dtype)

        def notna(self):
            return np.array([True, False])

    x = Column()
    message = "x has dtype object…pass x.to_numpy(np.float64, na_value=np.nan) and…where=x.notna()"
    with pytest.raises(TypeError, match=pattern(message)):
        fe.gaussian_nll(x, 0.0, var=1.0)
    way_out = fe.gaussian_nll(x.to_numpy(np.float64, na_value=np.nan), 0.0, var=1.0, where=x.notna())
    assert way_out == fe.gaussian_nll([1.0], 0.0, var=1.0)


def test_a_scalar_that_becomes_0_is_told_its_way_out():
    x = np.zeros((4, 3), np.float32)
    for function in (nll_grad, kl):
        data = {"x": x, "mean": x} if function is nll_grad else {"mean": x}
        with pytest.raises(
            ValueError, match=pattern("std is 1e-50, which is 0 in float32 (pass np.float64(std)")
        ):
            function(**data, std=1e-50)
        function(**data, std=np.float64(1e-50))


def test_scales_are_keywords_only():
    with pytest.raises(TypeError, match="positional"):
        fe.gaussian_nll(A, A, 1.0)
    with pytest.raises(TypeError, match="positional"):
        fe.gaussian_kl(A, A)


# --- out ----------------------------------------------------------------------------------------------------


def read_only(array):
    array.flags.writeable = False
    return array


def unaligned(shape, dtype=np.float64):
    return np.empty(np.prod(shape) * np.dtype(dtype).itemsize + 1, np.uint8)[1:].view(dtype).reshape(shape)


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
    "read-only": (lambda shape: read_only(np.zeros(shape)), ValueError, "is read-only"),
    "unaligned": (unaligned, ValueError, "is not aligned"),
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


# --- optimal_var --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "exception", "message"),
    [
        ((A, np.zeros((4, 1))), ValueError, "x has shape (4, 3) and mean has shape (4, 1)"),
        ((A, 1j), TypeError, "mean has dtype complex128"),
        ((np.ma.zeros(3), 0.0), TypeError, "x is a masked array"),
        ((A, A, 2), np.exceptions.AxisError, "axis 2"),
        ((A, np.zeros(3), 0), ValueError, "wrong end"),
        ((A, A, "all"), TypeError, "axis must be"),
    ],
)
def test_optimal_var_has_the_same_rules(args, exception, message):
    with pytest.raises(exception, match=pattern(message)):
        fe.optimal_var(*args)


# --- the import ---------------------------------------------------------------------------------------------


def test_a_source_tree_that_is_not_built_says_so(tmp_path):
    for source in Path(fe.__file__).parent.glob("*.py"):
        (tmp_path / "fastelbo").mkdir(exist_ok=True)
        shutil.copy(source, tmp_path / "fastelbo")
    run_import = [
        sys.executable,
        "-S",
        "-c",
        "import fastelbo",
    ]  # no site: an editable install would lend its core
    error = subprocess.run(run_import, cwd=tmp_path, capture_output=True, text=True, check=False).stderr
    last = error.strip().splitlines()[-1]
    assert last.startswith(f"ImportError: fastelbo's compiled core is missing from {tmp_path / 'fastelbo'}")
    assert "pip install ." in last
    assert "pip install -e ." in last
