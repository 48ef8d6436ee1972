"""The negative ELBO by the rules: nothing is computed before both halves are known to be sound, and nothing
that the other may still read is written."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastelbo import _core
from fastelbo._declare import VALUES, Joint
from fastelbo._rules.axes import REDUCTIONS
from fastelbo._rules.call import Call, scalars_of
from fastelbo._rules.frames import Frame
from fastelbo._rules.halves import halves
from fastelbo._rules.inplace import untangle
from fastelbo._rules.options import choice, number
from fastelbo._rules.outputs import allocate, as_returned, given_arrays
from fastelbo._rules.overlap import share_memory
from fastelbo._rules.run import Found, carry_out, check, prepare
from fastelbo._rules.wrt import asked_for
from fastelbo._typing import Array, Shape


def evaluate(joint: Joint, grad: bool, given: Mapping[str, Any]) -> Found:
    """The ELBO by the rules; `given` has all parameters of its public function by name."""
    nll, kl = halves(joint, given)
    reduction = choice("reduction", given["reduction"], REDUCTIONS)
    factor = number("beta", given["beta"], "number", instead=functools.partial(_of_each, kl.frame))
    members = dict(zip(nll.members + kl.members, [*nll.operands, *kl.operands], strict=True))
    asked = asked_for(given["wrt"], joint, members) if grad else ()
    shapes = dict.fromkeys(VALUES, kl.frame.rows) | {name: members[name].shape for name in asked}
    arguments = (*nll.names, *kl.names), (*nll.plain, *kl.plain)
    out = given["out"] if grad else None
    outputs, passed = given_arrays(out, joint.fields, True, reduction, nll.dtype, shapes, arguments)

    samples = len(members["recon"]) if members["recon"].ndim > members["x"].ndim else 1
    results, reduced, prepared = _run(nll, kl, reduction, asked, outputs, factor, samples)
    final = as_returned(results, passed) | reduced
    return joint.returns(grad)(*map(final.get, joint.fields if grad else VALUES)), prepared


def _of_each(frame: Frame, shape: Shape) -> str:
    """The way out for a beta of this shape; one with one axis is of the latents, if that can be."""
    each, weight, ndim = "latent", "beta", len(frame.shape)
    if shape == frame.rows and shape != frame.shape[-1:]:
        each = "row"
    elif len(shape) == 1 < ndim:
        weight = f"np.reshape(beta, {(*[1] * (ndim - 1), -1)})"
    instead = f"gaussian_kl_grad(..., weight={weight})"
    return f"for one of each {each}, pass {instead} and add it to gaussian_nll_grad"


def _run(
    nll: Call,
    kl: Call,
    reduction: str,
    asked: tuple[str, ...],
    given: dict[str, Array],
    beta: float,
    samples: int,
) -> tuple[dict[str, Array], dict[str, float], tuple[_core.Prepared | None, ...]]:
    """Rows and gradients by name; the reduced values; and what was run."""
    nlls, kls = (allocate(call, reduction, asked, given) for call in (nll, kl))
    unit = _core.unit_of_samples(nll.dtype.char == "d", samples)
    rows = {"value": _fresh("value", kls, given)} if reduction == "none" else {}
    of_samples = None
    if nll.loss.value in nlls.keys() - VALUES:
        of_samples = nlls[nll.loss.value] = np.empty(nll.frame.rows, np.float64)
        rows["nll"] = _fresh("nll", kls, given)
    scalars = scalars_of(nll), scalars_of(kl)
    nll_first, nll_copies = untangle(nll, given, nlls, later=(*kl.inputs, *scalars[1]))
    kl_first, kl_copies = untangle(kl, given, kls)
    share = 1.0 if reduction == "mean" else 1.0 / samples  # the mean is over S·N rows by itself
    join = (of_samples, unit, (nlls | rows)["nll"], rows["value"], beta) if rows else None
    nll_prepared = prepare(nll, reduction, nlls, nll_first, share, 0.0 if of_samples is None else unit)
    kl_prepared = prepare(kl, reduction, kls, kl_first, beta, join=join)
    if share_memory(given.values(), [*nll.inputs, *kl.inputs, *scalars[0], *scalars[1]]):
        check(kl, kl_prepared)  # before the NLL is written over an input
    total = carry_out(nll, nll_prepared, reduction, nlls)
    kl_total = carry_out(kl, kl_prepared, reduction, kls)
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
        reduced = dict(zip(VALUES, (value, total, kl_total), strict=True))
    return nlls | kls | rows, reduced, (nll_prepared, kl_prepared)


def _fresh(name: str, results: dict[str, Array], given: dict[str, Array]) -> Array:
    """An array for rows that are written while inputs are read: like that in `given`, or the KL's."""
    return np.empty_like(given.get(name, results["kl"]), subok=False)


def _average(samples: Array | None, unit: float, nll: Array, value: Array, _: float) -> None:
    """The rows of nll and value without a KL."""
    if samples is not None:
        total = np.zeros(nll.shape, np.float64)
        for sample in samples:
            total += sample
        nll[...] = total / len(samples) * unit
    value[...] = nll
