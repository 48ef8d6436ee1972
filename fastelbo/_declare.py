"""What a likelihood is, said once: a `Loss`. Signatures, doors, stubs, reference and tests follow from it.

Nothing here computes, and nothing of the package is imported: the build reads this too.
"""

from __future__ import annotations

import inspect
import linecache
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, SupportsIndex, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Axis: TypeAlias = SupportsIndex | tuple[SupportsIndex, ...] | None
Reduction: TypeAlias = Literal["none", "sum", "mean"]
Value: TypeAlias = npt.NDArray[Any] | np.floating[Any] | float  # of rows; of one; reduced

FORMS: Final = ("var", "std", "logvar", "logstd", "precision")  # of a scale, in the core's order
ANY_SIGN: Final = FORMS.index("logvar")  # the kind of what takes a scale's place and may have any sign
VALUES: Final = ("value", "nll", "kl")  # members that `reduction` acts on; all others are gradients


_Result = TypeVar("_Result")


def public(result: type[_Result]) -> type[_Result]:
    """`result` under the name that users know, for pickle and help; its annotations stay valid there."""
    hints = typing.get_type_hints(result)
    result.__annotations__ = result.__new__.__annotations__ = hints
    result.__module__ = "fastelbo"
    return result


class _DefaultAxis(int):
    """-1, told from a passed -1 by identity: the rule for 1-D data must know whether the caller chose."""

    __slots__ = ()


DEFAULT_AXIS: Final = _DefaultAxis(-1)

#: What losses may have in common: name, default, annotation; `Loss.options` names those not every loss has
OPTIONS: Final[dict[str, tuple[Any, str]]] = {
    "x_scale": (1.0, "float"),
    "axis": (DEFAULT_AXIS, "Axis"),
    "full": (True, "bool"),
    "weight": (None, "npt.ArrayLike | None"),
    "where": (None, "npt.ArrayLike | None"),
    "min_var": (0.0, "float"),
    "reduction": ("none", "Reduction"),
}
#: What the annotations are made of
ANNOTATIONS: Final = {
    "Array": Array,
    "Axis": Axis,
    "Iterable": Iterable,
    "Literal": Literal,
    "Reduction": Reduction,
    "npt": npt,
}
COMMON: Final = frozenset(("axis", "weight", "where", "reduction"))
EMPTY: Final = inspect.Parameter.empty


@dataclass(frozen=True)
class Scale:
    """One scale of a loss, which a caller passes in one of several forms."""

    forms: tuple[str, ...] = FORMS  # by the core's kinds; empty for one that it lacks
    prefix: str = ""
    whose: str = "the scale"
    required: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """Of the keywords, by the core's kinds."""
        return tuple([form and self.prefix + form for form in self.forms])


@dataclass(frozen=True, kw_only=True)
class Loss:
    """A likelihood or a divergence: `name` for its value, `name`_grad for its gradients."""

    name: str
    kernel: str  # its name in the table of the C code, src/losses/
    operands: tuple[str, ...]  # positional
    core: tuple[
        str | None, ...
    ]  # the gradients' names in the core's order: the two operands, scale, prior scale
    scales: tuple[Scale, ...]
    defaults: Mapping[str, float] = field(default_factory=dict)  # of operands that need not be passed
    options: frozenset[str]  # of OPTIONS, beside the common ones
    result: type[Any]  # named tuple of the value and the gradients
    wrt: tuple[str, ...]  # the default
    doc: str
    grad_doc: str

    @property
    def fields(self) -> tuple[str, ...]:
        """Of the result: the value, and the gradients."""
        found: tuple[str, ...] = self.result._fields
        return found

    def returns(self, grad: bool) -> Any:
        """The public function's annotation."""
        return self.result if grad else Value

    def parameters(self, grad: bool) -> list[inspect.Parameter]:
        """Those of the public function, with annotations as text."""
        found = [_parameter(name, EMPTY, "npt.ArrayLike", positional=True) for name in self.operands]
        for i, scale in enumerate(self.scales):
            if i:
                found += [
                    _parameter(name, default, "npt.ArrayLike") for name, default in self.defaults.items()
                ]
            found += [_parameter(name, None, "npt.ArrayLike | None") for name in scale.names if name]
        taken = COMMON | self.options
        found += [_parameter(name, *OPTIONS[name]) for name in OPTIONS if name in taken]
        return found + _outputs(self.fields, 1, self.wrt, grad)


def _parameter(name: str, default: Any, annotation: str, positional: bool = False) -> inspect.Parameter:
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD if positional else inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


def _outputs(
    fields: tuple[str, ...], values: int, wrt: tuple[str, ...], grad: bool
) -> list[inspect.Parameter]:
    """The last parameters: which gradients, and where to write."""
    if not grad:
        return [_parameter("out", None, "Array | None")] if values == 1 else []
    names = f"Literal[{', '.join(map(repr, fields[values:]))}]"
    return [
        _parameter("wrt", wrt, f"{names} | Iterable[{names}]"),
        _parameter("out", None, f"tuple[{', '.join(['Array | None'] * len(fields))}] | None"),
    ]


def half(loss: Loss, renamed: Mapping[str, str] | None = None, prefix: str = "") -> dict[str, Any]:
    """How a door finds the arguments of a loss among those of a call, which may call them otherwise."""
    renamed = renamed or {}
    names = [scale.names for scale in loss.scales]
    operands = [None if name is None or "scale" in name else renamed.get(name, name) for name in loss.core]
    forms = [[name and (prefix if i == 0 else "") + name for name in each] for i, each in enumerate(names)]
    return {
        "kernel": loss.kernel,
        "operands": (*operands, *[None] * (4 - len(operands))),
        "optional": tuple(loss.defaults),
        "kind": -1 if loss.scales else ANY_SIGN,
        "forms": (*map(tuple, forms), *[None] * (2 - len(forms))),
        "options": {name: renamed.get(name, name) for name in OPTIONS},
        "has": COMMON | loss.options,
    }


def function(
    name: str, parameters: list[inspect.Parameter], returns: Any, doc: str, call: Callable[..., Any]
) -> Callable[..., Any]:
    """A public function that passes all its arguments, in order, to `call`."""
    names = [parameter.name for parameter in parameters]
    keyword_only = [p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY]
    source = (
        f"def {name}({', '.join(names[: len(names) - len(keyword_only)])}, *, {', '.join(keyword_only)}):\n"
    )
    source += f"    return _call({', '.join(names)})\n"
    file = f"<declaration of fastelbo.{name}>"
    linecache.cache[file] = (
        len(source),
        None,
        source.splitlines(keepends=True),
        file,
    )  # for tracebacks, and ?? of IPython
    space: dict[str, Any] = dict(ANNOTATIONS, _call=call, __name__="fastelbo")
    exec(compile(source, file, "exec"), space)
    made: Callable[..., Any] = space[name]
    made.__doc__ = doc
    made.__kwdefaults__ = {
        p.name: p.default for p in parameters if p.name in keyword_only and p.default is not EMPTY
    }
    made.__annotations__ = {p.name: p.annotation for p in parameters} | {
        "return": returns
    }  # text, as help shows it
    return made


@dataclass(frozen=True, kw_only=True)
class Joint:
    """A negative ELBO: the average of an NLL over samples, and β times a KL."""

    name: str
    nll: Loss
    kl: Loss
    nll_names: Mapping[str, str]  # what is called otherwise here
    kl_names: Mapping[str, str]
    prefix: str  # of the forms of the KL's first scale
    operands: tuple[str, ...]
    value_result: type[Any]
    result: type[Any]
    wrt: tuple[str, ...]
    doc: str
    grad_doc: str

    @property
    def fields(self) -> tuple[str, ...]:
        """Of the result with gradients: three values first."""
        found: tuple[str, ...] = self.result._fields
        return found

    def returns(self, grad: bool) -> Any:
        """The public function's annotation."""
        return self.result if grad else self.value_result

    def parameters(self, grad: bool) -> list[inspect.Parameter]:
        """Those of the public function, with annotations as text."""
        found = [_parameter(name, EMPTY, "npt.ArrayLike", positional=True) for name in self.operands]
        names = [
            *self.nll.scales[0].names,
            *[name and self.prefix + name for name in self.kl.scales[0].names],
        ]
        found += [_parameter(name, None, "npt.ArrayLike | None") for name in names if name]
        found += [_parameter(name, default, "npt.ArrayLike") for name, default in self.kl.defaults.items()]
        found += [_parameter(name, None, "npt.ArrayLike | None") for name in self.kl.scales[1].names if name]
        for name, option in OPTIONS.items():
            found.append(
                _parameter(name, *option) if name != "reduction" else _parameter(name, "mean", option[1])
            )
            if name == "x_scale":
                found.append(_parameter("beta", 1.0, "float"))
            if name in self.kl_names:
                found.append(_parameter(self.kl_names[name], *option))
        return found + _outputs(self.fields, len(VALUES), self.wrt, grad)

    def halves(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """For the door: the NLL, and the KL."""
        return half(self.nll, self.nll_names), half(self.kl, self.kl_names, self.prefix)

    def places(self) -> tuple[tuple[str, int, int], ...]:
        """Of each field: the half it belongs to, and its place in the core's order; -1 for the values."""
        values = [("value", 0, -1), ("nll", 0, -1), ("kl", 1, -1)]
        cores = [
            [renamed.get(name or "", name) for name in loss.core]
            for loss, renamed in ((self.nll, self.nll_names), (self.kl, self.kl_names))
        ]
        gradients = self.fields[len(values) :]
        return (
            *values,
            *[(name, i, cores[i].index(name)) for name in gradients for i in (0, 1) if name in cores[i]],
        )
