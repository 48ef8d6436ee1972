"""`reparameterize` and its gradient: shapes and sums, the generator, layouts, dtypes and `out`."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

import fastelbo as fe
import rounding
import strategies
import variance
from marks import DTYPES, NAMES
from test_sampling_accuracy import scale_argument

RNG = np.random.default_rng(13)

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
    raw = np.asarray(variance.raw_of(name, RNG.uniform(-2, 2, scale_shape)), dtype)
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
    assert np.all(abs(got.z - want.z) <= 16 * rounding.eps(dtype) * size)

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
        assert np.all(abs(mine - theirs) <= 16 * rounding.eps(dtype) * abs(most)), member


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


@NAMES
@pytest.mark.parametrize("spread", [1, 30])
def test_float32_is_rounded_once(name, spread):
    """Within half a unit in the last place and a little, also where mean and noise cancel."""
    mean = RNG.normal(size=1000).astype(np.float32)
    raw = np.asarray(variance.raw_of(name, spread * RNG.normal(size=1000).clip(-2.5, 2.5)), np.float32)
    kind, k = variance.SCALES[name]
    wide = raw.astype(np.longdouble)
    sigma = wide ** np.longdouble(k / 2) if kind == "power" else np.exp(wide * k / 2)
    eps = (-mean.astype(np.longdouble) / sigma).astype(np.float32)
    got = fe.reparameterize(mean, **{name: raw}, eps=eps).z
    exact = mean + sigma * eps.astype(np.longdouble)
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
    for wrong in ((np.empty((3, 2)), None), (None, np.empty(3)), (out[0], out[0]), (out[0][:1], out[1])):
        with pytest.raises(ValueError, match="out"):
            fe.reparameterize(mean, var=mean, rng=rng, out=wrong)
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


def test_the_domain_check_does_not_mind_nan():
    nan = np.array([np.nan, 1.0])
    assert_array_equal(np.isnan(fe.reparameterize(np.zeros(2), var=nan, eps=np.ones(2)).z), [True, False])
    with pytest.raises(ValueError, match=r"var\[1\] is -1.0"):
        fe.reparameterize(np.zeros(2), var=nan * -1, eps=np.ones(2))
