"""Packaging, from the tree to the import: builds, repairs, examines the distributions; prints each figure.

    nox -s package [-- --all-tests] [--keep FOLDER]

Linux, with gcc and binutils. Takes about five minutes; --all-tests runs the whole suite against the wheel
instead of the smoke tests, --keep puts the distributions into FOLDER.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

TREE = Path(__file__).parents[1]
CI = TREE / ".ci"
EPOCH = subprocess.run(
    ["git", "log", "-1", "--format=%ct"], cwd=TREE, check=True, capture_output=True, text=True
).stdout.strip()
DATED = {"SOURCE_DATE_EPOCH": EPOCH}
# What must leave no trace in a build: of the arithmetic, and of this machine's instructions. (CFLAGS takes
# the place of Python's own flags, of which NDEBUG changes the code.)
UNFIT = {
    "CC": "gcc -march=native",
    "CFLAGS": "-DNDEBUG -Ofast -ffast-math -funsafe-math-optimizations -march=native -mavx2 -mfma",
    "LDFLAGS": "-Ofast -funsafe-math-optimizations",
}
HOG = (
    'static __thread char room[64] __attribute__((tls_model("initial-exec"))); char *f(void) { return room; }'
)
LOAD = "import ctypes, glob; [ctypes.CDLL('./' + hog) for hog in glob.glob('hog*.so')]; "
EXHAUST = """
import ctypes, glob
for n, hog in enumerate(glob.glob("hog*.so")):
    try:
        ctypes.CDLL("./" + hog)
    except OSError:
        break
else:
    raise SystemExit("there is room left after all of them")
"""


class Fault(Exception):
    """A promise that does not hold."""


def run(
    *command: str | Path, cwd: Path | None = None, fails: bool = False, env: dict[str, str] | None = None
) -> str:
    """What a command says, on both channels; a Fault where it fails (or does not, where it should)."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("FASTELBO", "CFLAGS", "CC"))}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment | (env or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if (done.returncode != 0) != fails:
        words = " ".join(map(str, command))
        raise Fault(f"{words}: exit status {done.returncode}\n{done.stdout}")
    return done.stdout


def figure(name: str, value: object) -> None:
    print(f"{name:<48}{value}", flush=True)


def require(holds: object, message: str) -> None:
    if not holds:
        raise Fault(message)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def only(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


def copy(folder: Path) -> Path:
    """What a clone would hold if all were committed."""
    names = run("git", "ls-files", "-z", "-co", "--exclude-standard", cwd=TREE).split("\0")
    for name in names:
        source, target = TREE / name, folder / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)  # neither modes nor times
    return folder


def build(folder: Path, env: dict[str, str] | None = None) -> dict[str, Path]:
    """The three distributions, from a copy of the tree in this folder."""
    tree, dist = copy(folder / "tree"), folder / "dist"
    run(sys.executable, "-m", "build", "-o", dist, tree, env=DATED | (env or {}))
    wheel = only(dist, "*.whl")
    run(sys.executable, CI / "repair.py", wheel, folder / "repaired", env=DATED)
    return {"sdist": only(dist, "*.tar.gz"), "wheel": wheel, "repaired": only(folder / "repaired", "*.whl")}


def check_reproducible(work: Path) -> dict[str, Path]:
    first = build(work / "here")
    second = build(work / "another" / "folder with a longer name", UNFIT)
    for kind, path in first.items():
        one, other = sha256(path), sha256(second[kind])
        figure(
            f"{kind}, in two folders, once by -Ofast: sha256", one if one == other else f"{one} and {other}"
        )
        require(first[kind].name == second[kind].name and one == other, f"the {kind} is not reproducible")
    return first


def check_distributions(dists: dict[str, Path], tree: Path) -> None:
    for kind in ("wheel", "repaired"):
        wheel = dists[kind]
        tag = wheel.stem.split("-", 2)[2]
        figure(f"{kind}: tag, size", f"{tag}, {wheel.stat().st_size / 2**20:.2f} MiB")
        run(sys.executable, CI / "check_dist.py", dists["sdist"], wheel, tree)
    figure(
        "check_dist.py: files, licences, metadata", "the sdist is the tree, the wheels hold what they should"
    )
    require(
        re.search(r"-cp311-abi3-manylinux_2_\d+_\w+$", dists["repaired"].stem), "not a manylinux abi3 wheel"
    )
    said = run("twine", "--no-color", "check", "--strict", *dists.values())
    figure("twine check --strict", f"{said.count('PASSED')} of {len(dists)} passed")
    report = json.loads(run("abi3audit", "--strict", "--report", dists["repaired"]))
    for found in (found for spec in report["specs"].values() for found in spec["wheel"]):
        versions = f"{found['result']['baseline']}, {found['result']['computed']}"
        figure(f"abi3audit --strict, {found['name']}", versions)
    run("check-wheel-contents", "--ignore", "W009,W010", dists["repaired"])  # of fastelbo.libs
    figure("check-wheel-contents", "no fault")


def check_binary(wheel: Path, work: Path) -> None:
    """What is in the compiled modules that must not be."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(work)
    for name in ("_core", "_openmp"):
        module = only(work / "fastelbo", f"{name}*.so")
        code = run("objdump", "-d", "--no-show-raw-insn", module)
        figure(f"{name}: instructions; ldmxcsr among them", f"{code.count(chr(10))}; {code.count('ldmxcsr')}")
        relocations = run("readelf", "-rW", module)
        indirect = relocations.count("IRELATIV")
        figure("  relocations; IRELATIVE among them", f"{relocations.count('R_')}; {indirect}")
        symbols = run("nm", "-D", "--defined-only", module).split()[2::3]
        figure("  exported symbols", ", ".join(symbols))
        paths = sorted(set(re.findall(rb"/(?:tmp|home|root|usr|opt|build)/[\w./+-]+", module.read_bytes())))
        figure("  paths of the machine in it", paths or "none")
        debug = run("readelf", "-SW", module).count(".debug_")
        versions = re.findall(r"GLIBC_2\.(\d+)", run("readelf", "-VW", module))
        figure("  debug sections; newest glibc symbol", f"{debug}; 2.{max(map(int, versions))}")
        require("ldmxcsr" not in code and "fxrstor" not in code, "it can change the floating-point mode")
        require(not indirect, "it has indirect functions")
        require(symbols == [f"PyInit_{name}"] and not paths and not debug, "it shows more than its module")


def environment(folder: Path, *needs: str | Path) -> Path:
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    run(python, "-m", "pip", "install", "-q", *needs)
    return python


def check_installed(dists: dict[str, Path], work: Path, all_tests: bool) -> Path:
    """The wheel of the sdist, against the tests of the sdist and its stubs; `build` made it so."""
    run(sys.executable, "-m", "tarfile", "-e", dists["sdist"], work / "unpacked")
    unpacked = only(work / "unpacked", "*")
    python = environment(work / "installed", f"{dists['repaired']}[test]", "mypy")
    tests = ["tests"] if all_tests else ["tests/test_smoke.py"]
    said = run(python.with_name("pytest"), "-q", "-p", "no:cacheprovider", *tests, cwd=unpacked)
    figure(f"{tests[0]} of the sdist, on the wheel", said.strip().splitlines()[-1])
    said = run(python.with_name("stubtest"), "--allowlist", CI / "stubtest-allowlist", "fastelbo", cwd=work)
    figure("stubtest", said.strip().splitlines()[-1])
    said = run(python, "-P", "-W", "error", "-c", "import fastelbo; fastelbo.show_config()", cwd=work)
    figure(
        "OpenMP", next(line for line in said.splitlines() if line.startswith("OpenMP")).split(maxsplit=1)[1]
    )
    return python


def sentence(said: str, start: str) -> str:
    """The line a user should find in what pip says."""
    lines = [line.strip() for line in said.splitlines() if start in line]
    require(len(lines) == 1, f"{len(lines)} lines with {start!r} in\n{said}")
    return lines[0]


def check_without_runtime(python: Path, work: Path) -> None:
    """What a user sees where the OpenMP runtime does not load. The last check: it breaks the installation."""
    test = "import numpy as np; x = np.ones((512, 512)); "
    works = test + "assert fastelbo.gaussian_nll(x, 0 * x, var=1.0).shape == (512,); fastelbo.show_config()"

    def serial(code: str, words: str, folder: Path) -> str:
        """The one warning, of a process that works."""
        said = run(python, "-c", f"{code}import fastelbo; {works}", cwd=folder)
        require(re.search(r"^threads +1$", said, re.MULTILINE), said)
        require(re.search(r"^OpenMP +none: \S", said, re.MULTILINE) and said.count("Warning: ") == 1, said)
        line = sentence(said, "RuntimeWarning: ")
        require(words in line, said)
        return line.partition("RuntimeWarning: ")[2]

    folder = work / "hogs"
    folder.mkdir()
    (folder / "hog.c").write_text(HOG)
    run("gcc", "-shared", "-fPIC", "hog.c", "-o", "hog.so", cwd=folder)
    for n in range(256):
        shutil.copyfile(folder / "hog.so", folder / f"hog{n}.so")
    figure("no static TLS left: one warning", serial(EXHAUST, "GLIBC_TUNABLES=", folder))
    strict = (python, "-W", "error", "-c")
    run(*strict, "import fastelbo" + EXHAUST, cwd=folder)
    tunables = {"GLIBC_TUNABLES": "glibc.rtld.optional_static_tls=32768"}
    run(*strict, LOAD + "import fastelbo", cwd=folder, env=tunables)
    figure("  imported first, or with GLIBC_TUNABLES", "works")

    libraries = only(python.parents[1], "lib/python3*/site-packages/fastelbo.libs")
    shutil.rmtree(libraries)
    figure("no libgomp: one warning", serial("", "libgomp", work))


def check_build_messages(tree: Path, work: Path) -> None:
    """What a user sees where something is missing for the build."""
    compilers = {
        "no-headers": 'for a; do shift; case "$a" in -I*/python3*) ;; *) set -- "$@" "$a";; esac; done',
        "no-openmp": 'case " $* " in *" -fopenmp "*) echo "unknown argument: -fopenmp" >&2; exit 1;; esac',
    }
    for name, body in compilers.items():
        (work / name).write_text(f'#!/bin/sh\n{body}\nexec gcc "$@"\n')
        (work / name).chmod(0o755)

    def wheel(fails: bool, **env: str) -> str:
        options = ("-v", "--no-deps", "--no-build-isolation", "-w", work / "built", tree)
        return run(sys.executable, "-m", "pip", "wheel", *options, fails=fails, env=env)

    for name, cc in (
        ("a build without a compiler", "/nonexistent/cc"),
        ("... without headers", work / "no-headers"),
    ):
        figure(name, sentence(wheel(True, CC=str(cc)), "error: fastelbo"))
    wheel(False)  # which leaves its modules in the tree
    shutil.rmtree(work / "built")
    serial = {
        "a build without OpenMP in the compiler": {"CC": str(work / "no-openmp")},
        "... with FASTELBO_OPENMP=0": {"FASTELBO_OPENMP": "0"},
    }
    for name, env in serial.items():
        figure(name, sentence(wheel(False, **env), "built without OpenMP"))
        made = only(work / "built", "*.whl")
        with zipfile.ZipFile(made) as archive:
            left = [file for file in archive.namelist() if "_openmp" in file]
        require(not left, f"{left} of the build before, in a wheel without OpenMP")
        python = (
            environment(work / "serial", made) if name.startswith("a") else work / "serial" / "bin" / "python"
        )
        run(python, "-m", "pip", "install", "-q", "--force-reinstall", "--no-deps", made)
        said = run(python, "-c", "import fastelbo; fastelbo.show_config()", cwd=work)
        require("none: a serial build" in said, said)
        made.unlink()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--all-tests", action="store_true")
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as temporary:
            work = Path(temporary)
            dists = check_reproducible(work)
            if options.keep:
                options.keep.mkdir(parents=True, exist_ok=True)
                for path in dists.values():
                    shutil.copy(path, options.keep)
            check_distributions(dists, copy(work / "clean"))
            check_binary(dists["repaired"], work / "opened")
            python = check_installed(dists, work, options.all_tests)
            check_build_messages(work / "clean", work)
            check_without_runtime(python, work)
    except Fault as fault:
        print(f"FAULT: {fault}")
        return 1
    print("packaging: all of the above hold")
    return 0


if __name__ == "__main__":
    sys.exit(main())
