"""The inputs of the race: real data (digits, photographs) and the shapes of the field."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ops import Elbo, Loss
from processes import Array

SHAPES = ((1, 2), (128, 32), (128, 784), (1024, 3072), (8192, 3072), (1, 10_000_000), (1_000_000, 8))
LARGEST = 8192 * 3072  # elements of several decoder samples
PATCH = 16  # a photograph's row is one patch of 16×16 pixels × 3 colours = 768 values
Named = dict[str, Array]


@dataclass(frozen=True)
class Case:
    """Named input arrays: `nll` holds what the NLL takes, `kl` what the KL takes, `latents` the ELBO's KL."""

    name: str
    dtype: str
    nll: Named
    kl: Named
    latents: Named
    var: float  # the shared σ²

    def args(self, loss: Loss) -> dict[str, Any]:
        """The arguments of one loss; a shared variance is a scalar."""
        if isinstance(loss, Elbo):
            z = {f"z_{k}": a for k, a in self.latents.items()}
            return {"x": self.nll["x"], **self._samples(loss.samples), **z}
        source = self.nll if "x" in loss.args else self.kl
        return {k: self.var if k in loss.row_grads else source[k] for k in loss.args}

    def _samples(self, samples: int) -> Named:
        """Means and log-variances of a decoder that hears its latents: a little different in each sample."""
        found = {"recon": self.nll["mean"], "logvar": self.nll["logvar"]}
        if samples == 1:
            return found
        draw, dtype = np.random.default_rng(samples).standard_normal, np.dtype(self.dtype)
        size = dtype.type(0.1 * self.var**0.5)
        return {k: a + size * draw((samples, *a.shape), dtype=dtype.type) for k, a in found.items()}


def digits() -> Array:
    """Scikit-learn's 1797 handwritten digits, 8×8 pixels of 0 … 16."""
    from sklearn.datasets import load_digits

    return np.asarray(load_digits().data)


def photos() -> Array:
    """Scikit-learn's two photographs (china.jpg, flower.jpg) as rows of patches, 8-bit values as floats."""
    from sklearn.datasets import load_sample_images

    rows = []
    for image in load_sample_images().images:
        h, w = (n - n % PATCH for n in image.shape[:2])
        tiles = image[:h, :w].reshape(h // PATCH, PATCH, w // PATCH, PATCH, 3)
        rows.append(tiles.transpose(0, 2, 1, 3, 4).reshape(-1, PATCH * PATCH * 3))
    return np.concatenate(rows).astype(np.float64)


def linear_vae(x: Array, latents: int) -> tuple[Named, Named]:
    """What the best linear VAE makes of `x`: the inputs of its NLL, and of its KL.

    The optimum is probabilistic PCA (Tipping & Bishop 1999; Lucas et al. 2019): the decoder returns
    the mean, the posterior of a latent is N(m, σ²/λ) by the eigenvalue λ. The variance of a pixel
    is that of its column, times how badly its row is reconstructed: a decoder that has learned
    where it is unsure. For KL(q‖p), p lies halfway to N(0, I).
    """
    centre = x.mean(axis=0)
    eigen, axes = np.linalg.eigh(np.cov(x, rowvar=False))
    eigen, axes = eigen[: -latents - 1 : -1], axes[:, : -latents - 1 : -1]
    scores = (x - centre) @ axes
    mean = centre + scores @ axes.T
    square = (x - mean) ** 2
    row = square.mean(axis=1, keepdims=True)
    var = np.maximum(square.mean(axis=0) * row, 1e-3 * square.mean() ** 2) / square.mean()
    noise = square.sum(axis=1).mean() / (x.shape[1] - latents)
    z_mean = scores * np.sqrt(eigen - noise) / eigen
    z_logvar = np.broadcast_to(np.log(noise / eigen), z_mean.shape)
    kl = {"mean": z_mean, "logvar": z_logvar, "prior_mean": z_mean / 2, "prior_logvar": z_logvar / 2}
    return {"x": x, "mean": mean, "var": var, "logvar": np.log(var)}, kl


def synthetic(shape: tuple[int, int], dtype: Any) -> tuple[Named, Named]:
    """Normal variates of a shape of the field; log-variances around −1."""
    draw = np.random.default_rng(2013).standard_normal
    x, mean = (draw(shape, dtype=dtype) for _ in range(2))
    logvar, prior = (0.5 * draw(shape, dtype=dtype) - 1 for _ in range(2))
    nll = {"x": x, "mean": mean, "var": np.exp(logvar), "logvar": logvar}
    return nll, {"mean": mean, "logvar": logvar, "prior_mean": x, "prior_logvar": prior}


REAL: dict[str, tuple[Callable[[], Array], int]] = {"digits": (digits, 16), "photos": (photos, 64)}  # latents
CASES = (*REAL, *(f"{n}x{d}" for n, d in SHAPES))


def shape_of(case: str) -> tuple[int, int] | None:
    """Shape of a synthetic case; None for real data, which is small."""
    if case in REAL:
        return None
    n, d = case.split("x")
    return int(n), int(d)


def fits(loss: Loss, case: str) -> bool:
    """Whether the arrays of all contenders fit side by side, decoder samples of a synthetic case included."""
    return (
        not isinstance(loss, Elbo)
        or loss.samples == 1
        or loss.samples * math.prod(shape_of(case) or (1,)) <= LARGEST
    )


def load(case: str, dtype: str) -> Case:
    """The arrays of a case, C-contiguous, of one dtype."""
    shape = shape_of(case)
    rows, latents = REAL.get(case, (None, 0))
    nll, kl = linear_vae(rows(), latents) if rows else synthetic(shape or (0, 0), np.dtype(dtype))

    def convert(arrays: Named) -> Named:
        return {k: np.ascontiguousarray(a, dtype) for k, a in arrays.items()}

    nll, kl = convert(nll), convert(kl)
    # real data come with their latents; elsewhere a quarter of the columns, 32 at most
    width = latents or max(2, min(32, kl["mean"].shape[1] // 4))
    posteriors = convert({k: kl[k][:, :width] for k in ("mean", "logvar")})
    # not the optimum σ² = MSE, where the gradient vanishes and a comparison would say nothing
    var = 2 * float(np.mean((nll["x"][:4096] - nll["mean"][:4096]) ** 2, dtype=np.float64))
    return Case(case, dtype, nll, kl, posteriors, float(np.dtype(dtype).type(var)))
