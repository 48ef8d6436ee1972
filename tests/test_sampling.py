"""`reparameterize` and its gradient: accuracy at any scale, sums, layouts, `out`, the generator, misuse."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mp, mpf
from numpy.testing import assert_array_equal

import fastelbo as fe
import oracles
import strategies

NAMES = pytest.mark.parametrize("name", oracles.SCALES)
DTYPES = pytest.mark.parametrize("dtype", strategies.DTYPES)
RNG = np.random.default_rng(13)


def numbers(shape, dtype, *, positive=False) -> np.ndarray:
    """Signed numbers over all exponents of `dtype`, subnormal ones too."""
    limits = np.finfo(dtype)
    low, high = int(limits.minexp) - int(limits.nmant), int(limits.maxexp)
    with np.errstate(under="ignore"):
        array = np.ldexp(RNG.uniform(0.5, 1, shape), RNG.integers(low + 1, high, shape)).astype(dtype)
    return array if positive else array * RNG.choice([-1, 1], shape).astype(dtype)


def scale_argument(name: str, shape, dtype) -> np.ndarray:
    """σ as far as the argument, or products with σ, can be represented at all; half of them near 1."""
    if name in oracles.LINEAR:
        wide = numbers(shape, dtype, positive=True)
    else:
        wide = RNG.uniform(-4, 4, shape) * -np.log(float(np.finfo(dtype).tiny))
    near = oracles.raw_of(name, RNG.uniform(-3, 3, shape))
    return np.where(RNG.random(shape) < 0.5, wide, near).astype(dtype)


# --- accuracy -----------------------------------------------------------------------------------------------


@NAMES
@DTYPES
def test_samples_at_any_scale(name, dtype):
    """σ is within 2 u: e^x is the kernels', √ and 1/ are rounded. Where it is no float64, within 8 u.

    It is then a product of up to three e^x. That with ε is rounded once more, the sum twice, in double and in
    `dtype`.
    """
    raw = scale_argument(name, 400, dtype)
    eps = np.where(RNG.random(400) < 0.5, numbers(400, dtype), RNG.normal(size=400)).astype(dtype)
    mean = np.where(RNG.random(400) < 0.5, 0, RNG.normal(size=400)).astype(dtype)
    got = fe.reparameterize(mean, **{name: raw}, eps=eps)
    terms = np.frompyfunc(lambda *at: oracles.sample_terms(at[0], name, *at[1:]), 3, 1)
    found = terms(*map(oracles._exact, (mean, raw, eps)))
    exact = np.frompyfunc(sum, 1, 1)(found)
    product = np.frompyfunc(lambda t: abs(t[1]), 1, 1)(found)
    double = oracles.eps(np.float64) / 2
    sigma = np.frompyfunc(lambda raw: abs(oracles.logvar(name, raw)) / 2 > 708, 1, 1)(oracles._exact(raw))
    bound = np.where(sigma, 9, 3) * double * product + (double + oracles.eps(dtype) / 2) * abs(exact)
    assert oracles.check(got.z, exact, bound, dtype, name) > 200
    assert got.eps is eps
    assert got.z.dtype == dtype


@NAMES
@DTYPES
def test_gradients_at_any_scale(name, dtype):
    """∂precision is the longest product: σ³ with 2 u each, and 4 roundings; then that to `dtype`.

    The 10 u are less than the 6 eps of the policy. 8 u of σ, where that is no float64, and 2 roundings too.
    """
    raw = scale_argument(name, 400, dtype)
    grad_z, eps = (
        np.where(RNG.random(400) < 0.5, numbers(400, dtype), RNG.normal(size=400)).astype(dtype) for _ in "ge"
    )
    got = fe.reparameterize_grad(grad_z, eps, **{name: raw})
    slope = np.frompyfunc(lambda *at: oracles.sample_slope(at[0], at[1], name, at[2]), 3, 1)
    exact = slope(*map(oracles._exact, (grad_z, eps, raw)))
    bound = (10 * oracles.eps(np.float64) / 2 + oracles.eps(dtype) / 2) * abs(exact)
    assert oracles.check(got.scale, exact, bound, dtype, name) > 200
    assert_array_equal(got.mean, grad_z)


@NAMES
def test_oracle_slope_is_the_derivative_of_the_oracle_sample(name):
    for raw in (mpf("0.3"), mpf("1.7")):
        for grad_z, eps in itertools.product((mpf(2), mpf("-0.7")), repeat=2):
            derivative = mp.diff(lambda at, eps=eps: sum(oracles.sample_terms(mpf(3), name, at, eps)), raw)
            exact = oracles.sample_slope(grad_z, eps, name, raw)
            assert abs(grad_z * derivative - exact) < mpf(10) ** -25


SPECIAL = [np.nan, 0.0, 1.0, -1.0, 2.0, 1e-30, 1e30, -1e30, 2e5, -2e5, np.inf, -np.inf]


@NAMES
@DTYPES
@pytest.mark.parametrize("noisy", ["raise", "warn"])
def test_special_values(name, dtype, noisy):
    """Limits for infinite arguments, NaN without one; and not a word from NumPy.

    σε is formed first: where that overflows, an infinite mean may meet an infinity.
    """
    raws = np.array([raw for raw in SPECIAL if name in oracles.LOG or not raw <= 0], dtype)
    mean, raw, eps = (
        g.ravel() for g in np.meshgrid(np.array(SPECIAL, dtype), raws, np.array(SPECIAL, dtype))
    )
    with np.errstate(all=noisy):
        z = fe.reparameterize(mean, **{name: raw}, eps=eps).z
        got = fe.reparameterize_grad(mean, eps, **{name: raw})
    exact = [oracles._exact(array) for array in (mean, raw, eps)]
    for i, (m, s, e) in enumerate(zip(*exact, strict=True)):
        found = oracles.sample_terms(m, name, s, e)
        kind = oracles.kind(sum(found), max(map(abs, found)), dtype)
        if mp.isinf(m) and mp.isfinite(found[1]) and abs(found[1]) > np.finfo(np.float64).max:
            kind = "any"
        assert kind in (oracles.kind(mpf(float(z[i])), 0, dtype), "any"), (m, s, e)
        slope = oracles.sample_slope(m, e, name, s)
        kind = oracles.kind(slope, abs(slope), dtype)
        assert kind in (oracles.kind(mpf(float(got.scale[i])), 0, dtype), "any"), (m, s, e)
    assert_array_equal(got.mean, mean)


# --- shapes and sums ----------------------------------------------------------------------------------------

#: mean's shape, scale's shape, samples
SHAPES = [
    ((), (), None),
    ((), (), 3),
    ((), (4, 5), 2),
    ((5,), (5,), None),
    ((4, 5), (), 3),
    ((4, 5), (5,), None),
    ((4, 5), (4, 1), 1),
    ((4, 5), (1, 5), 7),
    ((3, 4, 5), (4, 1), 2),
    ((3, 4, 5), (3, 1, 5), None),
    ((0, 5), (5,), 2),
    ((4, 0), (4, 1), None),
    # beyond a tile, and beyond what is walked through together
    ((2, 1500), (1500,), 9),
    ((2500, 3), (2500, 1), 2),
    ((5000,), (5000,), 3),
]


def arguments(name, mean_shape, scale_shape, samples, dtype=np.float64):
    shape = mean_shape or scale_shape
    z_shape = shape if samples is None else (samples, *shape)
    mean, eps, grad_z = (RNG.normal(size=n).astype(dtype) for n in (mean_shape, z_shape, z_shape))
    raw = np.asarray(oracles.raw_of(name, RNG.uniform(-2, 2, scale_shape)), dtype)
    return mean, {name: raw}, eps, grad_z


@pytest.mark.parametrize(("mean_shape", "scale_shape", "samples"), SHAPES)
@NAMES
@DTYPES
def test_parity_with_the_reference(name, dtype, mean_shape, scale_shape, samples):
    """log σ² is within ±2: both are within 8 eps of the sum of absolute terms."""
    mean, scale, eps, grad_z = arguments(name, mean_shape, scale_shape, samples, dtype)
    got, want = (module.reparameterize(mean, **scale, eps=eps) for module in (fe, fe.reference))
    size = fe.reference.reparameterize(abs(mean), **scale, eps=abs(eps)).z
    assert np.shape(got.z) == np.shape(want.z) == eps.shape
    assert np.all(abs(got.z - want.z) <= 16 * oracles.eps(dtype) * size)

    got, want, size = (
        module.reparameterize_grad(*arrays, **scale, mean_shape=mean_shape)
        for module, arrays in (
            (fe, (grad_z, eps)),
            (fe.reference, (grad_z, eps)),
            (fe.reference, (abs(grad_z), abs(eps))),
        )
    )
    for member, shape in (("mean", mean_shape), ("scale", scale_shape)):
        mine, theirs, most = (getattr(result, member) for result in (got, want, size))
        assert np.shape(mine) == np.shape(theirs) == shape
        assert mine.dtype == dtype
        assert np.all(abs(mine - theirs) <= 16 * oracles.eps(dtype) * abs(most)), member


@DTYPES
@pytest.mark.parametrize(("mean_shape", "scale_shape", "samples"), SHAPES)
def test_the_gradient_is_that_of_the_loss(mean_shape, scale_shape, samples, dtype):
    """Σ g·z is linear in the mean and in σ: its change is the gradient times the change.

    The numbers are small integers, so every product and sum is exact, and so is the identity.
    """
    shape = mean_shape or scale_shape
    z_shape = shape if samples is None else (samples, *shape)
    integers = [RNG.integers(-8, 9, n).astype(dtype) for n in (mean_shape, mean_shape, z_shape, z_shape)]
    mean, d_mean, eps, g = integers
    std, d_std = (RNG.integers(1, 9, scale_shape).astype(dtype) for _ in range(2))
    before = fe.reparameterize(mean, std=std, eps=eps).z
    after = fe.reparameterize(mean + d_mean, std=std + d_std, eps=eps).z
    grad = fe.reparameterize_grad(g, eps, std=std, mean_shape=mean_shape)
    assert np.sum(g * (after - before)) == np.sum(grad.mean * d_mean) + np.sum(grad.scale * d_std)


@pytest.mark.parametrize("mean_shape", ["scalar", "full"])
def test_sums_lose_no_digits(mean_shape):
    """Many ones, with 2⁶⁰ and −2⁶⁰ in blocks between them: joining parts costs no digits."""
    rows = 1 << 13
    n = 20 * rows
    g = np.zeros((n, 2))
    g[::1000] = 1.0
    for block, large in ((5, 2.0**60), (15, -(2.0**60))):
        g[block * rows : (block + 1) * rows] = 0.0
        g[block * rows] = large
    want = g[abs(g) < 2].reshape(-1, 2).sum(axis=0)
    if mean_shape == "scalar":
        got = fe.reparameterize_grad(g, g, std=np.ones((n, 2)), mean_shape=())
        assert got.mean == want.sum() > 100
    else:
        got = fe.reparameterize_grad(g, np.ones_like(g), std=np.ones(2), mean_shape=(n, 2))
        assert_array_equal(got.scale, want)


def test_sums_within_a_block():
    """1 + many u/2: nearly nothing is lost, by plain additions all of them."""
    n = 1 << 13
    g = np.full((n, 2), 2.0**-54)
    g[0] = 1.0
    got = fe.reparameterize_grad(g, np.ones_like(g), std=np.ones(2), mean_shape=(n, 2))
    np.testing.assert_allclose(got.scale, 1 + (n - 1) * 2.0**-54, rtol=math.log2(n) * 2.0**-53)


def test_infinite_sums():
    """Infinities stay what they are, in whichever block."""
    g = np.zeros((3 << 14, 2))
    g[0, 0], g[-1] = np.inf, (1.0, -np.inf)
    got = fe.reparameterize_grad(g, np.ones_like(g), std=np.ones(2), mean_shape=g.shape)
    assert_array_equal(got.scale, [np.inf, -np.inf])


def test_sums_of_float32_are_in_double():
    """10⁶ numbers in float32: the last rounding is all that is lost."""
    g = RNG.normal(size=(10**6, 1)).astype(np.float32)
    got = fe.reparameterize_grad(g, g, std=1.0, mean_shape=(10**6, 1))
    exact = np.float64(np.sum(g.astype(np.longdouble) ** 2))
    assert abs(got.scale - exact) <= np.spacing(np.float32(exact)) * 0.5001


# --- bits ---------------------------------------------------------------------------------------------------

#: mean's shape, scale's shape, samples; enough elements for threads, in parts and whole
LARGE = [
    ((700, 300), (700, 300), None),
    ((700, 300), (300,), None),
    ((700, 300), (700, 1), None),
    ((700, 300), (), None),
    ((150, 300), (150, 300), 5),
    ((150, 300), (300,), 5),
    ((3,), (3,), 90_000),
    ((), (300, 700), None),
]


@DTYPES
@pytest.mark.parametrize(("mean_shape", "scale_shape", "samples"), LARGE)
@pytest.mark.parametrize("name", ["std", "logvar"])
def test_same_bits_for_any_number_of_threads_and_any_layout(name, mean_shape, scale_shape, samples, dtype):
    """An element in a thousand is far out: it is formed again, and nothing beside it changes."""
    mean, scale, eps, g = arguments(name, mean_shape, scale_shape, samples, dtype)
    eps[RNG.random(eps.shape) < 1e-3] = np.finfo(dtype).max
    eps[RNG.random(eps.shape) < 1e-3] = 1e-35 if dtype == np.float32 else 1e-300

    def results(mean, raw, eps, g):
        yield fe.reparameterize(mean, **{name: raw}, eps=eps).z
        yield from fe.reparameterize_grad(g, eps, **{name: raw}, mean_shape=mean_shape)

    want = None
    try:
        for threads, change in itertools.product((1, 2, 3), ("none", "swapped", "strided", "turned")):
            fe.set_num_threads(threads)
            arrays = [changed(array, change) for array in (mean, scale[name], eps, g)]
            got = list(results(*arrays))
            want = want or got
            for mine, theirs in zip(got, want, strict=True):
                assert_array_equal(mine, theirs, f"{threads} threads, {change}")
    finally:
        fe.set_num_threads(None)


def changed(array, how):
    """The same numbers in another layout."""
    if how == "swapped":
        return array.astype(array.dtype.newbyteorder())
    if how == "strided":
        return np.stack([array, array], axis=-1)[..., 0]
    return np.array(array, order="F") if how == "turned" else array


@DTYPES
def test_samples_do_not_depend_on_how_many_there_are(dtype):
    mean, logvar = RNG.normal(size=(2, 40, 30)).astype(dtype)
    eps = RNG.normal(size=(9, 40, 30)).astype(dtype)
    for name, raw in (
        ("logvar", logvar),
        ("std", np.exp(logvar)),
        ("logvar", logvar[0]),
        ("std", dtype(0.3)),
    ):
        z = fe.reparameterize(mean, **{name: raw}, eps=eps).z
        for one, noise in zip(z, eps, strict=True):
            assert_array_equal(fe.reparameterize(mean, **{name: raw}, eps=noise).z, one)


def test_float32_is_rounded_once():
    """Within half a unit in the last place and a little, also where mean and noise cancel."""
    mean, logvar = RNG.normal(size=(2, 1000)).astype(np.float32)
    eps = (-mean.astype(np.float64) / np.exp(0.5 * logvar.astype(np.float64))).astype(np.float32)
    got = fe.reparameterize(mean, logvar=logvar, eps=eps).z
    exact = mean + np.exp(np.longdouble(0.5) * logvar) * eps.astype(np.longdouble)
    assert np.all(abs(got - exact) <= 0.5001 * np.spacing(abs(got)) + 2.0**-51 * abs(mean))


# --- the generator ------------------------------------------------------------------------------------------


@DTYPES
@pytest.mark.parametrize("samples", [None, 1, 3])
def test_the_stream_is_the_generators(samples, dtype):
    """C order, the computing dtype, one draw: whatever the layouts of the arguments and of out."""
    shape = (4, 6) if samples is None else (samples, 4, 6)
    mean, logvar = RNG.normal(size=(2, 4, 6)).astype(dtype)
    reference = np.random.default_rng(7)
    want, state = reference.standard_normal(shape, dtype), reference.bit_generator.state
    for layout in strategies.LAYOUTS.values():
        for place in (
            None,
            np.empty(shape, dtype),
            np.empty(shape[::-1], dtype).T,
            np.empty((*shape, 2), dtype),
        ):
            eps = place[..., 0] if place is not None and place.ndim > len(shape) else place
            rng = np.random.default_rng(7)
            got = fe.reparameterize(
                layout(mean), logvar=layout(logvar), rng=rng, n_samples=samples, out=(None, eps)
            )
            assert_array_equal(got.eps, want)
            assert got.eps.dtype == dtype
            assert eps is None or got.eps is eps
            assert rng.bit_generator.state == state
            assert_array_equal(got.z, fe.reparameterize(mean, logvar=logvar, eps=want).z)


def test_after_an_error_the_generator_and_the_arrays_are_as_before():
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    out = np.full((2, 3), 7.0), np.full((2, 3), 7.0)
    mean = np.ones((2, 3))
    with pytest.raises(ValueError, match="var"):
        fe.reparameterize(mean, var=np.array([1.0, 0.0, -1.0]), rng=rng, out=out)
    with pytest.raises(ValueError, match="var"):
        fe.reparameterize_grad(mean, mean, var=mean - 1, out=(mean, None))
    assert rng.bit_generator.state == before
    assert all((array == 7.0).all() for array in out)
    assert (mean == 1.0).all()


# --- layouts, dtypes, out -----------------------------------------------------------------------------------


@NAMES
@given(payload=st.data())
def test_same_bits_in_any_layout(name, payload):
    shape, samples = payload.draw(strategies.shapes(min_dims=0)), payload.draw(st.sampled_from((None, 1, 4)))
    dtype, part = payload.draw(strategies.dtypes), payload.draw(strategies.parts(shape))
    mean, scale, eps, g = arguments(name, shape, part or shape, samples, dtype)
    raw = scale[name]
    layouts = [payload.draw(strategies.layouts) for _ in range(4)]
    want = fe.reparameterize(mean, **scale, eps=eps).z
    got = fe.reparameterize(layouts[0](mean), **{name: layouts[1](raw)}, eps=layouts[2](eps))
    assert_array_equal(got.z, want)
    want = fe.reparameterize_grad(g, eps, **scale, mean_shape=shape)
    got = fe.reparameterize_grad(layouts[3](g), layouts[2](eps), **{name: layouts[1](raw)}, mean_shape=shape)
    for mine, theirs in zip(got, want, strict=True):
        assert_array_equal(mine, theirs)


@NAMES
def test_same_bits_row_by_row(name):
    """Extreme scales too, and whatever else is in the block."""
    mean, eps, g = RNG.normal(size=(3, 64, 9))
    raw = scale_argument(name, (64, 9), np.float64)
    z, grad = fe.reparameterize(mean, **{name: raw}, eps=eps).z, fe.reparameterize_grad(g, eps, **{name: raw})
    for i in range(64):
        assert_array_equal(fe.reparameterize(mean[i], **{name: raw[i]}, eps=eps[i]).z, z[i])
        row = fe.reparameterize_grad(g[i], eps[i], **{name: raw[i]})
        assert_array_equal(row.scale, grad.scale[i])


def test_computing_dtypes():
    f4, f8 = np.float32, np.float64
    cases = [
        ((np.zeros(3, f4), 1.0, np.zeros(3, f4)), f4),
        ((np.zeros(3, f4), np.ones(3, f8), np.zeros(3, f4)), f8),
        ((np.zeros(3, f4), 1.0, np.zeros(3, f8)), f8),
        ((np.zeros(3, np.float16), 1.0, np.zeros(3, np.float16)), f4),
        (([0, 1, 2], 1, [0, 0, 1]), f8),
        ((np.zeros(3, np.uint8), 1.0, np.zeros(3, f4)), f4),
    ]
    for (mean, var, eps), dtype in cases:
        assert fe.reparameterize(mean, var=var, eps=eps).z.dtype == dtype
        assert {g.dtype for g in fe.reparameterize_grad(mean, eps, var=var, mean_shape=3)} == {
            np.dtype(dtype)
        }
    assert fe.reparameterize(np.zeros(3, f4), var=1.0, rng=np.random.default_rng()).eps.dtype == f4


def test_0d_results_are_scalars_unless_given():
    got = fe.reparameterize(1.0, std=2.0, eps=3.0)
    assert isinstance(got.z, np.float64)
    assert isinstance(got.eps, np.float64)
    assert got == (7.0, 3.0)
    place = np.empty(())
    assert fe.reparameterize(1.0, std=2.0, eps=3.0, out=(place, None)).z is place
    grad = fe.reparameterize_grad(2.0, 3.0, std=2.0, out=(None, place))
    assert isinstance(grad.mean, np.float64)
    assert grad.scale is place
    assert place == 6.0


@DTYPES
@pytest.mark.parametrize("samples", [None, 1, 3])
def test_out_over_inputs(samples, dtype):
    """Exactly over them, or shifted: the same numbers, in the caller's arrays."""
    shape = (4, 6) if samples is None else (samples, 4, 6)
    arrays = RNG.uniform(1, 2, (4, *shape)).astype(dtype)

    def views(shifted):
        memory = np.zeros(4 * arrays[0].size + 1, dtype)
        z, eps, mean, var = (
            memory[1:][i * arrays[0].size :][: arrays[0].size].reshape(shape) for i in range(4)
        )
        for view, array in zip((z, eps, mean, var), arrays, strict=True):
            view[...] = array
        latents = [array if samples is None else array[0] for array in (mean, var)]
        start = 2 * arrays[0].size + 1 - shifted
        over = memory[start : start + arrays[0].size].reshape(shape)
        return z, eps, *latents, over

    for shifted in (0, 1):
        _, eps, mean, var, over = views(shifted)
        want = fe.reparameterize(mean.copy(), var=var.copy(), eps=eps.copy()).z
        if shifted:
            with pytest.raises(ValueError, match="overlaps eps"):
                fe.reparameterize(mean, var=var, eps=eps, out=(over, None))
        else:
            assert fe.reparameterize(mean, var=var, eps=eps, out=(over, None)).z is over
            assert_array_equal(over, want)

        rng, again = np.random.default_rng(1), np.random.default_rng(1)
        _, eps, mean, var, over = views(shifted)
        want = fe.reparameterize(mean.copy(), var=var.copy(), rng=rng, n_samples=samples)
        got = fe.reparameterize(mean, var=var, rng=again, n_samples=samples, out=(None, over))
        assert_array_equal(got.eps, want.eps)
        assert_array_equal(got.z, want.z)

    for places in ("zv", "ev", "vz", "-z", "e-", "v-", "ze"):
        z, eps, mean, var, _ = views(0)
        want = fe.reparameterize_grad(z.copy(), eps.copy(), var=var.copy())
        named = {
            "z": z if samples is None else z[0],
            "e": eps if samples is None else eps[0],
            "v": var,
            "-": None,
        }
        out = tuple([named[place] for place in places])
        got = fe.reparameterize_grad(z, eps, var=var, out=out)
        for mine, place, theirs in zip(got, out, want, strict=True):
            assert place is None or mine is place
            assert_array_equal(mine, theirs)


# --- misuse -------------------------------------------------------------------------------------------------

A = np.zeros((4, 3))
GENERATOR = np.random.default_rng(0)
MISUSE = {
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


@pytest.mark.parametrize("case", MISUSE)
def test_misuse(case):
    options, exception, match = MISUSE[case]
    with pytest.raises(exception, match=match):
        fe.reparameterize(**{"mean": np.zeros((4, 3))} | options)


ROW = np.zeros(3)
GRAD_MISUSE = {
    "no scale": ((A, A), {}, TypeError, "exactly one of"),
    "eps of another shape": ((A, ROW), {"var": 1.0}, ValueError, r"\(4, 3\) and eps \(3,\)"),
    "rows or samples": (
        (A, A),
        {"var": np.ones(3)},
        ValueError,
        "4 samples as well as rows.*pass mean_shape",
    ),
    "a scalar for samples": (
        (ROW, ROW),
        {"var": 1.0},
        ValueError,
        "3 samples as well as rows.*pass mean_shape",
    ),
    "a scalar": ((A, A), {"var": 1.0}, ValueError, "pass mean_shape"),
    "a column": ((A, A), {"var": np.ones((4, 1))}, ValueError, "pass mean_shape"),
    "wrong mean_shape": ((A, A), {"var": 1.0, "mean_shape": (4,)}, ValueError, r"grad_z has shape \(4, 3\)"),
    "mean_shape too small": ((A, A), {"var": A + 1, "mean_shape": (3,)}, ValueError, "broadcast to var"),
    "mean_shape no shape": ((A, A), {"var": 1.0, "mean_shape": "43"}, TypeError, "tuple of ints, not '43'"),
    "var = 0": ((A, A), {"var": A}, ValueError, r"^var must be > 0: var\[0, 0\] is 0.0"),
    "out": (
        (A, A),
        {"var": A + 1, "out": (ROW, None)},
        ValueError,
        r"out\[0\] \(mean\) must have shape \(4, 3\)",
    ),
}


@pytest.mark.parametrize("case", GRAD_MISUSE)
def test_misuse_of_the_gradient(case):
    arrays, options, exception, match = GRAD_MISUSE[case]
    with pytest.raises(exception, match=match):
        fe.reparameterize_grad(*arrays, **options)


def test_the_domain_check_does_not_mind_nan():
    nan = np.array([np.nan, 1.0])
    assert_array_equal(np.isnan(fe.reparameterize(np.zeros(2), var=nan, eps=np.ones(2)).z), [True, False])
    with pytest.raises(ValueError, match=r"var\[1\] is -1.0"):
        fe.reparameterize(np.zeros(2), var=nan * -1, eps=np.ones(2))
