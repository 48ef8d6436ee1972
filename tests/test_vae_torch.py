"""Losses and gradients of whole VAEs beside PyTorch's, by torch.distributions and autograd.

Arrays are compared relative to their largest element: a single one can be as small as the rounding of the
terms that cancel in it.
"""

import importlib
from pathlib import Path

import numpy as np
import pytest

import fastelbo as fe

torch = pytest.importorskip(
    "torch", reason="compares with PyTorch: pip install torch (the CPU build will do)"
)
from torch.distributions import Normal, kl_divergence  # noqa: E402

EXAMPLES = Path(__file__).parents[1] / "examples"


def differs(got, want) -> float:
    """The largest difference, relative to the largest element."""
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape
    return abs(got - want).max() / abs(want).max()


@pytest.mark.parametrize("n_samples", [1, 3])
def test_100_steps_of_training(monkeypatch, n_samples):
    """Two models in float64, each trained by its own gradients and its own Adam, go the same way."""
    for package in ("rich", "sklearn"):
        pytest.importorskip(package, reason="trains the model of examples/: pip install '.[examples]'")
    monkeypatch.syspath_prepend(EXAMPLES)
    vae_digits, vae_torch = (importlib.import_module(name) for name in ("vae_digits", "vae_torch"))
    rng = np.random.default_rng(1312)
    data = vae_digits.load("float64")
    ours = vae_digits.VAE(data.x.shape[1], 8, rng, "float64")
    ours.params["logvar"][...] = np.linspace(-9, 0, 64)  # some below the floor, log MIN_VAR = -8.03
    theirs = vae_torch.TorchVAE(ours)
    for _ in range(100):
        x = rng.choice(data.x, 64, replace=False)
        eps = rng.standard_normal((n_samples, 64, 8))
        loss, grads = ours.neg_elbo_grad(x, eps)
        want, want_grads = theirs.neg_elbo_grad(x, eps)
        assert loss.value == pytest.approx(want, rel=1e-10)
        assert grads.keys() == want_grads.keys()
        assert max(differs(grads[name], want_grads[name]) for name in grads) <= 1e-10
        assert not grads["logvar"][0]
        ours.adam.step(grads)
        theirs.adam.step()
    assert max(differs(p, theirs.params[name].detach()) for name, p in ours.params.items()) <= 1e-10
    assert ours.neg_elbo(x, eps) == pytest.approx(theirs.neg_elbo(x, eps), rel=1e-10)


FORMS = {  # each scale from log σ², and σ from each
    "var": (torch.exp, torch.sqrt),
    "std": (lambda s: torch.exp(s / 2), lambda raw: raw),
    "logvar": (lambda s: s, lambda raw: torch.exp(raw / 2)),
    "logstd": (lambda s: s / 2, torch.exp),
    "precision": (lambda s: torch.exp(-s), torch.rsqrt),
}


@pytest.mark.parametrize("form", FORMS)
def test_two_layers_each_way_with_three_samples(form):
    """β = 2.5, a scale a feature, a prior: value, parts, gradients, back to the encoder's outputs."""
    n, n_features, n_latent, n_samples, beta = 7, 12, 5, 3, 2.5
    rng = np.random.default_rng(6114)
    x, eps = rng.normal(size=(n, n_features)), rng.normal(size=(n_samples, n, n_latent))

    def normal(*shape):
        return torch.from_numpy(rng.normal(0, shape[0] ** -0.5, shape))

    def layers(inputs, first, second):
        return torch.tanh(inputs @ first) @ second

    raw_from_logvar, std_from_raw = FORMS[form]
    x_leaf, prior_mean = torch.tensor(x, requires_grad=True), normal(n_latent).requires_grad_()
    scale, prior_scale = (raw_from_logvar(normal(k)).requires_grad_() for k in (n_features, n_latent))
    encoded = layers(torch.from_numpy(x), normal(n_features, 16), normal(16, 2 * n_latent)).chunk(2, dim=-1)
    z_mean, z_scale = encoded[0].requires_grad_(), raw_from_logvar(encoded[1]).requires_grad_()
    z = (z_mean + std_from_raw(z_scale) * torch.from_numpy(eps)).requires_grad_()
    recon = layers(z, normal(n_latent, 16), normal(16, n_features))
    for inner in (z, recon):
        inner.retain_grad()

    posterior = Normal(z_mean, std_from_raw(z_scale))
    prior = Normal(prior_mean, std_from_raw(prior_scale))
    nll = -Normal(recon, std_from_raw(scale)).log_prob(x_leaf).sum(-1).mean()
    kl = kl_divergence(posterior, prior).sum(-1).mean()
    (nll + beta * kl).backward()

    def array(tensor):
        return tensor.detach().numpy()

    scales = {"": scale, "z_": z_scale, "prior_": prior_scale}
    scales = {f"{prefix}{form}": array(raw) for prefix, raw in scales.items()}
    wrt = ("x", "recon", "scale", "z_mean", "z_scale", "prior_mean", "prior_scale")
    options = {"prior_mean": array(prior_mean), "beta": beta, "reduction": "mean"}
    ours_z, ours_eps = fe.reparameterize(array(z_mean), **{form: array(z_scale)}, eps=eps)
    assert differs(ours_z, array(z)) <= 1e-11
    got = fe.neg_elbo_grad(x, array(recon), array(z_mean), **scales, **options, wrt=wrt)
    by_z = fe.reparameterize_grad(array(z.grad), ours_eps, **{form: array(z_scale)})

    want = {"value": nll + beta * kl, "nll": nll, "kl": kl}
    want = {name: tensor.item() for name, tensor in want.items()}
    assert {name: getattr(got, name) for name in want} == pytest.approx(want, rel=1e-11)
    assert fe.neg_elbo(x, array(recon), array(z_mean), **scales, **options) == pytest.approx(
        tuple(want.values()), rel=1e-11
    )
    leaves = {
        "x": x_leaf,
        "recon": recon,
        "scale": scale,
        "prior_mean": prior_mean,
        "prior_scale": prior_scale,
    }
    for name, leaf in leaves.items():
        assert differs(getattr(got, name), array(leaf.grad)) <= 1e-11, name
    assert differs(got.z_mean + by_z.mean, array(z_mean.grad)) <= 1e-11
    assert differs(got.z_scale + by_z.scale, array(z_scale.grad)) <= 1e-11
