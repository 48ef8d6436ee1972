"""Every pair of 40 × 40 special values against the oracle's class: NaN, +inf, −inf or finite.

The limits for infinite inputs are the oracle's table. A finite input has the class of its exact answer; or,
where r, log σ² or d itself is beyond the largest float, of the limit for an infinite one: those are formed
first.
"""

import itertools

import numpy as np
import pytest

import fastelbo as fe
import oracles
import strategies
from test_reference import LOSSES

DTYPES = pytest.mark.parametrize("dtype", strategies.DTYPES)
NAMES = pytest.mark.parametrize("name", oracles.SCALES)


def special(dtype) -> np.ndarray:
    """NaN, ±0, 0.7, and ± of 18 magnitudes, from infinity to the smallest subnormal: 40 values.

    One is 0.7/max, whose inverse overflows though half of it does not.
    """
    limits = np.finfo(dtype)
    tiny, largest, least = float(limits.tiny), float(limits.max), float(limits.smallest_subnormal)
    overflow = 1.1 * np.log(largest)  # of exp
    large = [np.inf, largest, largest / 2, largest**0.5, 1e5, 1000.0, overflow, 10.0, 1 + float(limits.eps)]
    small = [1.0, 0.5, 1e-3, float(limits.eps), tiny**0.5, tiny, tiny - least, 0.7 / largest, least]
    signed = [sign * magnitude for magnitude in large + small for sign in (1, -1)]
    return np.array([np.nan, 0.0, -0.0, 0.7, *signed], dtype)


def pairs(dtype, first=None, second=None):
    """All pairs, less those with a linear scale (named `first` or `second`) that is not positive."""
    values = special(dtype)
    one, two = (
        values if name is None or name in oracles.LOG else values[~(values <= 0)] for name in (first, second)
    )
    return (grid.ravel() for grid in np.meshgrid(one, two, indexing="ij"))


def classes(array) -> np.ndarray:
    return np.select(
        [np.isnan(array), np.isposinf(array), np.isneginf(array)], ["nan", "inf", "-inf"], "finite"
    )


def with_infinite_r(arguments: dict) -> dict:
    """Return the arguments with an infinite r in the place of one that overflows."""
    if "logits" in arguments:
        return arguments
    one, two = [name for name in arguments if name in ("x", "mean", "prior_mean")]
    a, b = arguments[one], arguments[two]
    beyond = np.isinf(a - b) & np.isfinite(a) & np.isfinite(b)
    return arguments | {one: np.where(beyond, a - b, a), two: np.where(beyond, 0, b)}


def with_infinite_s(arguments: dict) -> dict:
    """Return the arguments with an infinite log σ², or d, in the place of one that overflows."""
    logs = [name for name in arguments if name.removeprefix("prior_") in oracles.LOG]
    factors = {name: oracles.SCALES[name.removeprefix("prior_")][1] for name in logs}
    arguments = arguments | {
        name: np.where(np.isinf(k * arguments[name]), k * arguments[name], arguments[name])
        for name, k in factors.items()
    }
    if len(factors) == 2:
        (name, q), (_, p) = [(name, k * arguments[name]) for name, k in factors.items()]
        beyond = np.isinf(q - p) & np.isfinite(q) & np.isfinite(p)
        arguments[name] = np.where(beyond, q - p, arguments[name])
    return arguments


def check(loss: str, dtype, **arguments) -> None:
    """Classes of value and of all gradients, elementwise; and the arguments are left as they were."""
    if loss == "kl":
        arguments = {"prior_mean": 0.0} | arguments
    arrays = dict(zip(arguments, np.broadcast_arrays(*arguments.values()), strict=True))
    arguments = {name: np.array(array, dtype) for name, array in arrays.items()}
    before = {name: argument.copy() for name, argument in arguments.items()}
    has_prior = any(name.removeprefix("prior_") in oracles.SCALES and "_" in name for name in arguments)
    members = LOSSES[loss][1][: 5 if has_prior else 4]
    got = getattr(fe, f"{LOSSES[loss][0]}_grad")(**arguments, axis=(), wrt=members[1:])
    oracle = getattr(oracles, loss)
    kind = np.frompyfunc(lambda y, size: oracles.kind(y, size, dtype), 2, 1)
    exact = oracle(members=members, **arguments)
    undefined = np.any([np.isnan(argument) for argument in arguments.values()], axis=0)
    wrong = []
    for member in members:
        expected, found = kind(*exact[member]).astype(str), classes(getattr(got, member))
        # NaN may reach all of its own row, also the gradients whose formula does not use it
        right = (found == expected) | (expected == "any") | (undefined & (found == "nan"))
        doubtful = np.flatnonzero(~right)
        if doubtful.size:
            these = {name: argument[doubtful] for name, argument in arguments.items()}
            with np.errstate(over="ignore", invalid="ignore"):
                infinite_r, infinite_s = with_infinite_r(these), with_infinite_s(these)
                both = with_infinite_s(infinite_r)
            for formed in (infinite_r, infinite_s, both):
                limit = oracle(members=(member,), **formed)[member]
                right[doubtful] |= found[doubtful] == kind(*limit).astype(str)
        for i in np.flatnonzero(~right):
            inputs = ", ".join(f"{name}={argument[i]}" for name, argument in arguments.items())
            wrong.append(f"{member} of {inputs} is {getattr(got, member)[i]}, not {expected[i]}")
    assert not wrong, f"{loss}, {len(wrong)} wrong, such as " + "; ".join(wrong[:: len(wrong) // 5 + 1])
    for name, argument in arguments.items():
        np.testing.assert_array_equal(argument, before[name])


@DTYPES
def test_bernoulli(dtype):
    x, logits = pairs(dtype)
    check("bernoulli", dtype, x=x, logits=logits)


def test_there_are_forty():
    for dtype in strategies.DTYPES:
        values = special(dtype)
        assert values.dtype == dtype
        assert len(set(values.view(f"u{values.itemsize}"))) == 40


@NAMES
@DTYPES
def test_nll(name, dtype):
    x, raw = pairs(dtype, None, name)
    for mean in (np.zeros_like(x), x, -x):  # r of any size; r = 0, or inf − inf; r beyond the largest float
        check("nll", dtype, x=x, mean=mean, **{name: raw})
    x, mean = pairs(dtype)
    check("nll", dtype, x=x, mean=mean, **{name: oracles.raw_of(name, 0.0)})


@NAMES
@DTYPES
def test_kl(name, dtype):
    unit = {name: oracles.raw_of(name, 0.0)}
    mean, raw = pairs(dtype, None, name)
    check("kl", dtype, mean=mean, **{name: raw})
    check("kl", dtype, mean=mean, **unit, **{f"prior_{name}": raw})
    mean, prior_mean = pairs(dtype)
    check("kl", dtype, mean=mean, prior_mean=prior_mean, **unit, prior_logvar=0.0)


@pytest.mark.parametrize(("q", "p"), list(itertools.product(oracles.SCALES, repeat=2)))
@DTYPES
def test_kl_of_two_scales(q, p, dtype):
    raw, prior_raw = pairs(dtype, q, p)
    check("kl", dtype, mean=0.7, **{q: raw, f"prior_{p}": prior_raw})


@pytest.mark.parametrize("name", oracles.LINEAR)
@DTYPES
@pytest.mark.parametrize("prefix", ["", "prior_"])
def test_scales_that_are_not_positive(prefix, name, dtype):
    ones = np.ones(3, dtype)
    for bad in special(dtype):
        if not bad <= 0:
            continue
        raw = np.array([1, bad, 1], dtype)
        with pytest.raises(ValueError, match=rf"{prefix}{name}\b.*\b1\b"):
            fe.gaussian_kl_grad(ones, **{"logvar": 0.0} if prefix else {}, **{prefix + name: raw})
        if not prefix:
            with pytest.raises(ValueError, match=rf"{name}\b.*\b1\b"):
                fe.gaussian_nll_grad(ones, ones, **{name: raw})
