"""The public losses and gradients, made of declarations: a compiled door each, and behind it the rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastelbo import _core
from fastelbo._declare import DEFAULT_AXIS, Joint, Loss, function
from fastelbo._families import JOINTS, LOSSES
from fastelbo._rules import elbo
from fastelbo._rules import loss as single
from fastelbo._threads import get_num_threads

#: The doors, by the names of their functions
doors: dict[str, _core.Door] = {}


def _of_loss(loss: Loss, grad: bool) -> Callable[..., Any]:
    gradients = {name: (name, 0, place) for name, place in zip(loss.operands, loss.places, strict=False)}
    places = ((loss.value, 0, -1), *[gradients[name] for name in loss.fields[1:] if grad])
    return _function(loss, (loss.half(),), places, grad, loss.result if grad else None, single.evaluate)


def _of_joint(joint: Joint, grad: bool) -> Callable[..., Any]:
    places, result = (joint.places(), joint.result) if grad else (joint.places()[:3], joint.value_result)
    return _function(joint, joint.halves(), places, grad, result, elbo.evaluate)


def _function(
    declared: Any,
    halves: tuple[dict[str, Any], ...],
    places: tuple[tuple[str, int, int], ...],
    grad: bool,
    result: Any,
    evaluate: Callable[..., Any],
) -> Callable[..., Any]:
    parameters = declared.parameters(grad)
    names = tuple([parameter.name for parameter in parameters])

    def general(*args: Any) -> Any:
        return evaluate(declared, grad, dict(zip(names, args, strict=True)))

    name = declared.name + "_grad" * grad
    doors[name] = _core.Door(names, halves, places, result, DEFAULT_AXIS, get_num_threads, general)
    doc = declared.grad_doc if grad else declared.doc
    return function(name, parameters, declared.returns(grad), doc, doors[name].entry())


# What follows is typed by the stub that is made of the declarations: _stub.py.
_functions = [_of_loss(loss, grad) for loss in LOSSES.values() for grad in (False, True)]
_functions += [_of_joint(joint, grad) for joint in JOINTS.values() for grad in (False, True)]
_results = {each.result for each in (*LOSSES.values(), *JOINTS.values())}
_results |= {joint.value_result for joint in JOINTS.values()}
_public = {each.__name__: each for each in (*_functions, *_results)}
globals().update(_public)
__all__ = [*sorted(_public)]  # noqa: PLE0604
