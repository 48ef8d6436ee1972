"""Build of the compiled core, with one object of the kernels per instruction set level, and of what needs
OpenMP, where the compiler has it.

Environment: FASTELBO_OPENMP=0 builds without OpenMP; FASTELBO_SANITIZE=address,undefined (any -fsanitize=
list) builds for that sanitizer; CC, CFLAGS and LDFLAGS as usual, but for options that would change results:
see UNFIT. Under SOURCE_DATE_EPOCH the same source makes the same files, byte for byte.
"""

import gzip
import importlib
import os
import platform
import re
import sys
import sysconfig
import tarfile
import tempfile
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist
from setuptools.errors import CompileError

SRC = Path("fastelbo", "src")
STUB = "_losses.pyi"
UNITS = ("kernels.c", "latents.c", "optimal.c")  # compiled once per level
# Contraction would let the compiler choose which products are fused, and so the bits. Without errno and traps
# to think of, it can turn selections into vector code; neither option changes a result.
FLAGS = [
    "-std=c11",
    "-O3",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fvisibility=hidden",
    "-fopenmp-simd",
    "-fno-lto",  # which would mix units built for different instruction sets
    "-fmax-errors=5",  # one mistake in a table of losses makes thousands
    "-fwrapv",  # CPython's own, and it changes the code: named, so that all builds have the same
]
# gcc's own: its jump threading and partial redundancy elimination turn a clamp such as x > a ? a : x into
# copies of all that follows, one for each outcome, and the vectoriser blends them together again: 20 to 50 %
# more time for exp and expm1.
GCC_FLAGS = ["-fno-thread-jumps", "-fno-tree-pre"]
X86_LEVELS = {
    "baseline": ["-march=x86-64"],  # which is not every compiler's default
    "v3": ["-march=x86-64-v3"],
    "v4": ["-march=x86-64-v4", "-mprefer-vector-width=512"],
}
# What is left out where the environment has it: whole stacks are built with CFLAGS="-Ofast -march=native".
# The first kind changes what arithmetic means, also in the whole process that loads the module: gcc and clang
# link code into it that turns off subnormals, or sets the precision. The second would be in all levels.
UNFIT = {
    "they change results, or the arithmetic of the whole process": (
        r"-Ofast|-ffast-math|-funsafe-math-optimizations|-fassociative-math|-freciprocal-math|-ffinite-math-only"
        r"|-fno-signed-zeros|-fapprox-func|-fno-honor-(nans|infinities)|-fsingle-precision-constant"
        r"|-ffp-(model|eval-method)=.*|-fdenormal-fp-math(-f32)?=.*|-mdaz-ftz|-mrecip(=.*)?|-mfpmath=.*|-mpc(32|64|80)"
    ),
    "the kernels are built for several instruction sets, of which the machine's best is taken at run time": (
        r"-march=.*|-m(no-)?(sse[34].*|ssse3|avx.*|fma4?|f16c|bmi2?|lzcnt|abm|popcnt|movbe|xop|tbm|adx)"
    ),
}
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


def is_x86_64() -> bool:
    return platform.machine().lower() in {"x86_64", "amd64"} and sys.maxsize > 2**32


class BuildKernels(build_ext):
    """Compiles what computes once per level, each with its own flags, and links the objects into the core."""

    def build_extensions(self) -> None:
        self.force = True  # the environment chooses the build, and the time stamps know nothing of it
        self.leave_out_unfit_options()
        if not self.builds("#include <Python.h>\nint main(void) { return 0; }\n"):
            raise CompileError(
                "fastelbo is compiled here, which takes a C compiler (gcc or clang) and Python's headers, "
                "and one of them is missing: on Debian, apt install gcc python3-dev"
            )
        sanitize = os.environ.get("FASTELBO_SANITIZE")
        extra = [f"-fsanitize={sanitize}", "-fno-omit-frame-pointer", "-g"] if sanitize else ["-g0"]
        has_openmp = self.has_openmp()
        core.define_macros.append(("FASTELBO_OPENMP", str(int(has_openmp))))
        if not has_openmp:
            self.extensions.remove(openmp)
            Path(self.get_ext_fullpath(openmp.name)).unlink(missing_ok=True)  # an earlier build's
        for ext, flags in (core, []), (openmp, ["-fopenmp"]):
            ext.extra_compile_args = [
                *FLAGS,
                *flags,
                *extra,
                *(X86_LEVELS["baseline"] if is_x86_64() else []),
            ]
            ext.extra_link_args = [*flags, *extra]
        core.extra_objects = self.kernels(extra)
        if self.inplace:
            write_stub(Path("fastelbo"))
        super().build_extensions()

    def leave_out_unfit_options(self) -> None:
        """From all that the compiler and the linker are told by the environment and by Python's own build."""
        math, instructions = UNFIT
        for reason in (math, instructions) if is_x86_64() else (math,):
            unfit, left_out = re.compile(UNFIT[reason]), {}
            for program in self.compiler.executables:
                words = getattr(self.compiler, program, None) or []
                left_out |= dict.fromkeys(filter(unfit.fullmatch, words))
                self.compiler.set_executable(program, [word for word in words if not unfit.fullmatch(word)])
            if left_out:
                self.warn(f"fastelbo is built without {' '.join(left_out)}: {reason}")

    def kernels(self, extra: list[str]) -> list[str]:
        """The objects, one for each level."""
        gcc_flags = GCC_FLAGS if self.builds("int main(void) { return 0; }\n", *GCC_FLAGS) else []
        levels = X86_LEVELS if is_x86_64() else {"baseline": []}
        if is_x86_64():
            core.define_macros.append(("FASTELBO_X86_LEVELS", "1"))

        def compile_level(level: str) -> list[str]:
            return self.compiler.compile(
                [str(SRC / unit) for unit in UNITS],
                output_dir=str(Path(self.build_temp, level)),
                macros=[("ISA", level)],
                extra_postargs=[*FLAGS, *gcc_flags, *extra, *levels[level]],
                depends=core.depends,
            )

        self.mkpath(self.build_temp)
        with ThreadPoolExecutor() as pool:
            return [name for objects in pool.map(compile_level, levels) for name in objects]

    def has_openmp(self) -> bool:
        """Whether compiler and linker have it, and the user wants it; a warning where not."""
        if os.environ.get("FASTELBO_OPENMP") == "0":
            reason = "FASTELBO_OPENMP=0"
        elif self.builds(
            "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n", "-fopenmp"
        ):
            return True
        else:
            reason = "this compiler has no OpenMP (-fopenmp)"
        self.warn(f"{reason}: fastelbo is built without OpenMP, its calls will use one thread")
        return False

    def builds(self, program: str, *flags: str) -> bool:
        """Whether a program compiles and links: a compiler may take a flag and lack the runtime."""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "probe.c")
            source.write_text(program)
            try:
                objects = self.compiler.compile([str(source)], output_dir=folder, extra_postargs=list(flags))
                self.compiler.link_executable(objects, "probe", output_dir=folder, extra_postargs=list(flags))
            except Exception:  # each compiler class has errors of its own
                return False
        return True


class BuildPython(build_py):
    """Writes the stub of the losses from their declarations, which need no compiled core."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            write_stub(Path(self.build_lib, "fastelbo"))

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        return [*super().get_outputs(include_bytecode), str(Path(self.build_lib, "fastelbo", STUB))]


def write_stub(folder: Path) -> None:
    """Of the declarations in this source tree, beside the module that they make."""
    package = types.ModuleType("fastelbo")
    package.__path__ = ["fastelbo"]
    sys.modules["fastelbo"] = package
    module = importlib.import_module("fastelbo._stub")
    folder.joinpath(STUB).write_text(module.stub(), "utf-8")


class ReproducibleSdist(sdist):
    """setuptools would write the time, the user and the modes of the files (pypa/setuptools#2133)."""

    def make_archive(self, base_name, format, root_dir=None, base_dir=None, owner=None, group=None) -> str:
        epoch = os.environ.get("SOURCE_DATE_EPOCH")
        if epoch is None or format != "gztar" or root_dir:
            return super().make_archive(base_name, format, root_dir, base_dir, owner, group)

        def anonymous(info: tarfile.TarInfo) -> tarfile.TarInfo:
            info.mtime = int(epoch)
            info.uid = info.gid = 0
            info.uname = info.gname = ""
            info.mode = 0o755 if info.mode & 0o100 else 0o644
            return info

        path = f"{base_name}.tar.gz"
        with (
            open(path, "wb") as file,
            gzip.GzipFile("", "wb", fileobj=file, mtime=int(epoch)) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            archive.add(base_dir, filter=anonymous)  # in alphabetical order
        return path


def extension(name: str, *sources: str) -> Extension:
    return Extension(
        f"fastelbo.{name}",
        sources=[f"fastelbo/{name}.pyx", *[str(SRC / source) for source in sources]],
        depends=[
            *map(str, sorted([*SRC.rglob("*.h"), *Path("fastelbo").glob("core/*.pxi")])),
            *[str(SRC / unit) for unit in UNITS],
        ],
        include_dirs=[np.get_include(), "fastelbo"],
        define_macros=[
            ("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION"),
            ("NPY_TARGET_VERSION", "NPY_2_0_API_VERSION"),
            *([] if FREE_THREADED else [("Py_LIMITED_API", "0x030b0000")]),
        ],
        py_limited_api=not FREE_THREADED,
    )


core, openmp = (
    extension("_core", "plan.c", "dispatch.c", "latents/arrange.c", "optimal/arrange.c"),
    extension("_openmp", "threads.c"),
)
if sys.platform == "linux":
    openmp.libraries = ["dl"]  # dladdr1: within libc since glibc 2.34
setup(
    ext_modules=[core, openmp],
    cmdclass={"build_ext": BuildKernels, "build_py": BuildPython, "sdist": ReproducibleSdist},
    options={} if FREE_THREADED else {"bdist_wheel": {"py_limited_api": "cp311"}},
)
