"""Builds driver.c with the kernels, as setup.py builds them for the extension, and runs it.

    python tests/native/driver.py [--cc CC] [--sanitize LIST] [--under COMMAND] [-- ARGUMENTS]

CC is the compiler (default: the environment's CC, else gcc or clang), LIST is that of -fsanitize=, COMMAND
runs the driver: valgrind, or qemu for another machine than this one. ARGUMENTS are the driver's own. For
errors of memory, and for races: tests/sanitize.py.
"""

import argparse
import ast
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SRC = ROOT / "fastelbo" / "src"
DEFAULT_CC = os.environ.get("CC") or next(filter(shutil.which, ("gcc", "clang")), "cc")
CLANGS = ("clang", *[f"clang-{version}" for version in range(30, 11, -1)])


class Failed(Exception):
    """A command that failed, and what it said."""


def run(command: Sequence[str | Path]) -> str:
    """What the command prints; `Failed` if it is not there, or fails."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise Failed(f"{words[0]} is not installed") from None
    if done.returncode:
        raise Failed(f"{shlex.join(words)}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def flags_of_setup() -> Mapping[str, list[str] | dict[str, list[str]]]:
    """The lists of flags in setup.py, which cannot be imported."""
    statements = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8")).body
    return {
        statement.targets[0].id: ast.literal_eval(statement.value)
        for statement in statements
        if isinstance(statement, ast.Assign)
        and isinstance(statement.targets[0], ast.Name)
        and statement.targets[0].id in {"FLAGS", "GCC_FLAGS", "X86_LEVELS"}
    }


def installed(*programs: str) -> str | None:
    """The first of these that is there."""
    return next(filter(shutil.which, programs), None)


def is_x86_64(cc: str = DEFAULT_CC) -> bool:
    return run([*shlex.split(cc), "-dumpmachine"]).startswith("x86_64")


def build(
    folder: Path, cc: str = DEFAULT_CC, sanitize: str = "", openmp: bool = False, debug: bool = False
) -> Path:
    """The driver, in this folder; debug: with line numbers."""
    compiler, setup = shlex.split(cc), flags_of_setup()
    empty = folder / "empty.c"
    empty.write_text("int main(void) { return 0; }\n")
    try:
        run([*compiler, *setup["GCC_FLAGS"], empty, "-o", folder / "empty"])
        gcc_flags = setup["GCC_FLAGS"]
    except Failed:
        gcc_flags = []
    x86 = is_x86_64(cc)
    levels = setup["X86_LEVELS"] if x86 else {"baseline": []}
    assert isinstance(levels, dict)
    extra = ["-g" if debug else "-g0"]
    extra += [f"-fsanitize={sanitize}", "-fno-omit-frame-pointer"] if sanitize else []
    extra += ["-fopenmp"] if openmp else []

    def compile_unit(name: str, source: Path, *flags: str) -> Path:
        unit = folder / f"{name}.o"
        run([*compiler, *setup["FLAGS"], "-fPIC", *extra, *flags, f"-I{SRC}", "-c", source, "-o", unit])
        return unit

    units = [
        (f"{unit}-{level}", SRC / f"{unit}.c", *gcc_flags, f"-DISA={level}", *own)
        for level, own in levels.items()
        for unit in ("kernels", "latents", "optimal")
    ]
    units += [
        ("plan", SRC / "plan.c", *levels["baseline"]),
        ("arrange", SRC / "latents" / "arrange.c", *levels["baseline"]),
        ("driver", HERE / "driver.c", *levels["baseline"]),
    ]
    units += [("threads", SRC / "threads.c")] if openmp else []
    units += [
        ("dispatch", SRC / "dispatch.c", *levels["baseline"], *(["-DFASTELBO_X86_LEVELS=1"] if x86 else []))
    ]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(lambda unit: compile_unit(*unit), units))
    run([*compiler, *extra, *objects, "-o", folder / "driver"])
    return folder / "driver"


class Results(NamedTuple):
    """What the driver printed: what it was built by and for, the level that ran, a hash for each case."""

    compiler: str
    machine: str
    level: str
    hashes: dict[str, str]


def results(driver: Path, *arguments: str, under: Iterable[str | Path] = ()) -> Results:
    lines = run([*under, driver, *arguments]).splitlines()
    compiler, machine, level, *lines = map(str.strip, lines)
    return Results(compiler, machine, level, dict(line.split(" ") for line in lines))


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cc", default=DEFAULT_CC)
    parser.add_argument("--sanitize", default="", metavar="LIST")
    parser.add_argument("--under", default="", metavar="COMMAND")
    parser.add_argument("arguments", nargs="*", metavar="ARGUMENT")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        try:
            openmp = "--threads" in given.arguments
            debug = bool(given.sanitize or given.under)
            driver = build(Path(folder), given.cc, given.sanitize, openmp, debug)
        except Failed as failure:
            sys.exit(str(failure))
        return subprocess.run([*shlex.split(given.under), driver, *given.arguments], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
