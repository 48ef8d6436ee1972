"""Which σ² and β a mix of squared error and KL optimises."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, Literal, SupportsIndex, TypeAlias

from fastelbo._results import ImpliedObjective
from fastelbo._rules.options import choice, count_of, number

_Part: TypeAlias = Literal["sum", "mean"]


def implied_objective(
    error: _Part,
    kl: _Part,
    *,
    n_features: SupportsIndex | None = None,
    n_latents: SupportsIndex | None = None,
    error_weight: float = 1.0,
    kl_weight: float = 1.0,
    var: float | None = None,
) -> ImpliedObjective:
    """Which σ² and β a mix of squared error and KL optimises.

    The mix is a·SSE + b·KL for each row, with a = `error_weight`, over D if the errors are averaged, and b =
    `kl_weight`, over J if the KLs are. Now ::

        −ELBO = SSE/(2σ²) + β·KL + (D/2)·log 2πσ²
        2σ²a·(−ELBO) = a·SSE + 2σ²aβ·KL + const.       (σ² fixed)

    so the mix is 2σ²a·(−ELBO) + const. where 2σ²aβ = b: one equation, in which β = 1 gives σ² = b/(2a), and a
    given σ² gives β = b/(2aσ²). Gradients, and so the optimum, are those of that −ELBO; what differs is their
    scale, 2σ²a, which a learning rate sees and Adam hardly.

    Parameters
    ----------
    error : {"mean", "sum"}
        What the loss takes over the features of a row: the mean squared error, or the sum of squares.
    kl : {"sum", "mean"}
        What it takes over the latents of a row. Both must then be averaged, or summed, over the rows alike.
    n_features, n_latents : int, optional
        D and J; needed for a "mean".
    error_weight, kl_weight : float, default 1.0
        Factors, > 0: 0.5 for half the squared error.
    var : float, optional
        σ² > 0 at which to say β. Without it β is 1, and σ² what follows.

    Returns
    -------
    ImpliedObjective
        Named tuple (var, beta, scale) of σ², β and the factor 2σ²a of the gradients.

    Raises
    ------
    TypeError
        No `n_features` or `n_latents` where a mean needs it; True or False for a number.
    ValueError
        Unknown reductions; numbers that are not > 0 and finite; σ², β or factor beyond the range of float64.

    References
    ----------
    .. [1] I. Higgins et al., "beta-VAE: Learning Basic Visual Concepts with a Constrained Variational
       Framework", ICLR (2017): β.
    .. [2] O. Rybkin, K. Daniilidis and S. Levine, "Simple and Effective VAE Training with Calibrated
       Decoders", arXiv:2006.13202 (2020): β and σ² are one number.

    Examples
    --------
    Mean squared error plus summed KL of 28×28 images is a decoder with σ² = D/2:

    >>> import fastelbo as fe
    >>> fe.implied_objective("mean", "sum", n_features=784).var
    392.0
    >>> fe.implied_objective("mean", "sum", n_features=784, var=1.0).beta
    392.0
    >>> fe.implied_objective("sum", "sum").var, fe.implied_objective("sum", "sum", error_weight=0.5).var
    (0.5, 1.0)
    """
    # Exact until the end: a product on the way may leave the range of float64 where the result does not.
    a = _term("error", error, error_weight, "n_features", n_features)
    b = _term("kl", kl, kl_weight, "n_latents", n_latents)
    if var is None:
        exact = b / (2 * a), Fraction(1), b
    else:
        given = _factor("var", var, "variance")
        exact = given, b / (2 * a * given), 2 * a * given
    return ImpliedObjective(*map(_rounded, ImpliedObjective._fields, exact))


def _term(name: str, reduction: str, weight: float, size_name: str, size: Any) -> Fraction:
    """The factor of one sum of the mix."""
    summed = choice(name, reduction, ("sum", "mean")) == "sum"
    factor = _factor(f"{name}_weight", weight, "factor")
    if summed:
        return factor
    if size is None:
        raise TypeError(f"{name}='mean' needs {size_name}, the number of elements it is the mean of")
    return factor / count_of(size_name, size)


def _factor(name: str, value: float, what: str) -> Fraction:
    return Fraction(number(name, value, what, positive=True))


def _rounded(name: str, exact: Fraction) -> float:
    try:
        number = float(exact)
    except OverflowError:
        number = math.inf
    if number in (0.0, math.inf):
        raise ValueError(
            f"the {name} of this mix is too {'large' if number else 'small'} for a float: "
            "take weights, a var or numbers of elements nearer to 1"
        )
    return number
