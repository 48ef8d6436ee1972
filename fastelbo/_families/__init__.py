"""The likelihoods: a module each, of declarations and docstrings. A new module here is found by itself."""

import importlib
import pkgutil
from collections.abc import Iterable
from typing import Any, Final, TypeVar

from fastelbo._declare import Joint, Loss

_Kind = TypeVar("_Kind", Loss, Joint)


def by_name(declared: Iterable[Any], kind: type[_Kind]) -> dict[str, _Kind]:
    """The public ones of this kind, by the names of their functions."""
    found: dict[str, _Kind] = {}
    for each in declared:
        if not isinstance(each, kind) or not getattr(each, "public", True):
            continue
        if found.setdefault(each.name, each) is not each:  # the same, where a module imports it from another
            raise ValueError(f"two declarations in fastelbo/_families/ have the name {each.name}")
    return found


_MODULES: Final = [
    importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)
]
_DECLARED: Final = [
    value for module in _MODULES for name, value in vars(module).items() if not name.startswith("_")
]
LOSSES: Final = by_name(_DECLARED, Loss)
JOINTS: Final = by_name(_DECLARED, Joint)
