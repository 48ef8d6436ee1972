"""Gradients by other means than formulas: differences, chain rule, sums over broadcast axes; identities."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mp, mpf

import declared
import fastelbo as fe
import oracles
import strategies
from fastelbo._declare import EMPTY
from oracles import eps

NAMES = pytest.mark.parametrize("name", oracles.SCALES)
DTYPES = pytest.mark.parametrize("dtype", strategies.DTYPES)
PAIRS = list(itertools.product(oracles.SCALES, repeat=2))


def arguments(loss: str, q: str, p: str | None = None, count: int = 40, dtype=float) -> dict:
    """Random arguments of a loss by name: x, mean, prior_mean within a few σ, log σ² within ±3."""
    generator = np.random.default_rng(5)
    names = ("x", "mean") if loss == "nll" else ("mean", "prior_mean")
    found = {name: generator.normal(size=count) for name in names}
    found[q] = oracles.raw_of(q, generator.uniform(-3, 3, count))
    if p is not None:
        found[f"prior_{p}"] = oracles.raw_of(p, generator.uniform(-3, 3, count))
    return {name: array.astype(dtype) for name, array in found.items()}


def logvars(found: dict) -> tuple[np.ndarray, np.ndarray]:
    """Return log σ² of q (or of the NLL) and of p in float64; 0 where no prior scale is given."""
    logs = [
        np.array([float(oracles.logvar(name, mpf(float(y)))) for y in found[prefix + name]])
        for prefix in ("", "prior_")
        for name in oracles.SCALES
        if prefix + name in found
    ]
    return (*logs, np.zeros_like(logs[0]))[:2]


def member_of(argument: str) -> str:
    """The member of the result that is the gradient of this argument."""
    if argument.removeprefix("prior_") in oracles.SCALES:
        return "prior_scale" if argument.startswith("prior_") else "scale"
    return argument


CASES = [("nll", q, None) for q in oracles.SCALES] + [("kl", q, None) for q in oracles.SCALES]
CASES += [("kl", q, p) for q, p in PAIRS]
LOSSES = pytest.mark.parametrize(("loss", "q", "p"), CASES)


@LOSSES
def test_oracle_gradients_are_derivatives_of_oracle_values(loss, q, p):
    """At 60 digits, by mpmath's numerical differentiation: half of the digits is what it may lose."""
    found = arguments(loss, q, p, count=5)
    for argument in found:
        member = member_of(argument)
        exact = getattr(oracles, loss)(members=(member,), **found)[member]

        def value(at, i, argument=argument):
            point = {name: array[i] for name, array in found.items()} | {argument: at}
            return getattr(oracles, loss)(members=("value",), **point)["value"].value.item()

        for i in range(5):
            derivative = mp.diff(lambda at, i=i: value(at, i), mpf(found[argument][i]))
            assert abs(derivative - exact.value[i]) <= mpf(10) ** (-oracles.DIGITS // 2) * exact.size[i]


@LOSSES
def test_fourth_order_differences(loss, q, p):
    """(f(−2h) − 8f(−h) + 8f(h) − f(2h))/12h of the float64 value is its gradient.

    Let h = 1e-3·Y, where Y is the size of the argument y. Truncation is h⁴·f⁽⁵⁾/30, and Y⁵·f⁽⁵⁾ is at most
    720 times a term: y⁻² is the steepest, and e^(k·y) has |k·y|⁵ ≤ 3⁵. That is 2.4e-11·Σ|term|/Y. Rounding
    is 18/12 of the value's error over h, 3.3e-12·Σ|term|/Y by the 10·eps·Σ|term| of the NLL; the KL is
    better, with terms of e^d + 1 + |d| for h(d). Twice their sum leaves room for the rounding of y ± h,
    some eps·Σ|term|/Y.
    """
    found = arguments(loss, q, p)
    function, oracle = getattr(fe, f"gaussian_{loss}"), getattr(oracles, loss)
    members = tuple(member_of(argument) for argument in found)
    gradients = getattr(fe, f"gaussian_{loss}_grad")(**found, axis=(), wrt=members)
    terms = oracle(members=("value",), **found)["value"].size.astype(float)
    if loss == "kl":
        s_q, s_p = logvars(found)
        terms = terms + np.exp(s_q - s_p) + 1 + abs(s_q - s_p)
    for argument, member in zip(found, members, strict=True):
        y = found[argument]
        size = abs(y) if argument.removeprefix("prior_") in oracles.LINEAR else np.maximum(abs(y), 0.1)
        value = {n: function(**found | {argument: y + n * 1e-3 * size}, axis=()) for n in (-2, -1, 1, 2)}
        step = {n: (y + n * 1e-3 * size) - (y - n * 1e-3 * size) for n in (1, 2)}  # as rounded
        near, far = ((value[n] - value[-n]) / step[n] for n in (1, 2))
        error = abs((4 * near - far) / 3 - getattr(gradients, member))
        np.testing.assert_array_less(error, 2 * (2.4e-11 + 3.3e-12) * terms / size, err_msg=argument)


@LOSSES
@DTYPES
def test_chain_rule_between_the_scales(loss, q, p, dtype):
    """∂raw/(d log σ²/d raw) is ∂ log σ², whichever the forms; for the prior's scale as well.

    Rounding raw moves log σ² (within ±3) by at most 6u = 3 eps, and every term of ∂ by as much of itself.
    The two gradients are good to 6 eps each, slope and quotient to 1 eps, and where log meets linear form d
    is wrong by 3u·3 = 4.5 eps: 21 eps of the terms ½ and ½r²/σ², or ½, ½e^d and ½Δ²/σ²_p.
    """
    found = arguments(loss, q, p, dtype=dtype)
    s_q, s_p = logvars(found)
    logs = {name: y for name, y in found.items() if name.endswith(("x", "mean"))}
    logs |= {"logvar": s_q.astype(dtype)} | ({} if p is None else {"prior_logvar": s_p.astype(dtype)})
    one, two = (logs[name].astype(float) for name in list(logs)[:2])
    if loss == "nll":
        terms = (1 + (one - two) ** 2 * np.exp(-s_q)) / 2
    else:
        terms = (1 + np.exp(s_q - s_p) + (one - two) ** 2 * np.exp(-s_p)) / 2
    for name, member in ((q, "scale"), (p, "prior_scale")):
        if name is None:
            continue
        got, expected = (
            getattr(getattr(fe, f"gaussian_{loss}_grad")(**these, axis=(), wrt=member), member).astype(float)
            for these in (found, logs)
        )
        raw = found[f"prior_{name}" if member == "prior_scale" else name]
        slopes = np.array([float(oracles.slope(name, mpf(float(y)))) for y in raw])
        np.testing.assert_array_less(abs(got / slopes - expected), 21 * eps(dtype) * terms, err_msg=member)


@LOSSES
@DTYPES
def test_gradients_of_broadcast_arguments_are_sums(loss, q, p, dtype):
    """The sum of the oracle's elementwise gradients, within the 11·eps·Σ|largest term| of `test_accuracy`."""
    shape = 5, 37
    full = {key: y.reshape(shape) for key, y in arguments(loss, q, p, count=5 * 37, dtype=dtype).items()}
    mixed = p is not None and (q in oracles.LOG) != (p in oracles.LOG)
    for argument in full:
        member = member_of(argument)
        parts = [np.s_[0], np.s_[0, 0]]
        if member.endswith("scale"):
            parts += [np.s_[:1], np.s_[:, :1], np.s_[:1, :1]]
        for part in parts:
            found = full | {argument: full[argument][part]}
            got = getattr(getattr(fe, f"gaussian_{loss}_grad")(**found, wrt=member), member)
            exact = getattr(oracles, loss)(members=(member,), **found)[member]
            own = np.shape(found[argument])
            value, bound = (oracles.sum_to(array, shape, own) for array in exact)
            bound = 11 * eps(dtype) * bound
            if mixed and member.endswith("scale"):
                slack = oracles.logvar_slack(q, found[q], p, found[f"prior_{p}"], dtype)[member]
                bound = bound + oracles.sum_to(slack, shape, own)
            assert np.shape(got) == own
            oracles.check(got, value, bound, dtype, f"∂{argument} of shape {own}")


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
    raw = np.full(3, oracles.raw_of(name, 2 * np.log(sigma)), dtype)
    mean = np.array([payload.draw(strategies.units)] * 3, dtype)
    scales = {name: raw, f"prior_{name}": raw}
    wrt = oracles.KL_MEMBERS[1:]
    for member in fe.gaussian_kl_grad(mean, prior_mean=mean, **scales, wrt=wrt):
        np.testing.assert_array_equal(member, 0)


@NAMES
@DTYPES
def test_kl_to_a_stated_unit_prior(name, dtype):
    """A prior of σ² = 1 in any form is N(0, I), within the policy's two bounds, 6 + 8 ULP, and slack."""
    found = arguments("kl", name, count=300, dtype=dtype)
    del found["prior_mean"]
    plain = fe.gaussian_kl(**found, axis=())
    for prior in oracles.SCALES:
        unit = dtype(oracles.raw_of(prior, 0.0))
        stated = fe.gaussian_kl(**found, prior_mean=0.0, **{f"prior_{prior}": unit}, axis=())
        bound = 14 * oracles.ulp(oracles._exact(plain), dtype)
        if (name in oracles.LOG) != (prior in oracles.LOG):
            bound = bound + oracles.logvar_slack(name, found[name], prior, unit, dtype)["value"]
        oracles.check(stated, oracles._exact(plain), bound, dtype, f"{name}, prior {prior}")


@NAMES
@DTYPES
def test_special_cases_of_the_nll(name, dtype):
    """At r = 0 the NLL is c + ½s; at σ² = 1 and full=False it is half the squares, and ∂s = ½(1 − r²)."""
    found = arguments("nll", name, count=300, dtype=dtype)
    s = np.frompyfunc(lambda y: oracles.logvar(name, y), 1, 1)(oracles._exact(found[name]))
    c = mp.log(2 * mp.pi) / 2
    at_mean = fe.gaussian_nll(found["x"], found["x"], **{name: found[name]}, axis=())
    oracles.check(at_mean, c + s / 2, 10 * eps(dtype) * (c + abs(s) / 2), dtype, "r = 0")
    unit = dtype(oracles.raw_of(name, 0.0))
    squares = (oracles._exact(found["x"]) - oracles._exact(found["mean"])) ** 2 / 2
    got = fe.gaussian_nll(found["x"], found["mean"], **{name: unit}, axis=(), full=False)
    oracles.check(got, squares, 10 * eps(dtype) * squares, dtype, "σ² = 1")
