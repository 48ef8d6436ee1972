"""What the public functions return: named tuples, known to users as `fastelbo`'s own."""

from __future__ import annotations

import typing
from typing import Any, NamedTuple, TypeVar

_Result = TypeVar("_Result")


def public(result: type[_Result]) -> type[_Result]:
    """`result` under the name that users know, for pickle and help; its annotations stay valid there."""
    hints = typing.get_type_hints(result)
    result.__annotations__ = result.__new__.__annotations__ = hints
    result.__module__ = "fastelbo"
    return result


# Members are `Any`: array, NumPy scalar, float, or None for a gradient not asked for, as the arguments say.
@public
class NLLGrad(NamedTuple):
    """Value and gradients of `gaussian_nll`; None for a gradient not asked for."""

    value: Any
    x: Any
    mean: Any
    scale: Any


@public
class KLGrad(NamedTuple):
    """Value and gradients of `gaussian_kl`; None for a gradient not asked for."""

    value: Any
    mean: Any
    scale: Any
    prior_mean: Any
    prior_scale: Any


@public
class BernoulliNLLGrad(NamedTuple):
    """Value and gradients of `bernoulli_nll`; None for a gradient not asked for."""

    value: Any
    x: Any
    logits: Any


@public
class NegELBO(NamedTuple):
    """Value of `neg_elbo`, and the two losses it is made of."""

    value: Any
    nll: Any
    kl: Any


@public
class NegELBOGrad(NamedTuple):
    """Value and gradients of `neg_elbo`; None for a gradient not asked for."""

    value: Any
    nll: Any
    kl: Any
    x: Any
    recon: Any
    scale: Any
    z_mean: Any
    z_scale: Any
    prior_mean: Any
    prior_scale: Any


@public
class OptimalNLLGrad(NamedTuple):
    """Value and gradients of `optimal_nll`; None for a gradient not asked for."""

    value: Any
    x: Any
    mean: Any


@public
class IWAEBound(NamedTuple):
    """The bound, its gradient (the normalized importance weights), and the effective sample size."""

    value: Any
    weights: Any
    ess: Any


@public
class FreeBits(NamedTuple):
    """The floored KL, and its derivative for each KL: 0 where the floor counts, else 1, or the share of w."""

    value: float
    factor: Any


@public
class ImpliedObjective(NamedTuple):
    """A loss in the terms of the negative ELBO, of which it is ``scale`` times, but for a constant."""

    var: float
    beta: float
    scale: float


@public
class Reparameterized(NamedTuple):
    """Samples z = μ + σε, and the ε they were made with."""

    z: Any
    eps: Any


@public
class ReparameterizeGrad(NamedTuple):
    """Gradients for the mean and for the scale, as it was passed."""

    mean: Any
    scale: Any
