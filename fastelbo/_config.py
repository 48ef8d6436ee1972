"""What this installation is: for bug reports, and to see which code runs."""

from __future__ import annotations

import os
import platform

import numpy as np

from fastelbo import _core, _threads
from fastelbo._version import __version__


def config() -> dict[str, str]:
    """The facts behind `show_config`, by name."""
    kept, most = _core.kept_memory()
    openmp, without = _core.openmp_version(), _core.openmp_error or "a serial build"
    return {
        "fastelbo": __version__,
        "instruction set": f"{_core.isa()} (of {', '.join(_core.isa_levels())}; FASTELBO_ISA pins one)",
        "compiler": _core.compiler(),
        "OpenMP": f"{openmp} ({_core.openmp_runtime()})" if openmp else f"none: {without}",
        "threads": str(_threads.get_num_threads()),
        "memory kept": f"{kept >> 20} of at most {most >> 20} MiB, for results to come",
        "NumPy": np.__version__,
        "Python": platform.python_version(),
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}{_libc()}",
    }


def _libc() -> str:
    """Of glibc alone; `platform` would read files and start a process to tell more."""
    try:
        return f", {os.confstr('CS_GNU_LIBC_VERSION')}"
    except (AttributeError, OSError, ValueError):
        return ""


def show_config() -> None:
    """Print version, instruction set, compiler, OpenMP, threads, memory, NumPy, platform: for a bug report.

    Examples
    --------
    >>> import fastelbo as fe
    >>> fe.show_config()  # doctest: +ELLIPSIS
    fastelbo         0.1.0
    instruction set  ...
    """
    facts = config()
    width = max(map(len, facts))
    for name, fact in facts.items():
        print(f"{name:<{width}}  {fact}")
