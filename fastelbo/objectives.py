"""What is made of the losses: σ-VAE, importance-weighted bound, free bits, and what a mix optimises."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from fastelbo import _arrays, _blocks, _core
from fastelbo.losses import mean_square

if TYPE_CHECKING:
    from typing import Literal, SupportsIndex, TypeAlias

    import numpy.typing as npt

    from fastelbo.losses import _Axis, _Out

    _Name: TypeAlias = Literal["x", "mean"]
    _Reduction: TypeAlias = Literal["sum", "mean"]

HALF_LOG_2PI: Final = 0.5 * math.log(2 * math.pi)


# --- the σ-VAE ----------------------------------------------------------------------------------------------


class OptimalNLLGrad(NamedTuple):
    """Value and gradients of `optimal_nll`; None for a gradient not asked for."""

    value: Any
    x: Any
    mean: Any


def optimal_nll(
    x: npt.ArrayLike,
    mean: npt.ArrayLike,
    *,
    x_scale: float = 1.0,
    axis: _Axis = None,
    full: bool = True,
    min_var: float = 0.0,
) -> Any:
    """Negative log-likelihood at the shared variance that minimises it, in nats: the loss of the σ-VAE.

    With D elements to an event and σ*² = max(MSE, `min_var`)::

        NLL = (D/2)·(log 2π + log σ*² + MSE/σ*²)

    Above the floor MSE/σ*² is 1.

    Parameters
    ----------
    x, mean, x_scale
        As in `gaussian_nll`.
    axis : int, tuple of ints, () or None, default None
        Event axes: the axes that share one variance, and are summed. None takes all, a batch with one σ.
    full : bool, default True
        False drops ½·log 2π for each element, and nothing else.
    min_var : float, default 0.0
        Floor of σ*². Without one the NLL falls without bound as the MSE goes to 0.

    Returns
    -------
    ndarray or NumPy scalar
        Nats, one number for each event, in NumPy's promotion of `x` and `mean`, at least float32. −inf for an
        MSE of 0 without a floor, which is the limit; 0 for events without elements.

    Raises
    ------
    TypeError, ValueError
        For dtypes, shapes, `x_scale`, `axis` and `min_var`, as `gaussian_nll`.

    See Also
    --------
    optimal_var : σ*² itself, without the floor.

    References
    ----------
    .. [1] O. Rybkin, K. Daniilidis and S. Levine, "Simple and Effective VAE Training with Calibrated
       Decoders", arXiv:2006.13202 (2020): the optimal σ-VAE.

    Examples
    --------
    >>> import numpy as np
    >>> import fastelbo as fe
    >>> x = np.array([[0.0, 1.0], [2.0, 3.0]])
    >>> fe.optimal_nll(x, 1.0).round(4)
    np.float64(6.4867)
    >>> fe.gaussian_nll(x, 1.0, var=fe.optimal_var(x, 1.0), axis=None).round(4)
    np.float64(6.4867)
    """
    (x, mean), dtype = _arrays.as_operands(("x", "mean"), (x, mean))
    return _optimal(x, mean, dtype, _arrays.x_factor(x_scale, dtype), axis, full, min_var)[0]


def _optimal(
    x: Any, mean: Any, dtype: np.dtype[Any], x_factor: float, axis: _Axis, full: bool, min_var: float
) -> tuple[Any, Any]:
    """The value in the computing dtype, and σ*² in float64."""
    floor = _arrays.number("min_var", min_var, "variance")
    mse, count = mean_square(x, mean, axis, x_factor)
    with np.errstate(all="ignore"):
        var = np.maximum(mse, floor)
        ratio = np.where(mse < floor, mse / floor if floor else 1.0, 1.0)
        terms = (2 * HALF_LOG_2PI if full else 0.0) + _blocks.elementary("log", var) + ratio
        value = 0.5 * count * terms if count else np.zeros_like(terms)
        return value.astype(dtype)[()], var


def optimal_nll_grad(
    x: npt.ArrayLike,
    mean: npt.ArrayLike,
    *,
    x_scale: float = 1.0,
    axis: _Axis = None,
    full: bool = True,
    min_var: float = 0.0,
    wrt: _Name | Iterable[_Name] = ("mean",),
    out: tuple[_Out, _Out, _Out] | None = None,
) -> OptimalNLLGrad:
    """Value of `optimal_nll` and its gradients.

    With r = x − μ, and summed where an argument is broadcast::

        ∂x = r/σ*² = −∂mean

    With an `x_scale` c it is r = c·x − μ and ∂x = c·r/σ*², with respect to `x` as passed.

    That σ*² is itself a function of r adds nothing: above the floor the derivative of the NLL with respect to
    the variance is 0 there, below it σ*² is constant.

    Parameters
    ----------
    x, mean, x_scale, axis, full, min_var
        As in `optimal_nll`.
    wrt : name or names of {"x", "mean"}, default ("mean",)
        The gradients to compute; the other is None.
    out : tuple (value, x, mean) of ndarray or None, optional
        As in `gaussian_nll_grad`.

    Returns
    -------
    OptimalNLLGrad
        Named tuple (value, x, mean), with gradients as in `gaussian_nll_grad`.

    Raises
    ------
    TypeError, ValueError
        As `optimal_nll` and, for `wrt` and `out`, as `gaussian_nll_grad`. ValueError also for an MSE of 0
        without a floor: the value has a limit there, the gradient has none.

    References
    ----------
    .. [1] O. Rybkin, K. Daniilidis and S. Levine, "Simple and Effective VAE Training with Calibrated
       Decoders", arXiv:2006.13202 (2020): the optimal σ-VAE.

    Examples
    --------
    >>> import numpy as np
    >>> import fastelbo as fe
    >>> x = np.array([[0.0, 1.0], [2.0, 3.0]])
    >>> value, _, d_mean = fe.optimal_nll_grad(x, np.ones_like(x))
    >>> d_mean.round(4) + 0.0  # (mean − x)/1.5
    array([[ 0.6667,  0.    ],
           [-0.6667, -1.3333]])
    """
    (x, mean), dtype = _arrays.as_operands(("x", "mean"), (x, mean))
    factor = _arrays.x_factor(x_scale, dtype)
    value, var = _optimal(x, mean, dtype, factor, axis, full, min_var)
    fields, shapes = OptimalNLLGrad._fields, {"x": x.shape, "mean": mean.shape}
    asked = _arrays.asked_for(wrt, fields, {"x": x, "mean": mean})
    if out is not None:
        kept = {"value": var.shape} | {name: shapes[name] for name in asked}
        _arrays.given_arrays(out, fields, True, "none", dtype, kept)
    if asked and not np.all(var != 0):
        index = [int(i) for i in np.argwhere(var == 0)[0]]
        raise ValueError(
            f"the optimal variance{f' of event {index}' if index else ''} is 0, as x equals mean: "
            "the gradient has no limit there; pass min_var for a floor"
        )
    # σ* is of the size of r, so it fits the computing dtype where σ*² would not.
    least = np.finfo(dtype).smallest_subnormal
    ndim = max(x.ndim, mean.ndim)
    with np.errstate(all="ignore"):
        std = np.maximum(np.sqrt(var).astype(dtype), least)
        std = np.expand_dims(std, _arrays.event_axes(axis, ndim))
    place, *places = (None, None, None) if out is None else out
    grad = _core.nll_grad(
        x, mean, None, std, None, None, None, axis, full, None, None, 0.0, "none",
        asked, (None, *places, None), factor,
    )  # fmt: skip
    if place is not None:
        place[...] = value
    return OptimalNLLGrad(value if place is None else place, grad.x, grad.mean)


# --- the importance-weighted bound --------------------------------------------------------------------------


class IWAEBound(NamedTuple):
    """The bound, its gradient (the normalized importance weights), and the effective sample size."""

    value: Any
    weights: Any
    ess: Any


def iwae_bound(log_w: npt.ArrayLike, axis: _Axis = 0) -> IWAEBound:
    """Importance-weighted bound on log p(x), in nats, from S log weights::

        log (1/S) Σₛ wₛ        with log wₛ = log p(x, zₛ) − log q(zₛ|x)

    With one sample it is the ELBO, with more of them a tighter bound.

    Parameters
    ----------
    log_w : array_like, real
        Log importance weights, as (S, N): the log density of zₛ under the prior, less that under q, less the
        NLL of x. So ``gaussian_nll(z, z_mean, logvar=z_logvar) - gaussian_nll(z, 0.0, var=1.0) -
        gaussian_nll(x, recon, var=var)`` for z of shape (S, N, J).
    axis : int, tuple of ints, () or None, default 0
        The axis of the samples.

    Returns
    -------
    IWAEBound
        Named tuple (value, weights, ess), in the dtype of `log_w`, at least float32. `value` and `ess` lack
        the axis of the samples. `weights` are wₛ/Σw, in the shape of `log_w`: the gradient of `value` with
        respect to it. `ess` is (Σw)²/Σw², from 1, one sample has all the weight, to S, all are alike.

    Raises
    ------
    TypeError, ValueError
        For the dtype and `axis`, as `gaussian_nll`.

    Notes
    -----
    Infinite log weights give limits. −inf is a weight of 0; if all are −inf, so is the value, and weights and
    ess, which have no limit, are NaN. +inf makes the value +inf; alone it has all the weight, and several
    share it in no definite way: NaN. NaN makes all results of its row NaN; with S = 0 the value is NaN.

    References
    ----------
    .. [1] Y. Burda, R. Grosse and R. Salakhutdinov, "Importance Weighted Autoencoders", arXiv:1509.00519
       (2015), eq. (8).

    Examples
    --------
    >>> import numpy as np
    >>> import fastelbo as fe
    >>> bound = fe.iwae_bound(np.array([[-1000.0, 0.0], [-1000.0, np.log(3.0)]]))
    >>> bound.value.round(4)
    array([-1.000e+03,  6.931e-01])
    >>> bound.weights.round(4)
    array([[0.5 , 0.25],
           [0.5 , 0.75]])
    >>> bound.ess.round(4)
    array([2. , 1.6])
    """
    (array,), dtype = _arrays.as_operands(("log_w",), (log_w,))
    axes = _arrays.event_axes(axis, array.ndim)
    count = math.prod([array.shape[i] for i in axes])
    log_weights = np.array(array, np.float64, order="C")
    with np.errstate(all="ignore"):
        top = np.max(log_weights, axes, keepdims=True, initial=-np.inf)
        infinite = np.isposinf(log_weights)
        w = _blocks.elementary("exp", np.where(infinite, 0.0, log_weights - top))
        total = _blocks.fold(w, axes)
        mean = total / np.float64(count)
        value = np.where(np.isfinite(top), top + _blocks.elementary("log", mean), top if count else np.nan)
        weights = np.where(infinite & (total > 1), np.nan, w / total)
        # Squares of weights that rounding made a little large or small would leave [1, S].
        ess = np.clip(total * (total / _blocks.fold(w * w, axes)), 1.0, count)
        ess = np.where(np.isposinf(top) & (total > 1), np.nan, ess)
        rows = [np.squeeze(result, axes).astype(dtype)[()] for result in (value, ess)]
        return IWAEBound(rows[0], weights.astype(dtype)[()], rows[1])


# --- free bits ----------------------------------------------------------------------------------------------


class FreeBits(NamedTuple):
    """The floored KL, and its derivative for each KL: 1 where that counts, 0 where the floor does."""

    value: float
    factor: Any


def free_bits(
    kl: npt.ArrayLike,
    min_kl: float,
    *,
    per: Literal["dim", "row"],
    average: Literal["first", "last"],
    axis: _Axis = _arrays.DEFAULT_AXIS,
) -> FreeBits:
    """KL that costs at least `min_kl` nats, so that nothing is gained by making it smaller.

    With λ = `min_kl`, N rows and the KL of row n and dimension j, one of four modes::

        per="dim", average="first"    Σⱼ max(λ, (1/N) Σₙ KLₙⱼ)       Kingma et al.
        per="dim", average="last"     (1/N) Σₙ Σⱼ max(λ, KLₙⱼ)
        per="row", average="first"    max(λ, (1/N) Σₙ Σⱼ KLₙⱼ)
        per="row", average="last"     (1/N) Σₙ max(λ, Σⱼ KLₙⱼ)

    Parameters
    ----------
    kl : array_like, real
        KL of each latent in nats, as (N, J): ``gaussian_kl(..., axis=())``. For groups of latents the KL of
        each: ``gaussian_kl(..., axis=-1)`` of shape (N, J/size, size).
    min_kl : float
        λ ≥ 0, in nats: of each dimension, or of each row. Times log 2 for bits.
    per : {"dim", "row"}
        What the floor is for: each dimension, or the sum of them.
    average : {"first", "last"}
        Whether the mean over the batch is taken before the floor, or after it.
    axis : int, tuple of ints, () or None, default -1
        The axes of the dimensions; the others are the batch. Of 1-D data it has to be given.

    Returns
    -------
    FreeBits
        Named tuple (value, factor). `value` is a Python float, in nats. `factor` is 1 where the KL counts, at
        the floor too, and 0 below it; it has as many axes as `kl`, with size 1 where all share it. Multiply
        the gradients of the KL's mean over the batch by it, or let ``gaussian_kl_grad(..., weight=factor,
        reduction="mean")`` do so. NaN makes the value NaN, and what shares its floor.

    Raises
    ------
    TypeError, ValueError
        For the dtype and `axis`, as `gaussian_nll`; ValueError also for unknown modes, and for a `min_kl`
        that is not finite and ≥ 0.

    References
    ----------
    .. [1] D. P. Kingma, T. Salimans, R. Jozefowicz, X. Chen, I. Sutskever and M. Welling, "Improving
       Variational Inference with Inverse Autoregressive Flow", arXiv:1606.04934 (2016), appendix C.8.

    Examples
    --------
    >>> import numpy as np
    >>> import fastelbo as fe
    >>> mean, logvar = np.array([[0.1, 2.0], [0.3, 1.0]]), np.zeros((2, 2))
    >>> kl = fe.gaussian_kl(mean, logvar=logvar, axis=())
    >>> value, factor = fe.free_bits(kl, 0.5, per="dim", average="first")
    >>> value, factor
    (1.75, array([[0., 1.]]))
    >>> fe.gaussian_kl_grad(mean, logvar=logvar, weight=factor, reduction="mean").mean
    array([[0. , 1. ],
           [0. , 0.5]])
    """
    (array,), dtype = _arrays.as_operands(("kl",), (kl,))
    _arrays.check_one_event(f"kl of shape {array.shape}", axis, array.shape)
    dims = _arrays.event_axes(axis, array.ndim)
    rows = tuple([i for i in range(array.ndim) if i not in dims])
    for name, mode, choices in (("per", per, ("dim", "row")), ("average", average, ("first", "last"))):
        if mode not in choices:
            raise ValueError(f"{name} must be {' or '.join(map(repr, choices))}, not {mode!r}")
    floor = _arrays.number("min_kl", min_kl, "number of nats")
    size = np.float64(math.prod([array.shape[i] for i in rows]))
    with np.errstate(all="ignore"):
        floored = np.array(array, np.float64, order="C")
        if per == "row":
            floored = _blocks.fold(floored, dims)
        if average == "first":
            floored, size = _blocks.fold(floored, rows) / size, np.float64(1)
        value = _blocks.fold(np.maximum(floored, floor), range(array.ndim)) / size
        factor = np.where(np.isnan(floored), np.nan, floored >= floor)
        return FreeBits(value.item(), factor.astype(dtype)[()])


# --- what a mix optimises -----------------------------------------------------------------------------------


class ImpliedObjective(NamedTuple):
    """A loss in the terms of the negative ELBO, of which it is ``scale`` times, but for a constant."""

    var: float
    beta: float
    scale: float


def implied_objective(
    error: _Reduction,
    kl: _Reduction,
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
        No `n_features` or `n_latents` where a mean needs it.
    ValueError
        Unknown reductions; numbers that are not > 0 and finite.

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
    a, a_size = _term("error", error, error_weight, "n_features", n_features)
    b, b_size = _term("kl", kl, kl_weight, "n_latents", n_latents)
    # a·SSE/a_size + b·KL/b_size; sizes are multiplied up, so that whole numbers stay whole
    unit_beta = b * a_size / (2 * a * b_size)
    if var is None:
        return ImpliedObjective(unit_beta, 1.0, b / b_size)
    var = _arrays.number("var", var, "variance", positive=True)
    return ImpliedObjective(var, unit_beta / var, 2 * a * var / a_size)


def _term(name: str, reduction: str, weight: float, size_name: str, size: Any) -> tuple[float, int]:
    """The factor of one term of the mix, and what its sum is divided by."""
    if reduction not in ("sum", "mean"):
        raise ValueError(f"{name} must be 'sum' or 'mean', not {reduction!r}")
    factor = _arrays.number(f"{name}_weight", weight, "factor", positive=True)
    if reduction == "sum":
        return factor, 1
    if size is None:
        raise TypeError(f"{name}='mean' needs {size_name}, the number of elements it is the mean of")
    return factor, _arrays.count_of(size_name, size)
