"""Arguments in 8 and 16 bits: the precision, bits and layouts of float32."""

import itertools

import ml_dtypes
import numpy as np
import pytest
from numpy.testing import assert_array_equal

import fastelbo as fe
import oracles
import variance
from marks import DTYPES
from narrow import BFLOAT16, MEMBERS, SHORT, STORED, check, layouts, near, stored
from test_layouts import assert_same


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
