"""The σ-VAE's NLL, the importance-weighted bound, free bits, and what a mix optimises."""

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

DTYPES = pytest.mark.parametrize("dtype", strategies.DTYPES)
RNG = np.random.default_rng(17)
DOUBLE = oracles.eps(np.float64)


# --- the σ-VAE ----------------------------------------------------------------------------------------------


def events(dtype, size):
    """x and mean of the size of r given, as (6, 33)."""
    return [(size * RNG.normal(size=(6, 33))).astype(dtype) for _ in range(2)]


SIZES = pytest.mark.parametrize("size", [1e-35, 1e-6, 1.0, 1e15])
#: As a share of the MSE
FLOORS = pytest.mark.parametrize("floor", [0.0, 1e-3, 10.0])


@DTYPES
@SIZES
@FLOORS
def test_optimal_nll(dtype, size, floor):
    """Within the policy's 10 eps·Σ|term|, terms ½·log 2π, ½·log σ² and ½r²/σ²; −∂mean = r/σ².

    The gradient is good to 6 eps at a given σ. σ is good to half of the 10 eps of an MSE in double and one
    more for √, and is rounded to `dtype`, ½ eps; it counts twice.
    """
    x, mean = events(dtype, size)
    min_var = floor * size**2
    got = fe.optimal_nll_grad(x, mean, axis=-1, min_var=min_var, wrt=("x", "mean"))
    assert_array_equal(got.value, fe.optimal_nll(x, mean, axis=-1, min_var=min_var))
    assert got.value.dtype == got.x.dtype == got.mean.dtype == dtype
    assert_array_equal(got.x, -got.mean)
    for n in range(len(x)):
        r = oracles._exact(x[n]) - oracles._exact(mean[n])
        var = max(mp.fsum(r**2) / len(r), mpf(min_var))
        exact = oracles.optimal_nll(x[n], mean[n], min_var)
        terms = len(r) * (mp.log(2 * mp.pi) + abs(mp.log(var))) / 2 + mp.fsum(r**2) / (2 * var)
        oracles.check(got.value[n], exact, 10 * oracles.eps(dtype) * terms, dtype, "value")
        bound = (7 * oracles.eps(dtype) + 12 * DOUBLE) * abs(r / var)
        assert oracles.check(got.x[n], r / var, bound, dtype, "∂x") > 0


@FLOORS
def test_the_variance_adds_nothing_to_the_gradient(floor):
    """The envelope theorem, by mpmath's derivative of the value, in which σ² moves with the mean."""
    x, mean = RNG.normal(size=(2, 5))
    min_var = floor * float(fe.optimal_var(x, mean))
    got = fe.optimal_nll_grad(x, mean, min_var=min_var)
    for i in range(5):

        def value(at, i=i):
            moved = oracles._exact(mean)
            moved[i] = at
            return oracles.optimal_nll(oracles._exact(x), moved, min_var)

        derivative = mp.diff(value, mpf(mean[i]))
        assert abs(derivative - mpf(float(got.mean[i]))) <= 20 * DOUBLE * abs(derivative)


@pytest.mark.parametrize("axis", [None, -1, (), 0, (-1, -2)])
def test_optimal_nll_is_the_minimum_of_gaussian_nll(axis):
    """At σ²*, where ∂var is 0 but for rounding: 24 eps of its terms, D/(2σ²) each."""
    x, mean = RNG.normal(size=(2, 4, 7))
    var = fe.optimal_var(x, mean, axis=axis)
    axes = range(2) if axis is None else axis
    full = np.expand_dims(var, tuple(axes) if isinstance(axes, range) else axes)
    got = fe.optimal_nll(x, mean, axis=axis)
    at = fe.gaussian_nll_grad(x, mean, var=full, axis=axis)
    assert np.shape(got) == np.shape(at.value)
    np.testing.assert_allclose(got, at.value, rtol=0, atol=20 * DOUBLE * x.size * 4)
    counts = x.size / max(1, np.size(var))
    assert np.all(abs(at.scale) <= 24 * DOUBLE * counts / full)
    for factor in (0.9, 1.1):
        assert np.all(fe.gaussian_nll(x, mean, var=factor * full, axis=axis) > got)
    terms = x.size / np.size(got) / 2
    dropped = got - fe.optimal_nll(x, mean, axis=axis, full=False)
    np.testing.assert_allclose(dropped, terms * math.log(2 * math.pi), rtol=1e-13, atol=1e-13)


def parities():
    shapes = [
        ((4, 7), (4, 7)),
        ((7,), (3, 4, 7)),
        ((3, 4, 7), (4, 7)),
        ((4, 7), ()),
        ((), ()),
        ((0, 7), (0, 7)),
    ]
    return itertools.product(shapes, [None, -1, ()], [0.0, 0.5, 4.0], [True, False])


@DTYPES
def test_parity_with_the_reference(dtype):
    """Within 20 eps of the terms' absolute sum, which normal numbers and σ² from 0.5 keep below 40 each."""
    for (x_shape, mean_shape), axis, min_var, full in parities():
        x, mean = (RNG.normal(size=shape).astype(dtype) for shape in (x_shape, mean_shape))
        if (axis == () and min_var == 0.0) or (axis is not None and x.size == 0):
            min_var = 0.5
        options = {"axis": axis, "full": full, "min_var": min_var, "wrt": ("mean", "x")}
        if 0 in x_shape and axis is None:
            assert fe.optimal_nll(x, mean) == 0.0
            continue
        got, want = (module.optimal_nll_grad(x, mean, **options) for module in (fe, fe.reference))
        for mine, theirs in zip(got, want, strict=True):
            assert np.shape(mine) == np.shape(theirs)
            assert mine.dtype == dtype
            atol = 20 * oracles.eps(dtype) * 40 * max(x.size, mean.size)
            np.testing.assert_allclose(mine, theirs, rtol=0, atol=atol)


def test_an_mse_of_0():
    """The value has a limit, −inf, the gradient has none; a floor gives both. NaN stays in its row."""
    x = np.array([[1.0, 2.0], [3.0, 5.0], [np.nan, 0.0]])
    mean = np.array([[1.0, 2.0], [3.0, 4.0], [0.0, 0.0]])
    value = fe.optimal_nll(x, mean, axis=-1)
    assert value[0] == -np.inf
    assert np.isfinite(value[1])
    assert np.isnan(value[2])
    with pytest.raises(ValueError, match=r"variance of event \[0\] is 0, as x equals mean.*min_var"):
        fe.optimal_nll_grad(x, mean, axis=-1)
    with pytest.raises(ValueError, match=r"the optimal variance is 0, as x equals mean.*min_var"):
        fe.optimal_nll_grad(x[0], mean[0])
    assert fe.optimal_nll_grad(x[0], mean[0], wrt=()).value == -np.inf
    got = fe.optimal_nll_grad(x, mean, axis=-1, min_var=0.25)
    assert np.isclose(got.value[0], fe.gaussian_nll(x[0], mean[0], var=0.25), rtol=1e-14)
    np.testing.assert_allclose(got.mean[:2], [[0, 0], [0, -2]], rtol=1e-14)
    assert np.isnan(got.mean[2, 0])


@pytest.mark.parametrize("noisy", ["raise", "warn"])
def test_infinite_errors_in_silence(noisy):
    with np.errstate(all=noisy):
        for x in ([np.inf, 1.0], [1e200, 1.0], [np.nan, 1.0], [0.0, 0.0], []):
            x = np.array(x)
            value = fe.optimal_nll(x, np.zeros_like(x))
            want = (
                {0: 0.0, 2: np.inf}[x.size] if x.size == 0 or x[0] > 0 else -np.inf if x[0] == 0 else np.nan
            )
            assert_array_equal(value, want)
            fe.optimal_nll_grad(x, np.zeros_like(x), min_var=1.0)


def test_small_squares_in_float32():
    """(1e-30)² is no float32, but the NLL is."""
    x = np.full(8, 1e-30, np.float32)
    r = float(x[0])
    got = fe.optimal_nll_grad(x, np.zeros_like(x))
    assert np.isclose(got.value, 4 * (1 + math.log(2 * math.pi) + 2 * math.log(r)), rtol=1e-6)
    np.testing.assert_allclose(got.mean, np.full(8, -1 / r), rtol=1e-6)


@given(payload=st.data())
def test_optimal_nll_in_any_layout_and_into_any_out(payload):
    shape, dtype = payload.draw(strategies.shapes()), payload.draw(strategies.dtypes)
    x, mean = (RNG.normal(size=shape).astype(dtype) for _ in range(2))
    layouts = [payload.draw(strategies.layouts) for _ in range(2)]
    want = fe.optimal_nll_grad(x, mean, axis=-1, wrt=("x", "mean"))
    got = fe.optimal_nll_grad(layouts[0](x), layouts[1](mean), axis=-1, wrt=("x", "mean"))
    out = (np.empty_like(want.value)[..., None][..., 0] if want.value.ndim else np.empty((), dtype), x, mean)
    inside = fe.optimal_nll_grad(x, mean, axis=-1, wrt=("x", "mean"), out=out)
    for mine, over, place, theirs in zip(got, inside, out, want, strict=True):
        assert_array_equal(mine, theirs)
        assert_array_equal(over, theirs)
        assert over is place


X = np.zeros((4, 3))
OPTIMAL_MISUSE = {
    "shapes": ({"mean": np.zeros((4, 1))}, r"x has shape \(4, 3\) and mean has shape \(4, 1\)"),
    "axis": ({"axis": 2}, "axis"),
    "wrong end": ({"mean": X[0], "axis": 1}, "may count from the wrong end"),
    "min_var": ({"min_var": -1.0}, "min_var must be a finite variance >= 0, not -1.0"),
    "wrt": ({"wrt": "scale"}, "wrt must name some of 'x', 'mean', not 'scale'"),
    "out": ({"out": (None, None, None, None)}, r"3 members \(value, x, mean\), not 4"),
    "out not asked for": ({"out": (None, X, None)}, r"out\[1\] \(x\) is given, but wrt does not name 'x'"),
    "out shape": ({"out": (X, None, None)}, r"out\[0\] \(value\) must have shape \(\)"),
}


@pytest.mark.parametrize("case", OPTIMAL_MISUSE)
def test_misuse_of_optimal_nll(case):
    options, match = OPTIMAL_MISUSE[case]
    with pytest.raises(ValueError, match=match):
        fe.optimal_nll_grad(**{"x": X, "mean": X, "min_var": 1.0} | options)


# --- the importance-weighted bound --------------------------------------------------------------------------


@DTYPES
@pytest.mark.parametrize("samples", [1, 2, 5, 64])
@pytest.mark.parametrize("level", [0.0, -1e4, 1e30])
@pytest.mark.parametrize("spread", [0.0, 1.0, 50.0])
def test_iwae_bound(samples, level, spread, dtype):
    """In double, u = 2⁻⁵³, and rounded to `dtype` in the end.

    Rounding d = log w − max costs e^d |d|·u of itself, and e^d is good to 2 u more. Their sum is wrong by the
    mean of |d|·u under the weights, at most log S·u, by these 2 u, and by log₂(S)·u for its additions. The
    quotient costs u, the logarithm 2 u of at most log S, the sum with max one u of the value.
    """
    log_w = (level + spread * RNG.normal(size=(samples, 9))).astype(dtype)
    got = fe.iwae_bound(log_w)
    assert got.value.shape == got.ess.shape == (9,)
    assert got.value.dtype == got.weights.dtype == got.ess.dtype == dtype
    u, own, log_s = DOUBLE / 2, oracles.eps(dtype) / 2, math.log2(samples)
    for n in range(9):
        value, weights, ess = oracles.iwae_bound(log_w[:, n])
        top = float(log_w[:, n].max())
        of_sum = u * (log_s + log_s + 4)
        bound = of_sum + 3 * u * log_s + (own + u) * abs(value)
        oracles.check(got.value[n], value, bound, dtype, "value")
        for s in range(samples):
            bound = (u * (abs(float(log_w[s, n]) - top) + 4) + of_sum + own) * weights[s]
            oracles.check(got.weights[s, n], weights[s], bound, dtype, "weights")
        oracles.check(got.ess[n], ess, (6 * of_sum + 6 * u + own) * ess, dtype, "ess")


def test_weights_are_the_gradient():
    log_w = RNG.normal(size=5)
    weights = fe.iwae_bound(log_w).weights
    for s in range(5):

        def value(at, s=s):
            moved = oracles._exact(log_w)
            moved[s] = at
            return oracles.iwae_bound(moved)[0]

        assert abs(mp.diff(value, mpf(log_w[s])) - mpf(weights[s])) < 1e-15


INF, NAN = np.inf, np.nan
IWAE_SPECIAL = [
    # log w of one row, value, weights, ess
    ([-3.0], -3.0, [1.0], 1.0),
    ([-1e300], -1e300, [1.0], 1.0),
    ([2.0, 2.0, 2.0, 2.0], 2.0, [0.25] * 4, 4.0),
    ([0.0, -INF], -math.log(2), [1.0, 0.0], 1.0),
    ([-INF, -INF], -INF, [NAN, NAN], NAN),
    ([-INF], -INF, [NAN], NAN),
    ([INF, 0.0, -INF], INF, [1.0, 0.0, 0.0], 1.0),
    ([INF], INF, [1.0], 1.0),
    ([INF, INF, 0.0], INF, [NAN, NAN, 0.0], NAN),
    ([NAN, 0.0, INF], NAN, [NAN, NAN, NAN], NAN),
    ([NAN, -INF], NAN, [NAN, NAN], NAN),
    ([1e308, -1e308], 1e308, [1.0, 0.0], 1.0),
    ([], NAN, [], NAN),
]


@pytest.mark.parametrize(("log_w", "value", "weights", "ess"), IWAE_SPECIAL)
@pytest.mark.parametrize("noisy", ["raise", "warn"])
def test_special_log_weights(log_w, value, weights, ess, noisy):
    """Alone, and beside an ordinary row."""
    with np.errstate(all=noisy):
        alone = fe.iwae_bound(np.array(log_w, float))
        beside = fe.iwae_bound(np.array([log_w, np.zeros(len(log_w))]), axis=1)
    assert_array_equal(alone.value, value)
    assert_array_equal(alone.weights, weights)
    assert_array_equal(alone.ess, ess)
    assert isinstance(alone.value, np.float64)
    for mine, theirs in zip(beside, alone, strict=True):
        assert_array_equal(mine[0], theirs)
    if log_w:
        assert (beside.value[1], beside.ess[1]) == (0.0, len(log_w))


@given(payload=st.data())
def test_iwae_bound_in_any_layout_and_along_any_axis(payload):
    shape = payload.draw(strategies.shapes())
    log_w = (10 * RNG.normal(size=shape)).astype(payload.draw(strategies.dtypes))
    axis, axes = payload.draw(strategies.axes(len(shape)))
    got = fe.iwae_bound(payload.draw(strategies.layouts)(log_w), axis=axis)
    flat = np.moveaxis(log_w, sorted(axes), range(len(axes)))
    rows = flat.shape[len(axes) :]
    plain = fe.iwae_bound(flat.reshape(-1, *rows))
    assert_array_equal(got.value, plain.value)
    assert_array_equal(got.ess, plain.ess)
    assert_array_equal(
        np.moveaxis(got.weights, sorted(axes), range(len(axes))), plain.weights.reshape(flat.shape)
    )
    assert np.all((got.ess >= 1) & (got.ess <= math.prod(flat.shape[: len(axes)])))


@pytest.mark.parametrize("spread", [1e-8, 1.0, 100.0])
def test_the_effective_sample_size_stays_between_1_and_s(spread):
    """Nearly equal weights, whose rounding would push it over S."""
    ess = fe.iwae_bound(spread * np.random.default_rng(0).normal(size=(5, 1000))).ess
    assert ess.min() >= 1
    assert ess.max() <= 5


def test_misuse_of_iwae_bound():
    with pytest.raises(np.exceptions.AxisError):
        fe.iwae_bound(np.zeros((2, 3)), axis=2)
    with pytest.raises(TypeError, match="log_w has dtype complex128"):
        fe.iwae_bound(np.zeros(2, complex))


# --- free bits ----------------------------------------------------------------------------------------------

MODES = list(itertools.product(("dim", "row"), ("first", "last")))
PER_AND_AVERAGE = pytest.mark.parametrize(("per", "average"), MODES)


def eighths(shape) -> np.ndarray:
    """KLs whose sums and means over 2ⁿ are exact, some of them equal to a floor of 1 or 5."""
    return RNG.integers(0, 17, shape) / 8.0


@PER_AND_AVERAGE
@pytest.mark.parametrize("min_kl", [0.0, 1.0, 5.0])
def test_free_bits(per, average, min_kl):
    """The value is the formula's, and the factor its derivative to the right: both exactly."""
    for _ in range(10):
        kl = eighths((8, 5))
        kl[:, 1] = 1.0
        kl[0] = 1.0
        value, factor = fe.free_bits(kl, min_kl, per=per, average=average)
        assert type(value) is float
        assert value == oracles.free_bits(kl, min_kl, per, average)
        assert factor.shape == (1 if average == "first" else 8, 1 if per == "row" else 5)
        full = np.broadcast_to(factor, kl.shape)
        for index in np.ndindex(kl.shape):
            step = np.zeros_like(kl)
            step[index] = 2.0**-10
            moved, _ = fe.free_bits(kl + step, min_kl, per=per, average=average)
            assert (moved - value) * 2**10 * 8 == full[index]


@PER_AND_AVERAGE
@DTYPES
def test_the_factor_is_a_weight_of_the_kl(per, average, dtype):
    """The gradients of the mean KL times the factor, and the same by weight=factor."""
    mean, logvar = RNG.normal(size=(2, 8, 5)).astype(dtype)
    kl = fe.gaussian_kl(mean, logvar=logvar, axis=())
    value, factor = fe.free_bits(kl, 0.8 if per == "dim" else 4.0, per=per, average=average)
    assert factor.dtype == dtype
    assert set(factor.ravel()) <= {0, 1}
    plain = fe.gaussian_kl_grad(mean, logvar=logvar, reduction="mean")
    weighted = fe.gaussian_kl_grad(mean, logvar=logvar, weight=factor, reduction="mean")
    assert_array_equal(plain.mean * factor, weighted.mean)
    assert_array_equal(plain.scale * factor, weighted.scale)
    assert value >= plain.value * (1 - 4 * oracles.eps(dtype))


def test_without_a_floor_it_is_the_mean_kl():
    mean = RNG.normal(size=(8, 5))
    kl = fe.gaussian_kl(mean, var=0.5, axis=())
    for per, average in MODES:
        value, factor = fe.free_bits(kl, 0.0, per=per, average=average)
        assert np.isclose(value, fe.gaussian_kl(mean, var=0.5, reduction="mean"), rtol=1e-14)
        assert np.all(factor == 1)


@PER_AND_AVERAGE
def test_free_bits_of_more_axes(per, average):
    """Axes of dimensions are one, axes of the batch are one."""
    kl = eighths((2, 4, 3, 5))
    got = fe.free_bits(kl, 1.0, per=per, average=average, axis=(0, 2))
    flat = np.moveaxis(kl, (0, 2), (2, 3)).reshape(20, 6)
    want = fe.free_bits(flat, 1.0, per=per, average=average)
    assert np.isclose(got.value, want.value, rtol=1e-15)
    moved = np.moveaxis(np.broadcast_to(got.factor, kl.shape), (0, 2), (2, 3)).reshape(20, 6)
    assert_array_equal(moved, np.broadcast_to(want.factor, moved.shape))


@pytest.mark.parametrize("noisy", ["raise", "warn"])
def test_special_kls(noisy):
    with np.errstate(all=noisy):
        for per, average in MODES:
            got = fe.free_bits(np.array([[0.0, NAN], [2.0, 2.0]]), 1.0, per=per, average=average)
            assert math.isnan(got.value)
            full = np.broadcast_to(got.factor, (2, 2))
            assert np.isnan(full[0, 1])
            assert np.isnan(full[0, 0]) == (per == "row")
            assert np.isnan(full[1, 1]) == (average == "first")
            got = fe.free_bits(np.array([[0.0, INF], [2.0, 2.0]]), 1.0, per=per, average=average)
            assert got.value == INF
            assert np.broadcast_to(got.factor, (2, 2))[0, 1] == 1
            assert math.isnan(fe.free_bits(np.zeros((0, 2)), 1.0, per=per, average=average).value)
    one = np.array([0.5, 2.0], np.float32)
    assert fe.free_bits(one, 1.0, per="dim", average="last", axis=-1).value == 3.0
    assert fe.free_bits(one, 1.0, per="row", average="last", axis=()).value == 1.5
    with pytest.raises(ValueError, match="one event of size 2, or 2 observations"):
        fe.free_bits(one, 1.0, per="dim", average="last")


FREE_BITS_MISUSE = {
    "per": ({"per": "batch"}, ValueError, "per must be 'dim' or 'row', not 'batch'"),
    "average": ({"average": "none"}, ValueError, "average must be 'first' or 'last', not 'none'"),
    "negative": ({"min_kl": -1.0}, ValueError, "min_kl must be a finite number of nats >= 0, not -1.0"),
    "NaN": ({"min_kl": NAN}, ValueError, "min_kl must be a finite number of nats"),
    "inf": ({"min_kl": INF}, ValueError, "min_kl must be a finite number of nats"),
    "array": ({"min_kl": np.ones(3)}, ValueError, "min_kl must be one number, not an array of shape"),
    "no mode": ({"per": None}, ValueError, "per must be 'dim' or 'row', not None"),
}


@pytest.mark.parametrize("case", FREE_BITS_MISUSE)
def test_misuse_of_free_bits(case):
    options, exception, match = FREE_BITS_MISUSE[case]
    with pytest.raises(exception, match=match):
        fe.free_bits(**{"kl": X, "min_kl": 1.0, "per": "dim", "average": "last"} | options)


# --- what a mix optimises -----------------------------------------------------------------------------------


def test_the_usual_mixes():
    d = 784
    assert fe.implied_objective("mean", "sum", n_features=d) == (d / 2, 1.0, 1.0)
    assert fe.implied_objective("sum", "sum") == (0.5, 1.0, 1.0)
    assert fe.implied_objective("sum", "sum", error_weight=0.5) == (1.0, 1.0, 1.0)
    assert fe.implied_objective("mean", "mean", n_features=d, n_latents=16) == (24.5, 1.0, 1 / 16)
    assert fe.implied_objective("mean", "sum", n_features=d, var=1.0) == (1.0, d / 2, 2 / d)
    assert fe.implied_objective("sum", "sum", kl_weight=4.0, var=0.5).beta == 4.0


@pytest.mark.parametrize("error", ["mean", "sum"])
@pytest.mark.parametrize("kl", ["mean", "sum"])
@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.5, 3.0)])
@pytest.mark.parametrize("var", [None, 0.3])
def test_gradients_of_the_mix_are_those_of_the_negative_elbo(error, kl, weights, var):
    """Times `scale`; and so are the values, but for the constant. The mix is differentiated by hand."""
    x, recon = RNG.normal(size=(2, 6, 11))
    mean, logvar = RNG.normal(size=(2, 6, 3))
    implied = fe.implied_objective(
        error, kl, n_features=11, n_latents=3, error_weight=weights[0], kl_weight=weights[1], var=var
    )
    assert implied.var == var if var else implied.beta == 1.0
    a, b = weights[0] / (11 if error == "mean" else 1), weights[1] / (3 if kl == "mean" else 1)
    nll = fe.gaussian_nll_grad(x, recon, var=implied.var)
    divergence = fe.gaussian_kl_grad(mean, logvar=logvar)
    pairs = [
        (a * 2 * (recon - x), nll.mean),
        (b * mean, implied.beta * divergence.mean),
        (b * (np.exp(logvar) - 1) / 2, implied.beta * divergence.scale),
    ]
    for mix, elbo in pairs:
        np.testing.assert_allclose(mix, implied.scale * elbo, rtol=1e-13)
    mix = a * np.sum((x - recon) ** 2, axis=-1) + b * divergence.value
    elbo = nll.value + implied.beta * divergence.value
    constant = 11 / 2 * math.log(2 * math.pi * implied.var)
    np.testing.assert_allclose(mix, implied.scale * (elbo - constant), rtol=1e-12)


IMPLIED_MISUSE = {
    "error": (("none", "sum"), {}, ValueError, "error must be 'sum' or 'mean', not 'none'"),
    "kl": (("sum", "batch"), {}, ValueError, "kl must be 'sum' or 'mean', not 'batch'"),
    "no features": (("mean", "sum"), {}, TypeError, "error='mean' needs n_features"),
    "no latents": (("sum", "mean"), {}, TypeError, "kl='mean' needs n_latents"),
    "0 features": (("mean", "sum"), {"n_features": 0}, ValueError, "n_features must be at least 1, not 0"),
    "half a feature": (("mean", "sum"), {"n_features": 0.5}, TypeError, "n_features must be an int, not 0.5"),
    "weight": (
        ("sum", "sum"),
        {"kl_weight": 0.0},
        ValueError,
        "kl_weight must be a finite factor > 0, not 0.0",
    ),
    "var": (("sum", "sum"), {"var": -1.0}, ValueError, "var must be a finite variance > 0, not -1.0"),
}


@pytest.mark.parametrize("case", IMPLIED_MISUSE)
def test_misuse_of_implied_objective(case):
    arguments, options, exception, match = IMPLIED_MISUSE[case]
    with pytest.raises(exception, match=match):
        fe.implied_objective(*arguments, **options)
