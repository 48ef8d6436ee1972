"""Anomalies found by an exported VAE: ONNX Runtime runs it, fastelbo scores its outputs row by row.

    python examples/score_onnx.py --plot anomalies.png

A VAE is trained without one of the ten digits and exported to ONNX. It then scores, by the negative ELBO in
nats, the test images of the other nine and every image of the one it has never seen. ROC-AUC says how well
the scores tell these apart; 0.5 is chance. So for each of the ten digits, which takes about a minute, or
for those of --left-out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from sklearn.metrics import roc_auc_score

import fastelbo as fe
import vae_digits
from vae_digits import MIN_VAR, VAE, Array, Data
from vae_onnx import to_onnx

SAMPLES = 16


class Scores(NamedTuple):
    """Nats of each row, value = nll + kl, and of each pixel in nll; recon is a mean over samples."""

    value: Array
    nll: Array
    kl: Array
    pixels: Array
    recon: Array


def score(session: onnxruntime.InferenceSession, x: Array, rng: np.random.Generator) -> Scores:
    """Where a model is used, this is all: ONNX Runtime, NumPy and fastelbo."""
    n_latent = session.get_inputs()[1].shape[-1]
    eps = rng.standard_normal((SAMPLES, len(x), n_latent)).astype(x.dtype)
    names = ["recon", "logvar", "z_mean", "z_logvar"]
    recon, logvar, z_mean, z_logvar = session.run(names, {"x": x, "eps": eps})
    scale = {"logvar": logvar, "min_var": MIN_VAR}
    rows = fe.neg_elbo(x, recon, z_mean, z_logvar=z_logvar, reduction="none", **scale)
    pixels = fe.gaussian_nll(x, recon, axis=(), **scale)
    return Scores(*rows, pixels.mean(axis=0), recon.mean(axis=0))


class Case(NamedTuple):
    """One digit left out: the rows that were scored, which of them are of that digit, and their scores."""

    digit: int
    x: Array
    unseen: Array
    scores: Scores

    def auc(self, member: str) -> float:
        return float(roc_auc_score(self.unseen, getattr(self.scores, member)))

    def median_row(self) -> int:
        """Of the digit that was left out, the row in the middle of the scores."""
        rows = np.flatnonzero(self.unseen)
        return int(rows[np.argsort(self.scores.value[rows])[len(rows) // 2]])


def leave_out(digit: int, data: Data) -> tuple[Data, Array]:
    """The data without a digit, and all images of it."""
    keep, keep_test = data.label != digit, data.label_test != digit
    rest = Data(data.x[keep], data.x_test[keep_test], data.label[keep], data.label_test[keep_test])
    return rest, np.concatenate((data.x[~keep], data.x_test[~keep_test]))


def report(cases: Sequence[Case], console: Console) -> None:
    """Print how well each score tells the rows apart, and what that of a typical unseen image is made of."""
    aucs = {name: [case.auc(name) for case in cases] for name in ("value", "nll", "kl")}
    table = Table("left out", "unseen + others", "by -ELBO", "by NLL", "by KL", title="ROC-AUC", box=SIMPLE)
    for i, case in enumerate(cases):
        count = f"{case.unseen.sum()} + {(~case.unseen).sum()}"
        table.add_row(str(case.digit), count, *(f"{auc[i]:.3f}" for auc in aucs.values()))
    table.add_section()
    table.add_row("mean", "", *(f"{np.mean(auc):.3f}" for auc in aucs.values()))
    console.print(table)

    table = Table("left out", "-ELBO", "NLL", "KL", "most NLL from pixels (row, column)", box=SIMPLE)
    table.title = "The unseen image of median -ELBO, nats"
    for case in cases:
        row, scores = case.median_row(), case.scores
        nats = (f"{member[row]:.1f}" for member in (scores.value, scores.nll, scores.kl))
        top = np.argsort(-scores.pixels[row])[:3]
        pixels = (f"({p // 8}, {p % 8}) {scores.pixels[row, p]:.1f}" for p in top)
        table.add_row(str(case.digit), *nats, "  ".join(pixels))
    console.print(table)


def main() -> None:
    parser = vae_digits.arguments(__doc__)
    add = parser.add_argument
    add(
        "--left-out", type=int, nargs="+", choices=range(10), default=range(10), metavar="DIGIT", help="(all)"
    )
    add("--plot", metavar="FILE.png", help="histograms of the scores, and an image of each left-out digit")
    add("--save", metavar="FOLDER", type=Path, help="keep the models there, as without_3.onnx")
    args = parser.parse_args()
    data, cases = vae_digits.load(args.dtype), []
    with Progress() as progress:
        bar = progress.add_task("training", total=len(args.left_out) * args.epochs)
        for digit in args.left_out:
            rng = np.random.default_rng(args.seed)
            seen, unseen = leave_out(digit, data)
            model = VAE(data.x.shape[1], args.latent, rng, args.dtype)
            for _ in vae_digits.train(model, seen, args.samples, args.epochs, rng):
                progress.advance(bar)
            proto = to_onnx(model)
            if args.save:
                args.save.mkdir(parents=True, exist_ok=True)
                (args.save / f"without_{digit}.onnx").write_bytes(proto)
            session = onnxruntime.InferenceSession(proto)
            x = np.concatenate((unseen, seen.x_test))
            cases.append(Case(digit, x, np.arange(len(x)) < len(unseen), score(session, x, rng)))
    report(cases, Console())
    if args.plot:
        from score_picture import draw

        draw(cases, args.plot)


if __name__ == "__main__":
    main()
