"""The Bernoulli NLL: against 60 digits, at infinities, some rules. `test_reference` has the others."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from mpmath import mp, mpf
from numpy.testing import assert_array_equal

import digits
import fastelbo as fe
import oracles
import rounding
import strategies
from marks import DTYPES, NOISY
from rounding import eps

MEMBERS = oracles.BERNOULLI_MEMBERS


def everything(x, logits, **options):
    return fe.bernoulli_nll_grad(x, logits, wrt=MEMBERS[1:], **options)


# --- precision ----------------------------------------------------------------------------------------------

#: regime: (x, logits), each a function of a generator and a count
REGIMES = {
    "binary": (lambda g, n: g.integers(0, 2, n), lambda g, n: g.normal(0, 4, n)),
    "grey": (lambda g, n: g.uniform(0, 1, n), lambda g, n: g.normal(0, 4, n)),
    "near 0": (lambda g, n: g.uniform(0, 1, n), lambda g, n: 10 ** g.uniform(-30, 0, n)),
    "x near 1": (lambda g, n: 1 - 10 ** g.uniform(-7, 0, n), lambda g, n: g.normal(0, 1e3, n)),
    "at the optimum": (lambda g, n: np.full(n, 0.75), lambda g, n: np.log(3) + g.normal(0, 1e-4, n)),
    "logits of 1e4": (lambda g, n: g.integers(0, 2, n), lambda g, n: 1e4 * g.choice([-1, 1], n)),
    "any x": (lambda g, n: g.normal(0, 100, n), lambda g, n: g.normal(0, 30, n)),
    "beyond": (lambda g, n: g.normal(0, 1, n), lambda g, n: 3e38 * g.uniform(-1, 1, n)),
}


def inputs(regime, dtype, count=60):
    generator = np.random.default_rng(len(regime))
    return [draw(generator, count).astype(dtype) for draw in REGIMES[regime]]


@pytest.mark.parametrize("regime", REGIMES)
@DTYPES
def test_elements(regime, dtype):
    x, logits = inputs(regime, dtype)
    got, exact = everything(x, logits, axis=()), oracles.bernoulli(x, logits)
    for member, bound in zip(MEMBERS, (10, 6, 6), strict=True):
        value, size = exact[member]
        what = f"{regime}: {member}"
        assert rounding.check(getattr(got, member), value, bound * eps(dtype) * size, dtype, what)


@DTYPES
@pytest.mark.parametrize("length", [1, 7, 8, 9, 16, 17, 33, 1000, 4097, 100_003, 1_000_000])
def test_rows(dtype, length):
    """Rows of one repeated element, where rounding errors don't average out; and the sum of its gradients."""
    for x, logits in zip(*inputs("grey", dtype, 3), strict=True):
        value, size = oracles.bernoulli(x, logits)["value"]
        got = fe.bernoulli_nll(np.broadcast_to(x, length), np.broadcast_to(logits, length))
        bound = 10 * eps(dtype) * size.item() * length
        rounding.check(got, value.item() * length, bound, dtype, f"constant row of {length}")
        got = everything(np.full((length, 1), x), np.full(1, logits))
        value, size = oracles.bernoulli(x, logits)["logits"]
        bound = 11 * eps(dtype) * size.item() * length  # 6 an element, eight additions, the last rounding
        rounding.check(got.logits, value.item() * length, bound, dtype, f"∂logits over {length}")


@DTYPES
def test_softplus_of_every_size(dtype):
    """log(1 + e^−a) alone, x = 0 at l = −a, and its derivative: small a, large a, and a subnormal e^−a."""
    generator, limits = np.random.default_rng(7), np.finfo(dtype)
    far = -float(np.log(np.float64(limits.smallest_subnormal)))
    sizes = [generator.uniform(0, top, 400) for top in (1, 4, 40, far)]
    sizes += [10 ** generator.uniform(-30, 0, 100), generator.uniform(far - 20, far, 400), [0, 2 * far, 1e30]]
    logits = -np.concatenate(sizes).astype(dtype)
    got = everything(np.zeros_like(logits), logits, axis=())
    for logit, value, slope in zip(logits.tolist(), got.value.tolist(), got.logits.tolist(), strict=True):
        e = mp.exp(mpf(logit))
        for found, exact, bound in ((value, mp.log1p(e), 4), (slope, e / (1 + e), 5)):
            allowed = bound * eps(dtype) / 2 * exact + mpf(float(limits.smallest_subnormal))
            assert abs(mpf(found) - exact) <= allowed, (logit, found)
    assert everything(dtype(1), dtype(0)).value == dtype(np.log(2))
    assert everything(dtype(0), dtype(0)).logits == 0.5


@DTYPES
@pytest.mark.parametrize("other", [(np.nan, 1), (0, np.inf), (1, np.nan), (np.inf, 0)])
def test_neighbours_change_no_bit(dtype, other):
    """A tile with one element beyond the numbers goes another way."""
    x, logits = inputs("any x", dtype)
    alone = everything(x, logits, axis=())
    x, logits = (np.append(a, np.array(b, dtype)) for a, b in zip((x, logits), other, strict=True))
    for got, expected in zip(everything(x, logits, axis=()), alone, strict=True):
        assert_array_equal(got[:-1], expected)


def test_large_logits_are_exact():
    for dtype in strategies.DTYPES:
        logits = np.array([1e4, -1e4, 1e4, -1e4], dtype)
        got = everything(np.array([1, 0, 0, 1], dtype), logits, axis=())
        assert_array_equal(got.value, [0, 0, 1e4, 1e4])
        assert_array_equal(got.logits, [0, 0, 1, -1])
        assert_array_equal(got.x, -logits)


@given(
    x=hnp.arrays(np.float32, 5, elements=st.floats(0, 1, width=32)),
    logits=hnp.arrays(np.float32, 5, elements=st.floats(width=32, allow_nan=False)),
)
def test_never_negative(x, logits):
    assert np.all(fe.bernoulli_nll(x, logits, axis=()) >= 0)


# --- the gradients by other means ---------------------------------------------------------------------------


def test_oracle_gradients_are_derivatives_of_oracle_values():
    for x, logit in itertools.product((mpf("0.3"), mpf(1), mpf(-2)), (mpf("0.7"), mpf(-5))):

        def value(x, logit):
            return sum(oracles.bernoulli_terms("value", x, logit))

        derivatives = {
            "x": mp.diff(lambda at, logit=logit: value(at, logit), x),
            "logits": mp.diff(lambda at, x=x: value(x, at), logit),
        }
        for member, derivative in derivatives.items():
            exact = sum(oracles.bernoulli_terms(member, x, logit))
            assert abs(derivative - exact) <= mpf(10) ** (-digits.DIGITS // 2)


def test_the_optimum_is_the_mean():
    """One logit for all rows: its gradient is 0 where p is the mean of x, at log p/(1 − p)."""
    x = np.array([0.0, 1, 1, 1])[:, None]
    grad = fe.bernoulli_nll_grad(x, np.log([3.0]), reduction="mean")
    assert abs(grad.logits) <= 6 * eps(float)
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert grad.value == pytest.approx(entropy, rel=1e-15)


def test_exchanging_0_and_1():
    """log p and log(1 − p) change places: the NLL of x at l is that of 1 − x at −l."""
    x, logits = inputs("binary", np.float64)
    assert_array_equal(fe.bernoulli_nll(x, logits, axis=()), fe.bernoulli_nll(1 - x, -logits, axis=()))


# --- special values -----------------------------------------------------------------------------------------

SPECIAL = (
    *(np.nan, 0.0, -0.0, 0.5, 1.0, -1.0, 2.0, -2.0, 1e-30, -1e-30, 1e30, -1e30, 104.0, -104.0),
    *(np.inf, -np.inf),
)


@DTYPES
@NOISY
def test_special_values(dtype, noisy):
    """The class of the oracle's limit: finite, infinite or NaN; and not a word from NumPy."""
    x, logits = (grid.ravel() for grid in np.meshgrid(np.array(SPECIAL, dtype), np.array(SPECIAL, dtype)))
    with np.errstate(all=noisy):
        got = everything(x, logits, axis=())
    for member, (value, size) in oracles.bernoulli(x, logits).items():
        for i in range(len(x)):
            expected = rounding.kind(value[i], size[i], dtype)
            found = rounding.kind(mpf(float(getattr(got, member)[i])), 0, dtype)
            unknown = found == "nan" and (np.isnan(x[i]) or np.isnan(logits[i]))
            assert unknown or expected in (found, "any"), (member, x[i], logits[i], expected, found)


# --- the rules ----------------------------------------------------------------------------------------------


@DTYPES
def test_gradients_of_broadcast_arguments(dtype):
    x = (np.arange(12).reshape(4, 3) % 2).astype(dtype)
    logits = np.linspace(-2, 2, 24, dtype=dtype).reshape(2, 4, 3)
    one, both = everything(x, logits), everything(np.stack([x, x]), logits)
    assert_array_equal(one.value, both.value)
    assert_array_equal(one.logits, both.logits)
    np.testing.assert_allclose(one.x, both.x.sum(axis=0), rtol=4 * eps(dtype), atol=4 * eps(dtype))


def test_data_of_any_dtype():
    logits = np.array([[0.5, -0.5]], np.float32)
    expected = fe.bernoulli_nll(np.array([[1, 0]], np.float32), logits)
    for dtype in (bool, np.uint8, np.int64):
        got = fe.bernoulli_nll(np.array([[1, 0]], dtype), logits)
        if np.result_type(dtype, np.float32) == np.float32:
            assert got.dtype == np.float32
            assert_array_equal(got, expected)
        else:
            assert got.dtype == np.float64
    assert fe.bernoulli_nll(True, 0.0) == np.log(2)
    assert fe.bernoulli_nll([0, 1], [0, 0]).dtype == np.float64


@DTYPES
@pytest.mark.parametrize("layout", strategies.LAYOUTS)
def test_layouts_and_out_in_place(layout, dtype):
    x, logits = inputs("grey", dtype)
    x, logits = x.reshape(5, 12), logits.reshape(5, 12)
    expected = everything(x, logits)
    change = strategies.LAYOUTS[layout]
    for got, same in zip(everything(change(x), change(logits)), expected, strict=True):
        assert_array_equal(got, same)
    rows, logits = np.empty(5, dtype), logits.copy()
    got = fe.bernoulli_nll_grad(x, logits, out=(rows, None, logits))
    assert got.value is rows
    assert got.x is None
    assert got.logits is logits
    assert_array_equal(logits, expected.logits)
    assert fe.bernoulli_nll(x, x, out=rows) is rows
    assert_array_equal(rows, fe.bernoulli_nll(x, x))


def test_empty():
    assert_array_equal(fe.bernoulli_nll(np.ones((2, 0)), np.ones((2, 0))), [0, 0])
    assert np.isnan(fe.bernoulli_nll(np.ones((0, 2)), np.ones((0, 2)), reduction="mean"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"x": np.ones((3, 1)), "logits": np.ones(3)}, r"x has shape \(3, 1\) and logits has shape \(3,\)"),
        ({"logits": np.ones((4, 2, 3)), "axis": 1}, "axis=1 may count from the wrong end.*pass axis=.-1,."),
        ({"x": np.ones(3), "logits": np.ones(3), "reduction": "sum"}, "one event of size 3, or 3 observ"),
        ({"wrt": "mean"}, "'x', 'logits', not 'mean'"),
        ({"wrt": "logvar"}, "'x', 'logits', not 'logvar'$"),
        ({"weight": np.ones(3)}, "weight has shape"),
        ({"out": (None, np.ones((2, 3)), None)}, r"out\[1\] \(x\) is given, but wrt does not name 'x'"),
    ],
)
def test_errors(options, message):
    arguments = {"x": np.ones((2, 3)), "logits": np.ones((2, 3))} | options
    with pytest.raises(ValueError, match=message):
        fe.bernoulli_nll_grad(**arguments)


def test_errors_of_type():
    with pytest.raises(TypeError, match="logits has dtype complex128"):
        fe.bernoulli_nll([1.0], [1j])
    with pytest.raises(TypeError, match="unexpected keyword argument 'full'"):
        fe.bernoulli_nll([1.0], [1.0], full=False)
