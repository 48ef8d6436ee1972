"""What is made of the losses: σ-VAE, importance-weighted bound."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from fastelbo import _blocks, _core
from fastelbo._families.gaussian import GAUSSIAN_NLL
from fastelbo._losses import gaussian_nll_grad
from fastelbo._results import IWAEBound, OptimalNLLGrad
from fastelbo._rules.axes import check_reduction, event_axes
from fastelbo._rules.call import Call, inputs_of
from fastelbo._rules.dtypes import as_computed, as_operands
from fastelbo._rules.frames import frame_of, spread
from fastelbo._rules.inplace import untangle
from fastelbo._rules.integers import check_integers
from fastelbo._rules.joint import joint_frame
from fastelbo._rules.options import is_full, number, x_factor
from fastelbo._rules.outputs import allocate, as_returned, given_arrays
from fastelbo._rules.real import as_plain
from fastelbo._rules.weights import as_mask, as_weight, is_of_rows
from fastelbo._rules.wrt import asked_for
from fastelbo._squares import MeanSquare, mean_square, pieces
from fastelbo._threads import get_num_threads
from fastelbo._typing import Array, Axis, Out, Reduction

_Name: TypeAlias = Literal["x", "mean"]


#: At the variance that minimises it
OPTIMAL: Final = replace(
    GAUSSIAN_NLL,
    public=False,
    result=OptimalNLLGrad,
    operands=("x", "mean"),
    scales=(),
    alike={"recon": ("mean",), "z_mean": ("mean",), "logits": ("mean",)},
)

HALF_LOG_2PI: Final = 0.5 * math.log(2 * math.pi)


# --- the σ-VAE ----------------------------------------------------------------------------------------------


def optimal_var(
    x: npt.ArrayLike,
    mean: npt.ArrayLike,
    axis: Axis = None,
    *,
    x_scale: float = 1.0,
    weight: npt.ArrayLike | None = None,
    where: npt.ArrayLike | None = None,
) -> Any:
    """Shared variance that minimises `gaussian_nll`: the mean squared error.

    There NLL = (D/2)(1 + log 2π + log MSE), which falls without bound as MSE goes to 0. With weights it is
    the weighted mean, over the elements that `where` leaves::

        σ*² = Σ w·(x − μ)² / Σ w

    Parameters
    ----------
    x, mean : array_like, real
        As in `gaussian_nll`.
    axis : int, tuple of ints, () or None, default None
        Axes that share one variance; None takes all.
    x_scale : float, default 1.0
        Factor of `x`, as in `gaussian_nll`.
    weight, where : array_like, optional
        As in `gaussian_nll`. Weights of rows, which are what `axis` leaves, change nothing here.

    Returns
    -------
    ndarray or NumPy scalar
        The mean of (x − mean)² over `axis`, computed in float64 without temporaries, in NumPy's promotion of
        `x` and `mean`, at least float32. NaN for the mean of no elements, and where the weights add up to 0.
        Of negative weights it is what the formula says, and may be negative.

    Raises
    ------
    TypeError, ValueError
        For dtypes, shapes, `axis`, `x_scale`, `weight` and `where`, as `gaussian_nll`.

    References
    ----------
    .. [1] D. P. Kingma and M. Welling, "Auto-Encoding Variational Bayes", arXiv:1312.6114 (2013), appendix
       C.2.

    Examples
    --------
    >>> import numpy as np
    >>> import fastelbo as fe
    >>> x = np.array([[0.0, 1.0], [2.0, 3.0]], np.float32)
    >>> fe.optimal_var(x, 1.0)
    np.float32(1.5)
    >>> fe.optimal_var(x, 1.0, axis=-1)
    array([0.5, 2.5], dtype=float32)
    >>> fe.optimal_var(x, 1.0, where=x < 3)
    np.float32(0.6666667)
    """
    found = _core.optimal_var(x, mean, axis, x_scale, weight, where, get_num_threads)
    if found is not None:
        return found
    (x, mean), dtype = as_operands(("x", "mean"), (x, mean))
    factor = x_factor(x_scale, dtype)
    rows, some = pieces(x, mean, axis, weight, where)
    result = _core.empty(rows, dtype)
    with np.errstate(all="ignore"):
        for index, (one, other, weights, mask) in some:
            found = mean_square(one, other, axis, factor, weights, mask)
            result[index] = np.ldexp(found.mantissa, found.exponent)
    return result if result.ndim else result[()]


def optimal_nll(
    x: npt.ArrayLike,
    mean: npt.ArrayLike,
    *,
    x_scale: float = 1.0,
    axis: Axis = None,
    full: bool = True,
    weight: npt.ArrayLike | None = None,
    where: npt.ArrayLike | None = None,
    min_var: float = 0.0,
    reduction: Reduction = "none",
) -> Any:
    """Negative log-likelihood at the shared variance that minimises it, in nats: the loss of the σ-VAE.

    With D elements to an event and σ*² = max(MSE, `min_var`)::

        NLL = (D/2)·(log 2π + log σ*² + MSE/σ*²)

    Above the floor MSE/σ*² is 1. With weights w, of the elements that `where` leaves, D is Σ w, and MSE is
    Σ w·(x − μ)²/Σ w, as in `optimal_var`: it is `gaussian_nll` with these weights at its minimum over σ².

    Parameters
    ----------
    x, mean, x_scale
        As in `gaussian_nll`.
    axis : int, tuple of ints, () or None, default None
        Event axes: the axes that share one variance, and are summed. None takes all, a batch with one σ.
    full : bool, default True
        False drops ½·log 2π for each element, and nothing else.
    weight, where : array_like, optional
        As in `gaussian_nll`: pixels that are missing, and the rows, features or elements that count more.
        What `where` removes touches neither σ*² nor value nor gradient.
    min_var : float, default 0.0
        Floor of σ*². Without one the NLL falls without bound as the MSE goes to 0.
    reduction : {"none", "sum", "mean"}, default "none"
        What becomes of the events, if `axis` leaves several. "mean" divides by their number, whatever
        `weight` and `where` say.

    Returns
    -------
    ndarray, NumPy scalar or float
        Nats, one number for each event, in NumPy's promotion of `x` and `mean`, at least float32; a Python
        float, summed in double, for "sum" and "mean". −inf for an MSE of 0 without a floor, which is the
        limit; 0 for events without elements, or of which nothing counts, because all is removed or has weight
        0. Negative weights are what the formula says: NaN where they make σ*² negative or undefined.

    Raises
    ------
    TypeError, ValueError
        For dtypes, shapes, `x_scale`, `axis`, `weight`, `where`, `min_var` and `reduction`, as
        `gaussian_nll`.

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
    >>> x[0, 1] = np.nan  # missing
    >>> fe.optimal_nll(x, 1.0, where=np.isfinite(x)).round(4) == fe.optimal_nll([0.0, 2.0, 3.0], 1.0).round(4)
    np.True_
    """
    found = _core.optimal_nll(
        x, mean, x_scale, axis, full, weight, where, min_var, reduction, None, None, None, get_num_threads
    )
    if found is not None:
        return found
    (x, mean), dtype = as_operands(("x", "mean"), (x, mean))
    reduced_by = check_reduction(reduction, axis, ())
    factor = x_factor(x_scale, dtype)
    shape, some = pieces(x, mean, axis, weight, where)
    rows = np.empty(shape, dtype if reduced_by == "none" else np.float64)
    with np.errstate(all="ignore"):
        for index, (one, other, weights, mask) in some:
            rows[index] = _optimal(one, other, factor, axis, full, weights, mask, min_var)[0]
    return _reduced(rows, dtype, reduced_by)


def _optimal(
    x: Any, mean: Any, x_factor: float, axis: Axis, full: bool, weight: Any, where: Any, min_var: float
) -> tuple[Any, MeanSquare]:
    """The rows, in float64, and σ*²; of an event of which nothing counts that is 1, and of no consequence."""
    instead = "call it for each part of x that has one of them"
    floor, full = number("min_var", min_var, "variance", instead=instead), is_full(full)
    mse = mean_square(x, mean, axis, x_factor, weight, where)
    mantissa, exponent = np.where(mse.nothing, 1.0, mse.mantissa), mse.exponent
    ratio: Any = 1.0  # MSE/σ*²
    part, power = np.frexp(floor)
    with np.errstate(all="ignore"):
        mantissa[mantissa < 0] = np.nan
        below = np.ldexp(mantissa, exponent - power) < part
        if below.any():
            ratio = np.where(below, np.ldexp(mantissa / part, exponent - power), 1.0)
            mantissa[below] = floor
            exponent = np.where(below, 0, exponent)
        rows = np.asarray(_blocks.elementary("log", mantissa))
        rows += exponent * math.log(2)
        rows += 2 * HALF_LOG_2PI if full else 0.0
        rows += ratio
        rows *= 0.5
        rows *= mse.total  # half of which may be no float64
        if np.any(mse.power):
            rows = np.asarray(np.ldexp(rows, mse.power))
        rows[np.broadcast_to(mse.nothing, rows.shape)] = 0.0
    return rows, mse._replace(mantissa=mantissa, exponent=exponent)


def _reduced(rows: Any, dtype: np.dtype[Any], reduction: str) -> Any:
    """The rows in the computing dtype, or what `reduction` makes of them."""
    with np.errstate(all="ignore"):
        if reduction == "none":
            return rows.astype(dtype, copy=False)[()]
        total = _blocks.fold(rows, range(rows.ndim)).item()
        return total if reduction == "sum" else (np.float64(total) / rows.size).item()


def optimal_nll_grad(
    x: npt.ArrayLike,
    mean: npt.ArrayLike,
    *,
    x_scale: float = 1.0,
    axis: Axis = None,
    full: bool = True,
    weight: npt.ArrayLike | None = None,
    where: npt.ArrayLike | None = None,
    min_var: float = 0.0,
    reduction: Reduction = "none",
    wrt: _Name | Iterable[_Name] = ("mean",),
    out: tuple[Out, Out, Out] | None = None,
) -> OptimalNLLGrad:
    """Value of `optimal_nll` and its gradients.

    With r = x − μ and weights w, and summed where an argument is broadcast::

        ∂x = w·r/σ*² = −∂mean

    With an `x_scale` c it is r = c·x − μ and ∂x = w·c·r/σ*², with respect to `x` as passed. It is exactly 0
    for elements that `where` removes.

    That σ*² is itself a function of r adds nothing: above the floor the derivative of the NLL with respect to
    the variance is 0 there, below it σ*² is constant.

    Parameters
    ----------
    x, mean, x_scale, axis, full, weight, where, min_var, reduction
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
    found: Any = _core.optimal_nll(
        x, mean, x_scale, axis, full, weight, where, min_var, reduction, wrt, out, OptimalNLLGrad,
        get_num_threads,
    )  # fmt: skip
    if found is not None:
        return found  # type: ignore[no-any-return]
    plain = as_plain(("x", "mean"), (x, mean))
    (x, mean), dtype = as_computed(("x", "mean"), plain)
    factor = x_factor(x_scale, dtype)
    reduced_by = check_reduction(reduction, axis, ())
    rows, var = _optimal(x, mean, factor, axis, full, weight, where, min_var)
    fields, shapes = OptimalNLLGrad._fields, {"x": x.shape, "mean": mean.shape}
    asked = asked_for(wrt, OPTIMAL, {"x": x, "mean": mean})
    kept = {"value": rows.shape} | {name: shapes[name] for name in asked}
    given, passed = given_arrays(out, fields, True, reduced_by, dtype, kept, (("x", "mean"), (x, mean)))
    value = _reduced(rows, dtype, reduced_by)
    results: dict[str, Any] = {}
    if asked:
        _check_positive(var.mantissa, weight is not None or where is not None)
        frame = joint_frame(OPTIMAL, ("x", "mean"), (x, mean), axis)
        mask = None if where is None else as_mask(where, frame)
        weights = None if weight is None else as_weight(weight, dtype, frame)
        call = Call(
            OPTIMAL, ("x", "mean"), plain, (x, mean), (-1, -1), dtype, frame,
            inputs_of((x, mean), weights, mask), x_scale=factor,
        )  # fmt: skip
        results = _gradients(call, axis, var, reduced_by, asked, given)
    if "value" in given:
        given["value"][...] = value
    return OptimalNLLGrad(*map(({"value": value} | as_returned(results, passed)).get, fields))


def _gradients(
    call: Call, axis: Axis, var: MeanSquare, reduction: str, asked: tuple[str, ...], given: dict[str, Array]
) -> dict[str, Array]:
    """At σ*², in arrays that are given, or new: by element, or summed where an operand is broadcast."""
    frame = call.frame
    operands = {"x": call.operands[0], "mean": call.operands[1]}
    single = tuple([name for name in asked if operands[name].shape == frame.shape])
    summed = tuple([name for name in asked if name not in single])
    results = allocate(call, "", single, {name: given[name] for name in single if name in given})
    aliased, copies = untangle(call, given, results)
    later = _summed_gradients(call, axis, var, reduction, summed) if summed else {}
    if single and 0 not in frame.shape:
        weights, mask = call.inputs[4:]
        by_row = weights is not None and is_of_rows(weights, frame)
        views = tuple([None if a is None else spread(a, frame) for a in (*call.operands, weights, mask)])
        size = math.prod(frame.rows)
        parts = (np.float64, var.mantissa), (np.int64, var.exponent)
        mantissa, exponent = (np.broadcast_to(np.asarray(a, t), frame.rows).ravel() for t, a in parts)
        gradients = [
            spread(results[name], frame, writeable=True) if name in results else None for name in operands
        ]
        _core.optimal_gradients(
            call.dtype.char == "d", len(frame.events), views, by_row, call.x_scale,
            (gradients[0], gradients[1]), mantissa, exponent,
            float(size) if reduction == "mean" else 1.0, aliased, get_num_threads,
        )  # fmt: skip
    for target, result in copies:
        target[...] = result
    for name, result in later.items():
        if name in given:
            given[name][...] = result
    return results | later


def _summed_gradients(
    call: Call, axis: Axis, var: MeanSquare, reduction: str, names: tuple[str, ...]
) -> dict[str, Array]:
    """Those of broadcast operands, by the Gaussian NLL at this σ*."""
    weights, mask = call.inputs[4:]
    std, share = _std(var, call.dtype, call.frame.events)
    if share is not None and weights is not None:
        share = weights * share
    asked: Any = {"reduction": reduction, "wrt": names}
    got = gaussian_nll_grad(
        *call.operands, std=std, x_scale=call.x_scale, axis=axis, full=False, where=mask,
        weight=weights if share is None else share, **asked,
    )  # fmt: skip
    return {name: np.asarray(getattr(got, name)) for name in names}


def _check_positive(var: Any, some: bool) -> None:
    if np.all(var != 0):
        return
    index = [int(i) for i in np.argwhere(var == 0)[0]]
    raise ValueError(
        f"the optimal variance{f' of event {index}' if index else ''} is 0, as x equals mean"
        f"{' wherever it counts' if some else ''}: the gradient has no limit there; pass min_var for a floor"
    )


def _std(var: MeanSquare, dtype: np.dtype[Any], events: tuple[int, ...]) -> tuple[Any, Any]:
    """σ* in the computing dtype with size 1 along the events, and a weight of them where it is not σ* alone.

    σ* is of the size of r, so it fits the computing dtype where σ*² would not; but not where r overflows or
    is subnormal. There it is σ*·2ʰ, and 4ʰ the weight: w·r/σ*² is w·4ʰ·r/(σ*·2ʰ)².
    """
    limits = np.finfo(dtype)
    with np.errstate(all="ignore"):
        half = np.asarray(var.exponent) // 2
        root = np.asarray(np.sqrt(np.ldexp(var.mantissa, var.exponent - 2 * half)))
        std = np.ldexp(root, half) if half.any() else root
        if np.all((std >= 2 * limits.tiny) & (std <= limits.max / 4)):
            return np.expand_dims(std.astype(dtype), events), None
        size = np.frexp(root)[1] + half  # σ* < 2^size
        up = np.where(
            size <= limits.minexp + 1, np.maximum(-limits.minexp // 4, limits.minexp + 40 - size), 0
        )
        shift = np.where(size >= limits.maxexp - 1, np.minimum(-4, limits.maxexp - 40 - size), up)
        std = np.expand_dims(np.ldexp(root, half + shift).astype(dtype), events)
        return std, np.expand_dims(np.ldexp(1.0, 2 * shift), events)


# --- the importance-weighted bound --------------------------------------------------------------------------


def iwae_bound(log_w: npt.ArrayLike, axis: Axis = 0) -> IWAEBound:
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
    bound: IWAEBound | None = _core.bound(log_w, axis, IWAEBound, get_num_threads)
    if bound is not None:
        return bound
    if isinstance(log_w, np.ma.MaskedArray):
        raise TypeError(
            "log_w is a masked array, whose mask would be lost: pass log_w.filled(-np.inf), weights of 0"
        )
    (array,), dtype = as_operands(("log_w",), (log_w,))
    check_integers(("log_w",), (array,), ("log_w",))
    axes = event_axes(axis, array.shape, "log_w")
    frame = frame_of("log_w", array.shape, axes)
    value, ess = (_core.empty(frame.rows, dtype) for _ in range(2))
    weights = _core.empty(array.shape, dtype)
    if array.size:
        whole = frame_of("log_w", array.shape, ())
        rows = [spread(np.expand_dims(result, axes), whole, writeable=True) for result in (value, ess)]
        samples = sum(1 << i for i in axes)
        _core.run_bound(dtype.char == "d", samples, (array, rows[0], weights, rows[1]), get_num_threads)
    else:
        value.fill(np.nan)
        ess.fill(np.nan)
    return IWAEBound(value[()], weights[()], ess[()])
