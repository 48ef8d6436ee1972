"""What the distributions hold: check_dist.py SDIST WHEEL TREE. The wheel has what users run and no more; the
sdist is the tree. A wheel that .ci/repair.py has made holds the OpenMP runtime too, and its licence.
"""

import email
import re
import sys
import tarfile
import zipfile
from pathlib import Path

WHEEL = [  # regular expressions: each file matches one, each matches a file
    r"fastelbo/\w+\.py",
    r"fastelbo/_rules/\w+\.py",
    r"fastelbo/reference/\w+\.py",
    r"fastelbo/_core\.pyi",
    r"fastelbo/py\.typed",
    r"fastelbo/_core\.(abi3|cpython-\d+t-[\w-]+)\.so",
    r"fastelbo-[\d.]+\.dist-info/(METADATA|RECORD|WHEEL|top_level\.txt)",
    r"fastelbo-[\d.]+\.dist-info/licenses/LICENSE",
]
OPENMP = r"fastelbo/_openmp\.(abi3|cpython-\d+t-[\w-]+)\.so"  # not on macOS: Apple's clang has none
RUNTIME = [
    r"fastelbo\.libs/libgomp-[0-9a-f]{8}\.so[\d.]*",
    r"fastelbo-[\d.]+\.dist-info/licenses/libgomp\.txt",
]
# where auditwheel knows the package that the runtime comes from
SBOM = r"fastelbo-[\d.]+\.dist-info/sboms/auditwheel\.cdx\.json"
LICENSE, RUNTIME_LICENSE = "BSD-3-Clause", "GPL-3.0-or-later WITH GCC-exception-3.1"
MADE = {"PKG-INFO", "setup.cfg"}  # by setuptools, in the sdist


def check_wheel(path: Path) -> list[str]:
    """Files, tag and metadata."""
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        metadata, tags = (
            email.message_from_bytes(wheel.read(next(n for n in names if n.endswith(f".dist-info/{name}"))))
            for name in ("METADATA", "WHEEL")
        )
    bundled = any(name.startswith("fastelbo.libs/") for name in names)
    _, _, python, abi, platforms = path.stem.split("-")
    needed = WHEEL + [OPENMP] * ("macosx" not in platforms) + RUNTIME * bundled
    allowed = [*needed, SBOM] if bundled else needed
    license = f"{LICENSE} AND {RUNTIME_LICENSE}" if bundled else LICENSE
    faults = [
        f"{name} does not belong there" for name in names if not any(re.fullmatch(p, name) for p in allowed)
    ]
    faults += [f"nothing matches {p}" for p in needed if not any(re.fullmatch(p, name) for name in names)]
    if not re.fullmatch(r"cp311-abi3|cp\d+-cp\d+t", f"{python}-{abi}"):
        faults.append("the tag is neither cp311-abi3 nor that of a free-threaded build")
    if sorted(tags.get_all("Tag", [])) != sorted(f"{python}-{abi}-{name}" for name in platforms.split(".")):
        faults.append(f"its name and its tags {tags.get_all('Tag')} differ")
    if bundled != (re.match("manylinux|musllinux", platforms) is not None):
        faults.append(f"a wheel for {platforms} {'holds' if bundled else 'lacks'} the OpenMP runtime")
    requires = [r for r in metadata.get_all("Requires-Dist", []) if "extra" not in r]
    if requires != ["numpy>=2.0"]:
        faults.append(f"it requires {requires}, not NumPy alone")
    if metadata["License-Expression"] != license:
        faults.append(f"License-Expression is {metadata['License-Expression']!r}, not {license!r}")
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
