"""x_scale: as precise as none, and in every function, layout and option."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mpf
from numpy.testing import assert_array_equal

import declared
import fastelbo as fe
import oracles
import rounding
import strategies
import variance
from fastelbo import reference
from marks import DTYPES
from narrow import BFLOAT16, FACTORS, KINDS, MEMBERS, STORED, check, layouts, near, scaled, stored
from rounding import eps
from test_layouts import LAYOUTS, assert_same

# --- precision ----------------------------------------------------------------------------------------------


@STORED
@DTYPES
def test_x_scale_is_as_precise_as_none(kind, dtype):
    x = stored(kind, 60)
    for factor, name in itertools.product(FACTORS, ("var", "std", "logvar", "precision")):
        mean, var = near(x, factor, dtype)
        raw = variance.raw_of(name, np.log(var.astype(float))).astype(dtype)
        got = fe.gaussian_nll_grad(x, mean, **{name: raw}, x_scale=factor, axis=(), wrt=MEMBERS)
        assert got.value.dtype == got.x.dtype == dtype
        exact = oracles.nll(scaled(x, factor, dtype), mean, **{name: raw})
        check(got, exact, dtype, factor, f"{kind}, {name}, {factor}")


@STORED
@DTYPES
def test_rows_under_one_scale(kind, dtype):
    """The kernel of squares, whose ∂scale is a sum."""
    x = stored(kind, (5, 33))
    for factor in FACTORS:
        mean, var = near(x, factor, dtype)
        var = var[:, :1]
        got = fe.gaussian_nll_grad(x, mean, var=var, x_scale=factor, wrt=MEMBERS)
        exact = oracles.nll(scaled(x, factor, dtype), mean, var=var)
        of_x = abs(mpf(float(dtype(factor))))
        for member, sums, of in (("value", 10, 1), ("x", 6, of_x), ("mean", 6, 1), ("scale", 11, 1)):
            value, size = exact[member]
            if member in ("value", "scale"):
                shape = (5,) if member == "value" else var.shape
                value, size = (part.sum(axis=1).reshape(shape) for part in (value, size))
            sign = -1 if member == "x" and factor < 0 else 1
            bound = sums * eps(dtype) * of * size
            rounding.check(
                getattr(got, member), sign * of * value, bound, dtype, f"{kind}, {factor}: {member}"
            )


@STORED
@DTYPES
def test_nothing_is_lost_where_x_and_mean_agree(kind, dtype):
    """mean is x·x_scale, rounded: what is left is the rounding error, all of its digits."""
    x, factor = stored(kind, 100), 1 / 255
    mean = (x.astype(dtype) * dtype(factor)).astype(dtype)
    exact = oracles.nll(scaled(x, factor, dtype), mean, MEMBERS[:2], var=1.0)["mean"].value
    assert kind.kind == "b" or np.count_nonzero(exact) > 30
    for var in (1.0, np.ones(100, dtype)):
        got = fe.gaussian_nll_grad(x, mean, var=var, x_scale=factor, axis=-1, wrt="mean").mean
        rounding.check(got, exact, eps(dtype) * abs(exact), dtype, str(kind))


@STORED
@DTYPES
def test_bernoulli(kind, dtype):
    x = stored(kind, 80)
    logits = np.random.default_rng(1).normal(0, 4, 80).astype(dtype)
    for factor in (1 / 255, -0.3):
        got = fe.bernoulli_nll_grad(x, logits, x_scale=factor, axis=(), wrt=("x", "logits"))
        check(got, oracles.bernoulli(scaled(x, factor, dtype), logits), dtype, factor, str(kind))


@STORED
@pytest.mark.parametrize("axis", [-1, (-3, -1), ()])
def test_x_scale_gives_the_same_bits_in_any_layout(kind, axis):
    shape = (40, 3, 1151)
    x = stored(kind, shape)
    mean, var = near(x, 1 / 255, np.float32)
    for scale in ({"var": var}, {"std": var[:, :, :1]}, {"logvar": -7.0}):
        arguments = scale | {"x_scale": 1 / 255, "axis": axis}
        want = fe.gaussian_nll_grad(x.astype(np.float32), mean, **arguments, wrt=MEMBERS)
        for layout, make in layouts(kind).items():
            other = LAYOUTS[layout](mean)
            assert_same(fe.gaussian_nll_grad(make(x), other, **arguments, wrt=MEMBERS), want, layout)
            assert_same(fe.gaussian_nll(make(x), other, **arguments), want.value, layout)
        for name in MEMBERS:
            alone = getattr(fe.gaussian_nll_grad(x, mean, **arguments, wrt=name), name)
            assert_same(alone, getattr(want, name), name)


@pytest.mark.parametrize("scale", [{"var": 0.25}, {"logvar": "rows"}, {"std": "elements"}], ids=str)
@pytest.mark.usefixtures("restored")
def test_x_scale_and_threads_and_batches(scale):
    x = stored(np.dtype("u1"), (300, 700))
    mean, var = near(x, 1 / 255, np.float32)
    raw = {"rows": var[:, :1], "elements": var}
    scale = {name: raw.get(value, value) for name, value in scale.items()}
    arguments = {"x_scale": 1 / 255, "wrt": ("x", "mean")}
    for n in (1, 2, 5):
        fe.set_num_threads(n)
        got = fe.gaussian_nll_grad(x, mean, **scale, **arguments)
        if n == 1:
            want = got
        assert_same(got, want, str(n))
    fe.set_num_threads(None)
    for row in (0, 17, 299):
        one = {name: value if np.ndim(value) == 0 else value[row] for name, value in scale.items()}
        got = fe.gaussian_nll_grad(x[row], mean[row], **one, **arguments)
        assert_same(got[:3], tuple([member[row] for member in want[:3]]))


# --- x_scale in every function and with every option --------------------------------------------------------


def halved(x, others):
    """x in the computing dtype, divided by 2: exactly."""
    arrays = [np.float16(0) if getattr(a, "dtype", None) == BFLOAT16 else a for a in (x, *others)]
    dtype = np.result_type(*arrays)
    dtype = np.result_type(dtype, np.float32) if dtype.kind == "f" else np.dtype(np.float64)
    return np.asarray(x, dtype) / 2 if np.ndim(x) or not isinstance(x, float | int) else x / 2


def assert_half(got, want):
    """The same bits, but ∂x by x as passed."""
    for name, mine, expected in zip(want._fields, got, want, strict=True):
        if expected is None:
            assert mine is None
        else:
            assert_array_equal(mine, expected / 2 if name == "x" else expected, name)


@pytest.mark.parametrize(
    "name", [name for name, loss in declared.LOSSES.items() if "x_scale" in loss.options]
)
@given(payload=st.data())
def test_a_half_is_exact(name, payload):
    """Any shapes, dtypes, layouts and options: x_scale=0.5 is x/2 to the last bit."""
    _, operands, scales, options = payload.draw(strategies.calls(name))
    function = getattr(fe, f"{name}_grad")
    options["wrt"] = tuple(declared.gradients(declared.LOSSES[name]))
    got = function(**operands, **scales, **options, x_scale=0.5)
    operands["x"] = halved(operands["x"], [*operands.values(), *scales.values()])
    assert_half(got, function(**operands, **scales, **options))


@given(payload=st.data())
def test_a_half_is_exact_in_neg_elbo(payload):
    _, operands, scales, options = payload.draw(strategies.neg_elbos())
    options["wrt"] = ("x", "recon", "scale", "z_mean", "z_scale")
    found = fe.neg_elbo_grad(**operands, **scales, **options, x_scale=0.5)
    with_half = operands | {"x": halved(operands["x"], [*operands.values(), *scales.values()])}
    want = fe.neg_elbo_grad(**with_half, **scales, **options)
    assert_half(found, want)
    values = {name: option for name, option in options.items() if name != "wrt"}
    for got, expected in zip(fe.neg_elbo(**operands, **scales, **values, x_scale=0.5), want, strict=False):
        assert_array_equal(got, expected)


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("axis", [None, -1, ()])
def test_a_half_is_exact_in_the_optimum(kind, axis):
    x = stored(kind, (7, 33))
    mean = np.random.default_rng(4).normal(30, 9, x.shape).astype(np.float32)
    half = (x.astype(np.float32) / 2, mean)
    assert_array_equal(fe.optimal_var(x, mean, axis, x_scale=0.5), fe.optimal_var(*half, axis))
    options = {"axis": axis, "min_var": 1e-3}
    assert_array_equal(fe.optimal_nll(x, mean, **options, x_scale=0.5), fe.optimal_nll(*half, **options))
    options["wrt"] = ("x", "mean")
    got = fe.optimal_nll_grad(x, mean, **options, x_scale=0.5)
    assert_half(got, fe.optimal_nll_grad(*half, **options))


def test_the_reference_agrees():
    x = stored(np.dtype("u1"), (4, 9))
    mean, var = near(x, 1 / 255, np.float64)
    factor, z = {"x_scale": 1 / 255}, np.ones((4, 2))
    for name, arguments in {
        "gaussian_nll_grad": {"mean": mean, "var": var, "wrt": MEMBERS},
        "gaussian_nll": {"mean": mean, "var": var},
        "bernoulli_nll_grad": {"logits": mean, "wrt": ("x", "logits")},
        "bernoulli_nll": {"logits": mean},
        "neg_elbo_grad": {"recon": mean, "z_mean": z, "var": var, "z_var": z, "wrt": ("x", "recon", "scale")},
        "neg_elbo": {"recon": mean, "z_mean": z, "var": var, "z_var": z},
        "optimal_var": {"mean": mean},
        "optimal_nll": {"mean": mean},
        "optimal_nll_grad": {"mean": mean, "wrt": ("x", "mean")},
    }.items():
        got, want = (getattr(module, name)(x=x, **arguments, **factor) for module in (fe, reference))
        for mine, expected in zip(*[a if isinstance(a, tuple) else (a,) for a in (got, want)], strict=True):
            assert (mine is None) == (expected is None)
            if mine is not None:
                np.testing.assert_allclose(mine, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("scale", [{"var": 0.5}, {"logvar": np.full((9, 200), -1, np.float32)}], ids=str)
def test_outputs_over_inputs(scale):
    generator = np.random.default_rng(6)
    x, mean = generator.normal(size=(2, 9, 200)).astype(np.float32)
    options = {"x_scale": 0.3, "wrt": ("x", "mean")} | scale
    want = fe.gaussian_nll_grad(x, mean, **options)
    for first, second in ((True, True), (True, False), (False, True)):
        a, b = x.copy(), mean.copy()
        out = (None, a if first else None, b if second else None, None)
        assert_same(fe.gaussian_nll_grad(a, b, **options, out=out), want)
    a, b = x.copy(), mean.copy()
    crossed = fe.gaussian_nll_grad(a, b, **options, out=(None, b, a, None))
    assert_same(crossed, want)


def test_where_and_samples():
    x = stored(np.dtype("u1"), (5, 40))
    samples = np.random.default_rng(7).normal(size=(6, 5, 40)).astype(np.float32)
    where = np.random.default_rng(8).random((6, 5, 40)) < 0.7
    for scale in ({"var": 0.5}, {"logvar": samples}):
        options = {"x_scale": 1 / 255, "wrt": ("x", "mean"), "where": where} | scale
        want = fe.gaussian_nll_grad(x, samples, **options)
        poisoned = np.where(where, samples, np.float32(np.nan))
        assert_same(fe.gaussian_nll_grad(x, poisoned, **options), want)
        plain = reference.gaussian_nll_grad(x, samples, **options)
        for got, expected in zip(want[:3], plain[:3], strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("x_scale", "error", "message"),
    [
        (0, ValueError, "x_scale must be finite and not 0, not 0$"),
        (0.0, ValueError, r"x_scale must be finite and not 0, not 0\.0$"),
        (np.nan, ValueError, "x_scale must be finite and not 0, not nan$"),
        (-np.inf, ValueError, "x_scale must be finite and not 0, not -inf$"),
        (1e-50, ValueError, r"not 1e-50, which is 0\.0 in float32"),
        (-1e60, ValueError, r"not -1e\+60, which is -inf in float32"),
        (np.ones(3), ValueError, r"x_scale must be one number, not an array of shape \(3,\)"),
        (1j, TypeError, "x_scale has dtype complex128"),
        ("1", TypeError, "x_scale has dtype <U1"),
        (None, TypeError, r"x_scale \(None\)"),
    ],
    ids=str,
)
def test_errors(x_scale, error, message):
    a = np.ones((2, 3), np.float32)
    calls = [
        lambda: fe.gaussian_nll(a, a, var=1.0, x_scale=x_scale),
        lambda: fe.gaussian_nll_grad(a, a, logvar=a, x_scale=x_scale),
        lambda: fe.bernoulli_nll(a, a, x_scale=x_scale),
        lambda: fe.bernoulli_nll_grad(a, a, x_scale=x_scale),
        lambda: fe.neg_elbo(a, a, a, var=1.0, z_var=1.0, x_scale=x_scale),
        lambda: fe.neg_elbo_grad(a, a, a, var=1.0, z_var=1.0, x_scale=x_scale),
        lambda: fe.optimal_var(a, a, x_scale=x_scale),
        lambda: fe.optimal_nll(a, a, x_scale=x_scale),
        lambda: fe.optimal_nll_grad(a, a, x_scale=x_scale),
    ]
    for call in calls:
        with pytest.raises(error, match=message):
            call()


def test_x_scale_takes_the_computing_dtype():
    """A NumPy number too, as Python scalars do."""
    x, mean = stored(np.dtype("u1"), (2, 30)), np.zeros((2, 30), np.float32)
    want = fe.gaussian_nll(x, mean, var=1.0, x_scale=1 / 255)
    for same in (np.float64(1 / 255), np.float32(1 / 255), np.array(1 / 255), float(np.float32(1 / 255))):
        assert_same(fe.gaussian_nll(x, mean, var=1.0, x_scale=same), want)
    for one in (1, np.float32(1), np.int8(1)):
        assert_same(fe.gaussian_nll(x, mean, var=1.0, x_scale=one), fe.gaussian_nll(x, mean, var=1.0))
