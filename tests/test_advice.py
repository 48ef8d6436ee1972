"""The ways out that messages name: each is taken out of its message, carried out as it stands, and works."""

import re

import numpy as np
import pytest

import fastelbo as fe
from messages import pattern

try:
    import pandas as pd
except ImportError:  # its columns are then not tried
    pd = None

X, IMAGES, PLANES = np.zeros((7, 11)), np.zeros((7, 9, 11)), np.zeros((5, 3, 6, 4))
ROWS = np.arange(1.0, 8.0)


# function, arguments, which one is wrong, its way out, as the message has it
CASES = {
    # shapes of weight and where
    "where of two of three axes": (
        fe.gaussian_nll,
        {"x": IMAGES, "mean": IMAGES, "std": 1.0, "where": np.ones((7, 9), bool), "axis": (-2, -1)},
        "where",
        "np.reshape(where, (7, 9, 1))",
    ),
    "where without channels": (
        fe.gaussian_nll,
        {"x": PLANES, "mean": PLANES, "std": 1.0, "where": np.ones((5, 6, 4), bool), "axis": (1, 2, 3)},
        "where",
        "np.reshape(where, (5, 1, 6, 4))",
    ),
    "where of either axis": (
        fe.gaussian_nll,
        {"x": np.zeros((9, 9, 2)), "mean": 0.0, "std": 1.0, "where": [True] * 9, "axis": None},
        "where",
        "np.reshape(where, (9, 1))",
    ),
    "z_where without channels": (
        fe.neg_elbo,
        {
            "x": PLANES, "recon": PLANES, "z_mean": PLANES, "var": 1.0, "z_var": 1.0, "axis": (1, 2, 3),
            "z_axis": (1, 2, 3), "z_where": np.ones((5, 6, 4), bool),
        },
        "z_where",
        "np.reshape(z_where, (5, 1, 6, 4))",
    ),
    "weight of two of three axes": (
        fe.gaussian_nll,
        {"x": IMAGES, "mean": IMAGES, "std": 1.0, "weight": np.ones((7, 9)), "axis": (-2, -1)},
        "weight",
        "np.reshape(weight, (7, 9, 1))",
    ),
    "weight of rows, one event": (
        fe.optimal_nll,
        {"x": X + 1, "mean": X, "weight": ROWS},
        "weight",
        "np.reshape(weight, (7, 1))",
    ),
    "weight of either axis": (
        fe.gaussian_nll,
        {"x": np.zeros((7, 7)), "mean": 0.0, "std": 1.0, "weight": ROWS.tolist(), "axis": None},
        "weight",
        "np.reshape(weight, (7, 1))",
    ),
    "weight of rows as a column": (
        fe.neg_elbo,
        {"x": X, "recon": X, "z_mean": X, "var": 1.0, "z_var": 1.0, "weight": ROWS[:, None]},
        "weight",
        "np.reshape(weight, (7,))",
    ),
    # one mean a row
    "mean of rows": (
        fe.gaussian_nll,
        {"x": X, "mean": ROWS, "var": 1.0},
        "mean",
        "np.broadcast_to(np.reshape(mean, (7, 1)), (7, 11))",
    ),
    "recon of rows": (
        fe.neg_elbo,
        {"x": X, "recon": ROWS, "z_mean": X, "var": 1.0, "z_var": 1.0},
        "recon",
        "np.broadcast_to(np.reshape(recon, (7, 1)), (7, 11))",
    ),
    "prior of rows": (
        fe.gaussian_kl,
        {"mean": X, "prior_mean": ROWS.tolist(), "var": 1.0},
        "prior_mean",
        "np.broadcast_to(np.reshape(prior_mean, (7, 1)), (7, 11))",
    ),
    "x of rows, samples behind": (
        fe.gaussian_nll,
        {"x": ROWS, "mean": X, "var": 1.0, "axis": ()},
        "mean",
        "np.moveaxis(mean, 1, 0)",
    ),
    "x of rows, samples behind, repeated": (
        fe.gaussian_nll,
        {"x": ROWS, "mean": X, "var": 1.0, "axis": ()},
        "x",
        "np.broadcast_to(np.reshape(x, (7, 1)), (7, 11))",
    ),
    "size-1 axis": (
        fe.gaussian_nll,
        {"x": X, "mean": ROWS[:, None], "var": 1.0},
        "mean",
        "np.broadcast_to(mean, (7, 11))",
    ),
    "samples of recon behind": (
        fe.neg_elbo,
        {"x": IMAGES[..., 0], "recon": IMAGES, "z_mean": X, "var": 1.0, "z_var": 1.0},
        "recon",
        "np.moveaxis(recon, 2, 0)",
    ),
    # lists, and columns of pandas
    "list as scale": (
        fe.gaussian_nll,
        {"x": X, "mean": X, "var": ROWS.tolist()},
        "var",
        "np.reshape(var, (7, 1))",
    ),
    "where of objects": (
        fe.gaussian_nll,
        {"x": ROWS, "mean": 0.0, "var": 1.0, "where": np.array([True, None, np.nan, False] + [True] * 3)},
        "where",
        "np.equal(where, True)",
    ),
    "where of strings": (
        fe.gaussian_nll,
        {"x": ROWS, "mean": 0.0, "var": 1.0, "where": ["True", "False"] * 3 + ["True"]},
        "where",
        "np.equal(where, 'True')",
    ),
    "where of numbers, a list": (
        fe.free_bits,
        {"kl": ROWS, "min_kl": 0.1, "per": "dim", "average": "first", "axis": (), "where": [1, 0] * 3 + [1]},
        "where",
        "np.not_equal(where, 0)",
    ),
    "where of dates": (
        fe.gaussian_nll,
        {"x": ROWS, "mean": 0.0, "var": 1.0, "where": np.array(["2020-01-01", "NaT"] * 3 + ["NaT"], "M8[D]")},
        "where",
        "~np.isnat(where)",
    ),
    # numbers
    "beta in an array": (
        fe.neg_elbo,
        {"x": X, "recon": X, "z_mean": X + 1, "var": 1.0, "z_var": 1.0, "beta": np.array([0.5])},
        "beta",
        "beta.item()",
    ),
    "beta in a list": (
        fe.neg_elbo_grad,
        {"x": X, "recon": X, "z_mean": X + 1, "var": 1.0, "z_var": 1.0, "beta": [[0.5]]},
        "beta",
        "beta[0][0]",
    ),
    "min_var in a list": (
        fe.gaussian_nll,
        {"x": X, "mean": X, "var": 1.0, "min_var": [0.5]},
        "min_var",
        "min_var[0]",
    ),
    "min_kl in an array": (
        fe.free_bits,
        {"kl": X, "min_kl": np.array([0.5]), "per": "dim", "average": "first"},
        "min_kl",
        "min_kl.item()",
    ),
    "integers in a scale": (
        fe.gaussian_nll,
        {"x": X, "mean": X, "var": np.full(11, 2**53 + 1)},
        "var",
        "np.asarray(var, np.float64)",
    ),
    "out of float32": (
        fe.gaussian_nll,
        {"x": X.astype("f4"), "mean": X.tolist(), "var": 1.0, "out": np.empty(7, np.float32)},
        "mean",
        "np.asarray(mean, np.float32)",
    ),
}  # fmt: skip
if pd:
    NA = pd.Series([True, None] * 3 + [True], dtype="boolean")
    GRADES = pd.Series(list("abcabca"), dtype="category")
    CASES |= {
        "column as scale": (
            fe.gaussian_nll,
            {"x": X, "mean": X, "var": pd.Series(ROWS)},
            "var",
            "np.reshape(var, (7, 1))",
        ),
        "column as x": (
            fe.gaussian_nll,
            {"x": pd.Series(ROWS), "mean": ROWS[:, None], "var": 1.0},
            "x",
            "np.reshape(x, (7, 1))",
        ),
        "frame as x": (
            fe.gaussian_nll,
            {"x": pd.DataFrame({"y": ROWS}), "mean": ROWS, "var": 1.0},
            "x",
            "np.reshape(x, (7,))",
        ),
        "frame the other way": (
            fe.gaussian_nll,
            {"x": X, "mean": pd.DataFrame(X.T), "var": 1.0},
            "mean",
            "np.asarray(mean).T",
        ),
        "where with NA": (
            fe.gaussian_nll,
            {"x": ROWS, "mean": 0.0, "var": 1.0, "where": NA},
            "where",
            "where.fillna(False).to_numpy(bool)",
        ),
        "where with NA, an array of pandas": (
            fe.gaussian_kl,
            {"mean": ROWS, "var": 1.0, "where": NA.array},
            "where",
            "where.fillna(False).to_numpy(bool)",
        ),
        "z_where with NA": (
            fe.neg_elbo,
            {"x": X, "recon": X, "z_mean": X, "var": 1.0, "z_var": 1.0, "z_where": pd.DataFrame({"a": NA})},
            "z_where",
            "z_where.fillna(False).to_numpy(bool)",
        ),
        "category": (
            fe.gaussian_nll,
            {"x": GRADES, "mean": 0.0, "var": 1.0},
            "x",
            "pd.get_dummies(x).to_numpy(np.float64)",
        ),
        "category by number": (fe.gaussian_nll, {"x": GRADES, "mean": 0.0, "var": 1.0}, "x", "x.cat.codes"),
        "category without a column": (
            fe.gaussian_nll,
            {"x": GRADES.array, "mean": 0.0, "var": 1.0},
            "x",
            "pd.factorize(x)[0]",
        ),
        "strings that spell numbers": (
            fe.gaussian_nll,
            {"x": pd.Series(["1", "2.5"]), "mean": 0.0, "var": 1.0},
            "x",
            "pd.to_numeric(x).to_numpy(np.float64)",
        ),
        "frame of strings that spell numbers": (
            fe.gaussian_nll,
            {"x": pd.DataFrame({"a": ["1", "2.5"]}), "mean": 0.0, "var": 1.0},
            "x",
            "x.apply(pd.to_numeric).to_numpy(np.float64)",
        ),
        "x_scale in a column": (
            fe.optimal_var,
            {"x": X, "mean": 1.0, "x_scale": pd.Series([0.5], index=["a"])},
            "x_scale",
            "x_scale.item()",
        ),
    }


@pytest.mark.parametrize("case", CASES)
def test_the_way_out_works(case):
    function, arguments, name, way_out = CASES[case]
    with pytest.raises((TypeError, ValueError), match=pattern(way_out)) as caught:
        function(**arguments)
    assert str(caught.value).startswith(("x has shape", "mean has shape", "out", name))
    assert way_out in re.split("pass |mean |it is | or |, ", str(caught.value)) or way_out in str(
        caught.value
    )
    amended = eval(way_out, {"np": np, "pd": pd}, arguments)
    function(**arguments | {name: amended})


# --- one beta for each latent -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [np.asarray, list, *([pd.Series] if pd else [])])
def test_a_beta_of_each_latent(kind):
    """With as many rows as latents, weight=beta would weigh rows, and nothing would tell."""
    rng = np.random.default_rng(0)
    x, recon, z_mean = rng.normal(size=(3, 4, 4))
    beta = kind(np.array([0.5, 1.0, 2.0, 4.0]))
    for function in (fe.neg_elbo, fe.neg_elbo_grad):
        with pytest.raises(ValueError, match=r"shape \(4,\): for one of each latent, pass ") as caught:
            function(x, recon, z_mean, var=0.5, z_var=0.25, beta=beta)
    way_out = re.search(r"gaussian_kl_grad\(\.\.\., (weight=.*)\) and add it", str(caught.value))[1]
    weight = eval(way_out.removeprefix("weight="), {"np": np}, {"beta": beta})
    got = fe.gaussian_kl_grad(z_mean, var=0.25, weight=weight, reduction="mean")
    each = fe.gaussian_kl(z_mean, var=0.25, axis=())
    np.testing.assert_allclose(got.value, np.mean(each @ np.asarray(beta)))
    np.testing.assert_allclose(got.mean, z_mean * np.asarray(beta) / 4)


@pytest.mark.parametrize(
    ("shape", "z_shape", "message"),
    [
        ((3,), (4, 3), "for one of each latent, pass …weight=np.reshape(beta, (1, -1)))"),
        ((4,), (4, 3), "for one of each row, pass gaussian_kl_grad(..., weight=beta)"),
        ((3,), (4, 5, 3), "for one of each latent, pass …weight=np.reshape(beta, (1, 1, -1)))"),
        ((4, 5), (4, 5, 3), "for one of each row, pass gaussian_kl_grad(..., weight=beta)"),
        ((4, 3), (4, 3), "for one of each latent, pass gaussian_kl_grad(..., weight=beta)"),
    ],
)  # fmt: skip
def test_a_beta_of_other_shapes(shape, z_shape, message):
    x, z_mean = np.zeros((*z_shape[:-1], 2)), np.ones(z_shape)
    beta = np.arange(1.0, 1 + np.prod(shape)).reshape(shape)
    with pytest.raises(ValueError, match=pattern(message)):
        fe.neg_elbo(x, x, z_mean, var=1.0, z_var=1.0, beta=beta)
    weight = eval(re.search(r"weight=(.*)\)", message)[1], {"np": np}, {"beta": beta})
    per_row = shape == z_shape[:-1]
    want = fe.gaussian_kl(z_mean, var=1.0, axis=()) * (beta[..., None] if per_row else beta)
    np.testing.assert_allclose(fe.gaussian_kl(z_mean, var=1.0, weight=weight), want.sum(axis=-1))


# --- what a message must not say ----------------------------------------------------------------------------


def test_one_event_has_no_rows_to_be_weighted():
    with pytest.raises(ValueError, match=r"Pass shape \(7, 11\) to weight elements; with") as caught:
        fe.optimal_nll(X + 1, X, weight=ROWS)
    assert "rows" not in str(caught.value)
    assert "features" not in str(caught.value)
    weighted = fe.optimal_nll(X + 1, X, weight=2.0)  # the one row, whose shape is ()
    assert weighted == 2 * fe.optimal_nll(X + 1, X)


@pytest.mark.parametrize("name", ["where", "z_where"])
def test_a_mask_of_the_elbo_has_no_weight_to_stand_in_for_it(name):
    with pytest.raises(TypeError, match=re.escape(f"pass np.not_equal({name}, 0)") + "$"):
        fe.neg_elbo(X, X, X, var=1.0, z_var=1.0, **{name: np.ones(X.shape)})
    with pytest.raises(TypeError, match=re.escape("pass np.not_equal(where, 0), or use weight") + "$"):
        fe.gaussian_nll(X, X, var=1.0, where=np.ones(X.shape))


def test_x_of_the_elbo_has_no_samples():
    with pytest.raises(ValueError, match=r"np\.broadcast_to") as caught:
        fe.neg_elbo(IMAGES, IMAGES[..., 0], X, var=1.0, z_var=1.0)
    assert "samples, " not in str(caught.value)
    assert "np.moveaxis" not in str(caught.value)


OUT, SHAPE = " is out of bounds for", " of shape (7, 11)"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fe.gaussian_nll(X, X, var=1.0, axis=2), f"axis 2{OUT} x and mean{SHAPE}"),
        (lambda: fe.optimal_var(X, X, -3), f"axis -3{OUT} x and mean{SHAPE}"),
        (lambda: fe.iwae_bound(X, (0, 2)), f"axis 2{OUT} log_w{SHAPE}"),
        (
            lambda: fe.free_bits(X, 0.1, per="dim", average="last", axis=2),
            f"axis 2{OUT} kl{SHAPE}",
        ),
        (lambda: fe.neg_elbo(X, X, X, var=1.0, z_var=1.0, axis=2), f"axis 2{OUT} x{SHAPE}"),
        (
            lambda: fe.neg_elbo(X, X, X, var=1.0, z_var=1.0, z_axis=2),
            f"z_axis 2{OUT} z_mean and prior_mean{SHAPE}",
        ),
    ],
)  # fmt: skip
def test_an_axis_that_is_not_there(call, message):
    with pytest.raises(np.exceptions.AxisError) as caught:
        call()
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("call", "name", "hint"),
    [
        (lambda wrt: fe.neg_elbo_grad(X, X, X, var=1.0, z_var=1.0, wrt=wrt), "mean", "'recon' or 'z_mean'"),
        (lambda wrt: fe.gaussian_nll_grad(X, X, var=1.0, wrt=wrt), "recon", "'mean'"),
        (lambda wrt: fe.gaussian_kl_grad(X, var=1.0, wrt=wrt), "z_mean", "'mean'"),
        (lambda wrt: fe.bernoulli_nll_grad(X, X, wrt=wrt), "mean", "'logits'"),
        (lambda wrt: fe.optimal_nll_grad(X + 1, X, wrt=wrt), "logits", "'mean'"),
    ],
)
def test_a_gradient_by_another_functions_name(call, name, hint):
    with pytest.raises(ValueError, match=re.escape(f"not {name!r}; did you mean {hint}?") + "$"):
        call(name)
    for alike in re.findall(r"'(\w+)'", hint):
        assert getattr(call(alike), alike) is not None
