"""What a fixed σ² lets a linear VAE with 16 latent variables encode of scikit-learn's digits.

The best one is probabilistic PCA (Tipping and Bishop 1999): latent variable i is used where λᵢ, the data's
variance along principal component i, exceeds σ², and its KL, averaged over the data, is ½ log(λᵢ/σ²). A
learned σ² is the mean of the variances left out.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

RATE, USED = "#0072B2", "#B87A00"
LATENT = 16


def main() -> None:
    x = load_digits().data / 16
    size = x.shape[1]
    variances = np.linalg.eigvalsh(np.cov(x.T, bias=True))[::-1]
    kept, left_out = variances[:LATENT], variances[LATENT:]
    var = np.geomspace(1e-3, 100, 600)
    rate = [0.5 * np.log(np.maximum(kept / v, 1)).sum() for v in var]
    used = [(kept > v).sum() for v in var]

    _, axes = plt.subplots(figsize=(6.6, 3.6))
    axes.plot(var, rate, color=RATE)
    axes.set(xscale="log", xlim=(var[0], var[-1]), ylim=(0, 40), xlabel="σ²")
    axes.set_ylabel("KL, nats an image", color=RATE)
    other = axes.twinx()
    other.step(var, used, where="post", color=USED, lw=1.2)
    other.set(ylim=(0, 24), yticks=range(0, 25, 4))
    other.set_ylabel("latent variables in use", color=USED)
    other.grid(False)
    marks = (
        (size / 2, "mean of squares + KL:\nσ² = D/2"),
        (0.5, "sum of squares + KL:\nσ² = ½"),
        (left_out.mean(), "learned σ²"),
    )
    for at, text in marks:
        axes.axvline(at, color="#444444", lw=1, ls=":")
        axes.text(at * 0.92, 39, text, rotation=90, ha="right", va="top", fontsize=8)


if __name__ == "__main__":
    main()
    plt.show()
