"""The negative ELBO: against the reference, 60 digits and its halves; its own rules, and what it writes."""

import itertools

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
import sums
import variance
from fastelbo import reference
from marks import DTYPES, REDUCTIONS, SAMPLES
from messages import FIVE, pattern
from rounding import eps, ulp
from variance import LOG

RNG = np.random.default_rng(9)
WRT = ("x", "recon", "scale", "z_mean", "z_scale", "prior_mean", "prior_scale")
FORMS = tuple(variance.SCALES)
ROWS, FEATURES, LATENTS = 4, 5, 3


def inputs(dtype=np.float64, samples=None, form="logvar", z_form="logvar", prior_form="logvar") -> dict:
    """Arguments of a call, by name; scales are with an element each, log σ² within ±2."""
    lead = () if samples is None else (samples,)
    data, latents = (ROWS, FEATURES), (ROWS, LATENTS)
    found = {"x": RNG.normal(size=data), "recon": RNG.normal(size=lead + data)}
    found |= {"z_mean": RNG.normal(size=latents), "prior_mean": RNG.normal(size=latents)}
    found[form] = variance.raw_of(form, RNG.uniform(-2, 2, lead + data))
    found[f"z_{z_form}"] = variance.raw_of(z_form, RNG.uniform(-2, 2, latents))
    if prior_form is not None:
        found[f"prior_{prior_form}"] = variance.raw_of(prior_form, RNG.uniform(-2, 2, latents))
    return {name: array.astype(dtype) for name, array in found.items()}


def halves(found: dict) -> tuple[dict, dict]:
    """The arguments of gaussian_nll and of gaussian_kl."""
    nll = {"mean" if name == "recon" else name: a for name, a in found.items()}
    nll = {name: a for name, a in nll.items() if name in ("x", "mean", *FORMS)}
    kl = {name.removeprefix("z_"): a for name, a in found.items() if name.startswith(("z_", "prior_"))}
    return nll, kl


# --- values and gradients -----------------------------------------------------------------------------------


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


# --- weight, where, shapes ----------------------------------------------------------------------------------


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


# --- out ----------------------------------------------------------------------------------------------------


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
    layouts = {"C": np.empty_like, "F": lambda a: np.empty_like(a, order="F"), "spaced": spaced}
    for make in layouts.values():
        out = tuple([make(part) if isinstance(part, np.ndarray) else None for part in want])
        got = grad(args, out, reduction=reduction)
        for mine, place, expected in zip(got, out, want, strict=True):
            assert place is None or mine is place
            assert_array_equal(mine, expected)


def spaced(array):
    return np.empty([2 * n for n in array.shape], array.dtype)[tuple([slice(None, None, 2)] * array.ndim)]


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
    before = {name: array.copy() for name, array in args.items()}
    for use in itertools.product([False, True], repeat=len(WRT)):
        out = (None, None, None, *(args[name] if used else None for name, used in zip(WRT, use, strict=True)))
        with pytest.raises(ValueError, match="must be > 0"):
            grad(args, out, reduction=reduction)
        for name, array in args.items():
            assert_array_equal(array, before[name])


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


# --- errors -------------------------------------------------------------------------------------------------

X, Z = np.zeros((4, 3)), np.zeros((4, 2))
BASE = {"x": X, "recon": X, "z_mean": Z, "var": 1.0, "z_var": 1.0}
Z_FIVE = "z_var, z_std, z_logvar, z_logstd, z_precision"
ZERO = np.array([[1.0, 1.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])

# options, exception, what the message must say (in this order, "…" for anything between)
ERRORS = {
    "no scale": ({"var": None}, TypeError, f"give the scale as exactly one of {FIVE}; got none of them"),
    "no z_scale": (
        {"z_var": None},
        TypeError,
        f"give the latents' scale as exactly one of {Z_FIVE}; got none",
    ),
    "two z_scales": ({"z_std": 1.0}, TypeError, f"one of {Z_FIVE}; got z_var and z_std"),
    "two priors": (
        {"prior_std": 1.0, "prior_logvar": 0.0},
        TypeError,
        "at most one of prior_var…got prior_std and",
    ),
    "complex": ({"z_mean": Z + 1j}, TypeError, "z_mean has dtype complex128…z_mean.real"),
    "complex scale": ({"z_var": None, "z_logvar": 1j}, TypeError, "z_logvar has dtype complex128"),
    "no recon": ({"recon": None}, TypeError, "recon (None) has dtype object"),
    "masked": ({"recon": np.ma.zeros((4, 3))}, TypeError, "recon is a masked array"),
    "recon lacks axes": (
        {"recon": X[0]},
        ValueError,
        "x has shape (4, 3) and recon has shape (3,); recon must have the shape of x, or one leading axis of "
        "samples more: pass np.broadcast_to(recon, (4, 3)) if you mean that",
    ),
    "recon (N, 1)": ({"recon": X[:, :1]}, ValueError, "(4, 3)…(4, 1)…not stretched"),
    "recon (N, D, 1)": (
        {"recon": X[..., None]},
        ValueError,
        "(4, 3)…(4, 3, 1)…pass np.reshape(recon, (4, 3)), or np.reshape(x, (4, 3, 1))",
    ),
    "x (N, D, 1)": (
        {"x": X[..., None]},
        ValueError,
        "pass np.reshape(x, (4, 3)), or np.reshape(recon, (4, 3, 1))",
    ),
    "two axes of samples": (
        {"recon": np.zeros((5, 2, 4, 3))},
        ValueError,
        "x has shape (4, 3) and recon has shape (5, 2, 4, 3)…np.reshape(recon, (-1, 4, 3)) makes them one",
    ),
    "no such shape": ({"recon": np.zeros((4, 2))}, ValueError, "(4, 2)…one leading axis of samples more"),
    "wrong rows": ({"recon": np.zeros((2, 1, 3))}, ValueError, "(4, 3)…(2, 1, 3)…not stretched"),
    "no samples": (
        {"recon": np.zeros((0, 4, 3))},
        ValueError,
        "recon has shape (0, 4, 3): an average over no samples",
    ),
    "rows differ": (
        {"z_mean": np.zeros((5, 2))},
        ValueError,
        "rows of x have shape (4,) (of (4, 3), without axis=-1), those of z_mean (5,) (of (5, 2), without "
        "z_axis=-1); they must be equal, and are never broadcast: x and z_mean must be of the same batch",
    ),
    "one row of latents": ({"z_mean": Z[:1]}, ValueError, "(4,)…those of z_mean (1,)…never broadcast"),
    "latents by sample": (
        {"z_mean": np.zeros((2, 4, 2))},
        ValueError,
        "(4,)…those of z_mean (2, 4)…have their axis in recon",
    ),
    "images": (
        {"x": np.zeros((4, 3, 8, 8)), "recon": np.zeros((2, 4, 3, 8, 8))},
        ValueError,
        "rows of x have shape (4, 3, 8)…those of z_mean (4,)…axis=(-3, -2, -1) for events of shape (3, 8, 8)",
    ),
    "one latent a row": ({"z_mean": Z[:, 0]}, ValueError, "(4,)…those of z_mean ()…pass z_axis=() if"),
    "one element a row": (
        {"x": X[:, 0], "recon": X[:, 0], "axis": -1},
        ValueError,
        "()…(4,)…pass axis=() if",
    ),
    "a prior for each": ({"prior_mean": np.zeros((5, 4, 2))}, ValueError, "those of z_mean (5, 4)"),
    "prior (N, 1)": (
        {"prior_mean": Z[:, :1]},
        ValueError,
        "z_mean has shape (4, 2) and prior_mean has shape (4, 1)",
    ),
    "events or rows": (
        {"x": X[0], "recon": X[0], "z_mean": Z[0]},
        ValueError,
        "reduction='mean' of 1-D data, axis not given: one event of size 3, or 3 observations",
    ),
    "scale": (
        {"var": np.ones(4)},
        ValueError,
        "var has shape (4,)…(4, 3), the shape of x and recon: …np.reshape(var, (4, 1))",
    ),
    "sampled scale": (
        {"recon": np.zeros((2, 4, 3)), "var": np.ones((2, 4))},
        ValueError,
        "var has shape (2, 4)…(2, 4, 3), the shape of recon: one for each row is np.reshape(var, (2, 4, 1))",
    ),
    "scale beyond": (
        {"var": np.ones((2, 4, 3))},
        ValueError,
        "var has shape (2, 4, 3)…x and recon are not broadcast",
    ),
    "z_scale": (
        {"z_var": np.ones(4)},
        ValueError,
        "z_var has shape (4,)…(4, 2), the shape of z_mean and prior_mean",
    ),
    "prior_scale": ({"prior_std": np.ones((4, 3))}, ValueError, "prior_std has shape (4, 3)…(4, 2)"),
    "axis": ({"axis": 2}, np.exceptions.AxisError, "axis 2 is out of bounds for x of shape (4, 3)"),
    "z_axis": (
        {"z_axis": 2},
        np.exceptions.AxisError,
        "z_axis 2 is out of bounds for z_mean and prior_mean of shape (4, 2)",
    ),
    "z_axis twice": ({"z_axis": (1, -1)}, ValueError, "z_axis=(1, -1) names an axis twice"),
    "no z_axis": (
        {"z_axis": "all"},
        TypeError,
        "z_axis must be an int, a tuple of ints, () or None, not 'all'",
    ),
    "axis from the front": (
        {"recon": np.zeros((2, 4, 3)), "axis": 1},
        ValueError,
        "axis=1 may count from the wrong end: x has 2 axes, recon 3; pass axis=(-1,)",
    ),
    "z_axis from the front": (
        {"prior_mean": Z[0], "z_axis": 1},
        ValueError,
        "z_axis=1 may count from the wrong end: z_mean has 2 axes, prior_mean 1; pass z_axis=(-1,)",
    ),
    "beta < 0": ({"beta": -0.5}, ValueError, "beta must be a finite number >= 0, not -0.5"),
    "beta NaN": ({"beta": np.nan}, ValueError, "beta must be a finite number >= 0, not nan"),
    "beta inf": ({"beta": np.inf}, ValueError, "beta must be a finite number >= 0, not inf"),
    "betas": (
        {"beta": np.ones(2)},
        ValueError,
        "beta must be one number, not an array of shape (2,): for one of each latent, pass "
        "gaussian_kl_grad(..., weight=np.reshape(beta, (1, -1)))",
    ),
    "no beta": ({"beta": None}, TypeError, "beta (None) has dtype object"),
    "min_var": ({"min_var": -1.0}, ValueError, "min_var must be a finite variance >= 0, not -1.0"),
    "weight": (
        {"weight": np.ones((1, 3))},
        ValueError,
        "weight has shape (1, 3); it must have that of the rows, (4,), as nll and kl of a row are",
    ),
    "scalar weight": (
        {"weight": 2.0},
        ValueError,
        "weight has shape ()…(4,)…multiply the result by a scalar",
    ),
    "complex weight": ({"weight": np.ones(4) * 1j}, TypeError, "weight has dtype complex128"),
    "where": (
        {"where": np.ones((4, 2), bool)},
        ValueError,
        "where has shape (4, 2)…(4, 3), the shape of x and recon",
    ),
    "where of 0 and 1": ({"where": 1}, TypeError, "where must be boolean"),
    "z_where": (
        {"z_where": np.ones((4, 3), bool)},
        ValueError,
        "z_where has shape (4, 3)…(4, 2), the shape of z_mean and prior_mean",
    ),
    "z_where of one a row": ({"z_where": np.ones(4, bool)}, ValueError, "…np.reshape(z_where, (4, 1))"),
    "z_where of 0 and 1": (
        {"z_where": np.ones(2)},
        TypeError,
        "z_where must be boolean, not float64: pass np.not_equal(z_where, 0)",
    ),
    "reduction": (
        {"reduction": "avg"},
        ValueError,
        "reduction must be one of 'none', 'sum', 'mean', not 'avg'",
    ),
    "var": (
        {"var": np.where(X == 0, [1, 1, 0], 1)},
        ValueError,
        "var must be > 0: var[0, 2] is 0 (use where…min_var",
    ),
    "z_var": ({"z_var": ZERO}, ValueError, "z_var must be > 0: z_var[1, 1] is 0.0"),
    "prior": (
        {"prior_precision": ZERO[3]},
        ValueError,
        "prior_precision must be > 0: prior_precision[0] is 0.0",
    ),
}


@pytest.mark.parametrize("function", [fe.neg_elbo, fe.neg_elbo_grad])
@pytest.mark.parametrize("case", ERRORS)
def test_every_mistake_has_its_message(case, function):
    options, exception, message = ERRORS[case]
    with pytest.raises(exception, match=pattern(message)):
        function(**BASE | options)


def test_messages_of_the_latents_point_to_z_where():
    """`where` removes elements of the data."""
    for name in ("z_var", "prior_var"):
        with pytest.raises(
            ValueError, match=rf"{name}\[1, 1\] is 0\.0 \(use z_where to leave elements out\)$"
        ):
            fe.neg_elbo(**BASE | {name: ZERO})
        assert np.isfinite(fe.neg_elbo(**BASE | {name: ZERO}, z_where=ZERO > 0).value)
    with pytest.raises(TypeError, match=r"in a loss that takes it, z_where=~z_mean\.mask"):
        fe.neg_elbo(**BASE | {"z_mean": np.ma.masked_array(Z)})
    with pytest.raises(TypeError, match=r"pass z_where\.filled\(False\)"):
        fe.neg_elbo(**BASE, z_where=np.ma.masked_array(ZERO > 0))


ROW, ALL = np.zeros(4), np.zeros((4, 3))
OUT_ERRORS = {
    "unknown": (
        {"wrt": "mean"},
        ValueError,
        "wrt must name some of 'x', 'recon', …'prior_scale', not 'mean'",
    ),
    "a value": ({"wrt": "nll"}, ValueError, "not 'nll'"),
    "form": ({"wrt": "z_logvar"}, ValueError, "not 'z_logvar'; the latents' scale's gradient is 'z_scale'"),
    "no prior": ({"wrt": "prior_scale"}, ValueError, "'prior_scale', but no prior scale was passed"),
    "not names": ({"wrt": 3}, TypeError, "wrt must be one name or several of 'x'"),
    "too few": ({"out": (None,) * 7}, ValueError, "out must have 10 members (value, nll, kl, x, recon"),
    "an array": ({"out": ROW}, TypeError, "out must be a tuple (value, nll, kl"),
    "reduced": (
        {"out": (None, ROW, *[None] * 8)},
        ValueError,
        "out[1] (nll) must be None: with reduction='mean'",
    ),
    "not asked": (
        {"out": (*[None] * 3, ALL, *[None] * 6)},
        ValueError,
        "out[3] (x) is given, but wrt does not name 'x'",
    ),
    "shape": (
        {"out": (*[None] * 6, ALL, *[None] * 3)},
        ValueError,
        "out[6] (z_mean) must have shape (4, 2), not (4, 3)",
    ),
    "dtype": (
        {"out": (*[None] * 4, ALL.astype("f4"), *[None] * 5)},
        ValueError,
        "out[4] (recon) must have the computing",
    ),
    "overlap": (
        {"reduction": "none", "out": (ALL[:, 0], *[None] * 3, ALL, *[None] * 5)},
        ValueError,
        "out[0] (value) and out[4] (recon) overlap",
    ),
}


@pytest.mark.parametrize("case", OUT_ERRORS)
def test_out_and_wrt_must_be_sound(case):
    options, exception, message = OUT_ERRORS[case]
    before = ALL.copy()
    with pytest.raises(exception, match=pattern(message)):
        fe.neg_elbo_grad(**BASE | options)
    assert_array_equal(ALL, before)


@pytest.mark.parametrize("case", ERRORS)
def test_a_mistake_leaves_everything_untouched(case):
    """Even with all gradients written over their arguments."""
    options, exception, _ = ERRORS[case]
    mine = {
        name: array.copy() if isinstance(array, np.ndarray) else array
        for name, array in (BASE | options).items()
    }
    before = {name: array.copy() for name, array in mine.items() if isinstance(array, np.ndarray)}
    out = (*[None] * 4, mine["recon"], None, mine["z_mean"], *[None] * 3)
    with pytest.raises(exception):
        fe.neg_elbo_grad(**mine, wrt=("recon", "z_mean"), out=out)
    for name, array in before.items():
        assert_array_equal(mine[name], array)


# --- bits ---------------------------------------------------------------------------------------------------


def awkward(dtype, samples=9, rows=33, features=700, latents=70) -> dict:
    """Arguments whose sums are nothing but rounding errors."""
    data, z = (rows, features), (rows, latents)
    return {
        "x": sums.wide(0, data, dtype, -1), "recon": sums.wide(1, (samples, *data), dtype, -1),
        "var": sums.scale(2, data[1:], dtype), "z_mean": sums.wide(3, z, dtype, -1),
        "z_var": sums.scale(4, z, dtype), "prior_mean": sums.wide(5, z[1:], dtype, -1),
        "prior_var": sums.scale(6, (1, z[1]), dtype),
    }  # fmt: skip


@DTYPES
@REDUCTIONS
@pytest.mark.usefixtures("restored")
def test_the_number_of_threads_changes_no_bit(dtype, reduction):
    found = awkward(dtype)
    assert found["recon"].size > 1 << 17
    results = []
    for threads in (1, 2, 7):
        fe.set_num_threads(threads)
        results.append(fe.neg_elbo_grad(**found, reduction=reduction, beta=0.3, wrt=WRT))
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            assert_array_equal(one, two)


@DTYPES
def test_splits_of_the_batch_change_no_bit_of_rows(dtype):
    """Rows and unbroadcast gradients, batch by batch; and what is asked for changes none either."""
    found = awkward(dtype, features=17)
    want = fe.neg_elbo_grad(**found, reduction="none", beta=0.3, wrt=WRT)
    for name in WRT:
        got = fe.neg_elbo_grad(**found, reduction="none", beta=0.3, wrt=name)
        assert_array_equal(getattr(got, name), getattr(want, name))
        assert_array_equal(got[:3], want[:3])
    for ends in itertools.pairwise((0, 1, 2, 7, 33)):
        part = slice(*ends)
        mine = found | {name: found[name][part] for name in ("x", "z_mean", "z_var")}
        mine["recon"] = found["recon"][:, part]
        got = fe.neg_elbo_grad(**mine, reduction="none", beta=0.3, wrt=WRT)
        assert_array_equal(got[:3], [rows[part] for rows in want[:3]])
        assert_array_equal(got.x, want.x[part])
        assert_array_equal(got.recon, want.recon[:, part])
        assert_array_equal(got.z_mean, want.z_mean[part])


@pytest.mark.parametrize("layout", strategies.LAYOUTS)
def test_layouts_change_no_bit(layout):
    found = inputs(np.float32, 3)
    want = fe.neg_elbo_grad(**found, wrt=WRT)
    got = fe.neg_elbo_grad(**{name: strategies.LAYOUTS[layout](a) for name, a in found.items()}, wrt=WRT)
    for one, two in zip(got, want, strict=True):
        assert_array_equal(one, two)
