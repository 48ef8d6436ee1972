"""Options by names of any string type, numbers that are no truths, and truths that are no numbers."""

import enum
import inspect
import re

import numpy as np
import pytest

import fastelbo as fe
from fastelbo import _families
from fastelbo._declare import EMPTY

X = np.zeros((7, 11))


class Reduction(enum.StrEnum):
    SUM = "sum"


SUMMED = {
    "gaussian_nll": lambda r: fe.gaussian_nll(X, X, var=1.0, reduction=r),
    "gaussian_nll_grad": lambda r: fe.gaussian_nll_grad(X, X, var=1.0, reduction=r).value,
    "gaussian_kl": lambda r: fe.gaussian_kl(X, var=2.0, reduction=r),
    "gaussian_kl_grad": lambda r: fe.gaussian_kl_grad(X, var=2.0, reduction=r).value,
    "bernoulli_nll": lambda r: fe.bernoulli_nll(X, X, reduction=r),
    "bernoulli_nll_grad": lambda r: fe.bernoulli_nll_grad(X, X, reduction=r).value,
    "neg_elbo": lambda r: fe.neg_elbo(X, X, X, var=1.0, z_var=2.0, reduction=r).value,
    "neg_elbo_grad": lambda r: fe.neg_elbo_grad(X, X, X, var=1.0, z_var=2.0, reduction=r).value,
    "optimal_nll": lambda r: fe.optimal_nll(X + 1, X, axis=-1, reduction=r),
    "optimal_nll_grad": lambda r: fe.optimal_nll_grad(X + 1, X, axis=-1, reduction=r).value,
    "implied_objective": lambda r: fe.implied_objective(r, r).var,
}


def reduced(name, given):
    """The value of a likelihood, by the name of its reduction."""

    def call(reduction):
        found = getattr(fe, name)(X, X, **given, reduction=reduction)
        return getattr(found, "value", found)

    return call


for loss in _families.LOSSES.values():  # those that are not there yet, with 1 for all that must be passed
    for name in (loss.name, f"{loss.name}_grad"):
        if name in SUMMED:
            continue
        needed = [loss.number, *[key for key, none in loss.parameters_of_call.items() if none is EMPTY]]
        needed.append(next(filter(None, loss.scales[0].names)))
        SUMMED[name] = reduced(name, {key: 1.0 for key in needed if key})


@pytest.mark.parametrize("name", SUMMED)
def test_strings_of_any_subclass_are_names(name):
    call = SUMMED[name]
    for reduction in (np.str_("sum"), Reduction.SUM, "".join(["su", "m"])):
        assert call(reduction) == call("sum")
        assert type(call(reduction)) is float
    for wrong in (np.str_("avg"), np.array(["sum", "mean"]), b"sum", ["sum"], None):
        with pytest.raises(ValueError, match="must be "):
            call(wrong)


def test_every_function_with_a_reduction_is_tried():
    public = [getattr(fe, name) for name in fe.__all__]
    functions = [
        f for f in public if inspect.isfunction(f) and "reduction" in inspect.signature(f).parameters
    ]
    assert {f.__name__ for f in functions} <= SUMMED.keys()


def test_names_of_any_subclass():
    name = np.str_
    assert fe.free_bits(X, 0.5, per=name("row"), average=name("last")).value == 0.5
    assert fe.free_bits(X, 0.5, per=name("dim"), average=name("first")).value == 5.5
    assert fe.implied_objective(name("mean"), name("sum"), n_features=784).var == 392
    for wrt in (name("mean"), (name("mean"),), np.array(["mean"])):
        grad = fe.gaussian_nll_grad(X, X + 1, var=1.0, wrt=wrt)
        assert grad.mean is not None
        assert grad.scale is None
        assert fe.optimal_nll_grad(X, X + 1, wrt=wrt).mean is not None
    assert fe.neg_elbo_grad(X, X, X, var=1.0, z_var=2.0, wrt=name("recon")).recon is not None


TRUTHS = (True, False, np.True_, np.False_, np.array(True))
NUMBERS = {
    "beta": lambda one: fe.neg_elbo(X, X, X, var=1.0, z_var=2.0, beta=one),
    "min_var": lambda one: fe.gaussian_nll(X, X, var=1.0, min_var=one),
    "x_scale": lambda one: fe.gaussian_nll_grad(X, X, var=1.0, x_scale=one),
    "min_kl": lambda one: fe.free_bits(X, one, per="dim", average="last"),
    "error_weight": lambda one: fe.implied_objective("sum", "sum", error_weight=one),
}
MORE_NUMBERS = (
    ("min_var", lambda one: fe.optimal_nll(X + 1, X, min_var=one)),
    ("min_var", lambda one: fe.neg_elbo_grad(X, X, X, var=1.0, z_var=2.0, min_var=one)),
    ("x_scale", lambda one: fe.bernoulli_nll(X, X, x_scale=one)),
    ("x_scale", lambda one: fe.optimal_var(X, X, x_scale=one)),
    ("x_scale", lambda one: fe.neg_elbo(X, X, X, var=1.0, z_var=2.0, x_scale=one)),
)


@pytest.mark.parametrize(("name", "call"), [*NUMBERS.items(), *MORE_NUMBERS])
def test_true_and_false_are_no_numbers(name, call):
    for truth in TRUTHS:
        with pytest.raises(TypeError, match=re.escape(f"{name} must be a number, not {truth!r}")):
            call(truth)
    call(1)


def test_nor_are_they_axes():
    for axis in (True, False, np.True_, (0, True)):
        with pytest.raises(TypeError, match="axis must be an int"):
            fe.gaussian_nll(X, X, var=1.0, axis=axis)
        with pytest.raises(TypeError, match="axis must be an int"):
            fe.optimal_var(X, X, axis)
        with pytest.raises(TypeError, match="axis must be an int"):
            fe.iwae_bound(X, axis)


FULL = (
    lambda full: fe.gaussian_nll(X, X, var=1.0, full=full),
    lambda full: fe.gaussian_nll_grad(X, X, var=1.0, full=full),
    lambda full: fe.neg_elbo(X, X, X, var=1.0, z_var=2.0, full=full),
    lambda full: fe.neg_elbo_grad(X, X, X, var=1.0, z_var=2.0, full=full),
    lambda full: fe.optimal_nll(X + 1, X, full=full),
    lambda full: fe.optimal_nll_grad(X + 1, X, full=full),
)


@pytest.mark.parametrize("call", FULL)
def test_full_is_true_or_false(call):
    for wrong in ("no", 0, 1, None, np.ones(2, bool)):
        with pytest.raises(TypeError, match=re.escape(f"full must be True or False, not {wrong!r}")):
            call(wrong)
    first = [
        np.ravel(call(full)[0] if isinstance(call(full), tuple) else call(full))[0]
        for full in (True, np.True_)
    ]
    assert first[0] == first[1]
    call(np.False_)
