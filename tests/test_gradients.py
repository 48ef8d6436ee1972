"""Gradients by other means than formulas: differences, chain rule, sums over broadcast axes; identities."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mp, mpf

import declared
import digits
import fastelbo as fe
import oracles
import promises
import rounding
import strategies
import variance
from effort import effort
from fastelbo._declare import EMPTY, Loss, Scale
from marks import DTYPES, NAMES
from rounding import eps


def arguments(name: str, choice: tuple[str, ...], count: int = 40, dtype=float) -> dict:
    """Random arguments of a loss by name: data within a few σ, log σ² within ±3."""
    generator = np.random.default_rng(5)
    loss = declared.LOSSES[name]
    found = {key: generator.normal(size=count) for key in loss.operands[:2]}
    for key in choice:
        found[key] = variance.raw_of(declared.form_of(key), generator.uniform(-3, 3, count))
    return {key: array.astype(dtype) for key, array in found.items()}


def logvars(found: dict) -> tuple[np.ndarray, np.ndarray]:
    """Return log σ² of q (or of the NLL) and of p in float64; 0 where no prior scale is given."""
    logs = [
        np.array([float(variance.logvar(declared.form_of(key), mpf(float(y)))) for y in array])
        for key, array in found.items()
        if declared.form_of(key) in variance.FORMS
    ]
    return (*logs, np.zeros_like(logs[0]))[:2]


#: Each loss with all forms of its scales
CASES = [(name, choice) for name, loss in declared.LOSSES.items() for choice in declared.choices(loss)]
LOSSES = pytest.mark.parametrize(("name", "choice"), CASES)


#: > 0, as degrees of freedom are
NUMBERS = (1e-3, 0.5, 1.0, 2.5, 3.0, 4.0, 1e3, 1e15, 1e300, np.inf)


def rests(name: str) -> list[dict[str, float]]:
    """What else a loss takes: several of its number > 0; ends of a range, or none."""
    number = declared.LOSSES[name].number
    numbers = [{number: one} for one in NUMBERS] if number else [{}]
    return [one | two for one in numbers for two in declared.parameters(declared.LOSSES[name])]


@LOSSES
def test_oracle_gradients_are_derivatives_of_oracle_values(name, choice):
    """At 60 digits, by mpmath's numerical differentiation: half of the digits is what it may lose."""
    found = arguments(name, choice, count=5)
    for rest in rests(name):
        exact = declared.exact(name, found | rest)
        for argument, i in itertools.product(found, range(5)):
            value, size = (part[i] for part in exact[declared.gradient_of(declared.LOSSES[name], argument)])

            def at(y, i=i, argument=argument, rest=rest):
                point = {key: array[i] for key, array in found.items()} | {argument: y} | rest
                return declared.exact(name, point)["value"].value.item()

            derivative = mp.diff(at, mpf(found[argument][i]))
            assert abs(derivative - value) <= mpf(10) ** (-digits.DIGITS // 2) * size, (argument, rest)


@LOSSES
def test_fourth_order_differences(name, choice):
    """(f(−2h) − 8f(−h) + 8f(h) − f(2h))/12h of the float64 value is its gradient.

    Let h = 1e-3·Y, where Y is the size of the argument y. Truncation is h⁴·f⁽⁵⁾/30, and Y⁵·f⁽⁵⁾ is at most
    720 times a term: y⁻² is the steepest, and e^(k·y) has |k·y|⁵ ≤ 3⁵. That is 2.4e-11·Σ|term|/Y. Rounding
    is 18/12 of the value's error over h, 3.3e-12·Σ|term|/Y by the 10·eps·Σ|term| of the NLL; the KL is
    better, with terms of e^d + 1 + |d| for h(d), and a bin has twice that. Twice their sum leaves room for
    the rounding of y ± h, some eps·Σ|term|/Y.
    """
    found, loss = arguments(name, choice), declared.LOSSES[name]
    members = tuple([declared.gradient_of(loss, argument) for argument in found])
    rest = declared.plain(loss)
    gradients = getattr(fe, f"{name}_grad")(**found, **rest, axis=(), wrt=members)
    terms = declared.exact(name, found | rest)["value"].size.astype(float)
    if promises.is_divergence(name):
        s_q, s_p = logvars(found)
        terms = terms + np.exp(s_q - s_p) + 1 + abs(s_q - s_p)
    for argument, member in zip(found, members, strict=True):
        y = found[argument]
        size = abs(y) if declared.is_linear(argument) else np.maximum(abs(y), 0.1)
        value = {
            n: getattr(fe, name)(**found | {argument: y + n * 1e-3 * size}, **rest, axis=())
            for n in (-2, -1, 1, 2)
        }
        step = {n: (y + n * 1e-3 * size) - (y - n * 1e-3 * size) for n in (1, 2)}  # as rounded
        near, far = ((value[n] - value[-n]) / step[n] for n in (1, 2))
        error = abs((4 * near - far) / 3 - getattr(gradients, member))
        np.testing.assert_array_less(error, 2 * (2.4e-11 + 3.3e-12) * terms / size, err_msg=argument)


@LOSSES
@DTYPES
def test_chain_rule_between_the_scales(name, choice, dtype):
    """∂raw/(d log σ²/d raw) is ∂ log σ², whichever the forms; for the prior's scale as well.

    Rounding raw moves log σ² (within ±3) by at most 6u = 3 eps, and every term of ∂ by as much of itself.
    The two gradients are good to 6 eps each, slope and quotient to 1 eps, and where log meets linear form d
    is wrong by 3u·3 = 4.5 eps: 21 eps of the terms, which of the KL are ½, ½e^d and ½Δ²/σ²_p. A bin's are
    good to 20 eps each: 49 eps.
    """
    loss = declared.LOSSES[name]
    found, rest = arguments(name, choice, dtype=dtype), declared.plain(loss)
    logs = {key: array for key, array in found.items() if key not in choice}
    for key, s in zip(choice, logvars(found) if choice else (), strict=False):
        log = next(form for form in reversed(declared.forms(scale_of(loss, key))) if declared.is_log(form))
        logs[log] = (s / variance.FORMS[declared.form_of(log)][1]).astype(dtype)
    most = 9 + 2 * promises.ELEMENT.get(name, promises.USUAL)
    exact = declared.exact(name, found | rest)
    for key in choice:
        member = declared.gradient_of(loss, key)
        got, expected = (
            getattr(getattr(fe, f"{name}_grad")(**these, **rest, axis=(), wrt=member), member).astype(float)
            for these in (found, logs)
        )
        log = next(form for form in logs if form in declared.forms(scale_of(loss, key)))
        slopes, other = (
            np.array([float(variance.slope(declared.form_of(form), mpf(float(y)))) for y in these[form]])
            for form, these in ((key, found), (log, logs))
        )
        terms = exact[member].size.astype(float) / abs(slopes)
        if promises.is_divergence(name):
            terms = terms + (1 + np.exp(np.subtract(*logvars(found)))) / 2
        error = abs(got / slopes - expected / other)
        np.testing.assert_array_less(error, most * eps(dtype) * terms, err_msg=member)


def scale_of(loss: Loss, key: str) -> Scale:
    return next(scale for scale in loss.scales if key in scale.names)


@LOSSES
@DTYPES
def test_gradients_of_broadcast_arguments_are_sums(name, choice, dtype):
    """The sum of the oracle's elementwise gradients, within the bounds of `promises`, for sums 5 eps more."""
    shape = effort((3, 17), (5, 37))
    loss = declared.LOSSES[name]
    full = {
        key: y.reshape(shape)
        for key, y in arguments(name, choice, count=math.prod(shape), dtype=dtype).items()
    }
    rest = declared.plain(loss)
    for argument in full:
        member = declared.gradient_of(loss, argument)
        parts = [np.s_[0], np.s_[0, 0]]
        if argument in choice:
            parts += [np.s_[:1], np.s_[:, :1], np.s_[:1, :1]]
        for part in parts:
            found = full | {argument: full[argument][part]} | rest
            got = getattr(fe, f"{name}_grad")(**found, wrt=member)
            promises.check(f"{name}_grad", found, got, (member,), what=f"{argument} of {part}")


# --- identities ------------------------------------------------------------------------------------


@given(payload=st.data(), name=st.sampled_from(declared.DIFFERENCES))
def test_the_value_depends_on_the_difference_alone(payload, name):
    """Swapping x and mean, or the two means, changes no bit of the value and swaps their gradients.

    But for a loss that looks at x itself, to see whether its bin is at an end of a range.
    """
    _, operands, scales, options = payload.draw(strategies.calls(name))
    loss = declared.LOSSES[name]
    one, two = loss.operands[:2]
    if loss.scalar_mean and np.ndim(operands[one]) != np.ndim(operands[two]):
        return  # a scalar mean takes the scale's shape, a scalar prior_mean that of the mean
    options |= {key: None for key, none in loss.parameters_of_call.items() if none is not EMPTY}
    function = getattr(fe, f"{name}_grad")
    other = operands | {one: operands[two], two: operands[one]}
    got, swapped = (function(**these, **scales, **options, wrt=(one, two)) for these in (operands, other))
    np.testing.assert_array_equal(got.value, swapped.value)
    np.testing.assert_array_equal(getattr(got, one), getattr(swapped, two))


@given(payload=st.data())
def test_kl_is_never_negative(payload):
    _, operands, scales, options = payload.draw(strategies.calls("gaussian_kl"))
    assert np.all(fe.gaussian_kl(**operands, **scales, **options) >= 0)


@NAMES
@DTYPES
@given(payload=st.data())
def test_kl_of_equals_is_zero(name, dtype, payload):
    """Exactly, with its gradients, for one form of the scale on both sides and every σ."""
    sigma = payload.draw(strategies.sigmas(name, dtype))
    raw = np.full(3, variance.raw_of(name, 2 * np.log(sigma)), dtype)
    mean = np.array([payload.draw(strategies.units)] * 3, dtype)
    scales = {name: raw, f"prior_{name}": raw}
    wrt = oracles.KL_MEMBERS[1:]
    for member in fe.gaussian_kl_grad(mean, prior_mean=mean, **scales, wrt=wrt):
        np.testing.assert_array_equal(member, 0)


@NAMES
@DTYPES
def test_kl_to_a_stated_unit_prior(name, dtype):
    """A prior of σ² = 1 in any form is N(0, I), within the policy's two bounds, 6 + 8 ULP, and slack."""
    found = arguments("gaussian_kl", (name,), count=300, dtype=dtype)
    del found["prior_mean"]
    plain = fe.gaussian_kl(**found, axis=())
    for prior in variance.SCALES:
        unit = dtype(variance.raw_of(prior, 0.0))
        stated = fe.gaussian_kl(**found, prior_mean=0.0, **{f"prior_{prior}": unit}, axis=())
        bound = 14 * rounding.ulp(digits.exact(plain), dtype)
        if (name in variance.LOG) != (prior in variance.LOG):
            bound = bound + rounding.logvar_slack(name, found[name], prior, unit, dtype)["value"]
        rounding.check(stated, digits.exact(plain), bound, dtype, f"{name}, prior {prior}")


@NAMES
@DTYPES
def test_special_cases_of_the_nll(name, dtype):
    """At r = 0 the NLL is c + ½s; at σ² = 1 and full=False it is half the squares, and ∂s = ½(1 − r²)."""
    found = arguments("gaussian_nll", (name,), count=300, dtype=dtype)
    s = np.frompyfunc(lambda y: variance.logvar(name, y), 1, 1)(digits.exact(found[name]))
    c = mp.log(2 * mp.pi) / 2
    at_mean = fe.gaussian_nll(found["x"], found["x"], **{name: found[name]}, axis=())
    rounding.check(at_mean, c + s / 2, 10 * eps(dtype) * (c + abs(s) / 2), dtype, "r = 0")
    unit = dtype(variance.raw_of(name, 0.0))
    squares = (digits.exact(found["x"]) - digits.exact(found["mean"])) ** 2 / 2
    got = fe.gaussian_nll(found["x"], found["mean"], **{name: unit}, axis=(), full=False)
    rounding.check(got, squares, 10 * eps(dtype) * squares, dtype, "σ² = 1")
