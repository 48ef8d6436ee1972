"""Each public function with array arguments: its rules, declaration, arrays, scales and members of `out`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

import declared
import fastelbo as fe
from fastelbo._declare import Joint, Loss, Scale

VALUES = ("value", "nll", "kl")
Shape = tuple[int, ...]


class Function(NamedTuple):
    """A public function: its rules, its arrays but for scales, the members of `out`; and what declares it."""

    loss: str
    operands: tuple[str, ...]
    scales: tuple[Scale, ...] = ()
    out: tuple[str, ...] = ()
    declared: Loss | None = None

    @property
    def forms(self) -> dict[str, tuple[str, ...]]:
        """The keywords of its scales, by their prefixes."""
        return {scale.prefix: declared.forms(scale) for scale in self.scales}

    @property
    def data(self) -> tuple[str, ...]:
        """The two operands of a loss that make its shape."""
        return self.operands[:2]


def _of_loss(loss: Loss, grad: bool) -> Function:
    operands = (*loss.operands[:2], *([loss.number] if loss.number else []))
    return Function("loss", operands, loss.scales, loss.fields if grad else (loss.value,), loss)


def _of_joint(joint: Joint, grad: bool) -> Function:
    operands = (*joint.nll.operands[:2], *joint.kl.operands[:2])
    return Function("elbo", operands, joint.all_scales, joint.fields if grad else ())


_DECLARED = [(declared.LOSSES, _of_loss), (declared.JOINTS, _of_joint)]
FUNCTIONS = {
    name + "_grad" * grad: row(one, grad)
    for rows, row in _DECLARED
    for name, one in rows.items()
    for grad in (False, True)
} | {
    "optimal_var": Function("variance", ("x", "mean")),
    "optimal_nll": Function("optimal", ("x", "mean")),
    "optimal_nll_grad": Function("optimal", ("x", "mean"), (), fe.OptimalNLLGrad._fields),
    "reparameterize": Function("sample", ("mean", "eps"), (Scale(),), fe.Reparameterized._fields),
    "reparameterize_grad": Function("slope", ("grad_z", "eps"), (Scale(),), fe.ReparameterizeGrad._fields),
    "iwae_bound": Function("iwae", ("log_w",)),
    "free_bits": Function("bits", ("kl",)),
}
#: The keywords of all scales that a gradient may be with respect to
SCALES = {
    member: tuple(dict.fromkeys([key for row in FUNCTIONS.values() for key in row.forms.get(prefix, ())]))
    for member, prefix in (("scale", ""), ("z_scale", "z_"), ("prior_scale", "prior_"))
}
PARAMETERS = {name: inspect.signature(getattr(fe, name)).parameters for name in FUNCTIONS}
DEFAULTS = {name: {key: p.default for key, p in found.items()} for name, found in PARAMETERS.items()}


def scales_of(row: Function, given: Mapping[str, Any]) -> dict[str, list[str]]:
    """The scales that are given, by prefix."""
    return {prefix: [key for key in keys if given[key] is not None] for prefix, keys in row.forms.items()}


def argument_of(member: str, given: Mapping[str, Any]) -> Any:
    """What a gradient is the gradient of; None for a prior that is not there."""
    if member not in SCALES:
        return given[member]
    return next((given[key] for key in SCALES[member] if given.get(key) is not None), None)
