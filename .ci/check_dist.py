"""What the distributions hold: check_dist.py SDIST WHEEL TREE. The wheel has what users run and no more; the
sdist is the tree.
"""

import email
import re
import sys
import tarfile
import zipfile
from pathlib import Path

WHEEL = [  # regular expressions: each file matches one, each matches a file
    r"fastelbo/\w+\.py",
    r"fastelbo/_core\.pyi",
    r"fastelbo/py\.typed",
    r"fastelbo/_core\.(abi3|cpython-\d+t-[\w-]+)\.so",
    r"fastelbo-[\d.]+\.dist-info/(METADATA|RECORD|WHEEL|top_level\.txt)",
    r"fastelbo-[\d.]+\.dist-info/licenses/LICENSE",
]
MADE = {"PKG-INFO", "setup.cfg"}  # by setuptools, in the sdist


def check_wheel(path: Path) -> list[str]:
    """Files, tag and metadata."""
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        metadata = email.message_from_bytes(wheel.read(next(n for n in names if n.endswith("/METADATA"))))
    faults = [
        f"{name} does not belong there" for name in names if not any(re.fullmatch(p, name) for p in WHEEL)
    ]
    faults += [f"nothing matches {p}" for p in WHEEL if not any(re.fullmatch(p, name) for name in names)]
    if not re.search(r"-(cp311-abi3|cp\d+-cp\d+t)-\w+\.whl$", path.name):
        faults.append("the tag is neither cp311-abi3 nor that of a free-threaded build")
    needed = [r for r in metadata.get_all("Requires-Dist", []) if "extra" not in r]
    if needed != ["numpy>=2.0"]:
        faults.append(f"it requires {needed}, not NumPy alone")
    if metadata["License-Expression"] != "BSD-3-Clause":
        faults.append("License-Expression is not BSD-3-Clause")
    return faults


def check_sdist(path: Path, tree: Path) -> list[str]:
    """All of the tree but what begins with a dot, and nothing that was built."""
    with tarfile.open(path) as sdist:
        packed = {member.name.partition("/")[2] for member in sdist.getmembers() if member.isfile()}
    files = {file.relative_to(tree).as_posix() for file in tree.rglob("*") if file.is_file()}
    files = {name for name in files if not name.startswith(".")}
    strange = {name for name in packed ^ files if name not in MADE and ".egg-info/" not in name}
    return [f"{name} is {'missing' if name in files else 'extra'}" for name in sorted(strange)]


def main() -> int:
    """Print what is wrong."""
    sdist, wheel, tree = map(Path, sys.argv[1:])
    faults = {sdist.name: check_sdist(sdist, tree), wheel.name: check_wheel(wheel)}
    for name, found in faults.items():
        print(f"{name}: {'; '.join(found) or 'holds what it should'}")
    return any(faults.values())


if __name__ == "__main__":
    sys.exit(main())
