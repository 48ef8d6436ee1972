"""Every misuse of what is no loss of two arrays: its exception, and a message with the way out."""

from typing import Any

import numpy as np
import pytest

import fastelbo as fe

A, ROW = np.zeros((4, 3)), np.zeros(3)
GENERATOR = np.random.default_rng(0)
INF, NAN = np.inf, np.nan

Case = tuple[dict[str, Any], type[Exception], str]

OPTIMAL_NLL: dict[str, Case] = {
    "shapes": ({"mean": np.zeros((4, 1))}, ValueError, r"x has shape \(4, 3\) and mean has shape \(4, 1\)"),
    "axis": ({"axis": 2}, ValueError, "axis"),
    "wrong end": ({"mean": A[0], "axis": 1}, ValueError, "may count from the wrong end"),
    "min_var": ({"min_var": -1.0}, ValueError, "min_var must be a finite variance >= 0, not -1.0"),
    "wrt": ({"wrt": "scale"}, ValueError, "wrt must name some of 'x', 'mean', not 'scale'"),
    "where": (
        {"where": np.ones(4, bool)},
        ValueError,
        r"where has shape \(4,\), which does not broadcast to \(4, 3\)",
    ),
    "weight": (
        {"weight": np.ones(3)},
        ValueError,
        r"did you mean np.reshape\(weight, \(1, 3\)\)\? Pass shape \(4, 3\) to weight elements",
    ),
    "reduction": (
        {"reduction": "avg"},
        ValueError,
        "reduction must be one of 'none', 'sum', 'mean', not 'avg'",
    ),
    "reduced": (
        {"reduction": "sum", "out": (A[:, 0], None, None), "axis": -1},
        ValueError,
        r"out\[0\] \(value\) must be None: with reduction='sum'",
    ),
    "out": ({"out": (None, None, None, None)}, ValueError, r"3 members \(value, x, mean\), not 4"),
    "out not asked for": (
        {"out": (None, A, None)},
        ValueError,
        r"out\[1\] \(x\) is given, but wrt does not name 'x'",
    ),
    "out shape": ({"out": (A, None, None)}, ValueError, r"out\[0\] \(value\) must have shape \(\)"),
}

OPTIMAL_VAR: dict[str, Case] = {
    "shapes": ({"mean": np.zeros((4, 1))}, ValueError, r"x has shape \(4, 3\) and mean has shape \(4, 1\)"),
    "complex": ({"mean": 1j}, TypeError, "mean has dtype complex128"),
    "masked": ({"x": np.ma.zeros(3), "mean": 0.0}, TypeError, "x is a masked array"),
    "axis": ({"axis": 2}, np.exceptions.AxisError, "axis 2"),
    "wrong end": ({"mean": ROW, "axis": 0}, ValueError, "wrong end"),
    "axes": ({"axis": "all"}, TypeError, "axis must be"),
}

IWAE_BOUND: dict[str, Case] = {
    "axis": ({"log_w": np.zeros((2, 3)), "axis": 2}, np.exceptions.AxisError, "axis 2"),
    "complex": ({"log_w": np.zeros(2, complex)}, TypeError, "log_w has dtype complex128"),
}

FREE_BITS: dict[str, Case] = {
    "per": ({"per": "batch"}, ValueError, "per must be 'dim' or 'row', not 'batch'"),
    "average": ({"average": "none"}, ValueError, "average must be 'first' or 'last', not 'none'"),
    "negative": ({"min_kl": -1.0}, ValueError, "min_kl must be a finite number of nats >= 0, not -1.0"),
    "NaN": ({"min_kl": NAN}, ValueError, "min_kl must be a finite number of nats"),
    "inf": ({"min_kl": INF}, ValueError, "min_kl must be a finite number of nats"),
    "array": ({"min_kl": np.ones(3)}, ValueError, r"not an array of shape \(3,\): call free_bits for each"),
    "no mode": ({"per": None}, ValueError, "per must be 'dim' or 'row', not None"),
    "where": ({"where": np.ones(4, bool)}, ValueError, r"where has shape \(4,\), which does not broadcast"),
    "where of 1": ({"where": 1}, TypeError, "where must be boolean"),
    "weight": (
        {"weight": np.ones((4, 3))},
        ValueError,
        r"weight has shape \(4, 3\); it must have that of the rows, \(4,\), as the mean over the batch is",
    ),
}

IMPLIED_OBJECTIVE: dict[str, Case] = {
    "error": ({"error": "none", "kl": "sum"}, ValueError, "error must be 'sum' or 'mean', not 'none'"),
    "kl": ({"error": "sum", "kl": "batch"}, ValueError, "kl must be 'sum' or 'mean', not 'batch'"),
    "no features": ({"error": "mean", "kl": "sum"}, TypeError, "error='mean' needs n_features"),
    "no latents": ({"error": "sum", "kl": "mean"}, TypeError, "kl='mean' needs n_latents"),
    "0 features": (
        {"error": "mean", "kl": "sum", "n_features": 0},
        ValueError,
        "n_features must be at least 1, not 0",
    ),
    "half a feature": (
        {"error": "mean", "kl": "sum", "n_features": 0.5},
        TypeError,
        "n_features must be an int, not 0.5",
    ),
    "weight": (
        {"error": "sum", "kl": "sum", "kl_weight": 0.0},
        ValueError,
        "kl_weight must be a finite factor > 0, not 0.0",
    ),
    "var": (
        {"error": "sum", "kl": "sum", "var": -1.0},
        ValueError,
        "var must be a finite variance > 0, not -1.0",
    ),
    "true features": (
        {"error": "mean", "kl": "sum", "n_features": True},
        TypeError,
        "n_features must be an int, not True",
    ),
    "true latents": (
        {"error": "sum", "kl": "mean", "n_latents": True},
        TypeError,
        "n_latents must be an int, not True",
    ),
    "true error weight": (
        {"error": "sum", "kl": "sum", "error_weight": True},
        TypeError,
        "error_weight must be a number, not True",
    ),
    "true KL weight": (
        {"error": "sum", "kl": "sum", "kl_weight": np.True_},
        TypeError,
        "kl_weight must be a number, not np.True_",
    ),
    "true var": ({"error": "sum", "kl": "sum", "var": True}, TypeError, "var must be a number, not True"),
    "a huge weight": (
        {"error": "sum", "kl": "sum", "kl_weight": 10**400},
        ValueError,
        "kl_weight is an int beyond the range of float64",
    ),
    "var too large": (
        {"error": "sum", "kl": "sum", "kl_weight": 1e308, "error_weight": 0.1},
        ValueError,
        "the var of this mix is too large",
    ),
    "var too small": (
        {"error": "sum", "kl": "sum", "kl_weight": 1e-300, "error_weight": 1e300},
        ValueError,
        "the var of this mix is too small",
    ),
    "too many features": (
        {"error": "mean", "kl": "sum", "n_features": 10**400},
        ValueError,
        "var of this mix is too large",
    ),
    "beta too large": (
        {"error": "sum", "kl": "sum", "var": 1e-309},
        ValueError,
        "beta of this mix is too large",
    ),
    "scale too large": (
        {"error": "sum", "kl": "sum", "var": 1e200, "error_weight": 1e200, "kl_weight": 1e308},
        ValueError,
        "scale of this mix is too large",
    ),
}

REPARAMETERIZE: dict[str, Case] = {
    "no scale": ({"eps": A}, TypeError, "exactly one of var, std, logvar, logstd, precision; got none"),
    "two scales": ({"eps": A, "var": 1.0, "std": 1.0}, TypeError, "got var and std"),
    "no noise": ({"var": 1.0}, TypeError, "one of eps and rng, not neither"),
    "two noises": ({"var": 1.0, "eps": A, "rng": GENERATOR}, TypeError, "one of eps and rng, not both"),
    "a seed": ({"var": 1.0, "rng": 0}, TypeError, "numpy.random.Generator.*default_rng.*not int"),
    "RandomState": ({"var": 1.0, "rng": np.random.RandomState(0)}, TypeError, "not RandomState"),
    "complex": ({"var": 1j, "eps": A}, TypeError, "var has dtype complex128"),
    "var = 0": (
        {"var": np.eye(4)[:, :3], "eps": A},
        ValueError,
        r"^var must be > 0: var\[0, 1\] is 0.0 \(pass logvar, which is -np.inf for a σ of 0\)$",
    ),
    "std = 0": (
        {"std": 0.0, "eps": A},
        ValueError,
        r"std is 0.0 \(pass logstd, which is -np.inf for a σ of 0\)$",
    ),
    "a scalar": ({"precision": -2.0, "eps": A}, ValueError, r"^precision must be > 0: precision is -2.0$"),
    "underflow": (
        {"mean": A.astype("f"), "std": 1e-50, "eps": A.astype("f")},
        ValueError,
        "std is 1e-50, which is 0 in float32",
    ),
    "scale by rows": (
        {"var": np.ones(4), "eps": A},
        ValueError,
        r"shape \(4,\).*mean.*np.reshape\(var, \(4, 1\)\)",
    ),
    "scale beyond": ({"var": np.ones((2, 4, 3)), "eps": A}, ValueError, "mean is not broadcast to var"),
    "eps by rows": (
        {"var": 1.0, "eps": A[:, 0]},
        ValueError,
        r"eps has shape \(4,\).*\(4, 3\), or \(S, 4, 3\)",
    ),
    "eps of one": ({"var": 1.0, "eps": A[:1]}, ValueError, r"eps has shape \(1, 3\)"),
    "eps, samples": ({"var": 1.0, "eps": A, "n_samples": 2}, ValueError, r"\(2, 4, 3\), n_samples first"),
    "eps, other samples": ({"var": 1.0, "eps": A[None], "n_samples": 2}, ValueError, "n_samples first"),
    "no samples": (
        {"var": 1.0, "rng": GENERATOR, "n_samples": 0},
        ValueError,
        "n_samples must be at least 1",
    ),
    "half a sample": (
        {"var": 1.0, "rng": GENERATOR, "n_samples": 0.5},
        TypeError,
        "n_samples must be an int",
    ),
    "out no tuple": ({"var": 1.0, "eps": A, "out": A}, TypeError, r"tuple \(z, eps\), or None, not ndarray"),
    "out too long": ({"var": 1.0, "eps": A, "out": (A, A, A)}, ValueError, r"2 members \(z, eps\), not 3"),
    "out for eps": ({"var": 1.0, "eps": A, "out": (None, A)}, ValueError, "eps is passed"),
    "out is eps": ({"var": 1.0, "eps": A, "out": (A, None)}, ValueError, "overlaps eps"),
    "out dtype": (
        {"var": 1.0, "eps": A, "out": (A.astype("f"), None)},
        ValueError,
        r"out\[0\] \(z\).*float64",
    ),
    "out twice": ({"var": 1.0, "rng": GENERATOR, "out": (A, A)}, ValueError, "overlap in memory"),
}

REPARAMETERIZE_GRAD: dict[str, Case] = {
    "no scale": ({"grad_z": A, "eps": A}, TypeError, "exactly one of"),
    "eps of another shape": ({"grad_z": A, "eps": ROW, "var": 1.0}, ValueError, r"\(4, 3\) and eps \(3,\)"),
    "rows or samples": (
        {"grad_z": A, "eps": A, "var": np.ones(3)},
        ValueError,
        "4 samples as well as rows.*pass mean_shape",
    ),
    "a scalar for samples": (
        {"grad_z": ROW, "eps": ROW, "var": 1.0},
        ValueError,
        "3 samples as well as rows.*pass mean_shape",
    ),
    "a scalar": ({"grad_z": A, "eps": A, "var": 1.0}, ValueError, "pass mean_shape"),
    "a column": ({"grad_z": A, "eps": A, "var": np.ones((4, 1))}, ValueError, "pass mean_shape"),
    "wrong mean_shape": (
        {"grad_z": A, "eps": A, "var": 1.0, "mean_shape": (4,)},
        ValueError,
        r"grad_z has shape \(4, 3\)",
    ),
    "mean_shape too small": (
        {"grad_z": A, "eps": A, "var": A + 1, "mean_shape": (3,)},
        ValueError,
        "broadcast to var",
    ),
    "mean_shape no shape": (
        {"grad_z": A, "eps": A, "var": 1.0, "mean_shape": "43"},
        TypeError,
        "tuple of ints, not '43'",
    ),
    "var = 0": ({"grad_z": A, "eps": A, "var": A}, ValueError, r"^var must be > 0: var\[0, 0\] is 0.0"),
    "out": (
        {"grad_z": A, "eps": A, "var": A + 1, "out": (ROW, None)},
        ValueError,
        r"out\[0\] \(mean\) must have shape \(4, 3\)",
    ),
}

#: By function: a right call, but for what each case passes
TABLES: dict[str, tuple[dict[str, Any], dict[str, Case]]] = {
    "optimal_nll_grad": ({"x": A, "mean": A, "min_var": 1.0}, OPTIMAL_NLL),
    "optimal_var": ({"x": A, "mean": A}, OPTIMAL_VAR),
    "iwae_bound": ({}, IWAE_BOUND),
    "free_bits": ({"kl": A, "min_kl": 1.0, "per": "dim", "average": "last"}, FREE_BITS),
    "implied_objective": ({}, IMPLIED_OBJECTIVE),
    "reparameterize": ({"mean": A}, REPARAMETERIZE),
    "reparameterize_grad": ({}, REPARAMETERIZE_GRAD),
}


@pytest.mark.parametrize(
    ("name", "case"), [(name, case) for name, (_, table) in TABLES.items() for case in table]
)
def test_misuse(name, case):
    right, table = TABLES[name]
    options, exception, match = table[case]
    with pytest.raises(exception, match=match):
        getattr(fe, name)(**right | options)
