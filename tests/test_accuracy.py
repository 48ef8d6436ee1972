"""The precision policy against 60 digits: value and gradients of every loss, scale and dtype.

The bounds are the policy's own (u = 2⁻²⁴ or 2⁻⁵³, eps = 2u), nowhere fitted to what comes out:

    NLL       10·eps·Σ|term|                                KL against N(0, I)  4 ULP logvar, logstd; 6 others
    gradient  6·eps·|largest term of its formula|           KL of pairs         6 ULP log form, 8 linear form
    mixed     a log form against a linear one: d may be wrong by 3u·max(|s_q|, |s_p|), and value and gradient
              by what follows from that, on top of the bound for the linear form
    sums      10·eps·Σ|term| is 6 eps an element and 8 additions of u, 4 eps; so a gradient summed over what
              its argument was broadcast over has 11·eps·Σ|largest term|, with the last rounding
"""

import itertools

import numpy as np
import pytest
from mpmath import mpf

import declared
import exhaustive
import fastelbo as fe
import oracles
import promises
import rounding
import strategies
import variance
from effort import effort
from marks import DTYPES, NAMES
from rounding import eps, ulp
from variance import LINEAR, LOG

COUNT = effort(60, 2000)  # elements a case
PAIRS = list(itertools.product(variance.SCALES, repeat=2))
TENS = [10.0**-k for k in range(19)]  # 1 … 1e-18


def rounded(array, dtype):
    """To the nearest float of the dtype, kept finite."""
    return np.clip(array, -np.finfo(dtype).max / 4, np.finfo(dtype).max / 4).astype(dtype)


def usable(name, raw):
    """Where the scale's argument has survived its dtype's range."""
    return np.isfinite(raw) & ((raw > 0) if declared.is_linear(name) else True)


# --- NLL ------------------------------------------------------------------------------------------

#: regime: (log σ², r in units of σ), each a function of a generator and a count
REGIMES = {
    "moderate": (lambda g, n: g.normal(0, 3, n), lambda g, n: g.normal(0, 3, n)),
    "near the optimum": (lambda g, n: g.normal(0, 3, n), lambda g, n: 1 + g.normal(0, 1e-3, n)),
    "log term near 0": (lambda g, n: g.normal(0, 1e-4, n), lambda g, n: g.normal(0, 1e-4, n)),
    "sigma 1e-30": (lambda g, n: np.full(n, 2 * np.log(1e-30)), lambda g, n: g.normal(0, 30, n)),
    "sigma 1e30": (lambda g, n: np.full(n, 2 * np.log(1e30)), lambda g, n: g.normal(0, 30, n)),
    "logvar -1000": (lambda g, n: np.full(n, -1000.0), lambda g, n: g.normal(0, 30, n)),
    "logvar 1000": (lambda g, n: np.full(n, 1000.0), lambda g, n: g.normal(0, 30, n)),
    "r 1e25, logvar 100": (lambda g, n: np.full(n, 100.0), lambda g, n: g.normal(0, 1e25 / np.exp(50), n)),
    "whole range": (lambda g, n: g.uniform(-85, 85, n), lambda g, n: 10 ** g.uniform(-15, 15, n)),
    "beyond": (lambda g, n: g.uniform(-700, 700, n), lambda g, n: 10 ** g.uniform(-15, 150, n)),
}


def nll_inputs(regime, name, dtype, count=COUNT):
    """x, mean and raw. σ is that of the regime only as far as raw and r can be stated in the dtype."""
    generator = np.random.default_rng(len(regime))
    logvar, units = (draw(generator, count) for draw in REGIMES[regime])
    with np.errstate(over="ignore", under="ignore"):
        raw = variance.raw_of(name, logvar).astype(dtype)
        r = rounded(units * np.exp(logvar / 2), dtype)
        mean = rounded(generator.normal(0, 4, count) * np.exp(logvar / 2), dtype)
        x = mean + r
    x[::3], mean[::3] = r[::3], 0  # a third without cancellation
    keep = usable(name, raw) & np.isfinite(x)
    return x[keep], mean[keep], raw[keep]


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize(
    ("name", "form"),
    [(name, form) for name in declared.LIKELIHOODS for (form,) in declared.choices(declared.LOSSES[name])],
)
@DTYPES
def test_elements_of_likelihoods(regime, name, form, dtype):
    """Within what `promises` says of an element; a bin is 0.5 wide, and degrees of freedom are any."""
    x, mean, raw = nll_inputs(regime, form, dtype)
    if not x.size:  # no such σ in this dtype
        assert declared.is_linear(form)
        return
    loss = declared.LOSSES[name]
    given = {loss.operands[0]: x, loss.operands[1]: mean, form: raw} | declared.plain(loss)
    if loss.number:
        given[loss.number] = np.resize(np.array([0.5, 3, 1e-3, 40, 1e4, np.inf, 1e-20], dtype), x.shape)
    members = declared.members(loss, given)
    got, exact = getattr(fe, f"{name}_grad")(**given, axis=(), wrt=members[1:]), declared.exact(name, given)
    element = promises.ELEMENT.get(name, promises.USUAL)
    for member in members:
        value, size = exact[member]
        bound = element if member != "value" or element != promises.USUAL else element + promises.LANES
        what = f"{regime}, {name} by {form}: {member}"
        checked = rounding.check(getattr(got, member), value, bound * eps(dtype) * size, dtype, what)
        assert checked or member != "value"


@NAMES
@DTYPES
@pytest.mark.parametrize("length", [1, 7, 8, 9, 16, 17, 33, 1000, 4097, 100_003, 10_000_000])
def test_nll_rows(name, dtype, length):
    """Rows of one repeated element, where rounding errors don't average out; and of 7 elements in turn."""
    x, mean, raw = nll_inputs("moderate", name, dtype, 7)
    exact = oracles.nll(x, mean, **{name: raw})
    for i in range(3):
        arguments = [np.broadcast_to(array[i], length) for array in (x, mean)]
        for scale in (raw[i], np.broadcast_to(raw[i], length)):  # one for the event, and one for each element
            got = fe.gaussian_nll_grad(*arguments, **{name: scale}, axis=-1, wrt="scale")
            value, size = exact["value"]
            bound = 10 * eps(dtype) * size[i] * length
            rounding.check(got.value, value[i] * length, bound, dtype, f"constant row of {length}, {name}")
            if np.ndim(scale) == 0:
                value, size = exact["scale"]
                bound = 11 * eps(dtype) * size[i] * length
                rounding.check(got.scale, value[i] * length, bound, dtype, f"∂{name} over {length}")
    turns = np.arange(min(length, 100_003)) % 7
    weights = np.bincount(turns, minlength=7)
    got = fe.gaussian_nll(x[turns], mean[turns], **{name: raw[turns]})
    value, size = exact["value"]
    bound = 10 * eps(dtype) * (size * weights).sum()
    rounding.check(got, (value * weights).sum(), bound, dtype, f"{name}, 7 elements in turn")


# --- KL -------------------------------------------------------------------------------------------


def check_kl(mean, prior_mean, scales, dtype, what):
    """Value, gradients and sums of the elementwise KL of these arguments (1-d, of one length)."""
    prior_mean = np.broadcast_to(np.asarray(prior_mean, dtype), mean.shape)
    (q, p), (raw, prior_raw) = [*scales, None][:2], [*scales.values(), None][:2]
    prior = p and p.removeprefix("prior_")
    members = oracles.KL_MEMBERS[: 5 if p else 4]
    got = fe.gaussian_kl_grad(mean, prior_mean=prior_mean, **scales, axis=(), wrt=members[1:])
    exact = oracles.kl(mean, prior_mean, members, **scales)
    mixed = p is not None and (q in LOG) != (prior in LOG)
    slack = rounding.logvar_slack(q, raw, prior, prior_raw, dtype) if mixed else {}
    value_bound = promises.kl_ulps(q, prior) * ulp(exact["value"].value, dtype) + slack.get("value", 0)
    assert np.all(got.value >= 0)
    assert rounding.check(got.value, exact["value"].value, value_bound, dtype, f"{what}: value")
    for member in members[1:]:
        value, size = exact[member]
        bound = 6 * eps(dtype) * size + slack.get(member, 0)
        rounding.check(getattr(got, member), value, bound, dtype, f"{what}: ∂{member}")

    # A sum has the same promise; its ULP is that of the sum
    total = fe.gaussian_kl(mean, prior_mean=prior_mean, **scales)
    value = exact["value"].value.sum()
    bound = promises.kl_ulps(q, prior) * ulp(value, dtype) + np.sum(slack.get("value", 0))
    assert total >= 0
    rounding.check(total, value, bound, dtype, f"{what}: sum")


@pytest.mark.parametrize("size", TENS)
@DTYPES
def test_kl_to_standard_normal(size, dtype):
    """q differs from N(0, I) by `size`, in mean and log σ², and in either alone."""
    generator = np.random.default_rng(1)
    for name in variance.SCALES:
        for in_mean, in_scale in ((1, 1), (0, 1), (1, 0)):
            mean = (in_mean * size * generator.normal(size=COUNT)).astype(dtype)
            raw = variance.raw_of(name, in_scale * size * generator.normal(size=COUNT)).astype(dtype)
            check_kl(mean, 0, {name: raw}, dtype, f"{name}, {size:g} × {(in_mean, in_scale)}")


@pytest.mark.parametrize("sign", [1, -1])
def test_kl_leaves_room_for_its_sums(sign):
    """In float32 h = expm1(s) − s is right to 2.5 of the 4 ULP. Densely at |s| = ½, where its way changes."""
    bits = [np.arange(0x20000000, 0x42A00001, 499), np.arange(0x3EF00000, 0x3F100000)]  # 2⁻⁶³ … 80; ½ ± 1/16
    for s in (sign * part.astype(np.int32).view(np.float32) for part in bits):
        wide = s.astype(np.float64)
        series = wide**2 / 2 * (1 + wide / 3 + wide**2 / 12 + wide**3 / 60)  # its error: s⁴/360
        h = np.where(np.abs(wide) < 2.0**-10, series, np.expm1(wide) - wide)
        got = 2 * fe.gaussian_kl(np.float32(0), logvar=s, axis=()).astype(np.float64)
        errors = np.abs(got - h) / np.ldexp(1.0, np.frexp(h)[1] - 24)
        assert errors.max() <= 2.5, float(s[errors.argmax()]).hex()


@NAMES
@DTYPES
def test_h(name, dtype):
    """A share of `exhaustive.py --functions h-…`: value and gradient, everywhere and where it is hard."""
    parts = [exhaustive.hard_h(name, dtype)]
    if dtype is np.float32:
        blocks = exhaustive.h_blocks(name, effort(997, 16))
        results = [exhaustive.block_h(job) for job in [*blocks, (name, parts[0], 1.0)]]
    else:
        results = [exhaustive.worst_h_by_mpmath(name, parts[0][:: effort(5, 1)].copy())]
        if exhaustive.HAS_WIDER:
            parts.append(exhaustive.random_h(name, effort(100_000, 2_000_000)))
            results += [exhaustive.worst_h_by_wider(name, part) for part in parts]
    values, gradients = map(exhaustive.worst_of, zip(*results, strict=True))
    assert values.ulps <= exhaustive.H_BOUNDS[name], values
    assert gradients.ulps <= exhaustive.GRADIENT_BOUND, gradients


@NAMES
def test_what_h_is_measured_by(name):
    """The wider type's formulas, at 60 digits: to 2⁻⁵ ULP of the narrower."""
    for dtype in strategies.DTYPES if exhaustive.HAS_WIDER else (np.float32,):
        raw = exhaustive.hard_h(name, dtype)[::13]
        wide = exhaustive.WIDER[np.dtype(dtype).char]
        value, gradient, _ = exhaustive.h_exact(name, raw.astype(wide))
        exact = oracles.kl(0.0, members=("value", "scale"), **{name: raw})
        for member, found in (("value", value), ("scale", gradient)):
            right, high = exact[member].value, found.astype(float)
            low = (found - high).astype(float)  # a long double is the sum of two
            sums = np.array([mpf(a) + mpf(b) for a, b in zip(high, low, strict=True)], object)
            allowed = 2.0**-5 * (ulp(right, dtype) if member == "value" else eps(dtype) * exact[member].size)
            assert np.all(abs(sums - right) <= allowed), member


@pytest.mark.parametrize("name", LINEAR)
@DTYPES
def test_kl_at_the_ends_of_a_binade(name, dtype):
    """At √2·2ᵏ and its neighbours, where a mantissa's inverse or square changes its exponent."""
    root = dtype(np.sqrt(2))
    near = root + np.finfo(dtype).eps * np.arange(-4, 5)
    raw = np.ldexp(near.astype(dtype), np.arange(-5, 6)[:, None]).ravel()
    check_kl(np.zeros_like(raw), 0, {name: raw}, dtype, f"{name}, √2")


@pytest.mark.parametrize("size", TENS)
@DTYPES
def test_kl_of_pairs(size, dtype):
    """q differs from p by `size` standard deviations and `size` in log σ², at p of any σ."""
    generator = np.random.default_rng(2)
    for q, p in PAIRS:
        s_p, prior_mean = generator.normal(0, 3, COUNT), generator.normal(size=COUNT)
        s_q = s_p + size * generator.normal(size=COUNT)
        mean = prior_mean + size * generator.normal(size=COUNT) * np.exp(s_p / 2)
        scales = {
            q: variance.raw_of(q, s_q).astype(dtype),
            f"prior_{p}": variance.raw_of(p, s_p).astype(dtype),
        }
        check_kl(mean.astype(dtype), prior_mean.astype(dtype), scales, dtype, f"{q}, {p}, {size:g}")


@NAMES
@DTYPES
def test_kl_of_pairs_where_the_way_changes(name, dtype):
    """Ratios of 2ᵏ and √2·2ᵏ, with their neighbours: differences are exact between ½ and 2."""
    generator, places = (
        np.random.default_rng(4),
        np.concatenate([np.ldexp(1.0, range(-4, 5)), np.sqrt(2) * np.ldexp(1.0, range(-4, 4))]),
    )
    ratio = places[:, None] * (1 + np.finfo(dtype).eps * np.array([-1e6, -1e3, *range(-3, 4), 1e3, 1e6]))
    prior = variance.raw_of(name, generator.normal(size=ratio.size)).astype(dtype)
    raw = (ratio.ravel() * prior).astype(dtype)
    check_kl(np.zeros_like(raw), 0, {name: raw, f"prior_{name}": prior}, dtype, f"{name}, a pair")


@pytest.mark.parametrize("reach", [10, 80, 350])
@DTYPES
def test_kl_of_far_scales(reach, dtype):
    """Log variances anywhere in ±reach: σ²_q ≪ σ²_p, ratios that over- and underflow, answers that fit."""
    generator = np.random.default_rng(3)
    for q, p in [(name, None) for name in variance.SCALES] + PAIRS:
        s_q, s_p = generator.uniform(-reach, reach, (2, COUNT))
        with np.errstate(over="ignore", under="ignore"):
            scales = {q: variance.raw_of(q, s_q).astype(dtype)}
            keep = usable(q, scales[q])
            if p is not None:
                scales[f"prior_{p}"] = variance.raw_of(p, s_p).astype(dtype)
                keep &= usable(p, scales[f"prior_{p}"])
            mean = rounded(generator.normal(size=COUNT) * np.exp((s_p if p else 0) / 2), dtype)
        scales = {name: raw[keep] for name, raw in scales.items()}
        check_kl(mean[keep], 0, scales, dtype, f"{q}, {p}, ±{reach}")


@DTYPES
@NAMES
@pytest.mark.parametrize("length", [17, 4097, 10_000_000])
def test_kl_constant_rows(name, dtype, length):
    mean = dtype(0.3)
    q, p = {name: dtype(variance.raw_of(name, -0.7))}, {f"prior_{name}": dtype(variance.raw_of(name, 0.4))}
    for raws in (q, q | p):
        value = oracles.kl(mean, members=("value",), **raws)["value"].value.item() * length
        bound = promises.kl_ulps(name, name if len(raws) == 2 else None) * ulp(value, dtype)
        for key in (None, name):  # all constant, or q's scale an element each
            spread = {k: np.broadcast_to(raw, length) if k == key else raw for k, raw in raws.items()}
            got = fe.gaussian_kl(np.broadcast_to(mean, length), **spread)
            rounding.check(got, value, bound, dtype, f"constant row of {length}, {name}")
