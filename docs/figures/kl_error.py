"""Relative error of KL(q ‖ N(0, I)) by each formula, against 80 digits, as q nears the prior.

PYTHONPATH=benchmarks python docs/figures/kl_error.py
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

import fastelbo as fe
from accuracy import kl_exact, kl_expm1, kl_textbook, normal, worst
from processes import Array

DISTANCES = 10.0 ** -np.arange(19)
LARGEST = 10.0  # a relative error beyond is drawn there


def torch_kl(mean: Array, logvar: Array) -> Array:
    """What torch.distributions makes of two normals."""
    import torch
    from torch.distributions import Normal, kl_divergence

    q = Normal(torch.from_numpy(mean), torch.exp(0.5 * torch.from_numpy(logvar)))
    return np.asarray(kl_divergence(q, Normal(torch.zeros(()).to(q.loc), 1.0)).sum(-1))


FORMS: dict[str, tuple[Callable[..., Any], str]] = {
    "NumPy, ½ Σ (μ² + exp(s) − 1 − s)": (kl_textbook, "#D55E00"),
    "NumPy, ½ Σ (μ² + expm1(s) − s)": (kl_expm1, "#E69F00"),
    "torch.distributions": (torch_kl, "#CC79A7"),
    "fastelbo": (lambda mean, logvar: fe.gaussian_kl(mean, logvar=logvar), "#0072B2"),
}


def main() -> None:
    np.seterr(all="ignore")
    forms = dict(FORMS)
    if not importlib.util.find_spec("torch"):
        del forms["torch.distributions"]
    _, panels = plt.subplots(1, 2, figsize=(8.4, 3.9), sharex=True, sharey=True)
    for axes, dtype in zip(panels, (np.float32, np.float64), strict=True):
        errors: dict[str, list[float]] = {name: [] for name in forms}
        for distance in DISTANCES:
            mean, logvar = normal(dtype, distance)
            exact = kl_exact(mean, logvar)
            for name, (form, _) in forms.items():
                errors[name].append(worst(form(mean, logvar), exact, exact))
        for name, (_, colour) in forms.items():
            style = "--" if name.startswith("torch") else "-"
            axes.plot(DISTANCES, np.minimum(errors[name], LARGEST), style, color=colour, label=name)
        axes.axhline(1, color="#444444", lw=1, ls=":")
        axes.set(xscale="log", yscale="log", ylim=(1e-17, 2 * LARGEST), title=np.dtype(dtype).name)
        axes.set_xlabel("distance of q from N(0, I)")
        axes.set_xlim(2, 1e-18)
    panels[0].set_ylabel("worst relative error of 64 rows")
    panels[0].text(1e-18, 1, "100 %", ha="right", va="bottom", fontsize=8)
    panels[0].legend(loc="lower right", fontsize=8)


if __name__ == "__main__":
    main()
    plt.show()
