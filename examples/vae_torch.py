"""The model of vae_digits.py in PyTorch, with autograd, torch.distributions and torch.optim; both compared.

    python examples/vae_torch.py

It needs PyTorch beside the rest. Weights at the start, batches and noise are the same, so what differs at the
end is rounding, amplified by thousands of steps: `--dtype float64 --epochs 20` shows what it was before. A
difference of more than a nat is an error.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import torch
from torch.distributions import Normal, kl_divergence

import vae_digits
from vae_digits import MIN_VAR, VAE, Array, Epoch


class TorchVAE:
    """A copy of a VAE's weights, trained by PyTorch."""

    def __init__(self, model: VAE):
        self.n_latent = model.n_latent
        self.params = {name: torch.tensor(p, requires_grad=True) for name, p in model.params.items()}
        self.adam = torch.optim.Adam(self.params.values(), lr=model.adam.lr, betas=model.adam.betas)

    def dense(self, name: str, inputs: Any) -> Any:
        return inputs @ self.params[f"{name}.weight"] + self.params[f"{name}.bias"]

    def loss(self, x: Array, eps: Array) -> tuple[Any, Any, Any]:
        """Tensors (value, nll, kl), a mean over images and samples."""
        data = torch.from_numpy(x)
        z_mean, z_logvar = self.dense("posterior", self.dense("encoder", data).tanh()).chunk(2, dim=-1)
        z_std = (z_logvar / 2).exp()
        z = z_mean + z_std * torch.from_numpy(eps)
        recon = self.dense("recon", self.dense("decoder", z).tanh())
        std = (self.params["logvar"].clamp(min=math.log(MIN_VAR)) / 2).exp()
        nll = -Normal(recon, std).log_prob(data).sum(-1).mean()
        kl = kl_divergence(Normal(z_mean, z_std), Normal(torch.zeros_like(z_mean), 1.0)).sum(-1).mean()
        return nll + kl, nll, kl

    def neg_elbo(self, x: Array, eps: Array) -> tuple[float, float, float]:
        """As `VAE.neg_elbo`."""
        with torch.no_grad():
            value, nll, kl = self.loss(x, eps)
        return value.item(), nll.item(), kl.item()

    def neg_elbo_grad(self, x: Array, eps: Array) -> tuple[float, dict[str, Array]]:
        """The loss, and autograd's gradients."""
        self.adam.zero_grad()
        value = self.loss(x, eps)[0]
        value.backward()
        return value.item(), {name: p.grad.numpy() for name, p in self.params.items()}

    def train_step(self, x: Array, eps: Array) -> float:
        """As `VAE.train_step`."""
        value, _ = self.neg_elbo_grad(x, eps)
        self.adam.step()
        return value


def main() -> None:
    args = vae_digits.arguments(__doc__).parse_args()
    data = vae_digits.load(args.dtype)
    results: dict[str, Epoch] = {}
    for name in ("NumPy and fastelbo", "PyTorch"):
        rng = np.random.default_rng(args.seed)
        model: Any = VAE(data.x.shape[1], args.latent, rng, args.dtype)
        model = TorchVAE(model) if name == "PyTorch" else model
        epochs = vae_digits.train(model, data, args.samples, args.epochs, rng)
        results[name] = vae_digits.watch(epochs, args.epochs, name)[-1]
    for name, last in results.items():
        print(f"{name:18}  test -ELBO {last.test:.6f} nats an image = NLL {last.nll:.6f} + KL {last.kl:.6f}")
    ours, theirs = results.values()
    difference = abs(ours.test - theirs.test)
    print(f"difference          {difference:.2g} nats")
    if not difference <= 1:
        sys.exit("more than a nat")


if __name__ == "__main__":
    main()
