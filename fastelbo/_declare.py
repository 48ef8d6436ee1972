"""What is particular to each loss, as data: the rules of arguments read it here, and nowhere else.

No rule asks for a loss by its name: what it would decide by that is a field of the declaration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final

from fastelbo._results import BernoulliNLLGrad, KLGrad, NegELBO, NegELBOGrad, NLLGrad, OptimalNLLGrad

Names = tuple[str, ...]

#: Results that `reduction` acts on; all others are gradients
VALUES: Final[Names] = NegELBO._fields


@dataclass(frozen=True, eq=False, kw_only=True)
class Loss:
    """A loss, or samples, as its rules and the core know it."""

    name: str  # its name in the core; empty where that has no part in it
    result: Any  # the named tuple that its gradient function returns
    operands: Names  # gradients by name, in the core's order: two of data, the scale, the prior's scale
    value: str = "value"  # the value's name among the results
    mask: str = "where"  # the argument that leaves elements out; empty for none
    floor: bool = False  # takes `min_var`
    zero_scale: bool = False  # a scale of 0 is allowed, as a logarithm of −inf
    scalar_mean: bool = False  # a scalar as the first operand stands for a constant of the scale's shape
    #: The data count by their difference, which the core takes of integers as they are: an offset may go
    differences: bool = True
    alike: Mapping[str, Names] = field(default_factory=dict)  # what others call its gradients: its own names

    @cached_property
    def fields(self) -> Names:
        """The names of its results, and of the members of `out`."""
        names: Names = self.result._fields
        return names

    @cached_property
    def scales(self) -> Names:
        """The prefix of each scale's keywords."""
        return tuple([name.removesuffix("scale") for name in self.operands[2:]])

    @cached_property
    def shifted(self) -> Names:
        """Operands that an offset may be subtracted from."""
        return self.operands[:2] if self.differences else ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Sum:
    """A loss that is the sum of two, the second times a factor."""

    result: Any
    first: Loss
    of_samples: Loss  # the first, where its rows are those of samples
    second: Loss
    alike: Mapping[str, Names]

    @cached_property
    def fields(self) -> Names:
        """The names of its results, and of the members of `out`."""
        names: Names = self.result._fields
        return names


_MEANS: Final = dict.fromkeys(("recon", "z_mean", "logits"), ("mean",))
_OF_GAUSSIAN: Final = _MEANS | {"z_scale": ("scale",)}

NLL: Final = Loss(name="nll", result=NLLGrad, operands=("x", "mean", "scale"), floor=True, alike=_OF_GAUSSIAN)
KL: Final = Loss(
    name="kl",
    result=KLGrad,
    operands=("mean", "prior_mean", "scale", "prior_scale"),
    scalar_mean=True,
    alike=_OF_GAUSSIAN,
)
BERNOULLI: Final = Loss(
    name="bernoulli",
    result=BernoulliNLLGrad,
    operands=("x", "logits"),
    differences=False,
    alike=dict.fromkeys(("mean", "recon"), ("logits",)),
)
LOSSES: Final = {loss.name: loss for loss in (NLL, KL, BERNOULLI)}

_ELBO_NLL: Final = replace(NLL, value="nll", operands=("x", "recon", "scale"))
ELBO: Final = Sum(
    result=NegELBOGrad,
    first=_ELBO_NLL,
    of_samples=replace(_ELBO_NLL, value="samples"),
    second=replace(
        KL, value="kl", operands=("z_mean", "prior_mean", "z_scale", "prior_scale"), mask="z_where"
    ),
    alike={"mean": ("recon", "z_mean"), "logits": ("recon",)},
)
#: At the variance that minimises it
OPTIMAL: Final = replace(NLL, result=OptimalNLLGrad, operands=("x", "mean"), alike=_MEANS)
#: Of latents: the third operand is their scale
SAMPLE: Final = Loss(name="", result=None, operands=(), mask="", zero_scale=True)
