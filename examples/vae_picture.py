"""The picture of vae_digits.py: reconstructions, samples, latent space, loss curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

if TYPE_CHECKING:
    from vae_digits import VAE, Array, Data, Epoch

# Okabe and Ito's palette, which colour-blind readers can tell apart too, and three more.
COLOURS = (
    *("#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7"),
    *("#8B5A00", "#5B2A86", "#7F7F7F"),
)
COLUMNS = 10


def mosaic(axes: Axes, images: Array, title: str, row_labels: Sequence[str]) -> None:
    """8×8 images, ten a row, white 0 and black 1, with space around each."""
    cells = images.reshape(-1, COLUMNS, 8, 8)
    padded = np.pad(cells, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=np.nan)
    axes.imshow(padded.swapaxes(1, 2).reshape(10 * len(cells), -1), cmap="gray_r", vmin=0, vmax=1)
    axes.set_title(title, loc="left")
    axes.set_xticks([])
    axes.set_yticks(range(5, 10 * len(cells), 10), row_labels)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def draw(model: VAE, data: Data, history: Sequence[Epoch], rng: np.random.Generator, file: str) -> None:
    """Write the picture of a trained model."""
    figure = Figure(figsize=(12, 8.6), layout="constrained")
    grid = figure.subplots(2, 2, height_ratios=(3, 7))
    _draw_reconstructions(grid[0, 0], model, data)
    z = rng.standard_normal((4 * COLUMNS, model.n_latent))
    mosaic(grid[0, 1], model.decode(z)[1], "Samples: recon of z drawn from N(0, I)", [""] * 4)
    _draw_latents(grid[1, 0], model, data)
    _draw_losses(grid[1, 1], history)
    figure.savefig(file, dpi=120)


def _draw_reconstructions(axes: Axes, model: VAE, data: Data) -> None:
    """Two test images of each class, each above its reconstruction."""
    order = np.argsort(data.label_test, kind="stable")
    first = np.searchsorted(data.label_test[order], range(10))
    images = data.x_test[np.concatenate([order[first], order[first + 1]])]
    recon = model.decode(model.encode(images)[1])[1]
    pairs = np.stack([a.reshape(2, COLUMNS, 64) for a in (images, recon)], axis=1)
    mosaic(axes, pairs, "Test images, and recon of their z_mean", ["image", "recon"] * 2)


def _draw_latents(axes: Axes, model: VAE, data: Data) -> None:
    """z_mean of the test images; of more than two dimensions, the plane that parts the classes best."""
    z_mean = model.encode(data.x_test)[1]
    labels = [f"z_mean[{j}]" for j in range(model.n_latent)]
    if model.n_latent > 2:
        lda = LinearDiscriminantAnalysis(n_components=2).fit(model.encode(data.x)[1], data.label)
        z_mean, labels = lda.transform(z_mean), ["first discriminant of z_mean", "second discriminant"]
    elif model.n_latent == 1:
        z_mean, labels = np.column_stack((z_mean, data.label_test)), [*labels, "class"]
    for digit, colour in enumerate(COLOURS):
        own = z_mean[data.label_test == digit]
        axes.scatter(own[:, 0], own[:, 1], s=60, color=colour, marker=f"${digit}$", linewidths=0.4)
    axes.set(xlabel=labels[0], ylabel=labels[1])
    axes.set_title("Latent space: the test images, each drawn as its class", loc="left")


def _draw_losses(axes: Axes, history: Sequence[Epoch]) -> None:
    lines = {
        "KL, test": ([e.kl for e in history], COLOURS[3], ":"),
        "−ELBO, test": ([e.test for e in history], COLOURS[4], "-"),
        "−ELBO, training": ([e.train for e in history], COLOURS[1], "--"),
        "NLL, test": ([e.nll for e in history], COLOURS[5], "-."),
    }
    for label, (values, colour, style) in lines.items():
        axes.plot(range(1, len(history) + 1), values, color=colour, ls=style, lw=2, label=label)
    axes.set(xlabel="epoch", ylabel="nats an image")
    axes.set_title(
        f"Loss: test −ELBO = NLL + KL, {history[-1].test:.1f} nats at the end".replace("-", "−"), loc="left"
    )
    axes.grid(color="#e6e6e6", lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper right")
