"""The compiled code under sanitizers: exit status 1 if one reports anything.

    python tests/sanitize.py memory [FILE ...]   AddressSanitizer and UndefinedBehaviorSanitizer, the tests
    python tests/sanitize.py fuzz [CALLS [SEED]] the same, random calls (fuzz.py)
    python tests/sanitize.py valgrind [PART ...] memcheck, the kernels without Python (native/driver.c)
    python tests/sanitize.py threads [PART ...]  ThreadSanitizer, the same with two to four threads

`memory` takes some of the test files, or all, which takes 20 minutes, `fuzz` a million calls unless told;
both need setuptools and cython as in pyproject.toml. The others take the cases with one of the PARTs in their
names, or all, which takes minutes. All build in a copy. They need, on Debian: gcc and python3-dev; gcc
and valgrind, which knows no AVX-512; clang and libomp-dev, whose libarcher tells the sanitizer of OpenMP's
barriers. (gcc's ThreadSanitizer takes those of libgomp for races.)
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import instrumented

sys.path.append(str(Path(__file__).parent / "native"))
import driver

#: These measure a process's memory, which a sanitizer multiplies
NOT_FOR_MEMORY = ("test_memory.py",)
DESELECTED = ("tests/test_threads.py::test_a_thousand_callers_leave_nothing_behind",)
NOTHING_RUN = 5  # pytest's exit status where what a file needs is not installed
SECTIONS = (
    [],
    ["--ways"],
    ["--ways", "--gradients", "6"],
)  # of the driver's cases; and of pairs, not all gradients


def run_tests(name: str, tree: Path) -> int:
    """Number of reports while this test file runs in a sanitized copy; 1 if it fails without any."""
    sanitizers = instrumented.memory_sanitizers(tree)
    options = [
        "-q",
        "-p",
        "no:cacheprovider",
        "--capture=sys",
        *[f"--deselect={test}" for test in DESELECTED],
    ]
    command = [sys.executable, "-m", "pytest", *options, f"tests/{name}"]
    begin, earlier = time.monotonic(), instrumented.reports(tree)
    done = instrumented.run(command, tree, sanitizers)
    found = [report for file, report in instrumented.reports(tree).items() if file not in earlier]
    summary = (done.output.splitlines() or ["nothing"])[-1].strip("= ")
    print(f"{name}: {len(found)} reports; {summary}; {time.monotonic() - begin:.0f} s", flush=True)
    failed = done.status not in (0, NOTHING_RUN)
    if failed:
        print(done.output[-4000:], *[report[:4000] for report in found[:1]], sep="\n")
    return len(found) or int(failed)


@contextmanager
def sanitized_copy() -> Iterator[Path]:
    """Of the tree, built."""
    with instrumented.copy_of_tree() as tree:
        built = instrumented.build(tree, instrumented.SANITIZED)
        if built.status:
            sys.exit(built.output)
        yield tree


def fuzz(given: list[str]) -> int:
    """Number of reports while random calls are made; 1 if a result is wrong without any."""
    calls, seed = given + ["1000000", "0"][len(given) :]
    command = [sys.executable, "tests/fuzz.py", "--calls", calls, "--seed", seed]
    command += ["--processes", str(os.cpu_count())]
    with sanitized_copy() as tree:
        done = instrumented.run(command, tree, instrumented.memory_sanitizers(tree))
        found = instrumented.reports(tree)
    print(done.output[-4000:], *[report[:4000] for report in found.values()], sep="\n")
    print(f"AddressSanitizer, UndefinedBehaviorSanitizer: {len(found)} reports")
    return len(found) or int(done.status != 0)


def memory(files: list[str]) -> int:
    """Number of reports while these test files run, or all, and of files that fail."""
    tests = Path(__file__).parent
    names = [Path(file).name for file in files or sorted(tests.glob("test_*.py"))]
    chosen = [name for name in names if name not in NOT_FOR_MEMORY]
    with sanitized_copy() as tree:
        faults = sum([run_tests(name, tree) for name in chosen])
    print(f"AddressSanitizer, UndefinedBehaviorSanitizer: {len(chosen)} files, {faults} reports or failures")
    return faults


@contextmanager
def native(cc: str = driver.DEFAULT_CC, sanitize: str = "", openmp: bool = False) -> Iterator[Path]:
    """The driver, with line numbers."""
    with TemporaryDirectory() as folder:
        yield driver.build(Path(folder), f"{cc} {instrumented.STREAMED}", sanitize, openmp, debug=True)


def valgrind(parts: list[str]) -> int:
    """Number of levels and sections with errors."""
    tool = ["valgrind", "-q", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=all"]
    faults = cases = 0
    with native() as program:
        for level in ("baseline", "v3") if driver.is_x86_64() else ("baseline",):
            for section in SECTIONS:
                try:
                    cases += len(driver.results(program, *section, "--isa", level, *parts, under=tool).hashes)
                except driver.Failed as failure:
                    faults += 1
                    print(str(failure)[:4000])
    print(f"valgrind memcheck: {cases} cases, {faults} runs with errors")
    return faults or int(cases == 0)


def threads(parts: list[str]) -> int:
    """Number of reports of races."""
    cc = driver.installed(*driver.CLANGS)
    archers = sorted(
        Path("/usr/lib").glob("llvm-*/lib/libarcher.so"), key=lambda path: (len(str(path)), path)
    )
    if not cc or not archers:
        sys.exit("clang or its OpenMP runtime is not installed: on Debian, apt install clang libomp-dev")
    os.environ["OMP_TOOL_LIBRARIES"] = str(archers[-1])
    os.environ["TSAN_OPTIONS"] = "ignore_noninstrumented_modules=1"
    faults = cases = 0
    with native(cc, "thread", openmp=True) as program:
        for count in (2, 3, 4):
            for section in SECTIONS:
                try:
                    cases += len(driver.results(program, *section, "--threads", str(count), *parts).hashes)
                except driver.Failed as failure:
                    faults += max(1, str(failure).count("WARNING: ThreadSanitizer"))
                    print(str(failure)[-4000:])
    print(f"ThreadSanitizer: {cases} cases, {faults} reports or failures")
    return faults or int(cases == 0)


TOOLS = {"memory": memory, "fuzz": fuzz, "valgrind": valgrind, "threads": threads}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tool", choices=sorted(TOOLS))
    parser.add_argument("some", nargs="*", metavar="FILE, CALLS, SEED or PART")
    given = parser.parse_args()
    try:
        faults = TOOLS[given.tool](given.some)
    except driver.Failed as failure:
        sys.exit(str(failure))
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
