"""The fast functions and their plain-NumPy twins agree on random valid calls; all lists name the same."""

import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import contract
import declared
import fastelbo as fe
import oracles
import rounding
import strategies
import variance
from fastelbo import _core, _families, reference
from fastelbo._declare import FORMS
from fastelbo.reference._scales import SCALES

LOSSES = pytest.mark.parametrize("name", declared.LOSSES)
FUNCTIONS = (
    *[name + suffix for name in (*_families.LOSSES, *_families.JOINTS) for suffix in ("", "_grad")],
    *("optimal_nll", "optimal_nll_grad", "optimal_var", "reparameterize", "reparameterize_grad"),
)


@pytest.mark.parametrize("name", [*_families.LOSSES, *_families.JOINTS])
def test_every_loss_has_an_oracle(name):
    """Without one no suite tests it."""
    assert name in oracles.CALLS, f"{name} has no oracle: add one to tests/oracles.py, and its row to CALLS"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_signatures_are_those_of_the_reference(name):
    public, plain = (inspect.signature(getattr(module, name)).parameters for module in (fe, reference))
    assert list(public) == list(plain)
    for parameter in public:
        assert public[parameter].kind == plain[parameter].kind
        assert public[parameter].default == plain[parameter].default


def test_all_lists_name_the_same_functions_and_scales():
    assert set(reference.__all__) == set(FUNCTIONS) <= set(fe.__all__)
    assert tuple(variance.SCALES) == tuple(SCALES) == tuple(_core.SCALES) == FORMS
    for scale in [scale for loss in declared.LOSSES.values() for scale in loss.scales]:
        for form, name in zip(FORMS, scale.forms, strict=True):
            assert not name or variance.FORMS[name] == variance.SCALES[form], f"{name} stands for {form}"


@LOSSES
def test_members_are_those_of_the_oracle(name):
    loss = declared.LOSSES[name]
    for choice in declared.choices(loss):
        given = dict.fromkeys((*loss.operands[:2], *choice), 1.0) | declared.plain(loss)
        assert set(oracles.call(name, **given)) == set(loss.fields)
        names = declared.members(loss, given)
        got = getattr(fe, f"{name}_grad")(**given, axis=(), wrt=names[1:])
        assert [member for member, result in got._asdict().items() if result is not None] == list(names)


def test_members_of_the_elbo_are_those_of_the_oracle():
    given = dict.fromkeys(("x", "recon", "z_mean"), np.zeros((1, 1))) | {"var": 1.0, "z_var": 1.0}
    assert fe.NegELBOGrad._fields == tuple(oracles.call("neg_elbo", **given))


@LOSSES
@given(payload=st.data())
def test_parity(name, payload):
    shape, operands, scales, options = payload.draw(strategies.calls(name))
    names = declared.members(declared.LOSSES[name], {*operands, *scales})[1:]
    wrt = payload.draw(st.lists(st.sampled_from(names), unique=True).map(tuple) | st.sampled_from(names))
    calls = [getattr(module, f"{name}_grad") for module in (fe, reference)]
    fast, plain = (call(**operands, **scales, **options, wrt=wrt) for call in calls)

    # Any member, summing any part of its elements, is within 11·eps·Σ|size| of the exact answer, or 25 of a
    # bin: promises.py. The reference rounds in float64, at intermediates such as exp(-s/2) and expm1(d) that
    # the inputs (|s| <= 2, |d|, |x|, |l| <= 4) keep below 64 an element: 21 eps are ample.
    exact = oracles.call(name, **operands, **scales, **options)
    weight = 1.0 if options["weight"] is None else options["weight"].max(initial=0.0)
    dtype = contract.computing_dtype([*operands.values(), *scales.values()])
    count = int(np.prod(shape))
    for member, got, expected in zip(fast._fields, fast, plain, strict=True):
        if expected is None:
            assert got is None
            continue
        assert np.shape(got) == np.shape(expected)
        if member == "value" and options["reduction"] != "none":
            assert type(got) is float
        else:
            assert got.dtype == dtype
        atol = 32 * rounding.eps(dtype) * (exact[member].size.astype(float) + 64 * count * weight)
        assert np.all(abs(np.asarray(got, float) - expected) <= atol), f"{member}: {got}, not {expected}"


@LOSSES
@given(payload=st.data())
def test_value_alone_is_the_value_with_gradients(name, payload):
    """To the last bit; and NaN in what `where` removes changes no bit of value or gradient."""
    shape, operands, scales, options = payload.draw(strategies.calls(name))
    value, with_gradients = (getattr(fe, name + suffix) for suffix in ("", "_grad"))
    result = with_gradients(**operands, **scales, **options)
    np.testing.assert_array_equal(value(**operands, **scales, **options), result.value)
    if options["where"] is None:
        return
    removed = ~np.broadcast_to(options["where"], shape)
    poisoned = dict(operands)
    for key, operand in operands.items():
        if isinstance(operand, np.ndarray) and operand.shape == shape and operand.dtype.kind == "f":
            poisoned[key] = np.where(removed, np.asarray(np.nan, operand.dtype), operand)
    for got, expected in zip(with_gradients(**poisoned, **scales, **options), result, strict=True):
        np.testing.assert_array_equal(got, expected)


@given(payload=st.data(), axis=st.sampled_from((None, -1, 0, ())))
def test_optimal_var(payload, axis):
    shape = payload.draw(strategies.shapes())
    x, mean = (payload.draw(strategies.data(shape)) for _ in range(2))
    got, expected = (module.optimal_var(x, mean, axis=axis) for module in (fe, reference))
    dtype = contract.computing_dtype([x, mean])
    # r rounds once (2u of r²), r² and the division too, and at most 8 additions: 12 u; the reference likewise
    assert np.shape(got) == np.shape(expected)
    assert np.all(abs(got - expected) <= 12 * rounding.eps(dtype) * expected)
