"""Code as users write it, on which `mypy --strict` must have nothing to say. It runs, but tests nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import fastelbo as fe


def loss(x: NDArray[np.float32], recon: NDArray[np.float32], logvar: NDArray[np.float32]) -> float:
    """A scalar loss."""
    nll: float = fe.gaussian_nll(x, recon, logvar=logvar, reduction="mean")
    kl: float = fe.gaussian_kl(recon, std=0.5, prior_mean=x, prior_var=0.1, axis=None, reduction="sum")
    return nll + kl


def step(x: NDArray[np.float64], mean: NDArray[np.float64], std: float) -> fe.NLLGrad:
    """Gradients into a caller's buffer; by position and by name."""
    buffer = np.empty_like(mean)
    grad = fe.gaussian_nll_grad(x, mean, std=std, wrt="mean", min_var=1e-6, out=(None, None, buffer, None))
    _, _, d_mean, _ = grad
    mean -= 0.1 * d_mean
    both: fe.KLGrad = fe.gaussian_kl_grad(mean, var=std**2, wrt=["mean", "scale"], axis=None)
    mean -= 0.1 * both.mean
    return grad


def through_samples(mean: NDArray[np.float32], logvar: NDArray[np.float32]) -> fe.ReparameterizeGrad:
    """Samples and the way back; the σ-VAE; what a mix implies."""
    z, eps = fe.reparameterize(mean, logvar=logvar, rng=np.random.default_rng(0), n_samples=2)
    weights: NDArray[np.float32] = fe.iwae_bound(z.sum(axis=-1)).weights
    bits: fe.FreeBits = fe.free_bits(weights, 0.1, per="row", average="last", where=weights > 0)
    best: fe.OptimalNLLGrad = fe.optimal_nll_grad(mean, logvar, wrt="x", min_var=1e-6, where=mean > 0)
    beta: float = fe.implied_objective("mean", "sum", n_features=784, var=best.value**2 + bits.value).beta
    return fe.reparameterize_grad(beta * z, eps, logvar=logvar, mean_shape=mean.shape)


def elbo(x: NDArray[np.float32], recon: NDArray[np.float32], z: NDArray[np.float32]) -> fe.NegELBOGrad:
    """Values, and gradients in buffers."""
    total: float = fe.neg_elbo(
        x, recon, z, var=0.5, z_logvar=z, beta=0.5, axis=(-2, -1)[1:], z_where=True
    ).value
    _, nll, kl = fe.neg_elbo(x, recon, z, logvar=0, z_std=1.0, prior_var=2.0, reduction="none")
    z *= np.float32(total + np.sum(nll) + np.sum(kl) > 0)
    out = (None, None, None, None, recon, None, z, None, None, None)
    return fe.neg_elbo_grad(x, recon, z, var=0.5, z_logvar=0.1, wrt=["recon", "z_mean"], out=out)


def binary(x: NDArray[np.bool_], logits: NDArray[np.float32]) -> fe.BernoulliNLLGrad:
    """The other likelihood."""
    total: float = fe.bernoulli_nll(x, logits, where=x, x_scale=0.5, reduction="sum")
    logits -= np.float32(total)
    return fe.bernoulli_nll_grad(x, logits, wrt=["x", "logits"], out=(None, None, logits))


def images(pixels: NDArray[np.uint8], recon: NDArray[np.float16]) -> fe.NLLGrad:
    """Eight bits, and sixteen."""
    best: np.float32 = fe.optimal_var(pixels, recon, x_scale=1 / 255)
    value, _, _ = fe.neg_elbo(pixels, recon, 0.0, var=best, z_var=np.ones(recon.shape), x_scale=1 / 255)
    assert value > 0
    return fe.gaussian_nll_grad(pixels, recon, var=best, x_scale=np.float32(1 / 255).item(), wrt="mean")


def plain() -> None:
    """Lists, scalars, masks; the reference; the settings."""
    fe.gaussian_nll([1.0, 2.0], [1, 2], var=[0.5, 0.5], where=[True, False], weight=2 * np.ones(2), axis=())
    var: np.float64 = fe.optimal_var([1.0, 2.0], [0.0, 0.0])
    fe.reference.gaussian_nll(np.zeros(3), np.zeros(3), var=var, reduction="none")
    fe.set_num_threads(fe.get_num_threads())
    fe.set_num_threads(None)
    fe.show_config()


def wrong(x: NDArray[np.float32]) -> None:
    """Mistakes that the types must find: an ignore without an error is an error."""
    fe.gaussian_nll(x, x, var=1.0, reduction="avg")  # type: ignore[call-overload]
    fe.gaussian_nll(x, x, sigma=1.0)  # type: ignore[call-overload]
    fe.gaussian_nll(x, x, 1.0)  # type: ignore[call-overload]
    fe.gaussian_nll(x, x, var=1.0, x_scale="1/255")  # type: ignore[call-overload]
    fe.gaussian_kl_grad(x, var=1.0, wrt="logvar")  # type: ignore[arg-type]
    fe.gaussian_nll_grad(x, x, var=1.0, out=(x, x))  # type: ignore[arg-type]
    fe.bernoulli_nll_grad(x, x, wrt="mean")  # type: ignore[arg-type]
    fe.reparameterize(x, std=1.0, rng=0)  # type: ignore[arg-type]
    fe.free_bits(x, 1.0, per="dim")  # type: ignore[call-arg]
    fe.neg_elbo(x, x, x, var=1.0, z_var=1.0, wrt="recon")  # type: ignore[call-arg]
    fe.neg_elbo_grad(x, x, x, var=1.0, z_var=1.0, wrt="mean")  # type: ignore[arg-type]


if __name__ == "__main__":
    example = np.ones((2, 3), np.float32)
    loss(example, example, example)
    through_samples(example, example)
    step(np.ones((2, 3)), np.ones((2, 3)), 0.5)
    elbo(example, example.copy(), example.copy())
    binary(example > 0, example.copy())
    images(example.astype(np.uint8), example.astype(np.float16))
    plain()
