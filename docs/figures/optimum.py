"""The NLL of an element against σ²: its minimum is at σ² = MSE, and falls with the MSE without bound."""

import matplotlib.pyplot as plt
import numpy as np

import fastelbo as fe

COLOURS = ("#0072B2", "#009E73", "#D55E00")


def main() -> None:
    var = np.geomspace(1e-5, 10, 400)
    mse = np.geomspace(1e-5, 10, 400)
    _, axes = plt.subplots(figsize=(6.6, 3.6))
    for colour, one in zip(COLOURS, (1e-1, 1e-2, 1e-3), strict=True):
        axes.plot(var, fe.gaussian_nll(np.full_like(var, one**0.5), 0 * var, var=var, axis=()), color=colour)
        least = float(fe.gaussian_nll(one**0.5, 0.0, var=one))
        label = f"MSE = {one:g}: least {least:.2f} nats".replace("-", "−")
        axes.plot(one, least, "o", color=colour, label=label)
    axes.plot(mse, 0.5 * (1 + np.log(2 * np.pi * mse)), "k--", lw=1, label="½ (1 + log 2π + log MSE)")
    axes.set(xscale="log", xlim=(1e-5, 10), ylim=(-4, 4), xlabel="σ²", ylabel="NLL / D   (nats per element)")
    axes.legend(loc="lower right", fontsize=8.5)


if __name__ == "__main__":
    main()
    plt.show()
