"""An older processor, imitated: every contender limited to AVX2, which most machines have, and held to it.

Each library has a variable of its own for that, read when it is loaded. `used` asks the loaded library what
it then runs; XLA cannot be asked, but ends the process where it does not know its flag, and the objects that
`--xla_dump_to` writes have no register zmm with it and some without. numexpr is built for SSE2 anyway.
"""

from __future__ import annotations

import os
import platform

import numpy as np

CHOICES = ("v3",)  # x86-64-v3: AVX2 and FMA, no AVX-512
CPU = "haswell"  # the first with these
FEATURES = "+avx,+avx2,+bmi,+bmi2,+f16c,+fma,+lzcnt,+movbe,+popcnt,+sse4.2"


class UnlimitedError(Exception):
    """A library runs more than it may; says what."""


def supported() -> bool:
    """Whether the limit means anything here."""
    return platform.machine() in ("x86_64", "AMD64")


def environment(isa: str | None) -> dict[str, str]:
    """The variables that limit all contenders; none of them for None."""
    if isa is None:
        return {}
    return {
        "FASTELBO_ISA": isa,
        "NPY_DISABLE_CPU_FEATURES": " ".join(f for f in _numpy() if f.startswith(("AVX512", "X86_V4"))),
        "OPENBLAS_CORETYPE": CPU.capitalize(),
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",  # PyTorch's own kernels, and the vectors of its compiler
        "TORCHINDUCTOR_CPP_MARCH": CPU,
        "NUMBA_CPU_NAME": CPU,
        "NUMBA_CPU_FEATURES": FEATURES,
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_max_isa=AVX2".strip(),
    }


def used(contender: str, isa: str | None) -> str:
    """What a contender's loaded library says that it runs; raises where that is beyond `isa`."""
    report: str = {
        "fastelbo": _of_fastelbo,
        "fastelbo_new": _of_fastelbo,
        "numpy": _of_numpy,
        "bandwidth": _of_numpy,
        "numba": _of_numba,
        "torch": _of_torch,
        "torch_library": _of_torch,
        "torch_compile": _of_torch_compile,
        "jax": _of_jax,
        "numexpr": _of_numexpr,
    }[contender]()
    allowed = {"v3", "X86_V3", "Haswell", CPU, "AVX2", "avx2", "as built"}
    if isa is not None and not set(report.split(" + ")) <= allowed:
        raise UnlimitedError(f"is not limited to AVX2: {report}")
    return report


def _numpy() -> list[str]:
    """The instruction sets that NumPy has loops for, of those that this machine has."""
    found: list[str] = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    return found


def _of_fastelbo() -> str:
    from worker import config

    return config()["instruction set"].split(" (")[0]


def _of_numpy() -> str:
    """Its own loops, and the BLAS that `vecdot` calls."""
    from threadpoolctl import threadpool_info

    blas = [i["architecture"] for i in threadpool_info() if i["user_api"] == "blas" and "architecture" in i]
    return " + ".join([*(_numpy()[-1:] or ["baseline"]), *blas])


def _of_numba() -> str:
    from numba.core.registry import cpu_target

    _, name, features = cpu_target.target_context.codegen().magic_tuple()
    return f"{name} with AVX-512" if "+avx512f" in features.split(",") else str(name)


def _of_torch() -> str:
    import torch

    return str(torch.backends.cpu.get_cpu_capability())


def _of_torch_compile() -> str:
    from torch._inductor import config, cpu_vec_isa

    return f"{cpu_vec_isa.pick_vec_isa()} + {config.cpp.march or 'native'}"


def _of_jax() -> str:
    return os.environ.get("XLA_FLAGS", "").rpartition("--xla_cpu_max_isa=")[2] or "native"


def _of_numexpr() -> str:
    return "as built"
