"""What setup.py tells compiler and linker under an environment that is made for other packages.

A compiler that only writes down what it is told stands in for the real one; .ci/package.py and .ci/run build
under such environments.
"""

import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("setuptools", minversion="77", reason="setup.py needs it")

ROOT = Path(__file__).parents[1]
X86_64 = platform.machine().lower() in {"x86_64", "amd64"} and sys.maxsize > 2**32
COMPILER = """#!/bin/sh
echo "$@" >> "$(dirname "$0")/told"
for word; do [ "$last" = -o ] && : > "$word"; last=$word; done
exit 0
"""
SETUP = """
import runpy, sys
sys.modules["Cython"] = None  # it takes half a minute, and what it writes is not read
runpy.run_path("setup.py", run_name="__main__")
"""
#: by gcc or clang; those of -Ofast and its parts, and -mpc32, link code that runs at import
ARITHMETIC = (
    *("-Ofast", "-ffast-math", "-funsafe-math-optimizations", "-fassociative-math", "-freciprocal-math"),
    *("-ffinite-math-only", "-fno-signed-zeros", "-fsingle-precision-constant", "-mdaz-ftz", "-mpc32"),
    *("-mrecip", "-mrecip=all", "-mfpmath=387", "-fapprox-func", "-fno-honor-nans", "-fno-honor-infinities"),
    *("-ffp-model=fast", "-fdenormal-fp-math=preserve-sign"),
)
INSTRUCTIONS = ("-march=native", "-mavx2", "-mfma", "-mno-avx512f", "-msse4.2", "-mbmi2", "-mpopcnt")
HARMLESS = ("-O2", "-fno-fast-math", "-mtune=native", "-fstack-protector-strong", "-DNDEBUG", "-m64")


def told(folder: Path, **environment: str) -> tuple[list[list[str]], str]:
    """All command lines of a build; and what the build says."""
    compiler = folder / "cc"
    compiler.write_text(COMPILER)
    compiler.chmod(0o755)
    command = [sys.executable, "-c", SETUP, "build_ext"]
    kept = {
        name: value for name, value in os.environ.items() if name not in ("CFLAGS", "LDFLAGS", "LDSHARED")
    }
    environment["CC"] = f"{compiler} {environment.get('CC', '')}"
    done = subprocess.run(
        [*command, "--build-lib", str(folder / "lib"), "--build-temp", str(folder / "temp")],
        cwd=ROOT,
        env=kept | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return [line.split() for line in (folder / "told").read_text().splitlines()], done.stdout


@pytest.mark.parametrize("variable", ["CFLAGS", "LDFLAGS", "CC", "CPPFLAGS"])
def test_options_that_change_results_are_left_out_and_the_build_says_so(variable, tmp_path):
    lines, said = told(tmp_path, **{variable: shlex.join((*ARITHMETIC, *HARMLESS))})
    assert not [option for option in ARITHMETIC for line in lines if option in line]
    assert any(set(HARMLESS) <= set(line) for line in lines)
    (sentence,) = [line for line in said.splitlines() if "fastelbo is built without" in line]
    assert set(ARITHMETIC) <= set(sentence.replace(":", " ").split())


@pytest.mark.skipif(not X86_64, reason="elsewhere the baseline is what the compiler is told")
@pytest.mark.parametrize("variable", ["CFLAGS", "CC"])
def test_each_level_is_what_its_name_says(variable, tmp_path):
    lines, said = told(tmp_path, **{variable: shlex.join((*INSTRUCTIONS, *HARMLESS))})
    assert not [option for option in INSTRUCTIONS for line in lines if option in line]
    assert "fastelbo is built without -march=native -mavx2 -mfma" in said
    levels = {"baseline": "-march=x86-64", "v3": "-march=x86-64-v3", "v4": "-march=x86-64-v4"}
    compiled = [line for line in lines if "-c" in line and any("fastelbo" in word for word in line)]
    of_level, own = (
        3,
        7,
    )  # kernels.c, latents.c, optimal.c; _core.c, plan.c, dispatch.c, arrange.c twice; _openmp.c, threads.c
    assert len(compiled) == of_level * len(levels) + own
    for line in compiled:
        level = next((word.removeprefix("-DISA=") for word in line if word.startswith("-DISA=")), "baseline")
        assert [word for word in line if word.startswith("-march=")] == [levels[level]]


def test_nothing_is_left_out_of_what_is_fit(tmp_path):
    lines, said = told(tmp_path, CFLAGS=shlex.join(HARMLESS), LDFLAGS="-O2")
    assert "fastelbo is built without" not in said
    assert any(set(HARMLESS) <= set(line) for line in lines)
