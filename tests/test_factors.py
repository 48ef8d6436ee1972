"""A factor (β, a weight, x_scale, 1/N, 1/S) multiplies the exact number, not one that was rounded before.

Three properties, for every loss × scale × shape of scale × dtype × reduction, value and gradients, of inputs
with extremes among them:

    a factor of 0 gives exactly 0, of finite inputs however far
    a factor of 2ᵏ commutes, wherever the result is representable
    a reduced value, and a gradient that is summed, do not depend on how the same numbers were passed: as one
    scale, one a row, one a column, or one an element
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import declared
import fastelbo as fe
import oracles
import promises
import rounding
import signatures
import strategies
from effort import effort
from far_calls import ALONE, LATENT, LOSSES, SHAPES, Call, arrays, calls, numbers
from marks import REDUCTIONS

EACH = pytest.mark.parametrize("loss", LOSSES)


def is_zero(result: Any) -> bool:
    return bool(np.all(np.asarray(result) == 0))


# --- a factor of 0 ------------------------------------------------------------------------------------------


@EACH
@REDUCTIONS
@given(payload=st.data())
def test_a_weight_of_0_leaves_nothing(loss, reduction, payload):
    """Not of value or gradients, if it is everyone's; of one row, as if it was not there."""
    call = payload.draw(calls(loss))
    rows = call.rows
    none = call(weight=np.zeros(rows, call.dtype), reduction=reduction)
    for member, result in none.items():
        assert is_zero(result), f"{member} is {result}"
    keep = np.ones(rows)
    keep[0] = 0
    one = call(weight=keep, reduction="none")
    for member in signatures.VALUES:
        if member in one:
            assert one[member][0] == 0, f"{member}: {one[member]}"
    for member, result in one.items():
        argument = None if member in signatures.VALUES else call.argument(member)
        own = np.shape(argument)
        if len(own) >= 2 and own[-2] == rows > 1:
            assert is_zero(np.asarray(result)[..., 0, :]), f"{member}: {result}"


@pytest.mark.parametrize("loss", ALONE)
@REDUCTIONS
@given(payload=st.data())
def test_a_weight_of_0_for_elements(loss, reduction, payload):
    """Other elements' results are those without it."""
    call = payload.draw(calls(loss, calm=True))
    mask = payload.draw(hnp.arrays(bool, call.shape_of("value")))
    weighted = call(weight=mask.astype(call.dtype), reduction=reduction)
    masked = call(where=mask, reduction=reduction)
    for member, result in weighted.items():
        np.testing.assert_array_equal(np.asarray(result), np.asarray(masked[member]), err_msg=member)


@REDUCTIONS
@given(payload=st.data())
def test_a_beta_of_0_leaves_the_nll(reduction, payload):
    call = payload.draw(calls("neg_elbo"))
    got = call(beta=0.0, reduction=reduction)
    np.testing.assert_array_equal(got["value"], got["nll"])
    for member in LATENT:
        if member in got:
            assert is_zero(got[member]), f"{member} is {got[member]}"


# --- a factor of 2ᵏ -----------------------------------------------------------------------------------------


def check_power(call: Call, member: str, one: Any, other: Any, k: int, reduced: bool = False) -> None:
    """`other` is 2ᵏ·one, wherever both are numbers: to roundings, as one of the two may be formed in a wider
    range, and to a subnormal unit, of a sum to one for each element.

    In float64 a sum may have parts that are no numbers, though it is one.
    """
    wide = reduced and member in signatures.VALUES  # a Python float
    limits, elements = np.finfo(np.float64 if wide else call.dtype), 1
    argument = None if member in signatures.VALUES else call.argument(member)
    if argument is None or np.shape(argument) != call.shape_of(member):
        elements = math.prod(call.shape_of(member))
    slack = elements * float(limits.smallest_subnormal)
    largest = float(limits.max)
    one, other = np.asarray(one, float), np.asarray(other, float)
    with np.errstate(all="ignore"):
        there, back = np.ldexp(one, k), np.ldexp(other, -k)
        roundings = 16 * rounding.eps(call.dtype) * np.fmin(abs(one), largest)
        right = np.where(
            abs(there) > largest,
            other == np.copysign(np.inf, one),
            abs(other - there) <= slack + np.ldexp(roundings, k),
        )
        # rounded to a subnormal, or infinite, it says less than the other
        right |= np.where(
            abs(back) > largest, one == np.copysign(np.inf, other), abs(one - back) <= slack + roundings
        )
        right |= (one == other) & np.isinf(one)
    if call.dtype is np.float64 and elements > 1:
        right |= ~np.isfinite(one) | ~np.isfinite(other)
    assert np.all(right), f"{member}: {one} becomes {other} by 2^{k}"


@EACH
@REDUCTIONS
@given(payload=st.data(), k=st.integers(-80, 80))
def test_a_weight_of_a_power_of_two_commutes(loss, reduction, payload, k):
    call = payload.draw(calls(loss))
    rows = call.rows
    weight = payload.draw(hnp.arrays(call.dtype, rows, elements=st.sampled_from((0.0, 0.5, 1.0, 1.5, 3.0))))
    one = call(weight=weight, reduction=reduction)
    other = call(weight=np.ldexp(weight, k), reduction=reduction)
    for member, result in one.items():
        check_power(call, member, result, other[member], k, reduction != "none")


@REDUCTIONS
@given(payload=st.data(), k=st.integers(-140, 120))
def test_a_beta_of_a_power_of_two_commutes(reduction, payload, k):
    call = payload.draw(calls("neg_elbo"))
    one = call(beta=0.75, reduction=reduction)
    other = call(beta=math.ldexp(0.75, k), reduction=reduction)
    for member in LATENT:
        if member in one:
            check_power(call, member, one[member], other[member], k)
    for member in ("nll", "kl", "x", "recon", "scale"):
        np.testing.assert_array_equal(one[member], other[member], err_msg=member)


@EACH
@given(payload=st.data(), k=st.integers(0, 6))
def test_the_mean_of_a_power_of_two_of_rows_is_their_sum_by_it(loss, payload, k):
    call = payload.draw(calls(loss, calm=True))
    rows, count, data = call.rows, 1 << k, {}
    for key, array in call.arguments.items():
        if np.ndim(array) > 1 and np.shape(array)[-2] == rows:
            data[key] = np.take(array, np.arange(count) % rows, axis=-2)
    total, mean = (call(**data, reduction=reduction) for reduction in ("sum", "mean"))
    for member, result in total.items():
        check_power(call._replace(arguments=call.arguments | data), member, result, mean[member], -k, True)


def exact_products(x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """x and x·2ᵏ; 0 where that is rounded."""
    with np.errstate(all="ignore"):
        scaled = np.ldexp(x, k)
        exact = np.isfinite(scaled) & (np.ldexp(scaled, -k) == x)
    return np.where(exact, x, x.dtype.type(0)), np.where(exact, scaled, x.dtype.type(0))


@pytest.mark.parametrize(
    "loss", [*[name for name, loss in declared.LOSSES.items() if "x_scale" in loss.options], *declared.JOINTS]
)
@REDUCTIONS
@given(payload=st.data(), k=st.integers(-60, 60))
def test_an_x_scale_of_a_power_of_two_commutes(loss, reduction, payload, k):
    """With x·x_scale, where that is exact; and the gradient of x is 2ᵏ times that of x·x_scale."""
    call = payload.draw(calls(loss))
    x = call.arguments["x"]
    x, scaled = exact_products(x, k)
    one = call(x=scaled, reduction=reduction)
    other = call(x=x, x_scale=math.ldexp(1.0, k), reduction=reduction)
    for member, result in one.items():
        if member == "x":
            check_power(call, member, result, other[member], k)
        else:
            np.testing.assert_array_equal(other[member], result, err_msg=member)


@pytest.mark.parametrize("name", ["optimal_nll_grad", "optimal_var"])
@given(payload=st.data(), k=st.integers(-60, 60))
def test_an_x_scale_commutes_in_what_is_made_of_the_nll(name, payload, k):
    dtype = payload.draw(strategies.dtypes)
    shape = payload.draw(st.tuples(st.integers(1, 3), st.integers(1, 4)))
    x, mean = (payload.draw(arrays(shape, dtype, numbers(dtype))) for _ in range(2))
    x, scaled = exact_products(x, k)
    options = {"wrt": ("x", "mean"), "min_var": 1e-300} if name.endswith("grad") else {}
    one = getattr(fe, name)(scaled, mean, **options)
    other = getattr(fe, name)(x, mean, x_scale=math.ldexp(1.0, k), **options)
    if name == "optimal_var":
        np.testing.assert_array_equal(other, one)
        return
    np.testing.assert_array_equal(other.value, one.value)
    np.testing.assert_array_equal(other.mean, one.mean)
    call = Call(name, {"x": x, "mean": mean}, (), dtype)
    check_power(call, "x", one.x, other.x, k)


@given(payload=st.data(), k=st.integers(-300, 300))
def test_optimal_nll_moves_by_the_logarithm(payload, k):
    """r·2ᵏ adds D·k·log 2 to the value, and divides the gradient by 2ᵏ: to its bound, in float64."""
    shape = payload.draw(st.tuples(st.integers(1, 3), st.integers(1, 4)))
    r = payload.draw(arrays(shape, np.float64, numbers(np.float64, 1e150)))
    with np.errstate(all="ignore"):
        far = np.ldexp(r, k)
    arguments = {"x": far, "mean": np.zeros_like(far)}
    if not far.any() or abs(far).max() > 1e200:
        return
    got = fe.optimal_nll_grad(**arguments, wrt=("x", "mean"))
    promises.check("optimal_nll_grad", arguments, got, what=f"2^{k}")


# --- one scale in every shape -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "loss", [loss for loss in LOSSES if getattr(declared.LOSSES.get(loss), "scales", True)]
)
@pytest.mark.parametrize("kind", SHAPES[:-1])
@settings(max_examples=effort(12, 500))
@given(payload=st.data())
def test_a_shared_scale_is_the_same_numbers_in_an_array(loss, kind, payload):
    """Values, and gradients that are summed for one and elementwise for the other, within both bounds."""
    call = payload.draw(calls(loss, kind=kind))
    weight = None
    rows = call.rows
    if payload.draw(st.booleans()):
        weight = payload.draw(hnp.arrays(call.dtype, rows, elements=st.sampled_from((0.0, 0.25, 1.0, 1e-20))))
    shapes = {"z_": "z_mean", "prior_": "z_mean" if loss == "neg_elbo" else "mean"}
    spread = {}
    for key in call.scales:
        prefix = key.removesuffix(declared.form_of(key))
        full = shapes.get(prefix, "recon" if loss == "neg_elbo" else "mean")
        spread[key] = np.broadcast_to(call.arguments[key], np.shape(call.arguments[full])).copy()
    arguments = {key: value for key, value in call.arguments.items() if key not in ("wrt", "axis")}
    for reduction in ("none", "sum", "mean"):
        shared, each = (call(weight=weight, reduction=reduction, **some) for some in ({}, spread))
        exact = oracles.call(call.name, **arguments, weight=weight, reduction=reduction)
        options = {"weight": weight, "reduction": reduction}
        for got, some in ((shared, {}), (each, spread)):
            if some:
                exact = exact | {
                    member: part
                    for member, part in oracles.call(call.name, **arguments | some, **options).items()
                    if member in signatures.SCALES
                }
            members = [member for member in got if member in exact]
            promises.check(
                call.name, arguments | some | options, Members(got), members, exact, f"{loss}, {kind}"
            )


class Members:
    """As the result of a call."""

    def __init__(self, members: dict[str, Any]) -> None:
        self._members = members

    def _asdict(self) -> dict[str, Any]:
        return self._members
