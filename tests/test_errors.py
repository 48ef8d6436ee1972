"""Every misuse of the losses: its exception, and a message that names the argument and the way out."""

import numpy as np
import pytest

import fastelbo as fe
from messages import FIVE, pattern
from unit_calls import A, kl, kl_grad, nll, nll_grad

ROW = np.zeros(4)
FIVE_PRIOR = "prior_var, prior_std, prior_logvar, prior_logstd, prior_precision"

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


def test_scales_are_keywords_only():
    with pytest.raises(TypeError, match="positional"):
        fe.gaussian_nll(A, A, 1.0)
    with pytest.raises(TypeError, match="positional"):
        fe.gaussian_kl(A, A)
