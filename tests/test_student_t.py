"""Student's t and Laplace: identities of their own, and the reference against 60 digits."""

import numpy as np
import pytest
from mpmath import mp, mpf

import digits
import oracles
import rounding
import variance
from digits import Exact
from fastelbo import reference
from marks import REDUCTIONS, TWO_FORMS
from rounding import eps

#: None is Laplace
DFS = pytest.mark.parametrize("df", [None, 1e-3, 1.0, 2.5, 4.0, 1e3, 1e15, 1e300, np.inf])
#: Numerical differentiation may lose half of the digits
TINY = mpf(10) ** (-digits.DIGITS // 2)


def members(df, x, mean, **scale) -> dict[str, Exact]:
    if df is None:
        return oracles.laplace(x, mean, **scale)
    return oracles.student_t(x, mean, df, **scale)


def value(df, x, mean=0.5, **scale) -> mpf:
    return members(df, x, mean, **scale)["value"].value.item()


def arguments(form: str, count: int = 20) -> dict[str, np.ndarray]:
    x, mean, log = np.random.default_rng(4).normal(size=(3, count))
    return {"x": x, "mean": mean, form: variance.raw_of(form, 2 * log)}


# --- the oracle ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("df", [None, 0.5, 3.0, np.inf])
def test_density_integrates_to_one(df):
    """In u, x = 0.5 + sinh u. Beyond u = far is less than 10⁻¹⁵ of it: e^(−ν·far), or e^(−sinh(far)/1.5)."""
    far = 5 if df in (None, np.inf) else 40 / df

    def density(u: mpf) -> mpf:
        return mp.exp(-value(df, mpf(0.5) + mp.sinh(u), scale=1.5)) * mp.cosh(u)

    with mp.workdps(20):
        assert abs(2 * mp.quad(density, mp.linspace(0, far, 9)) - 1) < 1e-15


@TWO_FORMS
def test_df_of_1_and_2(form):
    """Cauchy's density, and (2 + z²)^(−3/2)."""
    scale = mpf(1.5)
    raw = {form: scale if form == "scale" else mp.log(scale)}
    for x in (0.5, 0.75, -3.0, 1e30):
        square = ((mpf(x) - mpf(0.5)) / scale) ** 2
        assert mp.almosteq(value(1.0, x, **raw), mp.log(mp.pi * scale * (1 + square)), 1e-50)
        assert mp.almosteq(value(2.0, x, **raw), mp.log(scale) + 1.5 * mp.log(2 + square), 1e-50)


@TWO_FORMS
@pytest.mark.parametrize("df", [1e300, np.inf])
def test_many_degrees_of_freedom_are_gaussian(form, df):
    given = arguments(form)
    gaussian = oracles.nll(given["x"], given["mean"], **{form.replace("scale", "std"): given[form]})
    for member, exact in members(df, **given).items():
        assert np.all(abs(exact.value - gaussian[member].value) <= mpf(10) ** -50 * gaussian[member].size)


def test_optimal_scale_of_laplace_is_the_mean_distance():
    x = np.random.default_rng(4).normal(size=50)
    best = abs(digits.exact(x)).sum() / 50
    assert abs(oracles.laplace(x, 0.0, scale=best)["scale"].value.sum()) < TINY
    assert np.all(oracles.laplace(1.0, 1.0, scale=[0.5, 2.0])["x"].value == 0)


INF, NAN = np.inf, np.nan


@pytest.mark.parametrize(
    ("df", "r", "logscale", "expected"),  # value, ∂x, ∂logscale
    [
        (3.0, INF, 0.0, (INF, 0, -3)),
        (3.0, 2.0, -INF, (INF, 2, -3)),  # ∂x = (ν + 1)/r
        (3.0, 0.0, -INF, (-INF, 0, 1)),
        (3.0, 2.0, INF, (INF, 0, 1)),
        (3.0, INF, INF, (INF, 0, NAN)),
        (INF, INF, 0.0, (INF, INF, -INF)),
        (NAN, 2.0, 0.0, (NAN, NAN, NAN)),
        (3.0, NAN, 0.0, (NAN, NAN, NAN)),
        (None, INF, 0.0, (INF, 1, -INF)),
        (None, 2.0, -INF, (INF, INF, -INF)),
        (None, 0.0, -INF, (-INF, 0, 1)),
        (None, 2.0, INF, (INF, 0, 1)),
        (None, NAN, 0.0, (NAN, NAN, NAN)),
    ],
)
def test_limits(df, r, logscale, expected):
    found = members(df, r, 0.0, logscale=logscale)
    got = [float(found[member].value.item()) for member in ("value", "x", "scale")]
    np.testing.assert_array_equal(got, expected)


# --- the reference ------------------------------------------------------------------------------------------


def check(name: str, **given) -> None:
    """Rounding of a dozen float64 operations, and |s| <= 8 units of it from exp(−s/2): 32 eps are ample."""
    got = getattr(reference, f"{name}_grad")(**given, wrt=("x", "mean", "scale"))
    for member, exact in oracles.call(name, **given).items():
        rounding.check(getattr(got, member), exact.value, 32 * eps(float) * exact.size, float, member)
    np.testing.assert_array_equal(getattr(reference, name)(**given), got.value)


@TWO_FORMS
@DFS
@pytest.mark.parametrize("full", [True, False])
def test_reference(form, df, full):
    name, rest = ("laplace_nll", {}) if df is None else ("student_t_nll", {"df": df})
    check(name, **arguments(form), **rest, axis=(), full=full)


@TWO_FORMS
@pytest.mark.parametrize("name", ["laplace_nll", "student_t_nll"])
@REDUCTIONS
def test_reference_options(form, name, reduction):
    given = {key: array.reshape(5, 4) for key, array in arguments(form).items()}
    given["mean"], given[form] = given["mean"][0], given[form][:, :1]
    rest = {"df": np.array([0.5, 2.0, 30.0, np.inf])} if name == "student_t_nll" else {}
    weight, where = np.array([[1.0, 0.0, 2.0, 3.0]]), given["x"] > -0.5
    check(name, **given, **rest, weight=weight, where=where, x_scale=0.75, min_scale=0.9, reduction=reduction)


def test_reference_domain():
    for call in (reference.laplace_nll, lambda *args, **rest: reference.student_t_nll(*args, df=2.0, **rest)):
        with pytest.raises(ValueError, match="scale must be > 0"):
            call([1.0], [0.0], scale=0.0)
        with pytest.raises(TypeError, match="exactly one of scale, logscale"):
            call([1.0], [0.0])
    for df in (0.0, -1.0, [-INF]):
        with pytest.raises(ValueError, match="df must be > 0"):
            reference.student_t_nll([1.0], [0.0], df=df, scale=1.0)
    assert reference.student_t_nll([1.0, 1.0], [0.0, 0.0], df=[0.0, 1.0], scale=1.0, where=[False, True])
