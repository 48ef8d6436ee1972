"""Every pair of 40 × 40 special values against the oracle's class: NaN, +inf, −inf or finite.

The limits for infinite inputs are the oracle's table. A finite input has the class of its exact answer; or,
where r, log σ² or d itself is beyond the largest float, of the limit for an infinite one: those are formed
first.
"""

import itertools

import numpy as np
import pytest

import declared
import fastelbo as fe
import rounding
import strategies
import variance
from fastelbo._declare import Loss
from marks import DTYPES


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
        values if name is None or declared.is_log(name) else values[~(values <= 0)]
        for name in (first, second)
    )
    return (grid.ravel() for grid in np.meshgrid(one, two, indexing="ij"))


def classes(array) -> np.ndarray:
    return np.select(
        [np.isnan(array), np.isposinf(array), np.isneginf(array)], ["nan", "inf", "-inf"], "finite"
    )


def with_infinite_r(loss: Loss, arguments: dict) -> dict:
    """Return the arguments with an infinite r in the place of one that overflows."""
    if not loss.differences:
        return arguments
    one, two = loss.operands[:2]
    a, b = arguments[one], arguments[two]
    beyond = np.isinf(a - b) & np.isfinite(a) & np.isfinite(b)
    return arguments | {one: np.where(beyond, a - b, a), two: np.where(beyond, 0, b)}


def with_infinite_s(arguments: dict) -> dict:
    """Return the arguments with an infinite log σ², or d, in the place of one that overflows."""
    factors = {name: variance.FORMS[declared.form_of(name)][1] for name in arguments if declared.is_log(name)}
    arguments = arguments | {
        name: np.where(np.isinf(k * arguments[name]), k * arguments[name], arguments[name])
        for name, k in factors.items()
    }
    if len(factors) == 2:
        (name, q), (_, p) = [(name, k * arguments[name]) for name, k in factors.items()]
        beyond = np.isinf(q - p) & np.isfinite(q) & np.isfinite(p)
        arguments[name] = np.where(beyond, q - p, arguments[name])
    return arguments


def numbers(loss: Loss, dtype, count: int) -> dict[str, np.ndarray]:
    """An operand > 0 in turns: 19 values, which is prime to the 40, or 20, of any other argument."""
    values = special(dtype)
    return {loss.number: np.resize(values[values > 0], count)} if loss.number else {}


def check(name: str, dtype, **arguments) -> None:
    """Classes of value and of all gradients, elementwise; and the arguments are left as they were."""
    loss = declared.LOSSES[name]
    arguments = dict.fromkeys(loss.defaults, 0.0) | arguments
    arrays = dict(zip(arguments, np.broadcast_arrays(*arguments.values()), strict=True))
    arguments = {key: np.array(array, dtype) for key, array in arrays.items()}
    arguments |= numbers(loss, dtype, next(iter(arguments.values())).size)
    for of_call in declared.parameters(loss):
        check_arrays(name, dtype, arguments, of_call)


def check_arrays(name: str, dtype, arguments: dict, of_call: dict) -> None:
    loss = declared.LOSSES[name]
    before = {key: argument.copy() for key, argument in arguments.items()}
    members = declared.members(loss, arguments)
    got = getattr(fe, f"{name}_grad")(**arguments, **of_call, axis=(), wrt=members[1:])
    kind = np.frompyfunc(lambda y, size: rounding.kind(y, size, dtype), 2, 1)
    exact = declared.exact(name, arguments | of_call, members)
    undefined = np.any([np.isnan(argument) for argument in arguments.values()], axis=0)
    expected = {member: kind(*exact[member]).astype(str) for member in members}
    found = {member: classes(getattr(got, member)) for member in members}
    right = {  # NaN may reach all of its own row, also the gradients whose formula does not use it
        member: (found[member] == expected[member])
        | (expected[member] == "any")
        | (undefined & (found[member] == "nan"))
        for member in members
    }
    doubtful = np.flatnonzero(~np.all([*right.values()], axis=0))
    if doubtful.size:
        these = {key: argument[doubtful] for key, argument in arguments.items()}
        with np.errstate(over="ignore", invalid="ignore"):
            infinite_r, infinite_s = with_infinite_r(loss, these), with_infinite_s(these)
            both = with_infinite_s(infinite_r)
        for formed in (infinite_r, infinite_s, both):
            limit = declared.exact(name, formed | of_call)
            for member in members:
                alike = found[member][doubtful] == kind(*limit[member]).astype(str)
                right[member][doubtful] |= alike
    wrong = []
    for member in members:
        for i in np.flatnonzero(~right[member]):
            inputs = ", ".join(f"{key}={argument[i]!r}" for key, argument in arguments.items())
            wrong.append(f"{member} of {inputs} is {getattr(got, member)[i]}, not {expected[member][i]}")
    shown = "; ".join(wrong[:: len(wrong) // 5 + 1])
    assert not wrong, f"{name} {of_call or ''}, {len(wrong)} wrong, such as {shown}"
    for key, argument in arguments.items():
        np.testing.assert_array_equal(argument, before[key])


def test_there_are_forty():
    for dtype in strategies.DTYPES:
        values = special(dtype)
        assert values.dtype == dtype
        assert len(set(values.view(f"u{values.itemsize}"))) == 40


@pytest.mark.parametrize("name", [name for name, loss in declared.LOSSES.items() if not loss.scales])
@DTYPES
def test_without_a_scale(name, dtype):
    one, two = pairs(dtype)
    check(name, dtype, **dict(zip(declared.LOSSES[name].operands, (one, two), strict=True)))


@pytest.mark.parametrize(
    ("name", "form"),
    [(name, form) for name in declared.LIKELIHOODS for (form,) in declared.choices(declared.LOSSES[name])],
)
@DTYPES
def test_likelihoods(name, form, dtype):
    one, two = declared.LOSSES[name].operands[:2]
    x, raw = pairs(dtype, None, form)
    for mean in (np.zeros_like(x), x, -x):  # r of any size; r = 0, or inf − inf; r beyond the largest float
        check(name, dtype, **{one: x, two: mean, form: raw})
    x, mean = pairs(dtype)
    check(name, dtype, **{one: x, two: mean, form: variance.raw_of(form, 0.0)})


@pytest.mark.parametrize("form", variance.SCALES)
@DTYPES
def test_kl(form, dtype):
    unit = {form: variance.raw_of(form, 0.0)}
    mean, raw = pairs(dtype, None, form)
    check("gaussian_kl", dtype, mean=mean, **{form: raw})
    check("gaussian_kl", dtype, mean=mean, **unit, **{f"prior_{form}": raw})
    mean, prior_mean = pairs(dtype)
    check("gaussian_kl", dtype, mean=mean, prior_mean=prior_mean, **unit, prior_logvar=0.0)


@pytest.mark.parametrize(("q", "p"), list(itertools.product(variance.SCALES, repeat=2)))
@DTYPES
def test_kl_of_two_scales(q, p, dtype):
    raw, prior_raw = pairs(dtype, q, p)
    check("gaussian_kl", dtype, mean=0.7, **{q: raw, f"prior_{p}": prior_raw})


@pytest.mark.parametrize(
    ("name", "choice"),
    [(name, choice) for name, loss in declared.LOSSES.items() for choice in declared.choices(loss)],
)
@DTYPES
def test_what_is_not_positive(name, choice, dtype):
    """Linear scales, and numbers > 0."""
    loss, ones = declared.LOSSES[name], np.ones(3, dtype)
    given = dict.fromkeys(loss.operands[:2], ones) | dict.fromkeys(choice, ones) | declared.plain(loss)
    keys = [*filter(declared.is_linear, choice), *([loss.number] if loss.number else [])]
    for key, bad in itertools.product(keys, special(dtype)):
        if bad <= 0:
            with pytest.raises(ValueError, match=rf"\b{key}\b.*\b1\b"):
                getattr(fe, f"{name}_grad")(**given | {key: np.array([1, bad, 1], dtype)})
