"""The negative ELBO's values and gradients: against the reference, 60 digits and its halves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

import contract
import fastelbo as fe
import oracles
import promises
import rounding
import strategies
import summing
from elbos import FEATURES, FORMS, LATENTS, RNG, ROWS, WRT, halves, inputs
from fastelbo import reference
from marks import DTYPES, REDUCTIONS, SAMPLES
from rounding import eps, ulp
from variance import LOG


@given(payload=st.data())
def test_parity_with_the_reference(payload):
    """Within the 32·eps·(Σ|term| + 64 an element) of `test_reference`, whose reasons hold here."""
    (shape, latents), operands, scales, options = payload.draw(strategies.neg_elbos())
    names = WRT[: 7 if len(scales) == 3 else 6]
    wrt = payload.draw(st.lists(st.sampled_from(names), unique=True).map(tuple) | st.sampled_from(names))
    arguments = operands | scales | options
    fast, plain = (module.neg_elbo_grad(**arguments, wrt=wrt) for module in (fe, reference))

    decoder, latent = halves(operands | scales)
    exact = oracles.nll(**decoder), oracles.kl(**latent)
    size, counts = {}, [int(np.prod(shape)), int(np.prod(latents))]
    for members, elements, own, count in zip(
        (WRT[:3], WRT[3:]), exact, (shape, latents), counts, strict=True
    ):
        own_sizes = [float(np.broadcast_to(e.size, own).sum()) for e in elements.values()]
        size |= dict.fromkeys(members, max(own_sizes) + 64 * count)
    size |= {"nll": size["x"], "kl": size["z_mean"]}
    size["value"] = size["nll"] + options["beta"] * size["kl"]
    dtype = contract.computing_dtype([*operands.values(), *scales.values()])
    for member, got, expected in zip(fast._fields, fast, plain, strict=True):
        if expected is None:
            assert got is None
            continue
        assert np.shape(got) == np.shape(expected), member
        if options["reduction"] != "none" and member in ("value", "nll", "kl"):
            assert type(got) is float
        else:
            assert got.dtype == dtype
        weight = 1.0 if options["weight"] is None else options["weight"].max(initial=0.0)
        atol = 32 * eps(dtype) * size[member] * weight * max(1.0, options["beta"])
        np.testing.assert_allclose(got, expected, rtol=0, atol=atol, err_msg=member)
    for got, expected in zip(fe.neg_elbo(**arguments), fast, strict=False):
        assert_array_equal(got, expected)


PARTS = (lambda a: a, lambda a: a[..., :1], lambda a: a[..., :1, :], lambda a: a[..., 0, 0].ravel()[0])


@SAMPLES
@DTYPES
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("z_form", FORMS)
def test_against_60_digits(form, z_form, samples, dtype):
    """u is half an eps. To the policy's bounds come:

    nll       in rows, S additions and divisions in double (u each, at most) and the last rounding: 12 eps
              for S ≤ 3; reduced, the division: 11 eps
    kl        reduced, a division: one ULP
    value     the errors of nll and beta·kl, and two roundings: eps·(|nll| + beta·kl)
    gradients the factor 1/S or beta and its product, u each of the gradient, which is at most twice its
              largest term: 2 eps, and as much for the mean's division
    """
    number = FORMS.index(form) + FORMS.index(z_form)
    prior_form = (None, z_form, FORMS[(FORMS.index(z_form) + 1) % 5])[number % 3]
    found = inputs(dtype, samples, form, z_form, prior_form)
    found[form] = PARTS[number % 4](found[form])
    found[f"z_{z_form}"] = PARTS[number // 2 % 4](found[f"z_{z_form}"])
    if number % 2:
        found["prior_mean"] = found["prior_mean"][0]
    wrt = WRT[: 6 if prior_form is None else 7]
    beta = (2.5, 1.0, 0.1)[number % 3]
    exact = oracles.call("neg_elbo", **found, beta=beta, reduction="none")
    shapes = {"scale": found[form].shape, "z_scale": found[f"z_{z_form}"].shape}
    slack = dict.fromkeys(("value", "scale", "prior_scale"), 0)
    if prior_form is not None and (z_form in LOG) != (prior_form in LOG):
        prior_raw = found[f"prior_{prior_form}"]
        slack = rounding.logvar_slack(z_form, found[f"z_{z_form}"], prior_form, prior_raw, dtype)
        slack = {name: np.broadcast_to(part, (ROWS, LATENTS)) for name, part in slack.items()}
        slack["scale"] = summing.sum_to(slack["scale"], (ROWS, LATENTS), shapes["z_scale"])
        slack["value"] = slack["value"].sum(axis=-1)
    for reduction in ("none", "sum", "mean"):
        got = fe.neg_elbo_grad(**found, beta=beta, reduction=reduction, wrt=wrt)
        reduced = reduction != "none"
        rows = ROWS if reduction == "mean" else 1
        truth = {name: exact[name].value for name in ("value", "nll", "kl")}
        size = exact["nll"].size
        kl_slack = slack["value"]
        if reduced:
            truth = {name: total.sum() / rows for name, total in truth.items()}
            size, kl_slack = size.sum() / rows, np.sum(kl_slack) / rows
        bounds = {
            "nll": (11 if reduced else 12) * eps(dtype) * size,
            "kl": (promises.kl_ulps(z_form, prior_form) + reduced) * ulp(truth["kl"], dtype) + kl_slack,
        }
        bounds["value"] = bounds["nll"] + beta * bounds["kl"] + eps(dtype) * (size + beta * truth["kl"])
        for name, bound in bounds.items():
            what = f"{name}, {form}, {z_form}, {prior_form}, {reduction}"
            assert rounding.check(getattr(got, name), truth[name], bound, dtype, what)
        for name in wrt:
            value, size = exact[name]
            argument = np.shape(getattr(got, name))
            full = found["recon"].shape if name in WRT[:3] else (ROWS, LATENTS)
            bound = (8 if argument == full else 13) + 2 * (reduction == "mean")
            bound = bound * eps(dtype) * size
            if name in ("z_scale", "prior_scale"):
                bound = bound + beta * slack[name.removeprefix("z_")]
            what = f"∂{name}, {form}, {z_form}, {prior_form}, {reduction}"
            assert rounding.check(getattr(got, name), value / rows, bound / rows, dtype, what)


@SAMPLES
@REDUCTIONS
@DTYPES
def test_it_is_the_sum_of_its_halves(reduction, samples, dtype):
    """To the bit, but for the factors: what is left of them is tested at beta = 1, and beta is a factor."""
    found = inputs(dtype, samples)
    decoder, latent = halves(found)
    got = fe.neg_elbo_grad(**found, reduction=reduction, wrt=WRT)
    nll = fe.gaussian_nll_grad(**decoder, reduction=reduction, wrt=("x", "mean", "scale"))
    kl = fe.gaussian_kl_grad(**latent, reduction=reduction, wrt=oracles.KL_MEMBERS[1:])
    assert_array_equal(got.kl, kl.value)
    for name in ("mean", "scale"):
        assert_array_equal(getattr(got, f"z_{name}"), getattr(kl, name))
        assert_array_equal(getattr(got, f"prior_{name}"), getattr(kl, f"prior_{name}"))
    if reduction == "mean" or samples in (None, 1):
        assert_array_equal(
            got.nll, nll.value if samples is None or reduction == "mean" else np.sum(nll.value, axis=0)
        )
        for mine, theirs in (("x", "x"), ("recon", "mean"), ("scale", "scale")):
            assert_array_equal(getattr(got, mine), getattr(nll, theirs))
    elif reduction == "sum":
        assert got.nll == nll.value / samples
    else:
        rows = nll.value.astype(np.float64)
        assert_array_equal(got.nll, (((rows[0] + rows[1]) + rows[2]) / 3).astype(dtype))
    third = fe.neg_elbo_grad(**found, reduction=reduction, wrt=WRT, beta=0.375)
    assert_array_equal(third.nll, got.nll)
    assert_array_equal(third.kl, got.kl)
    assert_array_equal(third.recon, got.recon)
    assert_array_equal(third.z_mean, (got.z_mean * 0.375).astype(dtype))
    assert np.allclose(third.value, third.nll + 0.375 * np.asarray(third.kl), rtol=2 * eps(dtype))


@SAMPLES
def test_reductions(samples):
    """The sum and the mean are those of the rows, and so are their gradients."""
    found = inputs(samples=samples)
    rows, total, mean = (
        fe.neg_elbo_grad(**found, beta=1.5, reduction=r, wrt=WRT) for r in ("none", "sum", "mean")
    )
    for one, two, three in zip(rows[:3], total, mean, strict=False):
        assert one.shape == (ROWS,)
        assert type(two) is type(three) is float
        np.testing.assert_allclose([two, three], [one.sum(), one.mean()], rtol=1e-14)
    for one, two, three in zip(rows[3:], total[3:], mean[3:], strict=True):
        assert_array_equal(one, two)
        np.testing.assert_allclose(three, one / ROWS, rtol=1e-14)
    assert fe.neg_elbo(**found, beta=1.5) == mean[:3]


def test_values_are_summed_before_they_are_rounded():
    """Rows in double; reduced values of unrounded rows."""
    x, z = RNG.normal(size=(2, 1000, 1)).astype(np.float32)
    scales = {"logvar": np.float32(0.3), "z_logvar": np.float32(-0.4)}
    got = fe.neg_elbo(x, 2 * x, z, **scales, beta=0.1, reduction="none")
    nll, kl = (part.astype(np.float64) for part in got[1:])
    assert_array_equal(got.value, (nll + 0.1 * kl).astype(np.float32))
    assert np.any(got.value != got.nll + np.float32(0.1) * got.kl)
    total = fe.neg_elbo(x, 2 * x, z, **scales, beta=0.1, reduction="sum")
    assert total.nll == fe.gaussian_nll(x, 2 * x, logvar=scales["logvar"], reduction="sum")
    assert total.kl == fe.gaussian_kl(z, logvar=scales["z_logvar"], reduction="sum")
    assert total.value == total.nll + 0.1 * total.kl != got.value.sum(dtype=float)
    recon = np.stack([2 * x, 3 * x, -x])  # an average of samples is not rounded on the way, either
    got = fe.neg_elbo(x, recon, z, **scales, beta=0.1, reduction="none")
    samples = fe.gaussian_nll(x, recon, logvar=scales["logvar"]).astype(np.float64)
    average = ((samples[0] + samples[1]) + samples[2]) / 3
    assert_array_equal(got.value, (average + 0.1 * kl).astype(np.float32))
    assert np.any(got.value != (got.nll + 0.1 * kl).astype(np.float32))


def test_beta_zero_leaves_the_nll():
    found = inputs(samples=3)
    got = fe.neg_elbo_grad(**found, beta=0, reduction="none", wrt=WRT)
    assert_array_equal(got.value, got.nll)
    assert np.all(got.kl > 0)
    for gradient in got[6:]:
        assert_array_equal(gradient, 0)


@pytest.mark.parametrize("beta", [1, np.float32(1), np.array(1.0), np.int8(1)])
def test_beta_is_any_real_number_and_no_part_of_the_dtype(beta):
    found = inputs(np.float32)
    got, want = (fe.neg_elbo_grad(**found, **options) for options in ({"beta": beta}, {}))
    assert got.recon.dtype == got.z_mean.dtype == np.float32
    assert got[:3] == want[:3]


def test_the_dtype_is_that_of_all_arguments():
    found = inputs(np.float32, 3)
    for name in found:
        wide = found | {name: found[name].astype(np.float64)}
        for array in fe.neg_elbo_grad(**wide, reduction="none", wrt=WRT):
            assert array.dtype == np.float64
    images = found | {"x": np.arange(ROWS * FEATURES, dtype=np.uint8).reshape(ROWS, FEATURES)}
    for array in fe.neg_elbo_grad(**images, reduction="none", wrt=WRT):
        assert array.dtype == np.float32
