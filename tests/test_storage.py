"""Arguments in 8 and 16 bits, and x_scale: the precision, bits and layouts of float32.

The exact result is that of the numbers as stored, and of x_scale as rounded to the computing dtype. The
bounds are those of test_accuracy: x·x_scale − mean is rounded once, as x − mean is.
"""

import itertools

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mpf
from numpy.testing import assert_array_equal

import declared
import digits
import fastelbo as fe
import oracles
import rounding
import strategies
import variance
from fastelbo import reference
from marks import DTYPES
from rounding import eps
from test_layouts import LAYOUTS, assert_same

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
SHORT = [np.dtype(np.float16), BFLOAT16]
KINDS = [*map(np.dtype, ("u1", "i1", "u2", "i2", "?")), *SHORT]
FACTORS = (1 / 255, -0.3, 3e4)
STORED = pytest.mark.parametrize("kind", KINDS, ids=str)
MEMBERS = ("x", "mean", "scale")
NATIVE = {
    name: make for name, make in LAYOUTS.items() if "swapped" not in name
}  # bfloat16 has one byte order


def stored(kind, shape, seed=0):
    """Numbers of a dtype, all over 8 bits."""
    draw = np.random.default_rng(seed).integers(-128 if kind.kind == "i" else 0, 128, shape)
    return (draw % 2 == 1) if kind.kind == "b" else draw.astype(kind)


def layouts(kind):
    return NATIVE if kind == BFLOAT16 else LAYOUTS


def near(x, factor, dtype, seed=0):
    """Means, and scales of the size of what is left."""
    generator = np.random.default_rng(seed)
    mean = (x.astype(float) * float(dtype(factor)) * generator.normal(1, 0.1, x.shape)).astype(dtype)
    return mean, (generator.uniform(0.25, 4, x.shape) * float(dtype(factor)) ** 2).astype(dtype)


def check(got, exact, dtype, factor=1.0, what=""):
    """The policy's bounds, with ∂x by x as it was passed."""
    for member, bound in zip(got._fields, (10, 6, 6, 6), strict=False):
        value, size = exact[member]
        of_x = mpf(float(dtype(factor))) if member == "x" else mpf(1)
        bound = bound * eps(dtype) * abs(of_x) * size
        assert rounding.check(getattr(got, member), of_x * value, bound, dtype, f"{what}: {member}")


def scaled(x, factor, dtype):
    """x·x_scale, exactly."""
    return digits.exact(x.astype(np.float64)) * mpf(float(dtype(factor)))


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


@pytest.mark.parametrize("kind", SHORT, ids=str)
def test_all_arguments_in_16_bits(kind):
    generator = np.random.default_rng(3)
    data = {name: generator.normal(size=60).astype(kind) for name in ("x", "mean", "prior_mean")}
    for name in variance.SCALES:
        raw, prior = variance.raw_of(name, generator.normal(size=(2, 60))).astype(kind)
        got = fe.gaussian_nll_grad(data["x"], data["mean"], **{name: raw}, axis=(), wrt=MEMBERS)
        plain = {key: array.astype(np.float64) for key, array in data.items()}
        exact = oracles.nll(plain["x"], plain["mean"], **{name: raw.astype(np.float64)})
        assert all(member.dtype == np.float32 for member in got)
        check(got, exact, np.float32, what=f"{kind}, {name}")
        both = {name: raw, f"prior_{name}": prior}
        found = fe.gaussian_kl_grad(data["mean"], prior_mean=data["prior_mean"], **both, axis=())
        floats = {key: array.astype(np.float32) for key, array in both.items()}
        arguments = {key: data[key].astype(np.float32) for key in ("mean", "prior_mean")}
        assert_same(found, fe.gaussian_kl_grad(**arguments, **floats, axis=()))


# --- bits ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SHORT, ids=str)
@DTYPES
def test_all_numbers_of_16_bits(kind, dtype):
    """∂mean of the KL from N(0, 1) is the mean, and ∂x of the NLL under N(0, 1) is x, times x_scale twice."""
    every = np.arange(1 << 16, dtype=np.uint16).view(kind)
    with np.errstate(invalid="ignore", over="ignore"):  # NaN, and four times the largest bfloat16 numbers
        want = every.astype(dtype)
        fourfold = 4 * want
    one = dtype(1)
    for layout, make in layouts(kind).items():
        assert_same(fe.gaussian_kl_grad(make(every), var=one, axis=(), wrt="mean").mean, want, layout)
        got = fe.gaussian_nll_grad(make(every), 0 * one, precision=one, x_scale=2.0, axis=(), wrt="x").x
        assert_same(got, fourfold, layout)
    for length in (1, 7, 8, 15, 17, 31, 33):  # beside the vectors
        numbers = every[0x3C00 : 0x3C00 + length]
        got = fe.gaussian_kl_grad(numbers, var=one, axis=(), wrt="mean").mean
        assert_same(got, numbers.astype(dtype))


@STORED
@pytest.mark.parametrize("axis", [-1, (-3, -1), ()])
def test_the_same_bits_as_float32(kind, axis):
    shape = (40, 3, 1151)
    x = stored(kind, shape)
    mean, var = near(x, 1.0, np.float32)
    for scale in ({"var": var}, {"var": var[:, :, :1]}, {"logvar": 0.25}):
        want = fe.gaussian_nll_grad(x.astype(np.float32), mean, **scale, axis=axis, wrt=MEMBERS)
        for layout, make in layouts(kind).items():
            assert_same(fe.gaussian_nll_grad(make(x), mean, **scale, axis=axis, wrt=MEMBERS), want, layout)
    weight = stored(kind, shape, 1)
    got, want = (fe.gaussian_nll(x, mean, var=var, weight=w, axis=axis) for w in (weight, weight.astype("f")))
    assert_same(got, want)


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


# Ends after vectors, within a line of lanes, a piece (1024), a chunk (16384); 64: the shortest as stored
COLUMNS = (63, 64, 79, 128, 784, 1023, 1024, 1039, 3072, 3079, 16400)


@pytest.mark.parametrize("mean_kind", [*SHORT, np.dtype(np.float32)], ids=str)
@pytest.mark.parametrize("kind", [np.dtype("u1"), *SHORT, np.dtype(np.float32)], ids=str)
def test_squares_of_numbers_as_stored(kind, mean_kind):
    """One scale a row, and dense rows: nothing is copied, but for sums that leave the range of float32."""
    for columns, x_scale in itertools.product(COLUMNS, (1.0, 1 / 255)):
        x, mean = (stored(which, (6, columns), seed) for seed, which in enumerate((kind, mean_kind)))
        if mean_kind != np.float16:
            mean[1] *= mean_kind.type(1e30)  # its squares overflow
        mean[2, -1], mean[3, columns // 2] = np.inf, np.nan
        if kind.kind != "u":
            x[4, -1], x[5], mean[5] = np.nan, 0, 0
        spread = [np.repeat(array, 2, axis=1)[:, ::2] for array in (x, mean)]
        rows = np.linspace(-2, 3, 6, dtype=np.float32)[:, None]
        for scale in ({"var": 0.25}, {"logvar": rows}, {"std": np.float32(1e-30)}):
            options = scale | {"x_scale": x_scale}
            want = fe.gaussian_nll_grad(*spread, **options, wrt=MEMBERS)
            assert_same(fe.gaussian_nll_grad(x, mean, **options, wrt=MEMBERS), want, str(columns))
            assert_same(fe.gaussian_nll(x, mean, **options), want.value, str(columns))
            alone = fe.gaussian_nll_grad(x, mean, **options, wrt="mean").mean
            assert_same(alone, want.mean, str(columns))
            if x_scale == 1:
                floats = (array.astype(np.float32) for array in (x, mean))
                assert_same(fe.gaussian_nll_grad(*floats, **options, wrt=MEMBERS), want, str(columns))


def test_a_gradient_over_the_mean():
    """x in 8 bits and a float32 mean whose memory takes ∂mean: the mean is needed where a sum overflows."""
    x = stored(np.dtype("u1"), (4, 2000))
    mean, _ = near(x, 1 / 255, np.float32)
    mean[1, 1500] = 1e30
    options = {"var": 0.5, "x_scale": 1 / 255, "wrt": ("mean", "scale")}
    want = fe.gaussian_nll_grad(x, mean, **options)
    over = mean.copy()
    assert_same(fe.gaussian_nll_grad(x, over, **options, out=(None, None, over, None)), want)


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


# --- the rules ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "dtype"),
    [
        *[("?", "f"), ("u1", "f"), ("i1", "f"), ("u2", "f"), ("i2", "f"), ("e", "f"), ("f", "f")],
        *[("i4", "d"), ("u8", "d"), ("d", "d"), (BFLOAT16, "f")],
        *[(1.0, "f"), (2, "f")],  # weak
    ],
    ids=str,
)
def test_bfloat16_counts_as_float16(other, dtype):
    other = other if isinstance(other, float | int) else np.ones(3, other)
    for kind in SHORT:
        if np.ndim(other):
            assert fe.gaussian_nll(np.ones(3, kind), other, var=1.0, axis=()).dtype == dtype
        assert fe.gaussian_nll(np.ones(3, kind), np.ones(3, kind), var=other, axis=()).dtype == dtype
        assert fe.gaussian_nll(other, np.ones(3, kind), var=1.0, axis=()).dtype == dtype
    half = np.float32(1) if dtype == "f" else np.float64(1)
    assert fe.optimal_var(other, np.ones(3, BFLOAT16) * 0).dtype == half.dtype


def test_bfloat16_elsewhere():
    """In what is written in NumPy, as a scalar, in messages."""
    x = np.arange(1, 7).reshape(2, 3)
    short, wide = x.astype(BFLOAT16), x.astype(np.float32)
    for one, two in zip(
        fe.reparameterize(short, var=short, eps=short),
        fe.reparameterize(wide, var=wide, eps=wide),
        strict=True,
    ):
        assert_array_equal(one.astype(np.float32), two)
    got, want = (fe.reparameterize_grad(a, a, std=a) for a in (short, wide))
    assert_same(got, want)
    assert_same(fe.iwae_bound(short), fe.iwae_bound(wide))
    scalar = BFLOAT16.type(0.5)
    assert_same(fe.gaussian_nll(wide, wide, var=scalar), fe.gaussian_nll(wide, wide, var=0.5))
    assert_same(
        fe.gaussian_nll(short, wide, var=0.5, x_scale=scalar), fe.gaussian_nll(wide / 2, wide, var=0.5)
    )
    with pytest.raises(ValueError, match=r"var must be > 0: var\[1, 0\] is 0 "):
        fe.gaussian_nll(wide, wide, var=(x != 4).astype(BFLOAT16))
    with pytest.raises(ValueError, match="float32"):
        fe.gaussian_nll(short, short, var=1.0, out=np.empty(2, BFLOAT16))


@pytest.mark.parametrize(
    "name", ["float8_e4m3fnuz", "float8_e4m3b11fnuz", "float8_e5m2", "int1", "int4", "uint4"]
)
def test_other_added_dtypes_are_refused(name):
    """Some have the dtype.char of a NumPy dtype."""
    x = np.ones(3).astype(getattr(ml_dtypes, name))
    with pytest.raises(
        TypeError, match=rf"x has dtype {name}; .* convert it, .* np\.asarray\(x, np\.float64\)"
    ):
        fe.gaussian_nll(x, np.ones(3), var=1.0)


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
