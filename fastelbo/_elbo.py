"""The negative ELBO by the rules: an NLL and a KL, validated together, then run one after the other.

Nothing is computed before both are known to be sound, and nothing that the other may still read is written.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np

from fastelbo import _arrays, _core
from fastelbo._arrays import REDUCTIONS, Array, Call, Frame, Shape
from fastelbo._declare import VALUES, Joint


def evaluate(joint: Joint, grad: bool, given: Mapping[str, Any]) -> Any:
    """The ELBO by the rules; `given` has all parameters of its public function by name."""
    nll, kl = _halves(joint, given)
    reduction = _arrays.choice("reduction", given["reduction"], REDUCTIONS)
    factor = _arrays.number("beta", given["beta"], "number", instead=functools.partial(_of_each, kl.frame))
    members = dict(zip(nll.members + kl.members, [*nll.operands, *kl.operands], strict=True))
    fields = joint.fields
    asked = _arrays.asked_for(given["wrt"], fields, members) if grad else ()
    shapes = dict.fromkeys(VALUES, kl.frame.rows) | {name: members[name].shape for name in asked}
    arguments = (*nll.names, *kl.names), (*nll.plain, *kl.plain)
    out, passed = _arrays.given_arrays(
        given["out"] if grad else None, fields, True, reduction, nll.dtype, shapes, arguments
    )

    samples = len(members["recon"]) if members["recon"].ndim > members["x"].ndim else 1
    results, reduced = _run(nll, kl, reduction, asked, out, factor, samples)
    final = _arrays.as_returned(results, passed) | reduced
    found = [final.get(name) for name in fields]
    return joint.result(*found) if grad else joint.value_result(*found[: len(VALUES)])


def _of_each(frame: Frame, shape: Shape) -> str:
    """The way out for a beta of this shape; one with one axis is of the latents, if that can be."""
    each, weight, ndim = "latent", "beta", len(frame.shape)
    if shape == frame.rows and shape != frame.shape[-1:]:
        each = "row"
    elif len(shape) == 1 < ndim:
        weight = f"np.reshape(beta, {(*[1] * (ndim - 1), -1)})"
    instead = f"gaussian_kl_grad(..., weight={weight})"
    return f"for one of each {each}, pass {instead} and add it to gaussian_nll_grad"


def _halves(joint: Joint, given: Mapping[str, Any]) -> tuple[Call, Call]:
    """The NLL and the KL, of one dtype and with the same rows. The rows of samples are called "samples"."""
    decoder, (encoder, prior) = joint.nll.scales[0], joint.kl.scales
    axis, z_axis, weight, where, z_where = [
        given[name] for name in ("axis", "z_axis", "weight", "where", "z_where")
    ]
    names: list[str] = ["x", "recon"]
    passed = [given[name] for name in names]
    kind = _arrays.add_scale(names, passed, tuple([given[name] for name in decoder.names if name]))
    names += ["z_mean", "prior_mean"]
    passed += [given["z_mean"], given["prior_mean"]]
    z_scales = tuple([given[joint.prefix + name] for name in encoder.names if name])
    z_kind = _arrays.add_scale(names, passed, z_scales, joint.prefix)
    prior_kind = _arrays.add_scale(
        names, passed, tuple([given[name] for name in prior.names if name]), "prior_"
    )
    plain = _arrays.as_plain(names, passed)
    operands, dtype = _arrays.as_computed(names, plain)

    _arrays.check_reduction(given["reduction"], axis, operands[0].shape)
    frame = _sampled_frame(operands[0].shape, operands[1].shape, axis)
    z_frame = _arrays.joint_frame("kl", names[3:], operands[3:], z_axis, "z_axis")
    sampled = operands[1].ndim > operands[0].ndim
    rows = frame.rows[sampled:]
    if rows != z_frame.rows:
        _raise_rows(operands[0].shape, rows, axis, z_frame, z_axis)
    _arrays.check_fits(names[2], operands[2], frame)
    for name, operand in zip(names[5:], operands[5:], strict=True):
        _arrays.check_fits(name, operand, z_frame)
    floor = _arrays.variance_floor(given["min_var"])
    mask = None if where is None else _arrays.as_mask(where, frame, weight=False)
    z_mask = None if z_where is None else _arrays.as_mask(z_where, z_frame, "z_where", weight=False)
    why = "nll and kl of a row are weighted alike"
    weights = None if weight is None else _arrays.row_weight(weight, dtype, rows, why)
    weight, z_weight = (
        None if weights is None else _arrays.along_rows(weights, half) for half in (frame, z_frame)
    )

    x_factor = _arrays.x_factor(given["x_scale"], dtype)
    exact = 2 if x_factor == 1.0 else 0
    _arrays.check_integers(names[exact:3], operands[exact:3], mask, frame.shape)
    _arrays.check_integers(names[5:], operands[5:])

    nll = Call(
        "nll", "samples" if sampled else "nll", ("x", "recon", "scale"), names[:3], plain[:3],
        operands[:3], (kind, -1), dtype, frame, _arrays.inputs_of(operands[:3], weight, mask), floor,
        _arrays.is_full(given["full"]), x_scale=x_factor,
    )  # fmt: skip
    z_members = ("z_mean", "prior_mean", "z_scale", "prior_scale")[: len(operands) - 3]
    kl = Call(
        "kl", "kl", z_members, names[3:], plain[3:], operands[3:], (z_kind, prior_kind), dtype, z_frame,
        _arrays.inputs_of(operands[3:], z_weight, z_mask), full=False, where="z_where",
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
