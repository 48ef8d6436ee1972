"""Where the negative ELBO writes its results: over inputs of either half, too; and what an error leaves."""

import itertools

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import fastelbo as fe
from elbos import RNG, WRT
from marks import DTYPES, REDUCTIONS, SAMPLES
from outputs import LAYOUTS, assert_an_error_leaves_all_untouched


def square(dtype=np.float64, samples=None) -> dict:
    """Arguments by member, all of one shape but for the samples, and > 0: so that any may take any output."""
    shapes = dict.fromkeys(WRT, (5, 7)) | dict.fromkeys(
        ("recon", "scale"), ((samples,) if samples else ()) + (5, 7)
    )
    return {name: RNG.uniform(1, 2, shape).astype(dtype) for name, shape in shapes.items()}


def grad(args: dict, out=None, **options):
    options = {"wrt": WRT, "beta": 1.5, "reduction": "none"} | options
    return fe.neg_elbo_grad(
        args["x"], args["recon"], args["z_mean"], var=args["scale"], z_var=args["z_scale"],
        prior_mean=args["prior_mean"], prior_var=args["prior_scale"], out=out, **options,
    )  # fmt: skip


@SAMPLES
@REDUCTIONS
@DTYPES
def test_given_arrays_are_returned_themselves(dtype, reduction, samples):
    args = square(dtype, samples)
    want = grad(args, reduction=reduction)
    for make in (LAYOUTS[layout] for layout in ("C", "F", "spaced")):
        out = tuple([make(part.shape, dtype) if isinstance(part, np.ndarray) else None for part in want])
        got = grad(args, out, reduction=reduction)
        for mine, place, expected in zip(got, out, want, strict=True):
            assert place is None or mine is place
            assert_array_equal(mine, expected)


@pytest.mark.parametrize("start", range(7))
def test_gradients_may_be_written_over_any_input(start):
    """Of either half: 720 of the 5040 ways, for each gradient first."""
    args = square()
    want = grad(args)
    others = WRT[:start] + WRT[start + 1 :]
    for order in itertools.permutations(others):
        places = dict(zip((WRT[start], *others), (*order, WRT[start]), strict=True))
        mine = {name: array.copy() for name, array in args.items()}
        got = grad(mine, (None, None, None, *(mine[places[name]] for name in WRT)))
        assert_array_equal(got[:3], want[:3])
        for name in WRT:
            assert getattr(got, name) is mine[places[name]]
            assert_array_equal(getattr(got, name), getattr(want, name))


def test_samples_written_over_inputs():
    args = square(samples=3)
    want = grad(args)
    mine = {name: array.copy() for name, array in args.items()}
    got = grad(mine, (None, None, None, *mine.values()))
    for name, one, two in zip(want._fields, got, want, strict=True):
        assert_array_equal(one, two, err_msg=name)


def test_values_over_inputs_and_weights():
    """nll over the weights that the KL still needs; value over a column of x; outputs that overlap partly."""
    args, weight = square(), np.arange(1.0, 6.0)
    want = grad(args, weight=weight)
    for members in itertools.permutations(("value", "nll", "kl")):
        mine = {name: array.copy() for name, array in args.items()}
        weights = weight.copy()
        places = dict(zip(members, (weights, mine["x"][:, 2], mine["z_scale"].ravel()[3:8]), strict=True))
        out = (*(places[name] for name in ("value", "nll", "kl")), *[None] * 7)
        got = grad(mine, out, weight=weights)
        for one, two in zip(got, want, strict=True):
            assert_array_equal(one, two)
    mine = {name: array.copy() for name, array in args.items()}
    buffer = np.empty((6, 7))
    buffer[:5] = mine["z_mean"]
    mine["z_mean"] = buffer[:5]
    got = grad(mine, (*[None] * 4, buffer[1:], *[None] * 5))  # recon, over what the KL reads
    for one, two in zip(got, want._replace(value=got.value, nll=got.nll, kl=got.kl)[3:], strict=False):
        assert one is not None
        assert two is not None
    assert_array_equal(got.recon, grad(args).recon)
    assert_array_equal(got.kl, grad(args).kl)


def test_gradients_over_weights():
    """Without event axes a gradient lies exactly over the weights, which the other gradients still need."""
    args = {name: array.ravel() for name, array in square().items()}
    weight = RNG.uniform(1, 2, 35)
    options = {"axis": (), "z_axis": ()}
    want = grad(args, weight=weight, **options)
    for member in WRT:
        mine = weight.copy()
        out = tuple([mine if name == member else None for name in want._fields])
        got = grad(args, out, weight=mine, **options)
        for one, two in zip(got, want, strict=True):
            assert_array_equal(one, two)


@DTYPES
@pytest.mark.parametrize("samples", [None, 3])
@pytest.mark.parametrize("scale", ["scale", "z_scale", "prior_scale"])
@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_an_error_leaves_the_inputs_of_both_halves_untouched(dtype, samples, scale, reduction):
    args = square(dtype, samples)
    args[scale][..., -1, -1] = 0.0
    assert_an_error_leaves_all_untouched(grad, args, WRT, values=3, reduction=reduction)


@pytest.mark.parametrize("scale", ["scale", "z_scale", "prior_scale"])
def test_an_error_leaves_inputs_under_the_other_half_untouched(scale):
    """Gradients of the latents over arrays that only the NLL reads, and the other way round."""
    args = square()
    args[scale][-1, -1] = 0.0
    before = {name: array.copy() for name, array in args.items()}
    swapped = [
        None,
        None,
        None,
        args["z_mean"],
        args["z_scale"],
        args["prior_mean"],
        args["x"],
        args["recon"],
    ]
    for out in (
        (*swapped, args["scale"], None),
        (*swapped[:6], None, None, None, None),
        (*[None] * 6, *swapped[6:], None, None),
    ):
        with pytest.raises(ValueError, match="must be > 0"):
            grad(args, out)
        for name, array in args.items():
            assert_array_equal(array, before[name])
