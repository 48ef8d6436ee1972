"""Which fastelbo is tested, and how hard Hypothesis tries.

`HYPOTHESIS_PROFILE=large pytest` runs the large search, with all the cases of effort.py; the default, "ci",
is small and the same on every run.
"""

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

TESTS = Path(__file__).parent
sys.path += [str(TESTS), str(TESTS / "native")]  # for `import oracles, driver`, by any import mode of pytest

SLOW = (HealthCheck.too_slow, HealthCheck.data_too_large)  # 60 digits are slow, and that is no failure
settings.register_profile("ci", max_examples=60, deadline=None, derandomize=True, suppress_health_check=SLOW)
# 10⁵ examples in all, of 38 tests
settings.register_profile("large", max_examples=3_000, deadline=None, suppress_health_check=SLOW)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))  # and effort.py


@pytest.fixture
def restored() -> Iterator[None]:
    """The number of threads, after a test that sets it."""
    import fastelbo  # after pytest_configure

    yield
    fastelbo.set_num_threads(None)


by_workers: list[int] = []  # of pytest-xdist, as they end


def compared() -> int:
    """Numbers compared with their exact values, in this process."""
    rounding = sys.modules.get("rounding")
    return rounding.compared if rounding else 0


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker tells its controller, in which no test runs."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["compared"] = compared()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """What a worker told; nothing, if it crashed."""
    by_workers.append(getattr(node, "workeroutput", {}).get("compared", 0))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How much has been compared: the figure of docs/trust.md."""
    if count := compared() + sum(by_workers):
        terminalreporter.write_line(f"{count} numbers compared with their exact values")


def pytest_configure() -> None:
    """Stop where the source tree, which has no compiled core, would be imported for the installed package."""
    spec = importlib.util.find_spec("fastelbo")
    if spec is None:
        raise pytest.UsageError("fastelbo is not installed: pip install -e '.[test]'")
    folder = Path(spec.origin or "").parent
    if not any(path.suffix in (".so", ".pyd") for path in folder.glob("_core*")):
        raise pytest.UsageError(
            f"{folder} is the source tree, without a compiled core, and hides the installed package:"
            " run `pytest` instead of `python -m pytest`, or install with pip install -e '.[test]'"
        )
