"""`out` and `wrt`: where results are written, and which."""

import itertools

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided
from numpy.testing import assert_allclose, assert_array_equal

import fastelbo as fe
from fastelbo._rules import overlap
from marks import DTYPES
from outputs import GRADS, KL_WRT, LAYOUTS, RNG, SHAPE, inputs, nll_grad


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("loss", GRADS)
@DTYPES
@pytest.mark.parametrize("axis", [-1, 0, ()])
def test_a_given_array_of_any_layout_is_returned_itself(loss, layout, dtype, axis):
    grad, names = GRADS[loss]
    shape = (2, 3) if layout == "interleaved" else SHAPE
    make = LAYOUTS[layout]
    args = inputs(dtype, names, shape)
    want = grad(args, axis=axis)
    out = (np.empty_like(want.value), *(make(shape, dtype) for _ in names))
    got = grad(args, out, axis=axis)
    for mine, given, expected in zip(got, out, want, strict=True):
        assert mine is given
        assert_array_equal(mine, expected)


@pytest.mark.parametrize("given", list(itertools.product([False, True], repeat=4)))
def test_none_allocates(given):
    args = inputs()
    want = nll_grad(args)
    out = tuple(np.empty_like(member) if use else None for use, member in zip(given, want, strict=True))
    got = nll_grad(args, out)
    for mine, place, expected in zip(got, out, want, strict=True):
        assert place is None or mine is place
        assert type(mine) is np.ndarray
        assert_array_equal(mine, expected)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("axis", [-1, 1, (), (0, 1)])
def test_value_functions_write_rows_of_any_layout(axis, layout):
    args = inputs(np.float32, shape=(2, 3, 4))
    for call in (
        lambda out=None: fe.gaussian_nll(args["x"], args["mean"], var=args["scale"], axis=axis, out=out),
        lambda out=None: fe.gaussian_kl(args["mean"], var=args["scale"], axis=axis, out=out),
    ):
        want = call()
        if layout != "interleaved" or want.shape == (2, 3):
            out = LAYOUTS[layout](want.shape, np.float32)
            assert call(out) is out
            assert_array_equal(out, want)


def test_out_may_be_a_subclass_and_is_returned_as_such(tmp_path):
    args = inputs()
    out = np.memmap(tmp_path / "grad", np.float64, "w+", shape=SHAPE)
    assert nll_grad(args, (None, None, out, None)).mean is out
    assert_array_equal(out, nll_grad(args).mean)


# Two arrays with eight axes, whose steps have little in common: too many ways to look for a common element
TOO_HARD = (3, 2, 2, 3, 3, 2, 2, 3), (2, 1199, 67, 15, 386, 153, 2816, 5), (697, 16, 329, 30, 111, 5, 2435, 2)


def test_an_overlap_that_is_too_hard_to_find_counts_as_one():
    shape, *strides = TOO_HARD
    memory = RNG.uniform(1, 2, 10_000)
    one, two = (
        as_strided(memory[at:], shape, [8 * step for step in steps])
        for at, steps in zip((0, 1880), strides, strict=True)
    )
    with pytest.raises(np.exceptions.TooHardError):
        np.shares_memory(one, two, max_work=overlap.OVERLAP_WORK)
    x, mean = RNG.uniform(1, 2, (2, *shape))
    with pytest.raises(ValueError, match=r"out\[1\] \(x\) and out\[2\] \(mean\) overlap in memory"):
        fe.gaussian_nll_grad(x, mean, var=1.0, wrt=("x", "mean"), out=(None, one, two, None))
    want = fe.gaussian_nll_grad(one.copy(), mean, var=2.0, wrt=("x", "mean"))
    got = fe.gaussian_nll_grad(one, mean, var=2.0, wrt=("x", "mean"), out=(None, None, two, None))
    assert_array_equal(got.x, want.x)
    assert_array_equal(got.mean, want.mean)


def test_0d_results_are_scalars_unless_given():
    value, gradient = np.empty(()), np.empty(())
    got = fe.gaussian_nll_grad(1.0, 0.0, var=2.0, out=(value, None, gradient, None))
    assert got.value is value
    assert got.mean is gradient
    assert isinstance(got.scale, np.float64)
    assert value == fe.gaussian_nll(1.0, 0.0, var=2.0)
    assert_allclose(gradient, -0.5, rtol=1e-15)


def test_gradients_of_broadcast_arguments_are_written_in_their_shapes():
    args = inputs() | {"mean": np.float64(0.5), "scale": RNG.uniform(1, 2, (5, 1))}
    for reduction in ("none", "sum", "mean"):
        want = nll_grad(args, reduction=reduction)
        out = (None, None, np.full((), 7.0), np.full((10, 3), 7.0)[::2, 1:2])
        got = nll_grad(args, out, reduction=reduction)
        assert got.mean is out[2]
        assert got.scale is out[3]
        assert_array_equal(got.mean, want.mean)
        assert_array_equal(got.scale, want.scale)


def test_a_result_serves_as_out_of_the_next_call():
    args = inputs()
    first = nll_grad(args)
    again = nll_grad(args, first)
    assert all(one is two for one, two in zip(first, again, strict=True))


@pytest.mark.parametrize("make", [np.array, np.asfortranarray, lambda a: np.array(a.T).T])
def test_fresh_gradients_are_laid_out_like_their_arguments(make):
    args = {name: make(array) for name, array in inputs().items()}
    for gradient, array in zip(nll_grad(args)[1:], args.values(), strict=True):
        assert gradient.strides == array.strides


@pytest.mark.parametrize("loss", GRADS)
def test_wrt_picks_gradients_which_do_not_depend_on_the_choice(loss):
    grad, names = GRADS[loss]
    args = inputs(np.float32, names)
    full = grad(args)
    assert full._fields == ("value", *names)
    for n in range(len(names) + 1):
        for wrt in itertools.combinations(names, n):
            for spelling in (wrt, list(wrt), set(wrt), iter(wrt), wrt * 2):
                got = grad(args, wrt=spelling)
                for name in full._fields:
                    if name in ("value", *wrt):
                        assert_array_equal(getattr(got, name), getattr(full, name))
                    else:
                        assert getattr(got, name) is None
    assert grad(args, wrt="mean")[full._fields.index("scale")] is None


def test_default_wrt():
    args = inputs(names=KL_WRT)
    got = fe.gaussian_nll_grad(args["mean"], args["prior_mean"], var=args["scale"])
    assert [name for name in got._fields if getattr(got, name) is not None] == ["value", "mean", "scale"]
    got = fe.gaussian_kl_grad(args["mean"], var=args["scale"])
    assert [name for name in got._fields if getattr(got, name) is not None] == ["value", "mean", "scale"]
    assert isinstance(got, tuple)
