"""The picture of score_onnx.py: how far apart the scores are, and where a typical anomaly's come from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure, SubFigure

if TYPE_CHECKING:
    from score_onnx import Case
    from vae_digits import Array

SEEN, UNSEEN = "#0072B2", "#D55E00"  # blue and vermilion, told apart by colour-blind readers too
NATS = 10.0  # top of the colour scale: few pixels of a typical anomaly add more


def draw(cases: Sequence[Case], file: str) -> None:
    """Write the picture."""
    n_columns = min(len(cases), 5)
    n_rows = math.ceil(len(cases) / n_columns)
    heights = 1.2 + 2.1 * n_rows, 4.0
    figure = Figure(figsize=(max(2.6 * n_columns, 6.5), sum(heights)), layout="constrained")
    top, bottom = np.asarray(figure.subfigures(2, 1, height_ratios=heights))
    _draw_histograms(top.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True), cases)
    top.supxlabel("negative ELBO, nats an image; the last bin holds all beyond", fontsize="medium")
    top.supylabel("share of the images", fontsize="medium")
    legend = top.legend(
        *top.axes[0].get_legend_handles_labels(),
        title="How a VAE that was trained without one digit scores",
        loc="outside upper center",
        ncols=2,
        frameon=False,
    )
    legend.get_title().set_fontsize("large")
    bottom.suptitle("Of each digit left out, the image of median score", x=0.01, ha="left")
    _draw_images(bottom, cases)
    figure.savefig(file, dpi=120)


def _draw_histograms(grid: Array, cases: Sequence[Case]) -> None:
    """A panel for each digit, with its ROC-AUC."""
    values = np.concatenate([case.scores.value for case in cases])
    bins = np.linspace(values.min(), np.quantile(values, 0.98), 31)
    for axes, case in zip(grid.flat, cases, strict=False):
        for rows, label, colour, fill in (
            (~case.unseen, "digits seen in training", SEEN, True),
            (case.unseen, "the digit left out", UNSEEN, False),
        ):
            scores = np.minimum(case.scores.value[rows], bins[-1])
            share = np.full(len(scores), 1 / len(scores))
            style = {"color": colour, "alpha": 0.45} if fill else {"edgecolor": colour, "lw": 1.8}
            axes.hist(scores, bins, weights=share, label=label, fill=fill, histtype="stepfilled", **style)
        axes.set_title(f"without {case.digit}: AUC {case.auc('value'):.3f}", fontsize="medium", loc="left")
        axes.spines[["top", "right"]].set_visible(False)
    for axes in list(grid.flat)[len(cases) :]:
        axes.set_visible(False)


def _draw_images(figure: SubFigure, cases: Sequence[Case]) -> None:
    """A column for each digit: the image, what became of it, and what each pixel adds to its NLL."""
    grid = figure.subplots(3, len(cases), squeeze=False)
    for column, case in zip(grid.T, cases, strict=True):
        row = case.median_row()
        for axes, images in zip(column, (case.x, case.scores.recon), strict=False):
            axes.imshow(images[row].reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
        nats = column[2].imshow(case.scores.pixels[row].reshape(8, 8), cmap="Oranges", vmin=0, vmax=NATS)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
    for axes, label in zip(grid[:, 0], ("image", "recon", "NLL"), strict=True):
        axes.set_ylabel(label, rotation=0, ha="right", va="center")
    figure.colorbar(
        nats, ax=grid, label="nats a pixel", extend="both", shrink=0.5, anchor=(0, 0), panchor=False
    )
