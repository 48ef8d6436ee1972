"""What a likelihood is, said once: a `Loss`. Signatures, doors, stubs, rules and tests follow from it.

Nothing here computes, and no rule asks for a loss by its name: what it would decide by that is a field here.
The build reads this too, before anything is compiled.
"""

from __future__ import annotations

import inspect
import linecache
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal, NoReturn

import numpy as np
import numpy.typing as npt

from fastelbo._typing import Array, Axis, Reduction

Names = tuple[str, ...]

FORMS: Final = ("var", "std", "logvar", "logstd", "precision")  # of a scale, in the core's order
ANY_SIGN: Final = FORMS.index("logvar")  # the kind of what takes a scale's place and may have any sign
NUMBER: Final = len(FORMS)  # the kind of what is no scale, in the place of the prior's
VALUES: Final = ("value", "nll", "kl")  # members that `reduction` acts on; all others are gradients


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
    "min_scale": (0.0, "float"),
    "reduction": ("none", "Reduction"),
}
#: What the annotations are made of
ANNOTATIONS: Final = {
    "Array": Array,
    "Axis": Axis,
    "Iterable": Iterable,
    "Literal": Literal,
    "Reduction": Reduction,
    "np": np,
    "npt": npt,
}
VALUE: Final = "np.ndarray | np.floating | float"  # of rows; of one; reduced
FLOORS: Final = ("min_var", "min_scale")  # of a variance, and of a scale that is none's root
COMMON: Final = frozenset(("axis", "weight", "where", "reduction"))
EMPTY: Final = inspect.Parameter.empty


@dataclass(frozen=True)
class Scale:
    """One scale of a loss, which a caller passes in one of several forms."""

    forms: Names = FORMS  # by the core's kinds; empty for one that it lacks
    prefix: str = ""
    whose: str = "the scale"
    required: bool = True

    @cached_property
    def names(self) -> Names:
        """The keywords, by the core's kinds."""
        return tuple([form and self.prefix + form for form in self.forms])


@dataclass(frozen=True, eq=False, kw_only=True)
class Loss:
    """A likelihood or a divergence: `name` for its value, `name`_grad for its gradients."""

    public: bool = (
        True  # it has functions of its own; half of a joint loss, and the samples' scale, have none
    )
    name: str = ""
    kernel: str = ""  # its name in the C code's table, src/losses/; empty where the core has no part in it
    operands: Names = ()  # its gradients: by two operands of data, the scale, the prior's scale
    places: tuple[int, ...] = (0, 1, 2, 3)  # of these in the core, where the first two are a difference
    scales: tuple[Scale, ...] = ()
    number: str = ""  # an operand > 0 without a gradient, one for each element
    number_limit: str = ""  # what inf makes of it, in a message's words
    #: Numbers of the whole call, and what the core takes for None; EMPTY where there is no default
    parameters_of_call: Mapping[str, Any] = field(default_factory=dict)
    positional: Names = ()  # parameters of the public function
    defaults: Mapping[str, float] = field(default_factory=dict)  # of operands that need not be passed
    options: frozenset[str] = frozenset()  # of OPTIONS, beside the common ones
    result: Any = None  # named tuple of the value and the gradients
    wrt: Names = ()  # the default
    doc: str = ""
    grad_doc: str = ""
    #: The reference: of the arguments as float64 arrays, and what reference._losses adds, the term of an
    #: element as "value", without what `axis`, `weight`, `where` and `reduction` make of it, and derivatives
    maths: Callable[[Any], dict[str, Any]] | None = None

    value: str = "value"  # the value's name among the results
    axis: str = "axis"  # the option that names the events
    mask: str = "where"  # the option that leaves elements out; empty for none
    zero_scale: bool = False  # a scale of 0 is allowed, as a logarithm of −inf
    scalar_mean: bool = False  # a scalar as the first operand stands for a constant of the scale's shape
    #: The data count by their difference, which the core takes of integers as they are: an offset may go
    differences: bool = True
    alike: Mapping[str, Names] = field(default_factory=dict)  # what others call its gradients: its own names

    def __post_init__(self) -> None:
        """A mistake is told here, where it is made, in place of the nonsense that would come of it."""
        if fault := next(_faults(self), ""):
            raise ValueError(f"the declaration of {self.name or 'a loss'} (fastelbo/_families/) {fault}")

    @cached_property
    def fields(self) -> Names:
        """The names of its results, and of the members of `out`."""
        names: Names = self.result._fields
        return names

    @property
    def all_scales(self) -> tuple[Scale, ...]:
        """As a caller sees them."""
        return self.scales

    @property
    def floor(self) -> str:
        """The option that is a floor of the scale; empty for none."""
        return next((name for name in FLOORS if name in self.options), "")

    @cached_property
    def shifted(self) -> Names:
        """Operands that an offset may be subtracted from."""
        return self.operands[:2] if self.differences else ()

    def returns(self, grad: bool) -> Any:
        """The public function's annotation."""
        return self.result if grad else VALUE

    def parameters(self, grad: bool) -> list[inspect.Parameter]:
        """Those of the public function, with annotations as text."""
        found = [_parameter(name, EMPTY, "npt.ArrayLike", positional=True) for name in self.positional]
        found += [_parameter(self.number, EMPTY, "npt.ArrayLike")] if self.number else []
        for i, scale in enumerate(self.scales):
            defaults = self.defaults if i else {}
            found += [_parameter(name, default, "npt.ArrayLike") for name, default in defaults.items()]
            found += [_parameter(name, None, "npt.ArrayLike | None") for name in scale.names if name]
        for name, none in self.parameters_of_call.items():
            found.append(_parameter(name, *((EMPTY, "float") if none is EMPTY else (None, "float | None"))))
        taken = COMMON | self.options
        found += [_parameter(name, *OPTIONS[name]) for name in OPTIONS if name in taken]
        return found + _outputs(self.fields, 1, self.wrt, grad)

    def in_core_order(self, items: Iterable[Any], filler: Any) -> tuple[Any, ...]:
        """What belongs to the operands, as the core has them."""
        found = [filler] * 4
        for place, item in zip(self.places, items, strict=False):
            found[place] = item
        return tuple(found)

    def half(self) -> dict[str, Any]:
        """How a compiled door finds its arguments among those of a call."""
        data: list[str | None] = [*(self.operands if not self.scales else self.operands[:2])]
        data += [None, self.number] if self.number else []
        forms = [scale.names for scale in self.scales]
        called = {"axis": self.axis, "where": self.mask, "min_var": self.floor}
        taken = (COMMON | self.options | ({"min_var"} if self.floor else set())) - {"min_scale"}
        return {
            "kernel": self.kernel,
            "operands": self.in_core_order(data, None),
            "optional": tuple(self.defaults),
            "kind": -1 if self.scales else ANY_SIGN,
            "forms": (*forms, *[None] * (2 - len(forms))),
            "parameters": tuple(self.parameters_of_call.items()),
            "options": {name: called.get(name, name) for name in taken},
        }


@dataclass(frozen=True, eq=False, kw_only=True)
class Joint:
    """A negative ELBO: the average of an NLL over samples, and β times a KL."""

    name: str
    nll: Loss
    of_samples: Loss  # the same, where its rows are those of samples
    kl: Loss
    positional: Names
    value_result: Any
    result: Any
    wrt: Names
    doc: str
    grad_doc: str
    alike: Mapping[str, Names]

    @cached_property
    def fields(self) -> Names:
        """The names of its results, and of the members of `out`: three values first."""
        names: Names = self.result._fields
        return names

    @property
    def all_scales(self) -> tuple[Scale, ...]:
        """As a caller sees them."""
        return self.nll.scales + self.kl.scales

    def returns(self, grad: bool) -> Any:
        """The public function's annotation."""
        return self.result if grad else self.value_result

    def parameters(self, grad: bool) -> list[inspect.Parameter]:
        """Those of the public function, with annotations as text."""
        found = [_parameter(name, EMPTY, "npt.ArrayLike", positional=True) for name in self.positional]
        encoder, prior = self.kl.scales
        names = [*self.nll.scales[0].names, *encoder.names]
        found += [_parameter(name, None, "npt.ArrayLike | None") for name in names if name]
        found += [_parameter(name, default, "npt.ArrayLike") for name, default in self.kl.defaults.items()]
        found += [_parameter(name, None, "npt.ArrayLike | None") for name in prior.names if name]
        for name, (default, annotation) in OPTIONS.items():
            if name not in COMMON | self.nll.options:
                continue
            found.append(_parameter(name, "mean" if name == "reduction" else default, annotation))
            if name == "x_scale":
                found.append(_parameter("beta", 1.0, "float"))
            own = {"axis": self.kl.axis, "where": self.kl.mask}.get(name)
            found += [_parameter(own, default, annotation)] if own else []
        return found + _outputs(self.fields, len(VALUES), self.wrt, grad)

    def halves(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """For the door: the NLL, and the KL."""
        return self.nll.half(), self.kl.half()

    def places(self) -> tuple[tuple[str, int, int], ...]:
        """Of each field: the half it belongs to, and its place in the core; -1 for the values."""
        values = [(name, int(name == self.kl.value), -1) for name in VALUES]
        both = [
            (name, i, loss.places[k])
            for i, loss in enumerate((self.nll, self.kl))
            for k, name in enumerate(loss.operands)
        ]
        return (*values, *sorted(both, key=lambda each: self.fields.index(each[0])))


#: What a loss with functions of its own can't be without
_NEEDED: Final = {
    "name": "that of its function",
    "kernel": "its name in the table of src/losses/losses.h",
    "operands": "the names of its gradients, such as ('x', 'mean', 'scale')",
    "positional": "the parameters that need no keyword, such as ('x', 'mean')",
    "result": "the named tuple of its value and gradients, such as NLLGrad",
    "wrt": "the gradients that are computed where a call names none",
    "maths": "its reference in plain NumPy",
    "doc": "the docstring of its function",
    "grad_doc": "the docstring of its function of gradients",
}


def _faults(loss: Any) -> Iterator[str]:
    """What is wrong with a declaration, in words that go on after its name; the first is what counts."""
    scales = loss.scales
    if (
        not isinstance(scales, tuple)
        or not all(isinstance(scale, Scale) for scale in scales)
        or len(scales) > 2
    ):
        yield f"has scales={scales!r}; it must be a tuple of at most two, such as (Scale(),)"
    for scale in scales:
        if not isinstance(scale.forms, tuple) or len(scale.forms) != len(FORMS) or not any(scale.forms):
            yield (
                f"has a Scale of the forms {scale.forms!r}: there must be {len(FORMS)}, in the order of "
                f"{', '.join(FORMS)}, empty for each that it lacks"
            )
    if not loss.public:
        return
    for member, what in _NEEDED.items():
        if not getattr(loss, member):
            yield f"has no `{member}`, {what}"
    for member, kind in (("operands", tuple), ("positional", tuple), ("wrt", tuple), ("options", frozenset)):
        names = getattr(loss, member)
        if not isinstance(names, kind) or not all(isinstance(one, str) for one in names):
            yield f"has {member}={names!r}; it must be a {kind.__name__} of names, a comma after each"
    data, n_operands = loss.operands[:2], 2 + len(scales)
    if len(loss.operands) != n_operands or len({*loss.places[:n_operands]} & {*range(4)}) != n_operands:
        yield (
            f"has operands={loss.operands!r} and places={loss.places!r}: an operand for each of the two "
            f"arguments of data and of the scales, {n_operands} in all, and a place from 0 to 3 for each"
        )
    if not hasattr(loss.result, "_fields") or {*loss.fields} != {loss.value, *loss.operands}:
        found = _listed(getattr(loss.result, "_fields", ())) or "no names"
        wanted = _listed((loss.value, *loss.operands))
        yield f"has a result of {found}, which must be a named tuple of {wanted}"
    for member, names, known in (
        ("positional parameters", loss.positional, data),
        ("defaults", loss.defaults, data),
        ("wrt", loss.wrt, loss.operands),
        ("options", loss.options, tuple(OPTIONS)),
        *[("alike", own, loss.operands) for own in loss.alike.values()],
    ):
        for name in sorted({*names} - {*known}):
            hint = _did_you_mean(name, names, known)
            yield f"has {name!r} among its {member}, which is none of {_listed(known)}{hint}"
    if missing := [name for name in data if name not in (*loss.positional, *loss.defaults)]:
        yield f"has {_listed(missing)} neither among its positional parameters nor among its defaults"
    if {*FLOORS} <= loss.options or (loss.floor and not scales):
        yield f"has the options {_listed(sorted(loss.options))}: a scale has one floor, and no scale has none"
    if (loss.number and len(scales) != 1) or len(loss.parameters_of_call) not in (0, 3):
        yield "has a `number` without a scale or beside a prior's, or `parameters_of_call` other than three"
    names = [parameter.name for parameter in loss.parameters(grad=True)]
    for name in names:
        if names.count(name) > 1 or not name.isidentifier():
            yield f"makes {names.count(name)} parameters of the name {name!r}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))


def _did_you_mean(name: str, names: Iterable[str], known: Iterable[str]) -> str:
    if all(len(one) == 1 for one in names):  # frozenset("mean") has its letters
        return ": is a comma missing, as in frozenset(('x_scale',))?"
    from difflib import get_close_matches  # which only mistakes need

    return "".join([f": did you mean {like!r}?" for like in get_close_matches(name, known, 1)])


def _parameter(name: str, default: Any, annotation: str, positional: bool = False) -> inspect.Parameter:
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD if positional else inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


def _outputs(fields: Names, values: int, wrt: Names, grad: bool) -> list[inspect.Parameter]:
    """The last parameters: which gradients, and where to write."""
    if not grad:
        return [_parameter("out", None, "Array | None")] if values == 1 else []
    names = f"Literal[{', '.join(map(repr, fields[values:]))}]"
    return [
        _parameter("wrt", wrt, f"{names} | Iterable[{names}]"),
        _parameter("out", None, f"tuple[{', '.join(['Array | None'] * len(fields))}] | None"),
    ]


def function(
    name: str, parameters: list[inspect.Parameter], returns: Any, doc: str, call: Callable[..., Any]
) -> Callable[..., Any]:
    """A public function that passes all its arguments, in order, to `call`.

    It takes more positional arguments than its signature has, to say what is to become of them. The same for
    keywords would cost each call a dictionary.
    """
    names = [parameter.name for parameter in parameters]
    keyword_only = [p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY]
    positional = names[: len(names) - len(keyword_only)]
    source = (
        f"def {name}({', '.join([*positional, '*_more', *keyword_only])}):\n"
        "    if _more:\n"
        "        _refuse(_more)\n"
        f"    return _call({', '.join(names)})\n"
    )
    file = f"<declaration of fastelbo.{name}>"
    lines = source.splitlines(keepends=True)
    linecache.cache[file] = (len(source), None, lines, file)  # for tracebacks, and ?? of IPython

    def refuse(more: tuple[Any, ...]) -> NoReturn:
        few = " and ".join(positional) if len(positional) < 3 else ", ".join(positional)
        own = [f"{one}=" for one in keyword_only if one not in OPTIONS and one not in ("wrt", "out")]
        such = f", such as {', '.join(own[:5])}" if own else ""
        raise TypeError(
            f"{name}() takes {len(positional)} positional argument{'s'[: len(positional) > 1]}, {few}, but "
            f"{len(positional) + len(more)} were given: pass others by keyword{such}"
        )

    space: dict[str, Any] = dict(ANNOTATIONS, _call=call, _refuse=refuse, __name__="fastelbo")
    exec(compile(source, file, "exec"), space)
    made: Callable[..., Any] = space[name]
    made.__doc__ = doc
    made.__kwdefaults__ = {
        p.name: p.default for p in parameters if p.name in keyword_only and p.default is not EMPTY
    }
    made.__annotations__ = {p.name: p.annotation for p in parameters}
    made.__annotations__ |= {"return": returns}  # text, as help shows it
    made.__signature__ = inspect.Signature(parameters, return_annotation=returns)  # type: ignore[attr-defined]
    return made
