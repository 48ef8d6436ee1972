"""Samples of latents: their shapes, and where they are written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from fastelbo import _core
from fastelbo._declare import FORMS, Loss, Scale
from fastelbo._rules.call import Call, inputs_of
from fastelbo._rules.fits import check_fits
from fastelbo._rules.frames import Frame, frame_of, spread, stretched
from fastelbo._rules.inplace import untangle
from fastelbo._rules.outputs import given_arrays
from fastelbo._threads import get_num_threads
from fastelbo._typing import Array, Shape

#: Of latents: the third operand is their scale
SAMPLE: Final = Loss(public=False, mask="", zero_scale=True, scales=(Scale(),))


def latents(name: str, scale: Array, mean_shape: Shape) -> Frame:
    """The frame of μ and σ, without samples; a scalar mean takes the scale's shape, as in the KL."""
    shape = mean_shape or scale.shape
    frame = frame_of("mean", shape, (len(shape) - 1,) if shape else ())
    check_fits(name, scale, frame)
    return frame


def sampled(name: str, shape: Shape, frame: Frame, n_samples: int | None = None) -> Frame:
    """The frame of z, of `shape`: that of the latents, or with one axis of samples before theirs."""
    lead = len(shape) - len(frame.shape)
    counts = (None, *shape[:1]) if lead else (None,)
    if lead not in (0, 1) or shape[lead:] != frame.shape or n_samples not in counts:
        wanted = f"(S, {str(frame.shape)[1:]}" if frame.shape else "(S,)"
        either = f"{frame.shape}, or {wanted} for S samples"
        expected = either if n_samples is None else f"{(n_samples, *frame.shape)}, n_samples first"
        raise ValueError(
            f"{name} has shape {shape}; for a {frame.data} of shape {frame.shape} it must have {expected}"
        )
    return frame_of("z", shape, ())


def latents_behind(name: str, scale: Array, mean_shape: Shape | None, z: Shape) -> Frame:
    """The frame of μ and σ behind a gradient of shape `z`; an error where rows and samples look alike."""
    own = scale.shape
    if mean_shape is not None:
        return latents(name, scale, mean_shape)
    if z not in (own, (*z[:1], *own)):
        fault = "is not that, nor that of samples of it"
    elif z != own and len(own) < 2:
        fault = f"may be {z[0]} samples as well as rows that share it"
    else:
        return latents(name, scale, own)
    raise ValueError(
        f"{name} has shape {own}, and grad_z, of shape {z}, {fault}: "
        "pass mean_shape, the shape of the mean that went into reparameterize"
    )


def sample_call(name: str, value: Any, operands: Sequence[Array], dtype: np.dtype[Any], frame: Frame) -> Call:
    """A call that the core has no part in: two operands and the scale, passed as `value`."""
    kinds, names, plain = (FORMS.index(name), -1), ("", "", name), (None, None, value)
    inputs = inputs_of(operands, None, None)
    return Call(SAMPLE, names, plain, operands, kinds, dtype, frame, inputs)


def places(
    out: Any,
    fields: tuple[str, ...],
    call: Call,
    shapes: dict[str, Shape],
    arguments: tuple[Sequence[str], Sequence[Any]],
) -> tuple[dict[str, Array], dict[str, Any], dict[str, Array], list[tuple[Array, Array]]]:
    """Where to write results of these shapes: the arrays of `out`, plain and as passed, the results, what to
    copy in the end."""
    given, passed = given_arrays(out, fields, True, "none", call.dtype, shapes, arguments)
    results = dict(given)
    _, copies = untangle(call, given, results) if given else (False, [])
    results = {name: _core.empty(shape, call.dtype) for name, shape in shapes.items()} | results
    return given, passed, results, copies


def draw(call: Call, z: Array) -> None:
    """Fill z, the operands being the mean, ε and the scale."""
    _run(call, False, stretched(call.operands[2], call.frame), (z, None))


def way_back(call: Call, results: dict[str, Array]) -> None:
    """Fill the gradients for the mean and the scale. Where only one of them is summed over rows, it is first
    and by itself, as the other may lie over an input."""
    own = [stretched(result, call.frame) for result in results.values()]
    mean, scale = results.values()
    if own[0] == own[1]:
        _run(call, True, own[0], (mean, scale))
        return
    by_itself = [(own[0], (mean, None)), (own[1], (None, scale))]
    for constant, outputs in sorted(by_itself, key=lambda one: one[0].bit_count(), reverse=True):
        _run(call, True, constant, outputs)


def _run(call: Call, back: bool, constant: int, outputs: Sequence[Array | None]) -> None:
    frame = call.frame
    if 0 in frame.shape:
        for result in outputs:
            if result is not None:
                result.fill(0)
        return
    inputs = [spread(array, frame) for array in call.operands]
    places = [None if result is None else spread(result, frame, writeable=True) for result in outputs]
    aliased = any(
        np.may_share_memory(result, array)
        for result in outputs
        for array in call.operands
        if result is not None
    )
    form = FORMS[call.kinds[0]]
    views = (*inputs, *places)
    _core.run_latents(form, call.dtype.char == "d", back, constant, views, aliased, get_num_threads)
