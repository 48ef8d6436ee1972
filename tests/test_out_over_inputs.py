"""Results written over inputs: right, in place where they can be; and after an error nothing is written."""

import functools
import itertools

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import fastelbo as fe
from fastelbo._rules import run
from marks import DTYPES
from outputs import GRADS, NLL_WRT, RNG, SHAPE, assert_an_error_leaves_all_untouched, inputs, nll_grad

IN_PLACE = {
    "nll": (fe.gaussian_nll_grad, ("x", "mean"), ("var",), ("x", "mean")),
    "kl": (fe.gaussian_kl_grad, ("mean",), ("var",), ("mean",)),
    "kl of two": (
        fe.gaussian_kl_grad,
        ("mean", "prior_mean"),
        ("var", "prior_var"),
        ("mean", "prior_mean"),
    ),
    "bernoulli": (fe.bernoulli_nll_grad, ("x", "logits"), (), ("x", "logits")),
}


@pytest.mark.parametrize("columns", [3, 40, 3000, 40_000])
@pytest.mark.parametrize("weight", [False, True])
@pytest.mark.parametrize("scale", ["number", "rows", "columns", "elements"])
@DTYPES
@pytest.mark.parametrize("loss", IN_PLACE)
def test_in_place_with_where(loss, dtype, scale, weight, columns):
    """As elsewhere, to the bit; what is removed has no gradient, and rubbish there is not found."""
    function, operands, scales, targets = IN_PLACE[loss]
    shape = (5, columns)
    where = RNG.uniform(size=shape) < 0.7
    where[0], where[3], where[:, 1] = True, False, False
    args = {name: RNG.uniform(0.5, 2, shape).astype(dtype) for name in operands}
    own = {"number": (), "rows": (5, 1), "columns": (columns,), "elements": shape}[scale]
    for name in scales:
        args[name] = RNG.uniform(0.5, 2, own).astype(dtype)
        if scale == "rows":
            args[name][3], args[name][4] = -1, np.nan  # of a row that is removed; of one that partly is
        elif scale == "columns":
            args[name][1] = 0
        elif scale == "elements":
            args[name][~where] = RNG.choice([0, -1, np.nan, np.inf], np.count_nonzero(~where))
    for name in operands:
        args[name][~where] = np.nan
    options = {"where": where, "wrt": targets}
    if weight:
        options["weight"] = RNG.uniform(0.5, 2, 5).astype(dtype)
    want = function(**args, **options)
    for target in targets:
        mine = {name: array.copy() for name, array in args.items()}
        out = tuple([mine[target] if field == target else None for field in want._fields])
        got = function(**mine, **options, out=out)
        assert getattr(got, target) is mine[target]
        assert_array_equal(mine[target][~where], 0)
        for one, other in zip(got, want, strict=True):
            if one is not None:
                assert_array_equal(one, other)


@pytest.mark.parametrize("scale", ["number", "rows", "elements"])
def test_in_place_with_where_a_scale_that_counts_is_checked(scale):
    """Before anything is written."""
    args = inputs(names=("x", "mean"))
    where = np.ones(SHAPE, bool)
    where[2, 1:] = False
    own = {"number": (), "rows": (5, 1), "elements": SHAPE}[scale]
    var = np.ones(own)
    var[(2, 0) if own else ()] = -1.0
    kept = {name: array.copy() for name, array in args.items()}
    with pytest.raises(ValueError, match=r"var(\[2, 0\])? is -1\.0"):
        fe.gaussian_nll_grad(**args, var=var, where=where, out=(None, None, args["mean"], None))
    for name, array in args.items():
        assert_array_equal(array, kept[name])


# --- over the inputs ----------------------------------------------------------------------------------------

VIEWS = {
    "C": np.array,
    "F": np.asfortranarray,
    "reversed": lambda a: np.array(a[::-1, ::-1])[::-1, ::-1],
    "transposed": lambda a: np.array(a.T).T,
}


@pytest.mark.parametrize("loss", GRADS)
@DTYPES
@pytest.mark.parametrize("layout", VIEWS)
@pytest.mark.parametrize("axis", [-1, 0, (), None])
def test_gradients_may_be_written_over_any_of_the_inputs(loss, dtype, layout, axis):
    grad, names = GRADS[loss]
    args = inputs(dtype, names)
    want = grad(args, axis=axis)
    for places in itertools.permutations(names):  # which input each gradient is written over
        mine = {name: VIEWS[layout](array) for name, array in args.items()}
        out = (None, *(mine[place] for place in places))
        got = grad(mine, out, axis=axis)
        assert_array_equal(got.value, want.value)
        for name, place in zip(names, places, strict=True):
            assert getattr(got, name) is mine[place]
            assert_array_equal(getattr(got, name), getattr(want, name))


@pytest.mark.parametrize("axis", [(), -1, 0])
def test_the_value_may_be_written_over_an_input(axis):
    shape = (5, 7) if axis == () else (5, 1) if axis == -1 else (1, 5)
    args = inputs(shape=shape)
    want = fe.gaussian_nll(args["x"], args["mean"], var=args["scale"], axis=axis)
    for name in args:
        mine = {key: array.copy() for key, array in args.items()}
        out = mine[name].reshape(want.shape)
        got = fe.gaussian_nll(mine["x"], mine["mean"], var=mine["scale"], axis=axis, out=out)
        assert got is out
        assert_array_equal(got, want)


class Spy:
    """Stands in for the core, and keeps the arguments of `prepare`."""

    def prepare(self, *args):
        self.outputs, self.check_first = args[11:13]
        return self

    def run(self):
        return None, False


@pytest.mark.parametrize("layout", VIEWS)
def test_in_place_is_in_place(layout, monkeypatch):
    """An exact alias is written by the core itself, after a look at the domain; no copy stands between."""
    spy = Spy()
    monkeypatch.setattr(run, "_core", spy)
    x, mean, var = (VIEWS[layout](array) for array in inputs().values())
    call = functools.partial(fe.gaussian_nll_grad, x, mean, var=var, axis=0, wrt=NLL_WRT)
    for out in itertools.permutations((x, mean, var)):
        call(out=(None, *out))
        assert spy.check_first
        for array, view in zip(out, spy.outputs, strict=False):
            assert view.ctypes.data == array.ctypes.data
            assert view.T.strides == array.strides  # axis=0: the event axis comes last
    call(out=(None, x.copy(), x[::-1], None))
    assert not spy.check_first
    assert not np.shares_memory(spy.outputs[1], x)


def overlapping(one, two):
    """`one` and a free array of the same shape, in one buffer, as the function `two` cuts it."""
    buffer = np.empty((2 * one.shape[0] + 2, 2 * one.shape[1] + 2), one.dtype)
    first = buffer[: one.shape[0], : one.shape[1]]
    first[...] = one
    return first, two(buffer, *one.shape)


PARTIAL = {
    "rows shifted": lambda b, n, d: b[1 : n + 1, :d],
    "columns shifted": lambda b, n, d: b[:n, 1 : d + 1],
    "reversed": lambda b, n, d: b[:n, :d][::-1],
    "columns reversed": lambda b, n, d: b[:n, :d][:, ::-1],
    "spread": lambda b, n, d: b[: 2 * n : 2, :d],
    "transposed": lambda b, n, d: b[:d, :n].T,
}


@pytest.mark.parametrize("cut", PARTIAL)
@pytest.mark.parametrize("name", NLL_WRT)
@pytest.mark.parametrize("target", NLL_WRT)
def test_a_partial_overlap_with_an_input_is_right(cut, name, target):
    args = inputs()
    want = nll_grad(args)
    mine = dict(args)
    mine[name], place = overlapping(args[name], PARTIAL[cut])
    out = (None, *(place if field == target else None for field in NLL_WRT))
    got = nll_grad(mine, out)
    assert getattr(got, target) is place
    for field in got._fields:
        assert_array_equal(getattr(got, field), getattr(want, field))


def test_outputs_over_broadcast_inputs_are_right():
    """Summed, or read again for other rows: never in place, though the memory is the same."""
    x, mean, var = inputs().values()
    for scale in (var[0], var[:1], var[:, :1], var[0, :1]):
        want = fe.gaussian_nll_grad(x, mean, var=scale)
        mine = scale.copy()
        got = fe.gaussian_nll_grad(x, mean, var=mine, out=(None, None, None, mine))
        assert got.scale is mine
        assert_array_equal(mine, want.scale)
    weight, want = var[:, 0].copy(), fe.gaussian_nll(x, mean, var=2.0, weight=var[:, 0])
    assert_array_equal(fe.gaussian_nll(x, mean, var=2.0, weight=weight, out=weight), want)
    want, row = fe.gaussian_nll(x, mean[0], var=1.0), mean[0].copy()
    assert_array_equal(fe.gaussian_nll(x, row, var=1.0, out=row[:5]), want)
    want, row = fe.gaussian_nll_grad(x, mean[0], var=var), mean[0].copy()
    assert_array_equal(fe.gaussian_nll_grad(x, row, var=var, out=(None, None, row, None)).mean, want.mean)


def test_outputs_over_weight_and_where_are_right():
    args = inputs()
    weight, where = RNG.uniform(size=SHAPE), RNG.uniform(size=SHAPE) < 0.5
    want = nll_grad(args, weight=weight, where=where)
    for place in (weight.copy(), np.zeros(SHAPE)):
        mask = where
        if not place.any():  # the mask lies in the first bytes of the output
            mask = place.view(bool).ravel()[: where.size].reshape(SHAPE)
            mask[...] = where
            used = weight
        else:
            used = place
        got = nll_grad(args, (None, None, place, None), weight=used, where=mask)
        assert_array_equal(got.mean, want.mean)
        assert_array_equal(got.scale, want.scale)
    want = nll_grad(args, weight=weight)
    got = nll_grad(args, (None, weight, None, None), weight=weight)
    for found, expected in zip(got, want, strict=True):
        assert_array_equal(found, expected)


def test_one_array_may_be_several_inputs_and_an_output():
    x = RNG.uniform(1, 2, SHAPE)
    want = fe.gaussian_nll_grad(x, x, var=x)
    mine = x.copy()
    got = fe.gaussian_nll_grad(mine, mine, var=mine, out=(None, None, None, mine))
    assert_array_equal(got.scale, want.scale)
    assert_array_equal(got.value, want.value)


# --- after an error -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", GRADS)
@DTYPES
@pytest.mark.parametrize("shape", [(5, 7), (2000, 33)])
@pytest.mark.parametrize("scale", ["scale", "prior_scale"])
def test_an_error_leaves_aliased_inputs_untouched(loss, dtype, shape, scale):
    grad, names = GRADS[loss]
    if scale not in names:
        return
    args = inputs(dtype, names, shape)
    args[scale][-1, -1] = 0.0
    assert_an_error_leaves_all_untouched(grad, args, names)


@pytest.mark.parametrize("cut", PARTIAL)
def test_an_error_leaves_partly_overlapped_inputs_untouched(cut):
    args = inputs()
    args["scale"][-1, -1] = -1.0
    args["mean"], place = overlapping(args["mean"], PARTIAL[cut])
    before = args["mean"].copy()
    with pytest.raises(ValueError, match="must be > 0"):
        nll_grad(args, (None, None, place, None))
    assert_array_equal(args["mean"], before)


@pytest.mark.parametrize("bad", [">f4", "f2", "i2"])
def test_an_error_leaves_a_scalar_of_another_dtype_untouched(bad):
    """The core reads a copy of it, in the computing dtype, and so does not know the memory."""
    x = np.ones(1, np.float32)
    for call in (
        lambda var, out: fe.gaussian_nll(x, x, var=var, out=out),
        lambda var, out: fe.gaussian_nll_grad(x, x, var=var, out=(out, None, None, None)),
        lambda var, out: fe.gaussian_kl(x, std=var, out=out),
        lambda var, out: fe.neg_elbo_grad(
            x, x, x, var=1.0, z_var=var, reduction="none", out=(None, out, *[None] * 8)
        ),
        lambda var, out: fe.neg_elbo_grad(
            x, x, x, var=var, z_var=1.0, reduction="none", wrt="x",
            out=(None, None, None, out[np.newaxis], *[None] * 6),
        ),
    ):  # fmt: skip
        memory = np.zeros(4, np.uint8)
        var = memory[: np.dtype(bad).itemsize].view(bad)[0:1].reshape(())
        var[()] = -1
        before = memory.copy()
        with pytest.raises(ValueError, match="must be > 0"):
            call(var, memory.view(np.float32).reshape(()))
        assert_array_equal(memory, before)


@pytest.mark.parametrize("options", [{"weight": np.ones(3)}, {"axis": 9}, {"wrt": "y"}, {"reduction": "all"}])
def test_a_misuse_leaves_everything_untouched(options):
    args = inputs()
    before = {name: array.copy() for name, array in args.items()}
    with pytest.raises(ValueError):  # noqa: PT011 - each message has its test in test_errors.py
        nll_grad(args, (None, *args.values()), **options)
    for name, array in args.items():
        assert_array_equal(array, before[name])


def test_inputs_are_never_written():
    args = inputs()
    for array in args.values():
        array.flags.writeable = False
    nll_grad(args)
    with pytest.raises(ValueError, match=r"out\[2\] \(mean\) is read-only"):
        nll_grad(args, (None, None, args["mean"], None))
