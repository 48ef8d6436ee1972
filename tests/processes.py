"""Fresh interpreters, for what a process settles once: the environment, forks, the peak of its memory."""

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent
OWN = (
    "FASTELBO_NUM_THREADS",
    "FASTELBO_KEEP_MIB",
    "OMP_",
    "GOMP_",
    "KMP_",
)  # not those of whoever runs the tests


def start(code: str, **environment: str) -> subprocess.Popen:
    """Python code with warnings as errors.

    It may import the modules of this folder, and a crash leaves a trace.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OWN)}
    path = os.pathsep.join([str(TESTS), *filter(None, [kept.get("PYTHONPATH")])])
    command = [sys.executable, "-P", "-X", "faulthandler", "-W", "error", "-c", code]
    return subprocess.Popen(
        command,
        env=kept | {"PYTHONPATH": path} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen, timeout: float = 120) -> tuple[str, str]:
    """What it printed, and what it complained of; a failure if it fails or takes longer."""
    try:
        out, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)  # with its own children
        out, errors = process.communicate()
        raise AssertionError(f"no end within {timeout} s\n{out}\n{errors}") from None
    assert process.returncode == 0, f"exit status {process.returncode}\n{out}\n{errors}"
    return out, errors


def run(code: str, timeout: float = 120, **environment: str) -> str:
    return finish(start(code, **environment), timeout)[0]
