"""The likelihoods: a module each, of declarations and docstrings. A new module here is found by itself."""

import importlib
import pkgutil
from typing import Final

from fastelbo._declare import Joint, Loss

_MODULES: Final = [
    importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)
]
_DECLARED: Final = [
    value for module in _MODULES for name, value in vars(module).items() if not name.startswith("_")
]
#: By the names of their functions
LOSSES: Final = {each.name: each for each in _DECLARED if isinstance(each, Loss)}
JOINTS: Final = {each.name: each for each in _DECLARED if isinstance(each, Joint)}
