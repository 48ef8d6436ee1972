"""The losses and samples in plain NumPy float64: the readable definition.

Every function has the signature of its namesake in `fastelbo` and the same rules for shapes, ``axis``,
``weight``, ``where``, ``min_var`` and ``reduction``, and computes in float64 by the textbook formula. It is
what the fast code is compared with, and what to read first. It is *not* the accurate code: KL by
``expm1(d) - d`` loses digits where the two Gaussians nearly agree, and infinite inputs are left to IEEE
arithmetic. It checks what would otherwise go wrong silently, not every mistake a caller can make.

Maths: with r = x − mean, s = log σ² and z = r·exp(−s/2), all in nats,

    NLL = Σ ½·log 2π + ½s + ½z²                 ∂x = z·exp(−s/2) = −∂mean        ∂s = ½(1 − z²)
    KL  = Σ ½(expm1(d) − d) + ½z²               ∂mean = z·exp(−s_p/2) = −∂prior_mean
          d = s_q − s_p, z from s_p             ∂s_q = ½·expm1(d)                ∂s_p = −½·expm1(d) − ½z²
    Bernoulli NLL = Σ log(1 + eˡ) − x·l         ∂x = −l                          ∂l = 1/(1 + e⁻ˡ) − x
    a sample is mean + exp(s/2)·ε               ∂mean = g                        ∂s = ½·g·ε·exp(s/2)
    −ELBO = mean over samples of NLL(x, recon_s) + β·KL

A scale is one row of `SCALES`: it says how to get s from the argument, and ds/d(argument). The gradient of a
broadcast argument is the sum over what it was broadcast over.
"""

import typing as _typing

from fastelbo.reference import _elbo, _losses
from fastelbo.reference._optimal import optimal_nll, optimal_nll_grad, optimal_var
from fastelbo.reference._samples import reparameterize, reparameterize_grad

if _typing.TYPE_CHECKING:  # their signatures are those of their namesakes
    from fastelbo._losses import *  # noqa: F403

_declared = _losses.functions | _elbo.functions
globals().update(_declared)
__all__ = [  # noqa: PLE0604
    *_declared,
    "optimal_nll",
    "optimal_nll_grad",
    "optimal_var",
    "reparameterize",
    "reparameterize_grad",
]


def __dir__() -> list[str]:
    """Public names and what Python asks for, without the modules behind them."""
    return sorted([*__all__, *[name for name in globals() if name.startswith("__")]])
