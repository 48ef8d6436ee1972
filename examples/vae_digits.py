"""A Gaussian VAE trained in NumPy: network and Adam by hand, loss and its gradients by fastelbo.

    python examples/vae_digits.py --plot vae_digits.png

The data: the 1,797 handwritten digits that come with scikit-learn, 8×8 pixels of 0 … 16, a fifth held out. It
takes some seconds, and prints the negative ELBO of the held-out digits after each epoch, in nats an image.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
from rich.progress import Progress
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import fastelbo as fe

Array = np.ndarray[Any, np.dtype[Any]]
Params = dict[str, Array]

LEVELS = 16  # pixels are x/16, so a density is 16 times, and a pixel's NLL log 16 nats below, that of 0 … 16
# The variance of rounding to steps of 1/16. A narrower density would fit the steps, not the digits, and that
# of the three pixels that are 0 in every image would shrink without end.
MIN_VAR = (1 / LEVELS) ** 2 / 12
HIDDEN, BATCH, TEST_SAMPLES = 128, 64, 16


class VAE:
    """q(z | x) = N(z_mean, exp z_logvar) and p(x | z) = N(recon, exp logvar), with a hidden layer in each.

    z_mean and z_logvar are functions of x, recon one of z; logvar is a parameter, one number a pixel.
    Shapes: N images of D pixels, H hidden units, J latents, S samples of z for each image.
    """

    def __init__(self, n_pixels: int, n_latent: int, rng: np.random.Generator, dtype: str = "float32"):
        sizes = {
            "encoder": (n_pixels, HIDDEN),
            "posterior": (HIDDEN, 2 * n_latent),  # z_mean and z_logvar side by side
            "decoder": (n_latent, HIDDEN),
            "recon": (HIDDEN, n_pixels),
        }
        self.params: Params = {"logvar": np.zeros(n_pixels, dtype)}
        for name, (n_in, n_out) in sizes.items():
            self.params[f"{name}.weight"] = rng.normal(0, n_in**-0.5, (n_in, n_out)).astype(dtype)
            self.params[f"{name}.bias"] = np.zeros(n_out, dtype)
        self.n_latent = n_latent
        self.adam = Adam(self.params)

    def dense(self, name: str, inputs: Array) -> Array:
        return np.asarray(inputs @ self.params[f"{name}.weight"] + self.params[f"{name}.bias"])

    def encode(self, x: Array) -> tuple[Array, Array, Array]:
        """hidden (N, H); z_mean and z_logvar (N, J), the parameters of q."""
        hidden = np.tanh(self.dense("encoder", x))
        z_mean, z_logvar = np.split(self.dense("posterior", hidden), 2, axis=-1)
        return hidden, z_mean, z_logvar

    def decode(self, z: Array) -> tuple[Array, Array]:
        """hidden (…, H); recon (…, D), the mean of p."""
        hidden = np.tanh(self.dense("decoder", z))
        return hidden, self.dense("recon", hidden)

    def forward(self, x: Array, eps: Array) -> tuple[Array, Array, Array, Array, Array, Array]:
        """hidden, z_mean, z_logvar; then z, hidden, recon for each of the S samples of ε (S, N, J)."""
        hidden_q, z_mean, z_logvar = self.encode(x)
        z = fe.reparameterize(z_mean, logvar=z_logvar, eps=eps).z
        return hidden_q, z_mean, z_logvar, z, *self.decode(z)

    def neg_elbo(self, x: Array, eps: Array) -> fe.NegELBO:
        """The loss (value, nll, kl) in nats, a mean over the images."""
        _, z_mean, z_logvar, _, _, recon = self.forward(x, eps)
        logvar = self.params["logvar"]
        return fe.neg_elbo(x, recon, z_mean, logvar=logvar, z_logvar=z_logvar, min_var=MIN_VAR)

    def neg_elbo_grad(self, x: Array, eps: Array) -> tuple[fe.NegELBOGrad, Params]:
        """The loss, and its gradient for each parameter: the chain rule, from the last layer to the first."""
        hidden_q, z_mean, z_logvar, z, hidden_p, recon = self.forward(x, eps)
        logvar = self.params["logvar"]
        loss = fe.neg_elbo_grad(x, recon, z_mean, logvar=logvar, z_logvar=z_logvar, min_var=MIN_VAR)
        grads = {"logvar": loss.scale}

        def dense_grad(name: str, inputs: Array, d_outputs: Array) -> Array:
            """Keep those of a layer's parameters, return that of its inputs."""
            inputs_2d, d_outputs_2d = (a.reshape(-1, a.shape[-1]) for a in (inputs, d_outputs))
            grads[f"{name}.weight"] = inputs_2d.T @ d_outputs_2d
            grads[f"{name}.bias"] = d_outputs_2d.sum(axis=0)
            return np.asarray(d_outputs @ self.params[f"{name}.weight"].T)

        d_hidden_p = dense_grad("recon", hidden_p, loss.recon)
        d_z = dense_grad("decoder", z, d_hidden_p * (1 - hidden_p**2))
        by_z = fe.reparameterize_grad(d_z, eps, logvar=z_logvar)
        d_posterior = np.hstack((loss.z_mean + by_z.mean, loss.z_scale + by_z.scale))
        d_hidden_q = dense_grad("posterior", hidden_q, d_posterior)
        dense_grad("encoder", x, d_hidden_q * (1 - hidden_q**2))
        return loss, grads

    def train_step(self, x: Array, eps: Array) -> float:
        """One step of Adam; the loss before it."""
        loss, grads = self.neg_elbo_grad(x, eps)
        self.adam.step(grads)
        return float(loss.value)


class Adam:
    """Kingma and Ba, arXiv:1412.6980, algorithm 1, on a dictionary of arrays, in place."""

    def __init__(self, params: Params, lr: float = 3e-3, betas: tuple[float, float] = (0.9, 0.999)):
        self.params, self.lr, self.betas, self.t = params, lr, betas, 0
        self.moments = {name: (np.zeros_like(p), np.zeros_like(p)) for name, p in params.items()}

    def step(self, grads: Params) -> None:
        self.t += 1
        bias1, bias2 = (1 - beta**self.t for beta in self.betas)
        for name, grad in grads.items():
            for moment, beta, power in zip(self.moments[name], self.betas, (grad, grad**2), strict=True):
                moment += (1 - beta) * (power - moment)
            mean, square = self.moments[name]
            self.params[name] -= self.lr / bias1 * mean / (np.sqrt(square / bias2) + 1e-8)


class Data(NamedTuple):
    """Digits of the training and of the test set, and their classes."""

    x: Array
    x_test: Array
    label: Array
    label_test: Array


def load(dtype: str = "float32") -> Data:
    """The split is the same for every seed."""
    images, labels = load_digits(return_X_y=True)
    x = (images / LEVELS).astype(dtype)
    return Data(*train_test_split(x, labels, test_size=0.2, stratify=labels, random_state=0))


class Epoch(NamedTuple):
    """Nats an image: the loss while training, then that of the test set, and its parts."""

    train: float
    test: float
    nll: float
    kl: float


class Model(Protocol):
    """What `train` needs; the twin in vae_torch.py has it too."""

    n_latent: int

    def train_step(self, x: Array, eps: Array) -> float: ...
    def neg_elbo(self, x: Array, eps: Array) -> tuple[float, float, float]: ...


def train(model: Model, data: Data, n_samples: int, epochs: int, rng: np.random.Generator) -> Iterator[Epoch]:
    """Minibatches in random order, S samples of ε an image; the test set has the same ε every epoch."""
    rng, rng_test = rng.spawn(2)

    def noise(rng: np.random.Generator, s: int, x: Array) -> Array:
        return rng.standard_normal((s, len(x), model.n_latent)).astype(x.dtype)

    eps_test = noise(rng_test, TEST_SAMPLES, data.x_test)
    for _ in range(epochs):
        total = 0.0
        for rows in np.array_split(rng.permutation(len(data.x)), math.ceil(len(data.x) / BATCH)):
            x = data.x[rows]
            total += len(rows) * model.train_step(x, noise(rng, n_samples, x))
        yield Epoch(total / len(data.x), *model.neg_elbo(data.x_test, eps_test))


def watch(epochs: Iterator[Epoch], n_epochs: int, name: str = "training") -> list[Epoch]:
    """Train under a progress bar, a line for each epoch."""
    history = []
    with Progress() as progress:
        for epoch in progress.track(epochs, total=n_epochs, description=name):
            history.append(epoch)
            progress.print(
                f"epoch {len(history):3}: test -ELBO {epoch.test:6.2f} nats an image"
                f" = NLL {epoch.nll:6.2f} + KL {epoch.kl:5.2f}"
            )
    return history


def positive(text: str) -> int:
    """A type for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def arguments(description: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--epochs", type=positive, default=300, help="passes over the training images (%(default)s)")
    add("--latent", type=positive, default=8, help="dimension of z (%(default)s)")
    add("--samples", type=positive, default=1, help="samples of z for an image and step, S (%(default)s)")
    add("--seed", type=int, default=0, help="of weights, batches and noise (%(default)s)")
    add("--dtype", choices=("float32", "float64"), default="float32", help="(%(default)s)")
    return parser


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--plot", metavar="FILE.png", help="reconstructions, samples, latents, loss curves")
    parser.add_argument("--save", metavar="FILE.npz", help="the weights")
    args = parser.parse_args()
    data, rng = load(args.dtype), np.random.default_rng(args.seed)
    model = VAE(data.x.shape[1], args.latent, rng, args.dtype)
    history = watch(train(model, data, args.samples, args.epochs, rng), args.epochs)
    if args.save:
        np.savez(args.save, **dict[str, Any](model.params))
    if args.plot:
        from vae_picture import draw

        draw(model, data, history, rng, args.plot)


if __name__ == "__main__":
    main()
