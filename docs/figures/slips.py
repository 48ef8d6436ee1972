"""Where two slips move the optimum of σ²: Σ σᵢ² for Σ log σᵢ², and the mean of the squares for their sum."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

import fastelbo as fe

RIGHT, WRONG = "#0072B2", "#D55E00"
D, MSE, R = 784, 0.04, 0.1


def curve(axes: Axes, var: np.ndarray, loss: np.ndarray, colour: str, label: str) -> None:
    """One loss, its minimum marked."""
    least = loss.argmin()
    axes.plot(var, loss, color=colour, label=label)
    axes.plot(var[least], loss[least], "o", color=colour)


def main() -> None:
    _, (left, right) = plt.subplots(1, 2, figsize=(8.4, 4.1))

    var = np.geomspace(1e-3, 1, 2000)
    r = np.full_like(var, R)
    curve(left, var, fe.gaussian_nll(r, 0 * r, var=var, axis=(), full=False), RIGHT, "½ log σ² + r²/(2σ²)")
    curve(left, var, 0.5 * var + R**2 / (2 * var), WRONG, "½ σ² + r²/(2σ²)")
    left.set(xscale="log", ylim=(-2.5, 3), xlabel="σ²", ylabel="nats")
    left.set_title(f"The dropped log: one element, r = {R}")
    left.annotate("σ² = r²", (R**2, 0.5 * np.log(R**2) + 0.5), (1.4e-3, -2.2), color=RIGHT)
    left.annotate("σ² = |r|", (R, R), (0.12, -0.4), color=WRONG)

    var = np.geomspace(1e-5, 1, 2000)
    log_term = 0.5 * D * np.log(2 * np.pi * var)
    curve(right, var, D * MSE / (2 * var) + log_term, RIGHT, "D·MSE/(2σ²) + (D/2) log 2πσ²")
    curve(right, var, MSE / (2 * var) + log_term, WRONG, "MSE/(2σ²) + (D/2) log 2πσ²")
    right.set(xscale="log", ylim=(-4000, 3000), xlabel="σ²")
    right.set_title(f"The mean for the sum: D = {D}, MSE = {MSE}")
    right.annotate("σ² = MSE", (MSE, 0), (0.06, -700), color=RIGHT)
    right.annotate("σ² = MSE/D", (MSE / D, 0), (1.1e-4, -3600), color=WRONG)

    for axes in (left, right):
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2))


if __name__ == "__main__":
    main()
    plt.show()
