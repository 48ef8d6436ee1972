"""Objects in an array's place that answer for themselves: the package looks at their memory, once."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import fastelbo as fe

RNG = np.random.default_rng(13)
SHAPE = (4, 3)
X, MEAN, VAR, EPS = RNG.uniform(0.5, 2.0, (4, *SHAPE))


def liar(attribute, value):
    """A class of arrays whose `attribute` is not what it says."""
    return type(f"Liar{attribute.title()}", (np.ndarray,), {attribute: property(lambda self: value)})


#: What an array of fewer elements, another type or unfit memory would say of itself to pass for the right one
LIES = {
    "shape": SHAPE,
    "ndim": 2,
    "size": 12,
    "dtype": np.dtype(np.float64),
    "strides": (24, 8),
    "flags": np.zeros(1).flags,
    "itemsize": 8,
    "nbytes": 96,
    "__array_interface__": np.zeros(SHAPE).__array_interface__,
}
UNFIT = {
    "too small": lambda: np.full((2, 2), 7.0),
    "no axes": lambda: np.full((), 7.0),
    "one axis": lambda: np.full(2, 7.0),
    "narrow": lambda: np.full(SHAPE, 7.0, np.float32),
    "swapped": lambda: np.full(SHAPE, 7.0, ">f8"),
    "repeated": lambda: np.lib.stride_tricks.as_strided(np.full(1, 7.0), SHAPE, (0, 0)),
    "unaligned": lambda: np.zeros(97, np.uint8)[1:].view(np.float64).reshape(SHAPE),
}


def every_lie():
    return type("Liar", (np.ndarray,), {name: property(lambda self, v=v: v) for name, v in LIES.items()})


WITH_OUT = {
    "gaussian_nll": lambda out: fe.gaussian_nll(X, MEAN, var=VAR, axis=(), out=out),
    "gaussian_nll_grad": lambda out: fe.gaussian_nll_grad(X, MEAN, var=VAR, out=(None, None, out, None)).mean,
    "gaussian_kl_grad": lambda out: fe.gaussian_kl_grad(X, var=VAR, out=(None, None, out, None, None)).scale,
    "bernoulli_nll": lambda out: fe.bernoulli_nll(X, MEAN, axis=(), out=out),
    "neg_elbo_grad": lambda out: (
        fe.neg_elbo_grad(
            X, MEAN, X, var=VAR, z_var=VAR, out=(None, None, None, None, out, None, None, None, None, None)
        ).recon
    ),
    "optimal_nll_grad": lambda out: fe.optimal_nll_grad(X, MEAN, out=(None, None, out)).mean,
    "optimal_nll_grad of each": lambda out: (
        fe.optimal_nll_grad(X, MEAN, axis=(), out=(out, None, None)).value
    ),
    "reparameterize": lambda out: fe.reparameterize(X, var=VAR, eps=EPS, out=(out, None)).z,
    "reparameterize, drawn": lambda out: (
        fe.reparameterize(X, var=VAR, rng=np.random.default_rng(0), out=(None, out)).eps
    ),
    "reparameterize_grad": lambda out: fe.reparameterize_grad(X, EPS, var=VAR, out=(out, None)).mean,
}
OUTS = pytest.mark.parametrize("name", WITH_OUT)


@OUTS
@pytest.mark.parametrize("unfit", UNFIT)
def test_out_that_lies_is_refused_for_what_it_is(name, unfit):
    out = UNFIT[unfit]().view(every_lie())
    before = np.asarray(out).copy()
    with pytest.raises(
        ValueError, match=r"must have (shape|the computing dtype)|overlaps itself|not aligned"
    ):
        WITH_OUT[name](out)
    assert_array_equal(np.asarray(out), before)


@OUTS
@pytest.mark.parametrize("lie", LIES)
def test_out_that_is_fit_may_say_of_itself_what_it_likes(name, lie):
    value = {"shape": (1,), "strides": (0, 0), "dtype": np.dtype("O"), "ndim": 0}.get(lie)
    want, out = WITH_OUT[name](None), np.full(SHAPE, 7.0).view(liar(lie, value))
    assert WITH_OUT[name](out) is out
    assert_array_equal(np.asarray(out), want)


class Proud(np.ndarray):
    """Keeps its type under NumPy's functions, and its own way of being written to."""

    def __array_function__(self, function, types, arguments, keywords):
        raise AssertionError(f"{function} was called")

    def __array_ufunc__(self, ufunc, method, *inputs, **keywords):
        raise AssertionError(f"{ufunc} was called")

    def __array_finalize__(self, other):
        self.made_of = other

    def __setitem__(self, key, value):
        raise AssertionError("written to")

    def __getitem__(self, key):
        raise AssertionError("read")


@OUTS
def test_out_of_an_honest_subclass_is_written_to_and_returned(name):
    out = np.full(SHAPE, 7.0).view(Proud)
    assert WITH_OUT[name](out) is out
    assert_array_equal(np.asarray(out), WITH_OUT[name](None))


@OUTS
def test_out_of_an_honest_subclass_over_an_input(name):
    """The two are one memory, whoever looks at it."""
    want = WITH_OUT[name](None)
    for array in (X, MEAN, VAR):
        kept = array.copy()
        try:
            got = WITH_OUT[name](array.view(Proud))
            assert_array_equal(np.asarray(got), want)
        finally:
            array[...] = kept


WITH_INPUTS = {
    "gaussian_nll": lambda a, b: fe.gaussian_nll(a, MEAN, var=b),
    "gaussian_nll, weight": lambda a, b: fe.gaussian_nll(X, MEAN, var=a, weight=b),
    "gaussian_kl_grad": lambda a, b: fe.gaussian_kl_grad(a, var=VAR, prior_var=b).scale,
    "bernoulli_nll": lambda a, b: fe.bernoulli_nll(a, b),
    "neg_elbo": lambda a, b: fe.neg_elbo(X, a, b, var=VAR, z_var=VAR).value,
    "optimal_nll": lambda a, b: fe.optimal_nll(a, b),
    "optimal_var": lambda a, b: fe.optimal_var(a, b, -1),
    "reparameterize": lambda a, b: fe.reparameterize(X, var=a, eps=b).z,
    "reparameterize_grad": lambda a, b: fe.reparameterize_grad(X, a, var=b).scale,
    "iwae_bound": lambda a, b: fe.iwae_bound(a).value + fe.iwae_bound(b).ess,
    "free_bits": lambda a, b: fe.free_bits(a, 0.5, per="dim", average="first").value,
}


@pytest.mark.parametrize("kind", [Proud, every_lie(), np.memmap])
@pytest.mark.parametrize("name", WITH_INPUTS)
def test_inputs_are_their_memory(name, kind):
    want = WITH_INPUTS[name](X, VAR)
    assert_array_equal(WITH_INPUTS[name](X.view(kind), VAR.view(kind)), want)


@pytest.mark.parametrize("kind", [Proud, every_lie()])
def test_no_error_changes_a_scalar_of_a_subclass(kind):
    """A number in float32 is read as a copy; and yet an output over it must wait for the check."""
    memory = np.full(1, -1.0)
    scale = memory.view(np.float32)[1:].reshape(()).view(kind)
    before = memory.copy()
    with pytest.raises(ValueError, match="var must be > 0"):
        fe.gaussian_nll_grad(np.ones((1, 2)), 0.0, var=scale, out=(memory, None, None, None))
    assert_array_equal(memory, before)


class Changing:
    """An array-like with a new array for each look."""

    def __init__(self, *arrays):
        self.arrays = list(arrays)

    def __array__(self, dtype=None, copy=None):
        return self.arrays.pop(0) if self.arrays else np.zeros(1)


@pytest.mark.parametrize("name", WITH_INPUTS)
def test_array_likes_are_looked_at_once(name):
    twice = 1 + name.startswith("iwae")  # called twice
    a, b = Changing(*[X] * twice), Changing(*[VAR] * twice)
    assert_array_equal(WITH_INPUTS[name](a, b), WITH_INPUTS[name](X, VAR))


def test_where_and_weight_are_looked_at_once():
    where, weight = X > 1, np.arange(4.0)
    want = fe.gaussian_nll_grad(X, MEAN, var=VAR, where=where, weight=weight)
    got = fe.gaussian_nll_grad(X, MEAN, var=VAR, where=Changing(where), weight=Changing(weight))
    assert_array_equal(got.scale, want.scale)


def test_no_array_says_that_it_is_one():
    """`__class__` may be anything; what is written to has to be an array."""

    class Disguised:
        __class__ = np.ndarray
        shape, dtype, flags = SHAPE, np.dtype(np.float64), np.zeros(SHAPE).flags

        def __array__(self, dtype=None, copy=None):
            return np.zeros(SHAPE)

    with pytest.raises(TypeError, match="out must be a NumPy array or None, not Disguised"):
        fe.gaussian_nll(X, MEAN, var=VAR, axis=(), out=Disguised())
