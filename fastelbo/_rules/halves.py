"""The two halves of a negative ELBO, an NLL and a KL, checked together: one dtype, the same rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from fastelbo._declare import Joint
from fastelbo._rules.axes import check_reduction, counts_from_the_end, event_axes
from fastelbo._rules.call import Call, inputs_of
from fastelbo._rules.dtypes import as_computed
from fastelbo._rules.fits import check_fits
from fastelbo._rules.frames import Frame, along_rows, frame_of
from fastelbo._rules.integers import check_integers
from fastelbo._rules.joint import joint_frame, mismatch
from fastelbo._rules.options import is_full, variance_floor, x_factor
from fastelbo._rules.real import as_plain
from fastelbo._rules.scales import add_scale
from fastelbo._rules.weights import as_mask, row_weight
from fastelbo._typing import Shape


def halves(joint: Joint, given: Mapping[str, Any]) -> tuple[Call, Call]:
    """The NLL and the KL, of one dtype and with the same rows. Rows of samples have a name of their own."""
    axis, z_axis, where, z_where = [
        given[name] for name in (joint.nll.axis, joint.kl.axis, joint.nll.mask, joint.kl.mask)
    ]
    names = [*joint.nll.operands[:2]]
    passed = [given[name] for name in names]
    kind = add_scale(names, passed, joint.nll.scales[0], given)
    names += joint.kl.operands[:2]
    passed += [given[name] for name in joint.kl.operands[:2]]
    z_kind, prior_kind = [add_scale(names, passed, scale, given) for scale in joint.kl.scales]
    plain = as_plain(names, passed)
    operands, dtype = as_computed(names, plain)

    check_reduction(given["reduction"], axis, operands[0].shape)
    frame = _sampled_frame(operands[0].shape, operands[1].shape, axis)
    z_frame = joint_frame(joint.kl, names[3:], operands[3:], z_axis, "z_axis")
    sampled = operands[1].ndim > operands[0].ndim
    rows = frame.rows[sampled:]
    if rows != z_frame.rows:
        _raise_rows(operands[0].shape, rows, axis, z_frame, z_axis)
    check_fits(names[2], operands[2], frame)
    for name, operand in zip(names[5:], operands[5:], strict=True):
        check_fits(name, operand, z_frame)
    floor = variance_floor("min_var", given["min_var"])
    mask = None if where is None else as_mask(where, frame, joint.nll.mask, weight=False)
    z_mask = None if z_where is None else as_mask(z_where, z_frame, joint.kl.mask, weight=False)
    why = "nll and kl of a row are weighted alike"
    weights = None if given["weight"] is None else row_weight(given["weight"], dtype, rows, why)
    weight, z_weight = (None if weights is None else along_rows(weights, half) for half in (frame, z_frame))

    factor = x_factor(given["x_scale"], dtype)
    exact = 2 if factor == 1.0 else 0
    check_integers(names[exact:3], operands[exact:3], joint.nll.shifted, mask, frame.shape)
    check_integers(names[5:], operands[5:])

    nll = Call(
        joint.of_samples if sampled else joint.nll, names[:3], plain[:3], operands[:3], (kind, -1), dtype,
        frame, inputs_of(operands[:3], weight, mask), floor, is_full(given["full"]), factor,
    )  # fmt: skip
    kl = Call(
        joint.kl, names[3:], plain[3:], operands[3:], (z_kind, prior_kind), dtype, z_frame,
        inputs_of(operands[3:], z_weight, z_mask), full=False,
    )  # fmt: skip
    return nll, kl


def _sampled_frame(x: Shape, recon: Shape, axis: Any) -> Frame:
    """The frame of the NLL. `axis` counts the axes of x; that of the samples is a row axis, the first."""
    extra = len(recon) - len(x)
    if extra not in (0, 1) or recon[extra:] != x:
        if extra > 1 and recon[extra:] == x:
            way_out = f": np.reshape(recon, {(-1, *x)}) makes them one axis"
        else:
            longer, shorter = (("recon", recon), ("x", x))[:: 1 if extra >= 0 else -1]
            way_out = mismatch(*longer, *shorter, samples=longer[0] == "recon")
        raise ValueError(
            f"x has shape {x} and recon has shape {recon}; recon must have the shape of x, "
            f"or one leading axis of samples more{way_out}"
        )
    if extra and not recon[0]:
        raise ValueError(f"recon has shape {recon}: an average over no samples")
    events = event_axes(axis, x, "x")
    if extra and not counts_from_the_end(axis):
        raise ValueError(
            f"axis={axis!r} may count from the wrong end: x has {len(x)} axes, recon {len(recon)}; "
            f"pass axis={tuple([i - len(x) for i in events])}"
        )
    data = "recon" if extra else "x and recon"
    return frame_of(data, recon, tuple([i + extra for i in events]))


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
