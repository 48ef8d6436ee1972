"""One wheel on every Python from 3.11 that this machine has, with the oldest and the newest NumPy: import and
smoke tests, and a table.

    nox -s matrix [-- --wheel WHEEL] [--expect 3.11 3.12 ...]

Pythons are looked for on PATH and among pyenv's. Without --wheel one is built from this tree. A free-threaded
Python, which takes no abi3 wheel, builds its own.
"""

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

TREE = Path(__file__).parents[1]
SMOKE = TREE / "tests" / "test_smoke.py"
# the first NumPy with wheels for that Python; 2.0 is the oldest supported
OLDEST = {"3.11": "2.0.0", "3.12": "2.0.0", "3.13": "2.1.0", "3.14": "2.3.2"}
PROBE = (
    "import sys, sysconfig; print(*sys.version_info[:2], sysconfig.get_config_var('Py_GIL_DISABLED') or 0)"
)


class Row(NamedTuple):
    python: str
    numpy: str
    outcome: str
    passed: bool


def pythons() -> dict[str, Path]:
    """Interpreters by version, 3.14t being the free-threaded 3.14."""
    folders = [Path(folder) for folder in os.get_exec_path()]
    folders += Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob("versions/*/bin")
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.glob("python3.*")):
            if not re.fullmatch(r"python3\.\d+t?", path.name):
                continue
            asked = subprocess.run([path, "-c", PROBE], capture_output=True, text=True)
            if asked.returncode:  # a shim of pyenv for a version not chosen
                continue
            major, minor, free_threaded = map(int, asked.stdout.split())
            if (major, minor) >= (3, 11):
                found.setdefault(f"{major}.{minor}{'t' * free_threaded}", path)
    return dict(sorted(found.items()))


def try_one(version: str, python: Path, numpy: str, wheel: Path, folder: Path) -> Row:
    """Install into a new environment, and run the smoke tests from elsewhere."""

    def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=folder, capture_output=True, text=True)

    folder.mkdir()
    made = run(python, "-m", "venv", "env")
    own = folder / "env" / "bin" / "python"
    source = TREE if version.endswith("t") else wheel
    installed = made.returncode == 0 and run(own, "-m", "pip", "install", "-q", source, numpy, "pytest")
    if not installed or installed.returncode:
        said = installed.stderr if installed else made.stderr
        return Row(version, numpy, said.strip().splitlines()[-1], False)
    shutil.copy(SMOKE, folder)
    has = run(own, "-P", "-c", "import numpy; print(numpy.__version__)").stdout.strip()
    exact = run(own, "-P", "-c", "import platform; print(platform.python_version())").stdout.strip()
    tests = run(own, "-P", "-m", "pytest", "-q", "--noconftest", "-p", "no:cacheprovider", SMOKE.name)
    return Row(
        exact + "t" * version.endswith("t"), has, tests.stdout.strip().splitlines()[-1], tests.returncode == 0
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--wheel", type=Path)
    parser.add_argument(
        "--expect", nargs="+", default=[], metavar="VERSION", help="Pythons that must be there"
    )
    options = parser.parse_args()
    if missing := sorted(set(options.expect) - set(pythons())):
        print(f"matrix: there is no Python {', '.join(missing)} here")
        return 1
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        if not options.wheel:
            subprocess.run(
                [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", work, TREE], check=True
            )
        wheel = options.wheel.resolve() if options.wheel else next(work.glob("*.whl"))
        rows: list[Row] = []
        for version, python in pythons().items():
            oldest = OLDEST.get(version.rstrip("t"))
            for numpy in ([f"numpy=={oldest}"] if oldest else []) + ["numpy"]:
                rows.append(try_one(version, python, numpy, wheel, work / f"{version}-{len(rows)}"))
    print(f"{wheel.name} on {platform.platform()}\n\n{'Python':<10}{'NumPy':<10}smoke tests")
    for row in rows:
        print(f"{row.python:<10}{row.numpy:<10}{row.outcome}")
    passed = sum(row.passed for row in rows)
    print(f"matrix: {passed} of {len(rows)} pass")
    return passed < len(rows) or not rows


if __name__ == "__main__":
    sys.exit(main())
