"""Arguments of calls of the negative ELBO, and what they are of its halves."""

import numpy as np

import variance

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
