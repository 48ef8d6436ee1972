"""Every misuse of the negative ELBO: its exception, a message with the way out, and nothing written."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import fastelbo as fe
from messages import FIVE, pattern

X, Z = np.zeros((4, 3)), np.zeros((4, 2))
BASE = {"x": X, "recon": X, "z_mean": Z, "var": 1.0, "z_var": 1.0}
Z_FIVE = "z_var, z_std, z_logvar, z_logstd, z_precision"
ZERO = np.array([[1.0, 1.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])

# options, exception, what the message must say (in this order, "…" for anything between)
ERRORS = {
    "no scale": ({"var": None}, TypeError, f"give the scale as exactly one of {FIVE}; got none of them"),
    "no z_scale": (
        {"z_var": None},
        TypeError,
        f"give the latents' scale as exactly one of {Z_FIVE}; got none",
    ),
    "two z_scales": ({"z_std": 1.0}, TypeError, f"one of {Z_FIVE}; got z_var and z_std"),
    "two priors": (
        {"prior_std": 1.0, "prior_logvar": 0.0},
        TypeError,
        "at most one of prior_var…got prior_std and",
    ),
    "complex": ({"z_mean": Z + 1j}, TypeError, "z_mean has dtype complex128…z_mean.real"),
    "complex scale": ({"z_var": None, "z_logvar": 1j}, TypeError, "z_logvar has dtype complex128"),
    "no recon": ({"recon": None}, TypeError, "recon (None) has dtype object"),
    "masked": ({"recon": np.ma.zeros((4, 3))}, TypeError, "recon is a masked array"),
    "recon lacks axes": (
        {"recon": X[0]},
        ValueError,
        "x has shape (4, 3) and recon has shape (3,); recon must have the shape of x, or one leading axis of "
        "samples more: pass np.broadcast_to(recon, (4, 3)) if you mean that",
    ),
    "recon (N, 1)": ({"recon": X[:, :1]}, ValueError, "(4, 3)…(4, 1)…not stretched"),
    "recon (N, D, 1)": (
        {"recon": X[..., None]},
        ValueError,
        "(4, 3)…(4, 3, 1)…pass np.reshape(recon, (4, 3)), or np.reshape(x, (4, 3, 1))",
    ),
    "x (N, D, 1)": (
        {"x": X[..., None]},
        ValueError,
        "pass np.reshape(x, (4, 3)), or np.reshape(recon, (4, 3, 1))",
    ),
    "two axes of samples": (
        {"recon": np.zeros((5, 2, 4, 3))},
        ValueError,
        "x has shape (4, 3) and recon has shape (5, 2, 4, 3)…np.reshape(recon, (-1, 4, 3)) makes them one",
    ),
    "no such shape": ({"recon": np.zeros((4, 2))}, ValueError, "(4, 2)…one leading axis of samples more"),
    "wrong rows": ({"recon": np.zeros((2, 1, 3))}, ValueError, "(4, 3)…(2, 1, 3)…not stretched"),
    "no samples": (
        {"recon": np.zeros((0, 4, 3))},
        ValueError,
        "recon has shape (0, 4, 3): an average over no samples",
    ),
    "rows differ": (
        {"z_mean": np.zeros((5, 2))},
        ValueError,
        "rows of x have shape (4,) (of (4, 3), without axis=-1), those of z_mean (5,) (of (5, 2), without "
        "z_axis=-1); they must be equal, and are never broadcast: x and z_mean must be of the same batch",
    ),
    "one row of latents": ({"z_mean": Z[:1]}, ValueError, "(4,)…those of z_mean (1,)…never broadcast"),
    "latents by sample": (
        {"z_mean": np.zeros((2, 4, 2))},
        ValueError,
        "(4,)…those of z_mean (2, 4)…have their axis in recon",
    ),
    "images": (
        {"x": np.zeros((4, 3, 8, 8)), "recon": np.zeros((2, 4, 3, 8, 8))},
        ValueError,
        "rows of x have shape (4, 3, 8)…those of z_mean (4,)…axis=(-3, -2, -1) for events of shape (3, 8, 8)",
    ),
    "one latent a row": ({"z_mean": Z[:, 0]}, ValueError, "(4,)…those of z_mean ()…pass z_axis=() if"),
    "one element a row": (
        {"x": X[:, 0], "recon": X[:, 0], "axis": -1},
        ValueError,
        "()…(4,)…pass axis=() if",
    ),
    "a prior for each": ({"prior_mean": np.zeros((5, 4, 2))}, ValueError, "those of z_mean (5, 4)"),
    "prior (N, 1)": (
        {"prior_mean": Z[:, :1]},
        ValueError,
        "z_mean has shape (4, 2) and prior_mean has shape (4, 1)",
    ),
    "events or rows": (
        {"x": X[0], "recon": X[0], "z_mean": Z[0]},
        ValueError,
        "reduction='mean' of 1-D data, axis not given: one event of size 3, or 3 observations",
    ),
    "scale": (
        {"var": np.ones(4)},
        ValueError,
        "var has shape (4,)…(4, 3), the shape of x and recon: …np.reshape(var, (4, 1))",
    ),
    "sampled scale": (
        {"recon": np.zeros((2, 4, 3)), "var": np.ones((2, 4))},
        ValueError,
        "var has shape (2, 4)…(2, 4, 3), the shape of recon: one for each row is np.reshape(var, (2, 4, 1))",
    ),
    "scale beyond": (
        {"var": np.ones((2, 4, 3))},
        ValueError,
        "var has shape (2, 4, 3)…x and recon are not broadcast",
    ),
    "z_scale": (
        {"z_var": np.ones(4)},
        ValueError,
        "z_var has shape (4,)…(4, 2), the shape of z_mean and prior_mean",
    ),
    "prior_scale": ({"prior_std": np.ones((4, 3))}, ValueError, "prior_std has shape (4, 3)…(4, 2)"),
    "axis": ({"axis": 2}, np.exceptions.AxisError, "axis 2 is out of bounds for x of shape (4, 3)"),
    "z_axis": (
        {"z_axis": 2},
        np.exceptions.AxisError,
        "z_axis 2 is out of bounds for z_mean and prior_mean of shape (4, 2)",
    ),
    "z_axis twice": ({"z_axis": (1, -1)}, ValueError, "z_axis=(1, -1) names an axis twice"),
    "no z_axis": (
        {"z_axis": "all"},
        TypeError,
        "z_axis must be an int, a tuple of ints, () or None, not 'all'",
    ),
    "axis from the front": (
        {"recon": np.zeros((2, 4, 3)), "axis": 1},
        ValueError,
        "axis=1 may count from the wrong end: x has 2 axes, recon 3; pass axis=(-1,)",
    ),
    "z_axis from the front": (
        {"prior_mean": Z[0], "z_axis": 1},
        ValueError,
        "z_axis=1 may count from the wrong end: z_mean has 2 axes, prior_mean 1; pass z_axis=(-1,)",
    ),
    "beta < 0": ({"beta": -0.5}, ValueError, "beta must be a finite number >= 0, not -0.5"),
    "beta NaN": ({"beta": np.nan}, ValueError, "beta must be a finite number >= 0, not nan"),
    "beta inf": ({"beta": np.inf}, ValueError, "beta must be a finite number >= 0, not inf"),
    "betas": (
        {"beta": np.ones(2)},
        ValueError,
        "beta must be one number, not an array of shape (2,): for one of each latent, pass "
        "gaussian_kl_grad(..., weight=np.reshape(beta, (1, -1)))",
    ),
    "no beta": ({"beta": None}, TypeError, "beta (None) has dtype object"),
    "min_var": ({"min_var": -1.0}, ValueError, "min_var must be a finite variance >= 0, not -1.0"),
    "weight": (
        {"weight": np.ones((1, 3))},
        ValueError,
        "weight has shape (1, 3); it must have that of the rows, (4,), as nll and kl of a row are",
    ),
    "scalar weight": (
        {"weight": 2.0},
        ValueError,
        "weight has shape ()…(4,)…multiply the result by a scalar",
    ),
    "complex weight": ({"weight": np.ones(4) * 1j}, TypeError, "weight has dtype complex128"),
    "where": (
        {"where": np.ones((4, 2), bool)},
        ValueError,
        "where has shape (4, 2)…(4, 3), the shape of x and recon",
    ),
    "where of 0 and 1": ({"where": 1}, TypeError, "where must be boolean"),
    "z_where": (
        {"z_where": np.ones((4, 3), bool)},
        ValueError,
        "z_where has shape (4, 3)…(4, 2), the shape of z_mean and prior_mean",
    ),
    "z_where of one a row": ({"z_where": np.ones(4, bool)}, ValueError, "…np.reshape(z_where, (4, 1))"),
    "z_where of 0 and 1": (
        {"z_where": np.ones(2)},
        TypeError,
        "z_where must be boolean, not float64: pass np.not_equal(z_where, 0)",
    ),
    "reduction": (
        {"reduction": "avg"},
        ValueError,
        "reduction must be one of 'none', 'sum', 'mean', not 'avg'",
    ),
    "var": (
        {"var": np.where(X == 0, [1, 1, 0], 1)},
        ValueError,
        "var must be > 0: var[0, 2] is 0 (use where…min_var",
    ),
    "z_var": ({"z_var": ZERO}, ValueError, "z_var must be > 0: z_var[1, 1] is 0.0"),
    "prior": (
        {"prior_precision": ZERO[3]},
        ValueError,
        "prior_precision must be > 0: prior_precision[0] is 0.0",
    ),
}


@pytest.mark.parametrize("function", [fe.neg_elbo, fe.neg_elbo_grad])
@pytest.mark.parametrize("case", ERRORS)
def test_every_mistake_has_its_message(case, function):
    options, exception, message = ERRORS[case]
    with pytest.raises(exception, match=pattern(message)):
        function(**BASE | options)


def test_messages_of_the_latents_point_to_z_where():
    """`where` removes elements of the data."""
    for name in ("z_var", "prior_var"):
        with pytest.raises(
            ValueError, match=rf"{name}\[1, 1\] is 0\.0 \(use z_where to leave elements out\)$"
        ):
            fe.neg_elbo(**BASE | {name: ZERO})
        assert np.isfinite(fe.neg_elbo(**BASE | {name: ZERO}, z_where=ZERO > 0).value)
    with pytest.raises(TypeError, match=r"in a loss that takes it, z_where=~z_mean\.mask"):
        fe.neg_elbo(**BASE | {"z_mean": np.ma.masked_array(Z)})
    with pytest.raises(TypeError, match=r"pass z_where\.filled\(False\)"):
        fe.neg_elbo(**BASE, z_where=np.ma.masked_array(ZERO > 0))


ROW, ALL = np.zeros(4), np.zeros((4, 3))
OUT_ERRORS = {
    "unknown": (
        {"wrt": "mean"},
        ValueError,
        "wrt must name some of 'x', 'recon', …'prior_scale', not 'mean'",
    ),
    "a value": ({"wrt": "nll"}, ValueError, "not 'nll'"),
    "form": ({"wrt": "z_logvar"}, ValueError, "not 'z_logvar'; the latents' scale's gradient is 'z_scale'"),
    "no prior": ({"wrt": "prior_scale"}, ValueError, "'prior_scale', but no prior scale was passed"),
    "not names": ({"wrt": 3}, TypeError, "wrt must be one name or several of 'x'"),
    "too few": ({"out": (None,) * 7}, ValueError, "out must have 10 members (value, nll, kl, x, recon"),
    "an array": ({"out": ROW}, TypeError, "out must be a tuple (value, nll, kl"),
    "reduced": (
        {"out": (None, ROW, *[None] * 8)},
        ValueError,
        "out[1] (nll) must be None: with reduction='mean'",
    ),
    "not asked": (
        {"out": (*[None] * 3, ALL, *[None] * 6)},
        ValueError,
        "out[3] (x) is given, but wrt does not name 'x'",
    ),
    "shape": (
        {"out": (*[None] * 6, ALL, *[None] * 3)},
        ValueError,
        "out[6] (z_mean) must have shape (4, 2), not (4, 3)",
    ),
    "dtype": (
        {"out": (*[None] * 4, ALL.astype("f4"), *[None] * 5)},
        ValueError,
        "out[4] (recon) must have the computing",
    ),
    "overlap": (
        {"reduction": "none", "out": (ALL[:, 0], *[None] * 3, ALL, *[None] * 5)},
        ValueError,
        "out[0] (value) and out[4] (recon) overlap",
    ),
}


@pytest.mark.parametrize("case", OUT_ERRORS)
def test_out_and_wrt_must_be_sound(case):
    options, exception, message = OUT_ERRORS[case]
    before = ALL.copy()
    with pytest.raises(exception, match=pattern(message)):
        fe.neg_elbo_grad(**BASE | options)
    assert_array_equal(ALL, before)


@pytest.mark.parametrize("case", ERRORS)
def test_a_mistake_leaves_everything_untouched(case):
    """Even with all gradients written over their arguments."""
    options, exception, _ = ERRORS[case]
    mine = {
        name: array.copy() if isinstance(array, np.ndarray) else array
        for name, array in (BASE | options).items()
    }
    before = {name: array.copy() for name, array in mine.items() if isinstance(array, np.ndarray)}
    out = (*[None] * 4, mine["recon"], None, mine["z_mean"], *[None] * 3)
    with pytest.raises(exception):
        fe.neg_elbo_grad(**mine, wrt=("recon", "z_mean"), out=out)
    for name, array in before.items():
        assert_array_equal(mine[name], array)
