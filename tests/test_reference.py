"""The fast functions and their plain-NumPy twins agree on random valid calls; all lists name the same."""

import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastelbo as fe
import oracles
import strategies
from fastelbo import _core, reference
from fastelbo.reference._scales import SCALES

#: name in the oracles: public name, members
LOSSES = {
    "nll": ("gaussian_nll", oracles.NLL_MEMBERS),
    "kl": ("gaussian_kl", oracles.KL_MEMBERS),
    "bernoulli": ("bernoulli_nll", oracles.BERNOULLI_MEMBERS),
}
FUNCTIONS = (
    *[name + suffix for name, _ in LOSSES.values() for suffix in ("", "_grad")],
    *("neg_elbo", "neg_elbo_grad", "optimal_nll", "optimal_nll_grad", "optimal_var"),
    *("reparameterize", "reparameterize_grad"),
)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_signatures_are_those_of_the_reference(name):
    public, plain = (inspect.signature(getattr(module, name)).parameters for module in (fe, reference))
    assert list(public) == list(plain)
    for parameter in public:
        assert public[parameter].kind == plain[parameter].kind
        assert public[parameter].default == plain[parameter].default


def test_all_lists_name_the_same_losses_and_scales():
    assert set(reference.__all__) == set(FUNCTIONS) <= set(fe.__all__)
    assert tuple(oracles.SCALES) == tuple(SCALES) == tuple(_core.SCALES)
    for loss, (name, members) in LOSSES.items():
        own = list(oracles.SCALES) if "scale" in members else []
        keywords = inspect.signature(getattr(fe, name)).parameters
        assert [keyword for keyword in keywords if keyword in oracles.SCALES] == own
        arguments = dict.fromkeys((*strategies.OPERANDS[loss], *own[:1]), 1.0)
        assert getattr(fe, f"{name}_grad")(**arguments)._fields == members
    keywords = list(inspect.signature(fe.neg_elbo).parameters)
    for prefix in ("", "z_", "prior_"):
        own = [prefix + name for name in oracles.SCALES]
        assert [name for name in keywords if name in own] == own
    assert fe.NegELBOGrad._fields == tuple(oracles.neg_elbo([[0.0]], [[0.0]], [[0.0]], var=1.0, z_var=1.0))


def computing_dtype(operands) -> np.dtype:
    """NumPy's promotion with weak Python scalars, at least float32, and float64 for integers alone."""
    dtype = np.result_type(*operands)
    return np.result_type(dtype, np.float32) if dtype.kind == "f" else np.dtype(np.float64)


@pytest.mark.parametrize("loss", LOSSES)
@given(payload=st.data())
def test_parity(loss, payload):
    shape, operands, scales, options = payload.draw(strategies.calls(loss))
    name, members = LOSSES[loss]
    has = {*operands, *("scale", "prior_scale")[: len(scales)]}
    names = [member for member in members[1:] if member in has]
    wrt = payload.draw(st.lists(st.sampled_from(names), unique=True).map(tuple) | st.sampled_from(names))
    calls = [getattr(module, f"{name}_grad") for module in (fe, reference)]
    fast, plain = (call(**operands, **scales, **options, wrt=wrt) for call in calls)

    # Any member, summing any part of its elements, is within 11·eps·Σ|size| of the exact answer: 6 eps an
    # element, 8 additions of u, the last rounding. The reference rounds in float64, at intermediates such as
    # exp(-s/2) and expm1(d) that the inputs (|s| <= 2, |d|, |x|, |l| <= 4) keep below 64 an element: 21 eps
    # are ample. A floor of σ² moves terms by less than that, too.
    exact = getattr(oracles, loss)(**operands, **scales)
    weight = 1.0 if options["weight"] is None else options["weight"].max(initial=0.0)
    dtype = computing_dtype([*operands.values(), *scales.values()])
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
        size = float(np.broadcast_to(exact[member].size, shape).sum()) + 64 * count
        atol = 32 * oracles.eps(dtype) * size * weight
        np.testing.assert_allclose(got, expected, rtol=0, atol=atol, err_msg=member)


@pytest.mark.parametrize("loss", LOSSES)
@given(payload=st.data())
def test_value_alone_is_the_value_with_gradients(loss, payload):
    """To the last bit; and NaN in what `where` removes changes no bit of value or gradient."""
    shape, operands, scales, options = payload.draw(strategies.calls(loss))
    value, with_gradients = (getattr(fe, LOSSES[loss][0] + suffix) for suffix in ("", "_grad"))
    result = with_gradients(**operands, **scales, **options)
    np.testing.assert_array_equal(value(**operands, **scales, **options), result.value)
    if options["where"] is None:
        return
    removed = ~np.broadcast_to(options["where"], shape)
    poisoned = dict(operands)
    for name, operand in operands.items():
        if isinstance(operand, np.ndarray) and operand.shape == shape and operand.dtype.kind == "f":
            poisoned[name] = np.where(removed, np.asarray(np.nan, operand.dtype), operand)
    for got, expected in zip(with_gradients(**poisoned, **scales, **options), result, strict=True):
        np.testing.assert_array_equal(got, expected)


@given(payload=st.data(), axis=st.sampled_from((None, -1, 0, ())))
def test_optimal_var(payload, axis):
    shape = payload.draw(strategies.shapes())
    x, mean = (payload.draw(strategies.data(shape)) for _ in range(2))
    got, expected = (module.optimal_var(x, mean, axis=axis) for module in (fe, reference))
    dtype = computing_dtype([x, mean])
    # r rounds once (2u of r²), r² and the division too, and at most 8 additions: 12 u; the reference likewise
    assert np.shape(got) == np.shape(expected)
    assert np.all(abs(got - expected) <= 12 * oracles.eps(dtype) * expected)
