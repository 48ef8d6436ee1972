"""What a race runs on: the machine, what libraries make of it, and how to hold them to an older one."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import platform
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
HASWELL = "haswell"  # the first processor with AVX2 and FMA: x86-64-v3


def pin(cores: int) -> None:
    """This process to the last cores; before any library counts them."""
    if CORES:
        os.sched_setaffinity(0, CORES[-cores:])


def _field(file: str, name: str) -> str:
    """What stands behind a name in one of the files of /proc; "" where there is none."""
    text = Path(file).read_text() if Path(file).exists() else ""
    found = re.search(rf"^{name}\s*:\s*(.*)$", text, re.MULTILINE)
    return found[1].strip() if found else ""


def cache_bytes() -> int:
    """Size of the last-level cache; 32 MiB where the system does not say."""
    files = Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")
    sizes = [re.fullmatch(r"(\d+)([KM])", file.read_text().strip()) for file in files]
    return max((int(s[1]) * {"K": 2**10, "M": 2**20}[s[2]] for s in sizes if s), default=2**25)


def free_bytes() -> float:
    """Memory that a process could still take; endless where the system does not say."""
    found = _field("/proc/meminfo", "MemAvailable")
    return int(found.split()[0]) * 1024 if found else float("inf")


def commit() -> str | None:
    """The commit of the folder this file is in, "-dirty" with local changes; None outside a repository."""
    words = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--exclude=*"]
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    return None


def describe() -> dict[str, Any]:
    """For the head of the table, and for --json."""
    return {
        "cpu": _field("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "cores": len(CORES) or os.cpu_count(),
        "cache_bytes": cache_bytes(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "commit": commit(),
    }


@dataclass(frozen=True)
class Limit:
    """What holds the libraries to an older processor, and what they may then say that they run."""

    env: dict[str, str]
    allowed: frozenset[str]


def limits() -> dict[str, Limit]:
    """By the names of --isa; none where they would mean nothing.

    Each library has a variable of its own, read when it is loaded, and is then asked what it runs. XLA cannot
    be asked, but ends the process where it does not know its flag, and the objects of `--xla_dump_to`
    have no register zmm with it and some without. numexpr is built for SSE2 anyway.
    """
    if platform.machine() not in ("x86_64", "AMD64"):
        return {}
    env = {
        "FASTELBO_ISA": "v3",
        "NPY_DISABLE_CPU_FEATURES": " ".join(f for f in _numpy_sets() if f.startswith(("AVX512", "X86_V4"))),
        "OPENBLAS_CORETYPE": HASWELL.capitalize(),
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",  # PyTorch's own kernels, and the vectors of its compiler
        "TORCHINDUCTOR_CPP_MARCH": HASWELL,
        "NUMBA_CPU_NAME": HASWELL,
        "NUMBA_CPU_FEATURES": "+avx,+avx2,+bmi,+bmi2,+f16c,+fma,+lzcnt,+movbe,+popcnt,+sse4.2",
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_max_isa=AVX2".strip(),
    }
    says = ("v3", "X86_V3", HASWELL.capitalize(), HASWELL, "AVX2", "avx2", "as built")
    return {"v3": Limit(env, frozenset(says))}


def fastelbo_config() -> dict[str, str]:
    """What fastelbo says about itself: its lines, name and fact."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        importlib.import_module("fastelbo").show_config()
    return dict(re.findall(r"^(.+?)\s{2,}(.*)$", printed.getvalue(), re.MULTILINE))


def _numpy_sets() -> list[str]:
    """The instruction sets that NumPy has loops for, of those that this machine has."""
    found: list[str] = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    return found


def _numpy() -> str:
    """Its own loops, and the BLAS that `vecdot` calls."""
    blas = importlib.import_module("threadpoolctl").ThreadpoolController().select(user_api="blas").info()
    return " + ".join([*(_numpy_sets()[-1:] or ["baseline"]), *(i["architecture"] for i in blas)])


def _numba() -> str:
    target = importlib.import_module("numba.core.registry").cpu_target.target_context
    _, name, features = target.codegen().magic_tuple()
    return f"{name} with AVX-512" if "+avx512f" in features.split(",") else str(name)


def _torch_compile() -> str:
    inductor = importlib.import_module("torch._inductor.cpu_vec_isa")
    return f"{inductor.pick_vec_isa()} + {inductor.config.cpp.march or 'native'}"


# What a library says that it runs, in the process where it is loaded.
INSTRUCTION_SET: dict[str, Callable[[], str]] = {
    "fastelbo": lambda: fastelbo_config()["instruction set"].split(" (")[0],
    "numpy": _numpy,
    "numexpr": lambda: "as built",
    "numba": _numba,
    "torch": lambda: str(importlib.import_module("torch").backends.cpu.get_cpu_capability()),
    "torch.compile": _torch_compile,
    "jax": lambda: os.environ.get("XLA_FLAGS", "").rpartition("--xla_cpu_max_isa=")[2] or "native",
}
