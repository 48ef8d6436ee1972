"""The negative ELBO: an NLL and a KL, validated together, then run one after the other.

Nothing is computed before both are known to be sound, and nothing that the other may still read is written.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any, Literal, NoReturn, TypeAlias

import numpy as np
import numpy.typing as npt

from fastelbo import _arrays, _core
from fastelbo._arrays import DEFAULT_AXIS, REDUCTIONS, VALUES, Array, Call, Frame, NegELBO, NegELBOGrad, Shape
from fastelbo.losses import _Axis, _Out, _Reduction

_Name: TypeAlias = Literal["x", "recon", "scale", "z_mean", "z_scale", "prior_mean", "prior_scale"]
_Outs: TypeAlias = tuple[_Out, _Out, _Out, _Out, _Out, _Out, _Out, _Out, _Out, _Out]


def neg_elbo(
    x: npt.ArrayLike,
    recon: npt.ArrayLike,
    z_mean: npt.ArrayLike,
    *,
    var: npt.ArrayLike | None = None,
    std: npt.ArrayLike | None = None,
    logvar: npt.ArrayLike | None = None,
    logstd: npt.ArrayLike | None = None,
    precision: npt.ArrayLike | None = None,
    z_var: npt.ArrayLike | None = None,
    z_std: npt.ArrayLike | None = None,
    z_logvar: npt.ArrayLike | None = None,
    z_logstd: npt.ArrayLike | None = None,
    z_precision: npt.ArrayLike | None = None,
    prior_mean: npt.ArrayLike = 0.0,
    prior_var: npt.ArrayLike | None = None,
    prior_std: npt.ArrayLike | None = None,
    prior_logvar: npt.ArrayLike | None = None,
    prior_logstd: npt.ArrayLike | None = None,
    prior_precision: npt.ArrayLike | None = None,
    x_scale: float = 1.0,
    beta: float = 1.0,
    axis: _Axis = DEFAULT_AXIS,
    z_axis: _Axis = DEFAULT_AXIS,
    full: bool = True,
    weight: npt.ArrayLike | None = None,
    where: npt.ArrayLike | None = None,
    z_where: npt.ArrayLike | None = None,
    min_var: float = 0.0,
    reduction: _Reduction = "mean",
) -> NegELBO:
    """Negative evidence lower bound of a Gaussian VAE, in nats: what training minimises::

        −ELBO = 1/S Σ_s −log N(x; recon_s, σ²) + β·KL(N(z_mean, σ_z²) ‖ p)

    The first term is `gaussian_nll` of `x` (N, D), averaged over S decoder samples, the second `gaussian_kl`
    of the encoder's posteriors (N, J). Both are summed over their events, and then reduced alike.

    Parameters
    ----------
    x : array_like, real
        Data, (N, D) say.
    recon : array_like, real
        Decoder means: of the shape of `x`, or with one leading axis of S samples more, as (S, N, D). Size-1
        axes are never stretched.
    z_mean : array_like, real
        Means of the posteriors q(z|x), (N, J) say. Its rows are those of `x`: equal shapes, never broadcast.
        A scalar stands for a constant of the latents' scale's shape.
    var, std, logvar, logstd, precision : array_like, real
        The decoder's scale, as **exactly one** of σ², σ, log σ², log σ, 1/σ². Broadcasts to the shape of
        `recon`, as a scalar, (D,), (N, 1), (N, D) or, one for each sample, (S, 1, 1) or (S, N, D) do.
    z_var, z_std, z_logvar, z_logstd, z_precision : array_like, real
        The posteriors' scale, as **exactly one** of the five forms. Broadcasts to the shape of `z_mean`.
    prior_mean, prior_var, prior_std, prior_logvar, prior_logstd, prior_precision : array_like, real
        The prior p, N(0, I) by default, as in `gaussian_kl`.
    x_scale : float, default 1.0
        Factor of `x`, as in `gaussian_nll`.
    beta : float, default 1.0
        Weight of the KL, finite and >= 0: 1 is the ELBO, 0 … 1 anneals it, more is the β-VAE [2]_. It is one
        number; for a β of each latent take `gaussian_kl_grad` with these, as (1, J), for its `weight`.
    axis, z_axis : int, tuple of ints, () or None, default -1
        Event axes, summed: of `x` and `recon`, and of the latents. For images (N, C, H, W) axis=(-3, -2, -1).
        None takes all axes, but not that of the samples. `axis` must be negative where `recon` has samples.
    full : bool, default True
        False drops ½·log 2π for each element of `x` counted, and nothing else.
    weight : array_like, real, optional
        Factors of the rows, in the rows' shape: of both nll and kl.
    where : array_like of bool, optional
        Broadcasts to the shape of `recon`. False removes an element of the data, from nll alone.
    z_where : array_like of bool, optional
        Broadcasts to the shape of `z_mean`. False removes a latent, from kl alone: what z_mean, its scale and
        the prior hold there touches neither value nor gradient, and a scale need not be > 0. For padding, it
        takes ``where`` for the data and `z_where` for the latents: (N, T, 1) for both, say.
    min_var : float, default 0.0
        Floor of the decoder's σ², as in `gaussian_nll`.
    reduction : {"none", "sum", "mean"}, default "mean"
        What becomes of the rows. "mean" divides by their number, whatever `weight`, `where` and `z_where`
        say. For 1-D `x`, `axis` must be given with "sum" and "mean".

    Returns
    -------
    NegELBO
        Named tuple (value, nll, kl), in nats: value = nll + beta·kl, with nll averaged over the samples, and
        kl without beta. Python floats for "sum" and "mean"; for "none" of the rows' shape, in the computing
        dtype, which is NumPy's promotion of all arguments but `weight` and the masks, as in `gaussian_nll`.

    Raises
    ------
    TypeError
        None or several scales of the decoder or the latents, several of the prior; otherwise as
        `gaussian_nll`.
    ValueError
        `recon` without samples (S = 0: an average of nothing) or with more than one axis of them; rows of `x`
        and `z_mean` that differ; `beta` negative, NaN or infinite; otherwise as `gaussian_nll` and
        `gaussian_kl`.

    See Also
    --------
    neg_elbo_grad : the values and their gradients in one pass.

    References
    ----------
    .. [1] D. P. Kingma and M. Welling, "Auto-Encoding Variational Bayes", arXiv:1312.6114 (2013), eq. (7) and
       (10), appendices B and C.2.
    .. [2] I. Higgins et al., "beta-VAE: Learning Basic Visual Concepts with a Constrained Variational
       Framework", ICLR (2017), eq. (4).

    Examples
    --------
    >>> import numpy as np
    >>> import fastelbo as fe
    >>> x = np.array([[0.0, 1.0, 2.0], [1.0, 1.0, 1.0]])
    >>> recon = np.stack([x + 0.1, x - 0.3])  # from two samples of z
    >>> z_mean, z_logvar = np.array([[1.0, -0.5], [0.0, 0.2]]), np.full((2, 2), -1.0)
    >>> value, nll, kl = fe.neg_elbo(x, recon, z_mean, var=0.25, z_logvar=z_logvar, beta=2.0)
    >>> print(f"{value:.2f} = {nll:.2f} + 2·{kl:.2f}")
    2.36 = 0.98 + 2·0.69
    >>> bool(np.isclose(nll, fe.gaussian_nll(x, recon, var=0.25, reduction="mean")))
    True
    """
    values: NegELBO = _core.neg_elbo(
        x, recon, z_mean, var, std, logvar, logstd, precision, z_var, z_std, z_logvar, z_logstd, z_precision,
        prior_mean, prior_var, prior_std, prior_logvar, prior_logstd, prior_precision,
        x_scale, beta, axis, z_axis, full, weight, where, z_where, min_var, reduction, False, (), None,
    )  # fmt: skip
    return values


def neg_elbo_grad(
    x: npt.ArrayLike,
    recon: npt.ArrayLike,
    z_mean: npt.ArrayLike,
    *,
    var: npt.ArrayLike | None = None,
    std: npt.ArrayLike | None = None,
    logvar: npt.ArrayLike | None = None,
    logstd: npt.ArrayLike | None = None,
    precision: npt.ArrayLike | None = None,
    z_var: npt.ArrayLike | None = None,
    z_std: npt.ArrayLike | None = None,
    z_logvar: npt.ArrayLike | None = None,
    z_logstd: npt.ArrayLike | None = None,
    z_precision: npt.ArrayLike | None = None,
    prior_mean: npt.ArrayLike = 0.0,
    prior_var: npt.ArrayLike | None = None,
    prior_std: npt.ArrayLike | None = None,
    prior_logvar: npt.ArrayLike | None = None,
    prior_logstd: npt.ArrayLike | None = None,
    prior_precision: npt.ArrayLike | None = None,
    x_scale: float = 1.0,
    beta: float = 1.0,
    axis: _Axis = DEFAULT_AXIS,
    z_axis: _Axis = DEFAULT_AXIS,
    full: bool = True,
    weight: npt.ArrayLike | None = None,
    where: npt.ArrayLike | None = None,
    z_where: npt.ArrayLike | None = None,
    min_var: float = 0.0,
    reduction: _Reduction = "mean",
    wrt: _Name | Iterable[_Name] = ("recon", "scale", "z_mean", "z_scale"),
    out: _Outs | None = None,
) -> NegELBOGrad:
    """Values of `neg_elbo` and the gradients of the first, in one pass over each array.

    With the gradients of `gaussian_nll_grad` for each sample, and of `gaussian_kl_grad`::

        ∂recon_s = 1/S ∂mean NLL_s       ∂x, ∂scale = 1/S Σ_s ∂NLL_s
        ∂z_mean, ∂z_scale, ∂prior_mean, ∂prior_scale = β·∂KL

    What flows back from ∂recon, through the decoder and the samples z_s = z_mean + σ_z·ε_s, is yours to add.

    Parameters
    ----------
    x, recon, z_mean, var, std, logvar, logstd, precision, z_var, z_std, z_logvar, z_logstd, z_precision, \
prior_mean, prior_var, prior_std, prior_logvar, prior_logstd, prior_precision, x_scale, beta, axis, z_axis, \
full, weight, where, z_where, min_var, reduction
        As in `neg_elbo`.
    wrt : name or names of {"x", "recon", "scale", "z_mean", "z_scale", "prior_mean", "prior_scale"}
        The gradients to compute, by default ("recon", "scale", "z_mean", "z_scale"); the others are None and
        cost nothing. Those of scales are with respect to the keywords that were passed.
    out : tuple of 10 (ndarray or None), optional
        Where to write each member, in their order; None allocates. An array has the computing dtype and the
        shape of the rows, or of the argument it is the gradient of, and may be one of the inputs. Values
        have no place here if they are reduced.

    Returns
    -------
    NegELBOGrad
        Named tuple (value, nll, kl, x, recon, scale, z_mean, z_scale, prior_mean, prior_scale), with values
        as in `neg_elbo` and gradients as in `gaussian_nll_grad`: 1/S and beta are in them.

    Raises
    ------
    TypeError, ValueError
        As `neg_elbo` and, for `wrt` and `out`, as `gaussian_nll_grad`. After an error no input is changed.

    References
    ----------
    .. [1] D. P. Kingma and M. Welling, "Auto-Encoding Variational Bayes", arXiv:1312.6114 (2013), eq. (7) and
       (10), appendices B and C.2.

    Examples
    --------
    >>> import numpy as np
    >>> import fastelbo as fe
    >>> x, recon = np.array([[0.0, 1.0]]), np.array([[[0.5, 1.5]], [[0.5, 0.5]]])  # two samples
    >>> grad = fe.neg_elbo_grad(x, recon, np.array([[1.0]]), var=0.5, z_var=np.array([[0.5]]))
    >>> grad.recon
    array([[[ 0.5,  0.5]],
    <BLANKLINE>
           [[ 0.5, -0.5]]])
    >>> grad.scale, grad.z_mean, grad.z_scale
    (np.float64(1.0), array([[1.]]), array([[-0.5]]))
    """
    results: NegELBOGrad = _core.neg_elbo(
        x, recon, z_mean, var, std, logvar, logstd, precision, z_var, z_std, z_logvar, z_logstd, z_precision,
        prior_mean, prior_var, prior_std, prior_logvar, prior_logstd, prior_precision,
        x_scale, beta, axis, z_axis, full, weight, where, z_where, min_var, reduction, True, wrt, out,
    )  # fmt: skip
    return results


def evaluate(
    x: Any,
    recon: Any,
    z_mean: Any,
    scales: tuple[Any, ...],
    z_scales: tuple[Any, ...],
    prior_mean: Any,
    prior_scales: tuple[Any, ...],
    x_scale: Any,
    beta: Any,
    axis: Any,
    z_axis: Any,
    full: bool,
    weight: Any,
    where: Any,
    z_where: Any,
    min_var: Any,
    reduction: str,
    wrt: str | Iterable[str],
    out: Any,
) -> list[Any]:
    """The members of NegELBOGrad, by the rules: for the calls that the core's fast door does not take."""
    nll, kl = _halves(
        x, recon, z_mean, scales, z_scales, prior_mean, prior_scales, x_scale, axis, z_axis, full, weight,
        where, z_where, min_var, reduction,
    )  # fmt: skip
    reduction = _arrays.choice("reduction", reduction, REDUCTIONS)
    factor = _arrays.number("beta", beta, "number", instead=functools.partial(_of_each, kl.frame))
    members = dict(zip(nll.members + kl.members, [*nll.operands, *kl.operands], strict=True))
    asked = _arrays.asked_for(wrt, NegELBOGrad._fields, members)
    shapes = dict.fromkeys(VALUES, kl.frame.rows) | {name: members[name].shape for name in asked}
    fields = NegELBOGrad._fields
    arguments = (*nll.names, *kl.names), (*nll.plain, *kl.plain)
    given, passed = _arrays.given_arrays(out, fields, True, reduction, nll.dtype, shapes, arguments)

    samples = len(members["recon"]) if members["recon"].ndim > members["x"].ndim else 1
    results, reduced = _run(nll, kl, reduction, asked, given, factor, samples)
    final = _arrays.as_returned(results, passed) | reduced
    return [final.get(name) for name in fields]


def _of_each(frame: Frame, shape: Shape) -> str:
    """The way out for a beta of this shape; one with one axis is of the latents, if that can be."""
    each, weight, ndim = "latent", "beta", len(frame.shape)
    if shape == frame.rows and shape != frame.shape[-1:]:
        each = "row"
    elif len(shape) == 1 < ndim:
        weight = f"np.reshape(beta, {(*[1] * (ndim - 1), -1)})"
    instead = f"gaussian_kl_grad(..., weight={weight})"
    return f"for one of each {each}, pass {instead} and add it to gaussian_nll_grad"


def _halves(
    x: Any,
    recon: Any,
    z_mean: Any,
    scales: tuple[Any, ...],
    z_scales: tuple[Any, ...],
    prior_mean: Any,
    prior_scales: tuple[Any, ...],
    x_scale: Any,
    axis: Any,
    z_axis: Any,
    full: bool,
    weight: Any,
    where: Any,
    z_where: Any,
    min_var: Any,
    reduction: str,
) -> tuple[Call, Call]:
    """The NLL and the KL, of one dtype and with the same rows. The rows of samples are called "samples"."""
    names, passed = ["x", "recon"], [x, recon]
    kind = _arrays.add_scale(names, passed, scales)
    names += ["z_mean", "prior_mean"]
    passed += [z_mean, prior_mean]
    z_kind = _arrays.add_scale(names, passed, z_scales, "z_")
    prior_kind = _arrays.add_scale(names, passed, prior_scales, "prior_")
    plain = _arrays.as_plain(names, passed)
    operands, dtype = _arrays.as_computed(names, plain)

    _arrays.check_reduction(reduction, axis, operands[0].shape)
    frame = _sampled_frame(operands[0].shape, operands[1].shape, axis)
    z_frame = _arrays.joint_frame("kl", names[3:], operands[3:], z_axis, "z_axis")
    sampled = operands[1].ndim > operands[0].ndim
    rows = frame.rows[sampled:]
    if rows != z_frame.rows:
        _raise_rows(operands[0].shape, rows, axis, z_frame, z_axis)
    _arrays.check_fits(names[2], operands[2], frame)
    for name, operand in zip(names[5:], operands[5:], strict=True):
        _arrays.check_fits(name, operand, z_frame)
    floor = _arrays.variance_floor(min_var)
    mask = None if where is None else _arrays.as_mask(where, frame, weight=False)
    z_mask = None if z_where is None else _arrays.as_mask(z_where, z_frame, "z_where", weight=False)
    why = "nll and kl of a row are weighted alike"
    weights = None if weight is None else _arrays.row_weight(weight, dtype, rows, why)
    weight, z_weight = (
        None if weights is None else _arrays.along_rows(weights, half) for half in (frame, z_frame)
    )

    x_factor = _arrays.x_factor(x_scale, dtype)
    exact = 2 if x_factor == 1.0 else 0
    _arrays.check_integers(names[exact:3], operands[exact:3], mask, frame.shape)
    _arrays.check_integers(names[5:], operands[5:])

    nll = Call(
        "nll", "samples" if sampled else "nll", ("x", "recon", "scale"), names[:3], plain[:3],
        operands[:3], (kind, -1), dtype, frame, _arrays.inputs_of(operands[:3], weight, mask), floor,
        _arrays.is_full(full), x_scale=x_factor,
    )  # fmt: skip
    z_members = ("z_mean", "prior_mean", "z_scale", "prior_scale")[: len(operands) - 3]
    kl = Call(
        "kl", "kl", z_members, names[3:], plain[3:], operands[3:], (z_kind, prior_kind), dtype, z_frame,
        _arrays.inputs_of(operands[3:], z_weight, z_mask), where="z_where",
    )  # fmt: skip

    return nll, kl


def _run(
    nll: Call,
    kl: Call,
    reduction: str,
    asked: tuple[str, ...],
    given: dict[str, Array],
    beta: float,
    samples: int,
) -> tuple[dict[str, Array], dict[str, float]]:
    """Rows and gradients by name; and the reduced values."""
    nlls, kls = (_arrays.allocate(call, reduction, asked, given) for call in (nll, kl))
    unit = _core.unit_of_samples(nll.dtype.char == "d", samples)
    rows = {"value": _fresh("value", kls, given)} if reduction == "none" else {}
    of_samples = None
    if "samples" in nlls:
        of_samples = nlls["samples"] = np.empty(nll.frame.rows, np.float64)
        rows["nll"] = _fresh("nll", kls, given)
    scalars = _arrays.scalars_of(nll), _arrays.scalars_of(kl)
    nll_first, nll_copies = _arrays.untangle(nll, given, nlls, later=(*kl.inputs, *scalars[1]))
    kl_first, kl_copies = _arrays.untangle(kl, given, kls)
    share = 1.0 if reduction == "mean" else 1.0 / samples  # the mean is over S·N rows by itself
    join = (of_samples, unit, (nlls | rows)["nll"], rows["value"], beta) if rows else None
    nll_prepared = _arrays.prepare(
        nll, reduction, nlls, nll_first, share, 0.0 if of_samples is None else unit
    )
    kl_prepared = _arrays.prepare(kl, reduction, kls, kl_first, beta, join=join)
    if _arrays.share_memory(given.values(), [*nll.inputs, *kl.inputs, *scalars[0], *scalars[1]]):
        _arrays.check(kl, kl_prepared)  # before the NLL is written over an input
    total = _arrays.carry_out(nll, nll_prepared, reduction, nlls)
    kl_total = _arrays.carry_out(kl, kl_prepared, reduction, kls)
    if join and not kl_prepared:  # no latents: their KL is 0
        _average(*join)
    for target, result in nll_copies + kl_copies:
        target[...] = result
    for name, found in rows.items():
        if name in given:
            given[name][...] = found
    divisor = samples if reduction == "sum" else 1
    reduced = {}
    if reduction != "none":
        if nll_prepared and kl_prepared:
            value, total = _core.joined(nll_prepared, kl_prepared, divisor, beta)
        else:
            value = total / divisor + beta * kl_total
            total /= divisor
        reduced = {"value": value, "nll": total, "kl": kl_total}
    return nlls | kls | rows, reduced


def _fresh(name: str, results: dict[str, Array], given: dict[str, Array]) -> Array:
    """An array for rows that are written while inputs are read: like that in `given`, or the KL's."""
    return np.empty_like(given.get(name, results["kl"]), subok=False)


def _average(samples: Array | None, unit: float, nll: Array, value: Array, _: float) -> None:
    """The rows of nll and value without a KL."""
    if samples is not None:
        total = np.zeros(nll.shape)
        for sample in samples:
            total += sample
        nll[...] = total / len(samples) * unit
    value[...] = nll


def _sampled_frame(x: Shape, recon: Shape, axis: Any) -> Frame:
    """The frame of the NLL. `axis` counts the axes of x; that of the samples is a row axis, the first."""
    extra = len(recon) - len(x)
    if extra not in (0, 1) or recon[extra:] != x:
        if extra > 1 and recon[extra:] == x:
            way_out = f": np.reshape(recon, {(-1, *x)}) makes them one axis"
        else:
            longer, shorter = (("recon", recon), ("x", x))[:: 1 if extra >= 0 else -1]
            way_out = _arrays.mismatch(*longer, *shorter, samples=longer[0] == "recon")
        raise ValueError(
            f"x has shape {x} and recon has shape {recon}; recon must have the shape of x, "
            f"or one leading axis of samples more{way_out}"
        )
    if extra and not recon[0]:
        raise ValueError(f"recon has shape {recon}: an average over no samples")
    events = _arrays.event_axes(axis, x, "x")
    if extra and not _arrays.counts_from_the_end(axis):
        raise ValueError(
            f"axis={axis!r} may count from the wrong end: x has {len(x)} axes, recon {len(recon)}; "
            f"pass axis={tuple([i - len(x) for i in events])}"
        )
    data = "recon" if extra else "x and recon"
    return _arrays.frame_of(data, recon, tuple([i + extra for i in events]))


def _raise_rows(x: Shape, rows: Shape, axis: Any, z_frame: Frame, z_axis: Any) -> NoReturn:
    z, z_rows = z_frame.shape, z_frame.rows
    count = len(x) - len(z_rows)
    if z == rows:
        way_out = "pass z_axis=() if each row has one latent"
    elif x == z_rows:
        way_out = "pass axis=() if each row has one element"
    elif 0 < count < len(x) and x[: len(z_rows)] == z_rows:
        way_out = f"pass axis={tuple(range(-count, 0))} for events of shape {x[-count:]}"
    elif z_rows[1:] == rows:
        way_out = "samples of z have their axis in recon; z_mean is the mean of q, one for each row"
    elif len(z) > len(z_rows) == len(rows):
        way_out = "x and z_mean must be of the same batch"
    else:
        way_out = "axis must name the event axes of x, z_axis those of the latents"
    raise ValueError(
        f"the rows of x have shape {rows} (of {x}, without axis={axis!r}), those of z_mean {z_rows} (of {z}, "
        f"without z_axis={z_axis!r}); they must be equal, and are never broadcast: {way_out}"
    )
