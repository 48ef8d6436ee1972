"""Copies of the tree to build in: for a sanitizer, or with a fault (mutants.py). Nothing is left behind."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PARTS = ("setup.py", "pyproject.toml", "README.md", "LICENSE", "fastelbo", "tests")
LEFT = shutil.ignore_patterns("*.so", "_core.c", "_openmp.c", "__pycache__", ".*")


class Done(NamedTuple):
    """How a command ended, and what it and all its children printed."""

    status: int
    output: str


@contextmanager
def copy_of_tree() -> Iterator[Path]:
    """What a build and the tests need, in a temporary folder."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by way of what is to be cleared away
    with TemporaryDirectory() as folder:
        for part in PARTS:
            if (ROOT / part).is_dir():
                shutil.copytree(ROOT / part, Path(folder, part), ignore=LEFT)
            else:
                shutil.copy(ROOT / part, folder)
        yield Path(folder)


def run(
    command: Sequence[str | Path],
    tree: Path,
    environment: Mapping[str, str] = {},
    timeout: float | None = None,
) -> Done:
    """Run a command in this copy, which is what Python finds as fastelbo; status 124: it took longer."""
    variables = os.environ | {"PYTHONPATH": str(tree)} | environment
    process = subprocess.Popen(
        [str(word) for word in command],
        cwd=tree,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # with the children that hang
        return Done(124, process.communicate()[0])
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return Done(process.returncode, output)


def build(tree: Path, environment: Mapping[str, str] = {}) -> Done:
    """Build the copy's extension where it lies."""
    return run([sys.executable, "setup.py", "-q", "build_ext", "--inplace"], tree, environment)


#: Tests' arrays are small: so that gradients take the way of large ones, by stores that a sanitizer sees
STREAMED = "-DSTREAMED_BYTES=1 -DPLAIN_STREAMS"
#: To build for gcc's AddressSanitizer and UndefinedBehaviorSanitizer
SANITIZED = {
    "FASTELBO_SANITIZE": "address,undefined",
    "CFLAGS": f"-fno-sanitize-recover=all {STREAMED}",
    "CC": "gcc",
}


def memory_sanitizers(tree: Path) -> dict[str, str]:
    """The environment in which such a build runs.

    Each report of AddressSanitizer goes to a file of its own, whatever becomes of the output of the process.
    (That of UBSan goes to standard error: its log_path is without effect beside the other.)
    """

    def library(name: str) -> str:
        command = ["gcc", f"-print-file-name=lib{name}.so"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    reports = tree / "reports"
    reports.mkdir(exist_ok=True)
    return {
        "LD_PRELOAD": f"{library('asan')} {library('ubsan')}",
        # Python's own leaks; and it asks for more memory than there is, to test for that
        "ASAN_OPTIONS": f"log_path={reports}/report:detect_leaks=0:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "PYTHONMALLOC": "malloc",
        "FASTELBO_KEEP_MIB": "0",  # what is kept is not freed, and nobody sees who uses it still
    }


def reports(tree: Path) -> dict[str, str]:
    """What the sanitizers have reported so far, by file."""
    files = sorted((tree / "reports").glob("report*"))
    return {file.name: file.read_text(errors="replace") for file in files}
