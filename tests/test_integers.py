"""Integers that float64 can't hold: no digit of theirs is lost silently."""

from fractions import Fraction

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import fastelbo as fe
import promises
from fastelbo import reference

NOW = 1_700_000_000_000_000_000  # nanoseconds: beyond 2⁵³, where float64 has every 256th integer


@pytest.mark.parametrize("module", [fe, reference])
@pytest.mark.parametrize(
    "round_number",
    [NOW, np.int64(NOW), np.array(NOW), np.uint64(NOW), np.full(2, NOW), np.full(2, float(NOW)), [NOW] * 2],
    ids=["int", "scalar", "0-d", "unsigned", "array", "floats", "list"],
)
def test_differences_of_nanoseconds(module, round_number):
    x = NOW + np.array([1, 300])
    half = module.gaussian_nll(x, round_number, var=1.0, full=False, axis=())
    assert_array_equal(half, [0.5, 45000.0])
    assert_array_equal(module.gaussian_kl(x, var=1.0, prior_mean=round_number, axis=()), [0.5, 45000.0])
    assert module.optimal_var(x, round_number) == 45000.5
    assert module.optimal_var(round_number, x) == 45000.5


SCALES = {"one": np.float64(2.0), "of rows": np.full((40, 1), 2.0), "of elements": np.full((40, 30), 2.0)}
KINDS = ["i8", "u8", ">i8", ">u8"]


def exact(x, mean):
    """x - mean, rounded once."""
    pairs = zip(x.ravel(), np.broadcast_to(mean, x.shape).ravel(), strict=True)
    return np.array([float(Fraction(a.item()) - Fraction(b.item())) for a, b in pairs]).reshape(x.shape)


@pytest.mark.parametrize("of_scale", SCALES)
@pytest.mark.parametrize("second", [*KINDS, "f8", "i4", "row", "number"])
@pytest.mark.parametrize("first", KINDS)
def test_every_layout_and_type_subtracts_exactly(first, second, of_scale):
    """Against the same call on the differences, which float64 holds: to the bit."""
    rng = np.random.default_rng(53)
    x = rng.integers(2**62, 2**63, (40, 30)).astype(first)
    near = x.astype("i8") + rng.integers(-5000, 5000, x.shape)
    mean = {"row": near[0], "number": near[0, 0]}.get(second)
    mean = near.astype(second) if mean is None and second != "i4" else mean
    mean = (near >> 40).astype("i4") if second == "i4" else mean
    r, scale, where = exact(x, mean), SCALES[of_scale], x % 7 > 0
    zeros = np.zeros(mean.shape)
    layouts = (x, mean), (np.asfortranarray(x), mean), (np.repeat(x, 2, 1)[:, ::2], mean)
    for options in ({}, {"where": where}, {"weight": rng.uniform(0, 2, 40)}, {"axis": None}):
        options |= {"var": scale, "wrt": ("x", "mean", "scale")}
        want = fe.gaussian_nll_grad(r, zeros, **options)
        for a, b in layouts:
            got = fe.gaussian_nll_grad(a, b, **options)
            for name in want._fields:
                assert_array_equal(
                    getattr(got, name), getattr(want, name), err_msg=f"{name} {options.keys()}"
                )


def test_the_ends_of_the_range():
    ends = np.iinfo(np.int64)
    x, mean = (
        np.array([ends.max, ends.min, -1, ends.max]),
        np.array([ends.max - 3, ends.min + 3, 2, ends.min]),
    )
    slope = fe.gaussian_nll_grad(x, mean, var=1.0, axis=(), wrt="x").x
    assert_array_equal(slope, [3.0, -3.0, -3.0, 2.0**64])
    top = np.array([2**64 - 1, 2**64 - 1, 0], np.uint64)
    slope = fe.gaussian_nll_grad(
        top, np.array([2**64 - 2, 0, 2**64 - 1], np.uint64), var=1.0, axis=(), wrt="x"
    ).x
    assert_array_equal(slope, [1.0, 2.0**64, -(2.0**64)])
    floats = np.array([np.inf, -np.inf, np.nan, 0.0])
    assert_array_equal(fe.gaussian_nll_grad(floats, x, var=1.0, axis=(), wrt="x").x[:2], floats[:2])


@pytest.mark.parametrize(
    "scale",
    [{"var": np.float64(3.0)}, {"logvar": np.zeros((2, 20_000))}, {"std": np.ones((2, 1)), "min_var": 2.0}],
)
def test_over_the_data_and_in_chunks(scale):
    """Gradients over x, rows longer than a chunk, and samples that share x."""
    rng = np.random.default_rng(55)
    mean = rng.integers(2**60, 2**61, (2, 20_000))
    x, wrt = mean.astype(float) + rng.integers(-4000, 4000, mean.shape), ("x", "mean", "scale")
    want = fe.gaussian_nll_grad(exact(x, mean), 0 * x, **scale, wrt=wrt)
    samples = np.stack([mean, mean + 3])
    r = exact(np.broadcast_to(x, samples.shape), samples)
    of_samples = fe.gaussian_nll_grad(r, np.zeros(samples.shape), **scale, wrt=wrt[1:])
    got = fe.gaussian_nll_grad(x, samples, **scale, wrt=wrt[1:])
    for name in ("value", "mean", "scale"):
        assert_array_equal(getattr(got, name), getattr(of_samples, name))
    got = fe.gaussian_nll_grad(x, mean, **scale, wrt=wrt, out=(None, x, None, None))
    for name in want._fields:
        assert_array_equal(getattr(got, name), getattr(want, name))


def test_bits_do_not_depend_on_the_neighbours():
    """An integer beyond 2⁵³ sends its whole tile another way."""
    rng = np.random.default_rng(54)
    x, mean = rng.integers(-1000, 1000, (3, 700)), rng.normal(size=700)
    want = fe.gaussian_nll_grad(x, mean, var=0.7, axis=(), wrt=("x", "mean"))
    x[1, 5] = 2**60 + 1
    got = fe.gaussian_nll_grad(x, mean, var=0.7, axis=(), wrt=("x", "mean"))
    keep = np.arange(700) != 5
    assert_array_equal(got.value[:, keep], want.value[:, keep])
    assert_array_equal(got.x[:, keep], want.x[:, keep])
    assert_array_equal(got.mean[keep], want.mean[keep])


def test_the_sigma_vae_and_the_elbo():
    x, mean, r = NOW + np.array([[1], [300]]), np.full((2, 1), NOW), np.array([[1.0], [300.0]])
    want, got = fe.optimal_nll_grad(r, 0 * r), fe.optimal_nll_grad(x, mean)
    assert got.value == want.value
    assert_array_equal(got.mean, want.mean)
    z = {"z_var": 1.0, "var": 1.0, "reduction": "none"}
    want, got = fe.neg_elbo(r, 0 * r, 0 * r, **z), fe.neg_elbo(x, mean, 0 * r, **z)
    assert_array_equal(got.value, want.value)
    shifted = fe.neg_elbo(r, 0 * r, x, prior_mean=NOW, **z)
    assert_array_equal(shifted.kl, fe.gaussian_kl(r, var=1.0))


ODD = NOW + 1
LATE = np.full((2, 3), ODD)
A = np.ones((2, 3))
REFUSED = {
    "x_scale": lambda: fe.gaussian_nll(LATE, A, var=1.0, x_scale=0.5),
    "x_scale of the mean": lambda: fe.gaussian_nll(A, LATE, var=1.0, x_scale=0.5),
    "var": lambda: fe.gaussian_nll(A, A, var=LATE),
    "number": lambda: fe.gaussian_nll(A, A, var=ODD),
    "prior_var": lambda: fe.gaussian_kl(A, var=1.0, prior_var=LATE),
    "z_logvar": lambda: fe.neg_elbo(A, A, A, var=1.0, z_logvar=-LATE),
    "elbo, x_scale": lambda: fe.neg_elbo(LATE, A, A, var=1.0, z_var=1.0, x_scale=0.5),
    "x of bernoulli": lambda: fe.bernoulli_nll(LATE, A),
    "logits": lambda: fe.bernoulli_nll(A, LATE),
    "log_w": lambda: fe.iwae_bound(LATE),
    "kl": lambda: fe.free_bits(LATE, 1.0, per="dim", average="first"),
    "mean": lambda: fe.reparameterize(LATE, var=1.0, eps=A),
    "eps": lambda: fe.reparameterize(A, var=1.0, eps=LATE),
    "grad_z": lambda: fe.reparameterize_grad(LATE, A, var=A),
    "optimal_var, x_scale": lambda: fe.optimal_var(LATE, A, x_scale=0.5),
}


#: Of a scale, a log-odds, a noise or a gradient an offset cannot go
DIFFERENCES = ("x_scale", "x_scale of the mean", "elbo, x_scale", "log_w", "mean", "optimal_var, x_scale")


@pytest.mark.parametrize("case", REFUSED)
def test_no_digit_is_lost_silently(case):
    offset = "subtract an offset first, or " if case in DIFFERENCES else ""
    way_out = rf"{offset}pass np\.asarray\(\w+, np\.float64\) if they may be rounded$"
    with pytest.raises(ValueError, match=rf"integers that float64 would round: .*{ODD}; {way_out}"):
        REFUSED[case]()


def test_what_where_removes_may_have_any_digits():
    var = np.array([[1, ODD], [2, 3]])
    fe.gaussian_nll(A[:, :2], 0.0, var=var, where=var < 10)
    x = np.array([[1, np.iinfo(np.int64).max]])
    keep = np.array([[True, False]])
    assert fe.gaussian_nll(x, A[:1, :2], var=1.0, x_scale=0.5, where=keep, full=False) == 0.125
    assert fe.gaussian_nll(x, A[:1, :2], var=1.0, where=keep, full=False) == 0


def test_python_integers():
    assert fe.gaussian_nll(np.array([2.0**60]), 2**60 + 1, var=1.0, full=False) == 0.5
    assert fe.gaussian_nll(2**64 - 1, 2**64 - 3, var=1.0, full=False) == 2.0
    assert fe.gaussian_nll(np.zeros(1), 2**70, var=float(2**140), full=False) > 49
    with pytest.raises(
        ValueError, match=r"mean is 1180591620717411303425, which float64 would round.*float\(mean\)"
    ):
        fe.gaussian_nll(np.zeros(1), 2**70 + 1, var=1.0)
    small = np.zeros(1, np.float32)  # Python's numbers are weak: in float32 they round, as they do in NumPy
    assert fe.gaussian_nll(small, NOW + 1, std=float(NOW), full=False, axis=()).dtype == np.float32


FAR = [
    (np.array([NOW + 1, NOW + 300]), np.full(2, NOW)),
    (np.array([NOW + 1, NOW + 300], np.uint64), np.full(2, NOW, np.uint64)),
    (np.array([2**53 + 1, -(2**53) - 1]), np.array([2**53, -(2**53)])),
    (np.array([2**63 - 1, 0]), np.array([2**63 - 3, 2])),
    (np.array([2**64 - 1, 0], np.uint64), np.array([2**64 - 3, 2], np.uint64)),
]


@pytest.mark.parametrize(("x", "mean"), FAR)
def test_integers_beyond_two_to_53_are_never_rounded_in_silence(x, mean):
    """Right, or an error that says to subtract an offset."""
    calls = [
        ("gaussian_nll", {"var": 1.0, "full": False, "axis": ()}),
        ("gaussian_nll_grad", {"var": 1.0, "full": False, "axis": ()}),
        ("optimal_var", {}),
        ("optimal_nll_grad", {"wrt": ("x", "mean")}),
    ]
    for name, options in calls:
        message, got = "", None
        try:
            got = getattr(fe, name)(x, mean, **options)
        except ValueError as error:
            message = str(error)
        if got is None:
            assert "offset" in message
            continue
        options.pop("wrt", None)
        assert promises.check(name, {"x": x, "mean": mean, **options}, got)
