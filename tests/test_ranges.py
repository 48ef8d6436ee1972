"""What is written in NumPy, where a sum, a product or an integer leaves float64 on the way, or an event holds
NaN, infinities or nothing but zeros: right to 60 digits, in bounded time and memory."""

import itertools
import math

import numpy as np
import pytest
from mpmath import mp, mpf
from numpy.testing import assert_array_equal

import fastelbo as fe
import objectives
import rounding
from fastelbo import _squares
from marks import DTYPES, NAMES, PER_AND_AVERAGE
from memory import MOST, scratch

INF, NAN = np.inf, np.nan


def close(got, exact, ulps=4):
    """Within so many eps of a number that is one of float64."""
    assert np.isfinite(got)
    assert abs(mpf(float(got)) - exact) <= ulps * mpf(rounding.DOUBLE) * abs(exact)


# --- the mean square ----------------------------------------------------------------------------------------


def exact_var(x, mean, weight):
    x, mean, weight = (
        [mpf(n.item() if isinstance(n, np.generic) else n) for n in a] for a in (x, mean, weight)
    )
    terms = [w * (a - b) ** 2 for a, b, w in zip(x, mean, weight, strict=True)]
    return mp.fsum(terms) / mp.fsum(weight)


@pytest.mark.parametrize("w", [1.0, 1e-305, 1e-306, 1e-310, 5e-324, 1e307, 1.7e308])
def test_integers_and_weights_of_any_size(w):
    """Integers are subtracted before they are rounded; Σ w may be no float64."""
    x = np.array([2**60 + 1, 2**60 + 3])
    for weight in ([w, w], [w, 0.0], [w, w / 2]):
        exact = exact_var(x, [2**60] * 2, weight)
        close(fe.optimal_var(x, 2**60, weight=weight), exact)
        if w < 1e300:
            value = mp.fsum(map(mpf, weight)) / 2 * (1 + mp.log(2 * mp.pi * exact))
            got = fe.optimal_nll(x, 2**60, weight=weight)
            assert abs(mpf(float(got)) - value) <= 8 * mpf(rounding.DOUBLE) * abs(value) + mpf(2) ** -1074
    many, weight = np.arange(1.0, 9.0), np.full(8, w)
    close(fe.optimal_var(many, np.zeros(8), weight=weight), exact_var(many, np.zeros(8), weight))
    slope = fe.optimal_nll_grad(x, 2**60, weight=[w, w], wrt="mean").mean
    if 1e-290 < w < 1e300:
        close(slope, -mpf(w) * 4 / 5)


CASES = {
    "NaN": (NAN, 1.0, NAN),
    "NaN in both": (NAN, NAN, NAN),
    "one infinity": (INF, 1.0, INF),
    "opposite infinities": (-INF, INF, INF),
    "equal infinities": (INF, INF, NAN),
    "overflow": (1.5e308, -1.5e308, None),
    "ordinary": (3.0, 2.5, None),
    "tiny": (1e-200, 0.0, None),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("negative", [False, True])
def test_one_element_beside_zeros(case, negative):
    """In any event, weighted, masked, and with a factor of x; other events are not touched."""
    a, b, want = CASES[case]
    x, mean = np.zeros((3, 40)), np.zeros((3, 40))
    x[1, 7], mean[1, 7] = a, b
    x[2] = 1.0
    weight = np.ones((3, 40))
    weight[:, 9] = -0.5 if negative else 0.0
    for extra in ({}, {"weight": weight}, {"where": np.arange(40) < 30}, {"x_scale": 1.0}):
        got = fe.optimal_var(x, mean, -1, **extra)
        assert got[0] == 0
        assert not np.signbit(got[0])
        kept = np.broadcast_to(extra.get("where", True), x.shape)
        w = np.where(kept, extra.get("weight", 1.0), 0.0)
        for row in (1, 2):
            if row == 1 and want is not None:
                assert_array_equal(got[row], want)
                continue
            exact = exact_var(x[row], mean[row], w[row])
            if rounding.kind(exact, abs(exact), np.float64) == "finite" and 1e-300 < exact < 1e308:
                close(got[row], exact)
        floored = fe.optimal_nll(x, mean, axis=-1, min_var=1e-3, **extra)
        total = mp.fsum(map(mpf, w[0]))
        close(floored[0], total / 2 * mp.log(2 * mp.pi * mpf(1e-3)), 8)


def test_infinite_terms_of_both_signs():
    """NaN, as their sum is; but a number that is too large does not cancel an infinity."""
    zero = np.zeros(3)
    for weight, want in (([1.0, -1.0, 0.5], NAN), ([-1.0, -1.0, 5.0], -INF), ([1.0, 1.0, -0.5], INF)):
        assert_array_equal(fe.optimal_var(np.array([INF, INF, 2.0]), zero, weight=weight), want)
    assert fe.optimal_var(np.array([INF, 1e200, 2.0]), zero, weight=[1.0, -0.25, 0.5]) == INF
    assert np.isnan(fe.optimal_var(np.array([NAN, 1e200, 2.0]), zero, weight=[1.0, -0.25, 0.5]))


@pytest.mark.parametrize("axis", [None, -1])
@pytest.mark.parametrize("extra", ["none", "weight", "where"])
def test_what_an_event_holds_needs_no_search(axis, extra, monkeypatch):
    """NaN, an infinity, an exact fit: all digits are sought of none, which takes a hundred times as long."""
    x = np.random.default_rng(0).normal(size=(48, 784)).astype(np.float32)
    mean = x + np.float32(1)
    spoilt, endless = x.copy(), x.copy()
    spoilt[31, 3], endless[31, 3] = NAN, INF
    options = {"axis": axis, "min_var": 1e-3}
    options |= {"none": {}, "weight": {"weight": np.ones_like(x)}, "where": {"where": mean > -9}}[extra]
    monkeypatch.delattr(_squares._Event, "split_sums")
    for one, other in ((spoilt, mean), (endless, mean), (x, x)):
        fe.optimal_nll(one, other, **options)


@pytest.mark.parametrize("rows", [1, 7, 1 << 15])
def test_how_many_events_are_computed_at_once_changes_no_bit(rows, monkeypatch):
    x, mean = np.random.default_rng(1).normal(size=(2, 5, 6, 7))
    x[0, 0], x[1], mean[4, 1] = NAN, mean[1], 1e200
    mask, weight = x > -1, abs(mean) % 3
    cases = list(itertools.product([(), -1, (0, 2), 1], [None, weight], [None, mask, mask[0, :, :1]]))

    def results():
        for axis, w, m in cases:
            yield fe.optimal_var(x, mean, axis, weight=w, where=m)
            for reduction in ("none", "sum"):
                yield fe.optimal_nll(
                    x, mean[0], axis=(axis if axis != 1 and axis != (0, 2) else -1), min_var=0.5,
                    where=m, reduction=reduction,
                )  # fmt: skip

    want = list(results())
    monkeypatch.setattr(_squares, "ROWS", rows)
    for one, other in zip(results(), want, strict=True):
        assert_array_equal(one, other)


def test_memory_of_events_of_one_element():
    x = np.random.default_rng(2).normal(size=(1024, 1024)).astype(np.float32)
    for other in (x + np.float32(1), x):
        assert scratch(fe.optimal_var, x, other, axis=()) < MOST
        assert scratch(fe.optimal_nll, x, other, axis=(), min_var=1e-3) < MOST
        assert scratch(fe.optimal_var, x, other, axis=(), weight=x, where=x > 0) < MOST


# --- samples ------------------------------------------------------------------------------------------------


@NAMES
@DTYPES
def test_samples_whose_noise_overflows(name, dtype):
    """σε is no float, μ + σε is one; whatever else is in the block."""
    most = float(np.finfo(dtype).max)
    near, eps = mpf(most) * mpf("0.6"), np.array([2.0, -2.0, 2.0, 0.5, 2.0, -2.0], dtype)
    if name == "var":
        raw, eps = np.full(6, most * 0.6, dtype), eps * dtype(float(mp.sqrt(mpf(most))))
    elif name == "precision":
        raw = np.full(6, float(np.finfo(dtype).tiny) * 1.5, dtype)
        eps = eps * dtype(float(mpf("0.5") * most * mp.sqrt(mpf(float(raw[0])))))
    else:
        raw = np.full(6, {"std": near, "logstd": mp.log(near), "logvar": 2 * mp.log(near)}[name], dtype)
    mean = np.array([-0.9, 0.9, -0.5, 0.1, INF, INF]) * most
    mean = mean.astype(dtype)
    got = fe.reparameterize(mean, **{name: raw}, eps=eps).z
    checked = 0
    for m, r, e, z in zip(mean, raw, eps, got, strict=True):
        terms = objectives.sample_terms(mpf(float(m)), name, mpf(float(r)), mpf(float(e)))
        exact = sum(terms)
        if mp.isinf(exact) or abs(exact) > most:
            assert z == (INF if exact > 0 else -INF)
            continue
        bound = 4 * mpf(rounding.DOUBLE) * max(map(abs, terms)) + mpf(rounding.eps(dtype)) * abs(exact)
        assert abs(mpf(float(z)) - exact) <= bound
        checked += 1
    assert checked >= 2


def test_samples_of_a_scale_beyond_the_dtype():
    got = fe.reparameterize(np.float32(0), logstd=np.float32(100), eps=np.float32(1e-10)).z
    assert abs(mpf(float(got)) / (mp.exp(100) * mpf(float(np.float32(1e-10)))) - 1) < mpf(2) ** -23
    got = fe.reparameterize(np.array([-1.5e308]), std=np.array([1e308]), eps=np.array([2.0])).z
    close(got[0], mpf(1e308) * 2 - mpf(1.5e308))


@pytest.mark.parametrize(
    ("g", "eps", "logstd"),
    [
        ([1e308, 1e308, -1e308], 1e5, 0.0),
        ([1.7e308, 1.7e308, -1.7e308, -1.6e308], 1e5, -11.5),
        ([1.7e308, 1.7e308, 1.0, -1.7e308, -1.6e308, -1e307, 3.0], 1e5, 0.0),
        ([1e308, -1e308, 1e308, -1e308, 2e307, 1.0, 1.0, 1.0], 1e300, -690.0),
        ([-1e308, -1e308], 1e5, 0.0),
        ([1.0, 1e308, -1e308, 1e308, -1e308] * 7, 1e5, 10.0),
        ([1e308, 1e308, INF, -1e308, -1e308], 1e5, 0.0),
        ([1e308, 1e308, -INF, NAN, -1e308], 1e5, 0.0),
    ],
)
def test_sums_that_overflow(g, eps, logstd):
    """Over rows, and over samples; the ordinary column beside them keeps its bits."""
    n = len(g)
    both = np.stack([g, np.arange(1.0, n + 1) / 3], axis=1)
    noise = np.stack([np.full(n, eps), np.ones(n)], axis=1)
    exact_g = [mpf(float(x)) for x in g]
    e_sigma = mpf(eps) * mp.exp(mpf(logstd))
    ordinary = np.stack([np.ones(n), both[:, 1]], axis=1)
    plain = fe.reparameterize_grad(ordinary, np.ones((n, 2)), logstd=np.zeros(2), mean_shape=(n, 2))
    by_rows = fe.reparameterize_grad(both, noise, logstd=np.array([logstd, 0.0]), mean_shape=(n, 2)).scale
    by_samples = fe.reparameterize_grad(both, noise, logstd=np.array([logstd, 0.0]), mean_shape=(2,))
    for got, factor in ((by_rows, e_sigma), (by_samples.scale, e_sigma), (by_samples.mean, mpf(1))):
        exact = factor * sum(exact_g)
        size = factor * sum(map(abs, exact_g))
        if not mp.isfinite(exact) or abs(exact) > np.finfo(float).max:
            assert_array_equal(got[0], float(exact) if not mp.isfinite(exact) else np.sign(exact) * INF)
        else:
            assert abs(mpf(float(got[0])) - exact) <= 16 * mpf(rounding.DOUBLE) * size
    assert by_rows[1] == plain.scale[1]


def test_sums_of_many_parts_that_overflow():
    """Each part is infinite, or their sum is: and yet it is 3e300 in the end."""
    g, beside = np.ones((200_000, 2)), np.random.default_rng(5).normal(size=200_000)
    g[:70_000, 0], g[70_000:140_000, 0], g[140_000:, 0] = 1e306, -1e306, 0
    g[150_000:150_003, 0], g[:, 1] = 1e300, beside
    for axis, noise in ((0, np.ones(g.shape)), (1, np.ones(g.shape[::-1]))):
        turned = g if axis == 0 else g.T
        shape = (1, 2) if axis == 0 else (2, 1)
        got = fe.reparameterize_grad(turned, noise, std=np.ones(shape), mean_shape=turned.shape)
        np.testing.assert_allclose(got.scale.ravel(), [3e300, math.fsum(beside)], rtol=2.0**-52)


@pytest.mark.parametrize("samples", [(1 << 14) + 1, 40_000])
def test_many_samples_of_one_latent(samples):
    """In parts, none of whose additions costs a digit."""
    g, eps = np.random.default_rng(3).normal(size=(2, samples, 1))
    got = fe.reparameterize_grad(g, eps, logstd=np.zeros(1), mean_shape=(1,))
    assert got.mean == math.fsum(g.ravel())
    assert got.scale == math.fsum((g * eps).ravel())
    z = fe.reparameterize(np.ones(1), std=np.full(1, 0.5), eps=eps).z
    assert_array_equal(z, 1 + 0.5 * eps)


def test_memory_of_many_samples():
    g, eps = np.random.default_rng(4).normal(size=(2, 1 << 20, 1)).astype(np.float32)
    for shape in ((1 << 20, 1), (1, 1 << 20)):
        one, other = g.reshape(shape), eps.reshape(shape)
        scale = np.ones(shape[1], np.float32)
        assert scratch(fe.reparameterize, scale, std=scale, eps=other) < MOST
        assert scratch(fe.reparameterize_grad, one, other, logvar=other, mean_shape=()) < MOST
        assert scratch(fe.reparameterize_grad, one, other, std=scale, mean_shape=shape[1:]) < MOST
        assert scratch(fe.reparameterize_grad, one, other, std=scale, mean_shape=shape) < MOST


# --- free bits, and the bound -------------------------------------------------------------------------------


@PER_AND_AVERAGE
@pytest.mark.parametrize(
    "weight",
    [
        [1e308] * 2,
        [1.7e308, 1e-300],
        [1e-320] * 2,
        [5e-324, 1e-322],
        [1e10] * 2,
        [1e-200, 3e-200],
        [1e300, 0.0],
    ],
)
@pytest.mark.parametrize("kl", [[[1.0, 2], [3, 4]], [[1e300, 2], [3, 4]], [[1.5e308, 0.0], [1.7e308, 1e5]]])
def test_free_bits_with_weights_of_any_size(kl, weight, per, average):
    got = fe.free_bits(kl, 0.5, per=per, average=average, weight=weight)
    close(got.value, objectives.free_bits(kl, 0.5, per, average, weight), 8)
    total = mp.fsum(map(mpf, weight))
    factor = np.broadcast_to(got.factor, (2, 2))
    for n in range(2):
        share = 2 * mpf(weight[n]) / total
        for f in factor[n]:
            assert f == 0 or abs(mpf(float(f)) - share) <= 4 * mpf(rounding.DOUBLE) * share + mpf(2) ** -1072


@PER_AND_AVERAGE
def test_free_bits_whose_sum_overflows(per, average):
    """Without weights too, each mean being a number."""
    kl = [[1.5e308], [1.7e308]]
    close(fe.free_bits(kl, 0.5, per=per, average=average).value, mpf(1.5e308) / 2 + mpf(1.7e308) / 2)


@PER_AND_AVERAGE
def test_an_infinite_kl_of_weight_0(per, average):
    """Is in no mean, as nothing of its row is; NaN is not hidden."""
    options = {"per": per, "average": average, "weight": [0.0, 1.0]}
    got = fe.free_bits([[INF, 2], [3, 4]], 0.5, **options)
    assert got.value == 7
    assert_array_equal(np.broadcast_to(got.factor, (2, 2)), [[0, 0], [2, 2]])
    assert np.isnan(fe.free_bits([[NAN, 2], [3, 4]], 0.5, **options).value)
    options["weight"] = [1e-320, 1e300]
    assert fe.free_bits([[INF, 2], [3, 4]], 0.5, **options).value == INF


@pytest.mark.parametrize(
    "shape", [(8, 1 << 17), (1 << 17, 8), (50, 3000), (1 << 20, 1), (1, 1 << 20), (1024, 1024)], ids=str
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_bound_in_blocks(shape, dtype):
    """Along both axes, with little scratch, for any number of threads; and beside sums in long doubles."""
    log_w = np.random.default_rng(6).normal(size=shape).astype(dtype)
    for axis in (0, 1):
        results = []
        for threads in (1, 2):
            fe.set_num_threads(threads)
            results.append(fe.iwae_bound(log_w, axis))
        fe.set_num_threads(None)
        for one, other in zip(*results, strict=True):
            assert_array_equal(one, other)
        assert scratch(fe.iwae_bound, log_w, axis) < MOST
        w = np.exp(log_w.astype(np.longdouble))
        total, squares = w.sum(axis), (w * w).sum(axis)
        eps = np.finfo(dtype).eps
        np.testing.assert_allclose(results[0].value, np.log(total / shape[axis]), rtol=4 * eps, atol=4e-15)
        np.testing.assert_allclose(results[0].ess, total**2 / squares, rtol=max(eps, 1e-13))
        np.testing.assert_allclose(results[0].weights, w / np.expand_dims(total, axis), rtol=max(eps, 1e-14))


def test_the_way_out_for_masked_log_weights():
    log_w = np.ma.masked_array([0.0, 5.0], [False, True])
    with pytest.raises(TypeError, match=r"masked array.*: pass log_w.filled\(-np.inf\)") as caught:
        fe.iwae_bound(log_w)
    assert "where" not in str(caught.value)
    assert_array_equal(fe.iwae_bound(log_w.filled(-INF)).weights, [1.0, 0.0])
