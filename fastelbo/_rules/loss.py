"""One loss by the rules: all of them in their order, then the core."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastelbo._declare import ANY_SIGN, NUMBER, Loss
from fastelbo._rules.axes import check_reduction
from fastelbo._rules.call import Call, inputs_of
from fastelbo._rules.dtypes import as_computed
from fastelbo._rules.fits import check_fits
from fastelbo._rules.inplace import untangle
from fastelbo._rules.integers import check_integers
from fastelbo._rules.joint import joint_frame
from fastelbo._rules.options import is_full, variance_floor, x_factor
from fastelbo._rules.outputs import allocate, as_returned, given_arrays
from fastelbo._rules.parameters import at_most_infinite, parameters
from fastelbo._rules.real import as_plain
from fastelbo._rules.run import Found, run
from fastelbo._rules.scales import add_scale
from fastelbo._rules.weights import as_mask, as_weight
from fastelbo._rules.wrt import asked_for


def evaluate(loss: Loss, grad: bool, given: Mapping[str, Any]) -> Found:
    """A loss by the rules; `given` has all parameters of its public function by name."""
    names = list(loss.operands[:2])  # as the caller knows them
    passed = [given[name] for name in names]
    kinds = [ANY_SIGN if not loss.scales else -1, -1]  # of the scale and the prior's
    for i, scale in enumerate(loss.scales):
        kinds[i] = add_scale(names, passed, scale, given)
    if loss.number:
        kinds[1] = NUMBER
        names.append(loss.number)
        passed.append(at_most_infinite(given[loss.number]))
    axis, where, weight, out = [given[name] for name in ("axis", "where", "weight", "out")]
    plain = as_plain(names, passed)
    operands, dtype = as_computed(names, plain)

    frame = joint_frame(loss, names, operands, axis)
    reduction = check_reduction(given["reduction"], axis, frame.shape)
    for own, operand in zip(names[2:], operands[2:], strict=True):
        check_fits(own, operand, frame)
    floor = variance_floor(loss.floor, given[loss.floor]) if loss.floor else 0.0
    mask = None if where is None else as_mask(where, frame)
    weights = None if weight is None else as_weight(weight, dtype, frame)
    factor = x_factor(given.get("x_scale", 1.0), dtype)
    exact = 2 if loss.differences and factor == 1.0 else 0
    check_integers(names[exact:], operands[exact:], loss.shifted, mask, frame.shape)
    call = Call(
        loss, names, plain, operands, (kinds[0], kinds[1]), dtype, frame,
        inputs_of(operands, weights, mask), floor, is_full(given.get("full", False)), factor,
        parameters(loss, given, dtype),
    )  # fmt: skip

    members = dict(zip(call.members, operands, strict=False))
    asked = asked_for(given["wrt"], loss, members) if grad else ()
    shapes = {loss.value: frame.rows} | {member: members[member].shape for member in asked}
    outputs, passed_out = given_arrays(out, loss.fields, grad, reduction, dtype, shapes, (names, plain))
    results = allocate(call, reduction, asked, outputs)
    check_first, copies = untangle(call, outputs, results) if outputs else (False, [])
    total, prepared = run(call, reduction, results, check_first)
    for target, result in copies:
        target[...] = result

    final = as_returned(results, passed_out)
    if reduction != "none":
        final[loss.value] = total
    result = loss.result(*map(final.get, loss.fields)) if grad else final[loss.value]
    return result, (prepared,)
