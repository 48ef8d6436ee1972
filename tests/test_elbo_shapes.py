"""Weights, masks, event axes and empty arrays of the negative ELBO."""

import itertools

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import fastelbo as fe
from elbos import LATENTS, RNG, ROWS, WRT, halves, inputs
from fastelbo import reference
from marks import DTYPES, REDUCTIONS, SAMPLES
from rounding import eps


@SAMPLES
@REDUCTIONS
def test_weight_multiplies_rows_and_gradients(reduction, samples):
    found = inputs(samples=samples)
    plain = fe.neg_elbo_grad(**found, reduction="none", wrt=WRT)
    weight = np.array([0.5, 2.0, 0.0, 4.0])
    got = fe.neg_elbo_grad(**found, reduction=reduction, weight=weight, wrt=WRT)
    share = ROWS if reduction == "mean" else 1
    for name in ("value", "nll", "kl"):
        want = weight * getattr(plain, name)
        want = want if reduction == "none" else want.sum() / share
        np.testing.assert_allclose(getattr(got, name), want, rtol=1e-14)
    for name in WRT:
        want = weight[:, np.newaxis] * getattr(plain, name) / share
        np.testing.assert_allclose(getattr(got, name), want, rtol=1e-14)


@SAMPLES
@pytest.mark.parametrize("per_sample", [False, True])
def test_where_touches_the_nll_alone(samples, per_sample):
    """NaN under it changes no bit; what is left is the NLL of the other elements, and the same KL."""
    found = inputs(samples=samples)
    shape = found["recon"].shape if per_sample else found["x"].shape
    where = RNG.uniform(size=shape) < 0.6
    want = fe.neg_elbo_grad(**found, where=where, reduction="none", wrt=WRT)
    poisoned = dict(found)
    for name in ("recon", "logvar") + (() if per_sample and samples else ("x",)):
        poisoned[name] = np.where(where, found[name], np.nan)
    got = fe.neg_elbo_grad(**poisoned, where=where, reduction="none", wrt=WRT)
    for one, two in zip(got, want, strict=True):
        assert_array_equal(one, two)
    elements = fe.gaussian_nll(found["x"], found["recon"], logvar=found["logvar"], axis=())
    kept = np.where(where, elements, 0).sum(axis=-1)
    np.testing.assert_allclose(got.nll, kept if samples is None else kept.mean(axis=0), rtol=1e-13)
    assert_array_equal(got.kl, fe.neg_elbo(**found, reduction="none").kl)
    assert not got.recon[~np.broadcast_to(where, got.recon.shape)].any()


@SAMPLES
@REDUCTIONS
@pytest.mark.parametrize("mask_shape", [(ROWS, LATENTS), (LATENTS,), (ROWS, 1), ()])
@pytest.mark.parametrize("rubbish", [np.nan, 0.0])
@DTYPES
def test_z_where_touches_the_kl_alone(samples, reduction, mask_shape, rubbish, dtype):
    """Removed latents cost nothing, have gradients of exactly 0, and hold anything, in place too."""
    arguments = inputs(dtype, samples, z_form="var", prior_form="std")
    mask = np.asarray(RNG.random(mask_shape) < 0.6)
    everywhere = np.broadcast_to(mask, (ROWS, LATENTS))
    options = {"reduction": reduction, "weight": np.arange(1.0, ROWS + 1), "beta": 0.7}
    _, kl = halves(arguments)
    want = fe.neg_elbo_grad(**arguments, **options, wrt=WRT)
    divergence = fe.gaussian_kl_grad(
        **kl, where=mask, weight=options["weight"], reduction=reduction,
        wrt=("mean", "scale", "prior_mean", "prior_scale"),
    )  # fmt: skip
    for name in ("z_mean", "z_var", "prior_mean", "prior_std"):
        arguments[name] = np.where(everywhere, arguments[name], dtype(rubbish))
    got = fe.neg_elbo_grad(**arguments, **options, z_where=mask, wrt=WRT)
    assert_array_equal(got.kl, divergence.value)
    np.testing.assert_allclose(got.value, got.nll + 0.7 * got.kl, rtol=4 * eps(dtype))
    for name in ("nll", "x", "recon", "scale"):
        assert_array_equal(getattr(got, name), getattr(want, name))
    for name in ("z_mean", "z_scale", "prior_mean", "prior_scale"):
        own = getattr(divergence, name.removeprefix("z_"))
        np.testing.assert_allclose(getattr(got, name), 0.7 * own, rtol=4 * eps(dtype))
        assert np.all(getattr(got, name)[~everywhere] == 0)
    for plain in (fe.neg_elbo(**arguments, **options, z_where=mask), got[:3]):
        for one, two in zip(plain, got, strict=False):
            assert_array_equal(one, two)
    copies = {name: array.copy() for name, array in arguments.items()}
    inputs_of = ("x", "recon", "logvar", "z_mean", "z_var", "prior_mean", "prior_std")
    out = (None, None, None, *[copies[name] for name in inputs_of])
    inside = fe.neg_elbo_grad(**copies, **options, z_where=mask, wrt=WRT, out=out)
    for one, two in zip(inside, got, strict=True):
        assert_array_equal(one, two)


@SAMPLES
def test_a_padded_batch_costs_what_its_real_part_does(samples):
    """Of rows of sequences: (N, T, D) and (N, T, J), the last steps of some of them padding."""
    lead = () if samples is None else (samples,)
    real = np.arange(4) < np.array([[4], [2], [3]])
    x, recon = RNG.normal(size=(3, 4, 5)), RNG.normal(size=(*lead, 3, 4, 5))
    z_mean, z_logvar = RNG.normal(size=(2, 3, 4, 2))
    want = [
        fe.neg_elbo(x[n, :t], recon[..., n, :t, :], z_mean[n, :t], var=0.5, z_logvar=z_logvar[n, :t],
                    axis=(-2, -1), z_axis=(-2, -1), reduction="none")
        for n, t in enumerate(real.sum(axis=1))
    ]  # fmt: skip
    for array in (x, recon, z_mean, z_logvar):
        array[..., ~real, :] = np.nan
    got = fe.neg_elbo(x, recon, z_mean, var=0.5, z_logvar=z_logvar, axis=(-2, -1), z_axis=(-2, -1),
                      where=real[..., None], z_where=real[..., None], reduction="none")  # fmt: skip
    for one, *rows in zip(got, *want, strict=True):
        np.testing.assert_allclose(one, rows, rtol=1e-14)


@SAMPLES
def test_event_axes(samples):
    """Images and maps of latents are their flattened selves."""
    lead = () if samples is None else (samples,)
    x, recon, z = (
        RNG.normal(size=(4, 3, 2, 5)),
        RNG.normal(size=(*lead, 4, 3, 2, 5)),
        RNG.normal(size=(4, 2, 3)),
    )
    scales = {"logvar": RNG.normal(size=(3, 1, 1)), "z_std": 0.5 + abs(z)}
    flat = {"logvar": np.repeat(scales["logvar"].ravel(), 10), "z_std": scales["z_std"].reshape(4, 6)}
    want = fe.neg_elbo(
        x.reshape(4, 30), recon.reshape(*lead, 4, 30), z.reshape(4, 6), reduction="none", **flat
    )
    for axis, z_axis in (((-3, -2, -1), (-2, -1)), ((-1, -3, -2), (2, 1))):
        got = fe.neg_elbo(x, recon, z, axis=axis, z_axis=z_axis, reduction="none", **scales)
        np.testing.assert_allclose(got, want, rtol=1e-13)
    total = fe.neg_elbo(x, recon, z, axis=None, z_axis=None, **scales)
    np.testing.assert_allclose(total, np.sum(want, axis=1), rtol=1e-13)
    channels = fe.neg_elbo(
        np.moveaxis(x, 0, -1), np.moveaxis(recon, -4, -1), np.moveaxis(z, 0, -1), axis=(-4, -3, -2),
        z_axis=(0, 1), reduction="none", logvar=scales["logvar"][..., None],
        z_std=scales["z_std"].transpose(1, 2, 0),
    )  # fmt: skip
    np.testing.assert_allclose(channels, want, rtol=1e-13)


def test_rows_without_event_axes():
    """One observation and one latent a row; and single events, without any row."""
    x, recon, z = RNG.normal(size=4), RNG.normal(size=(3, 4)), RNG.normal(size=4)
    got = fe.neg_elbo_grad(x, recon, z, var=2.0, z_var=0.5, axis=(), z_axis=(), reduction="none", wrt="recon")
    want = fe.gaussian_nll(x, recon, var=2.0, axis=()).mean(axis=0)
    np.testing.assert_allclose(got.nll, want, rtol=1e-15)
    assert_array_equal(got.kl, fe.gaussian_kl(z, var=0.5, axis=()))
    event = fe.neg_elbo(x, recon, z[:2], var=2.0, z_var=0.5, reduction="none")
    assert all(isinstance(part, np.float64) for part in event)
    np.testing.assert_allclose(event.nll, want.sum(), rtol=1e-15)
    point = fe.neg_elbo_grad(x[0], recon[:, 0], 0.0, var=2.0, z_var=0.5, reduction="none", wrt=("x", "recon"))
    np.testing.assert_allclose(point.nll, want[0], rtol=1e-15)
    assert (point.x.shape, point.recon.shape) == ((), (3,))
    constant = fe.neg_elbo(
        x, recon, 0.0, var=2.0, z_var=np.full(4, 0.5), axis=(), z_axis=(), reduction="none"
    )
    assert_array_equal(constant.kl, fe.gaussian_kl(0.0, var=np.full(4, 0.5), axis=()))


@REDUCTIONS
def test_empty_arrays(reduction):
    """No rows: the mean is NaN and gradients are empty sums; no features, no latents: 0."""
    for samples, rows, features, latents in itertools.product((None, 2), (0, 3), (0, 2), (0, 2)):
        x, z = np.zeros((rows, features)), np.ones((rows, latents))
        recon = x if samples is None else np.zeros((samples, rows, features))
        got = fe.neg_elbo_grad(x, recon, z, var=np.ones(features), z_var=1.0, reduction=reduction)
        want = reference.neg_elbo_grad(x, recon, z, var=np.ones(features), z_var=1.0, reduction=reduction)
        for one, two in zip(got, want, strict=True):
            assert one is two is None or np.allclose(one, two, rtol=1e-15, equal_nan=True)
            assert np.shape(one) == np.shape(two)
        assert reduction != "mean" or rows or np.isnan(got.value)
