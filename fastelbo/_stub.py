"""The stub of `_losses`, from the declarations: what type checkers and editors read.

`python -m fastelbo._stub FILE` writes it. The build does so, for the installed package and for a source tree.
"""

import inspect
import sys
from pathlib import Path
from typing import Final

from fastelbo._declare import EMPTY, Joint, Loss
from fastelbo._families import JOINTS, LOSSES

HEAD: Final = '''"""Made by the build from the declarations in families/: fastelbo._stub."""

from collections.abc import Iterable
from typing import Any, Literal, SupportsIndex, overload

import numpy as np
import numpy.typing as npt

from fastelbo._core import Door
from fastelbo._typing import Array, Axis, Reduction, Value
'''


def _spelt(parameter: inspect.Parameter, annotation: str = "", default: bool = True) -> str:
    text = f"    {parameter.name}: {annotation or parameter.annotation}"
    return text + (" = ...," if default and parameter.default is not EMPTY else ",")


def _signature(parameters: list[inspect.Parameter], **other: tuple[str, bool]) -> str:
    """One a line; `other` has annotations that differ here, and whether there is a default."""
    lines = [_spelt(each, *other.get(each.name, ("", True))) for each in parameters]
    lines.insert(sum(each.kind is each.POSITIONAL_OR_KEYWORD for each in parameters), "    *,")
    return "\n".join(lines)


def _function(declared: Loss | Joint, grad: bool) -> str:
    name, parameters = declared.name + "_grad" * grad, declared.parameters(grad)
    if grad or isinstance(declared, Joint):
        return f"def {name}(\n{_signature(parameters)}\n) -> {declared.returns(grad).__name__}: ...\n"
    none, reduced = 'Literal["none"]', 'Literal["sum", "mean"]'
    some = "SupportsIndex | tuple[SupportsIndex, ...]"
    ways: list[tuple[str, dict[str, tuple[str, bool]]]] = [
        ("Array", {"reduction": (none, True), "out": ("Array", False)}),
        ("float", {"reduction": (reduced, False), "out": ("None", True)}),
        ("np.floating[Any]", {"axis": ("None", False), "reduction": (none, True), "out": ("None", True)}),
        ("Array", {"axis": (some, True), "reduction": (none, True), "out": ("None", True)}),
        ("Value", {}),
    ]
    return "".join(
        f"@overload\ndef {name}(\n{_signature(parameters, **other)}\n) -> {returns}: ...\n"
        for returns, other in ways
    )


def stub() -> str:
    """The file."""
    declared: list[Loss | Joint] = [*LOSSES.values(), *JOINTS.values()]
    results = {each.result for each in declared} | {each.value_result for each in JOINTS.values()}
    lines = sorted(f"from fastelbo._results import {each.__name__} as {each.__name__}" for each in results)
    names = [each.name + suffix for each in declared for suffix in ("", "_grad")]
    names += [each.__name__ for each in results]
    text = "\n".join(
        [HEAD.rstrip(), *lines, "", "doors: dict[str, Door]", f"__all__ = {sorted(names)!r}", ""]
    )
    return text + "\n" + "".join(_function(each, grad) for each in declared for grad in (False, True))


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(stub())
