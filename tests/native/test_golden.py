"""The kernels' bits, of all the cases of driver.c, as recorded: by level, threads, compiler and machine.

All that has FMA (v3, v4, arm64) shares one record; the baseline of x86-64 has its own. After a change of bits
that is meant, `python tests/native/test_golden.py --accept` records what this machine computes.
"""

import json
import platform
import shlex
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import driver
import pytest

RECORD = driver.HERE / "golden.json"
X86_64 = platform.machine().lower() in {"x86_64", "amd64"}
LEVELS = ("baseline", "v3", "v4") if X86_64 else ("baseline",)
ACCEPT = "python tests/native/test_golden.py --accept"


def recorded_as(found: driver.Results) -> str:
    return "without FMA" if (found.machine, found.level) == ("x86-64", "baseline") else "with FMA"


def everything(program: Path, *arguments: str, under: Iterable[str | Path] = ()) -> driver.Results:
    """The cases on much data, and those in all ways."""
    found = driver.results(program, *arguments, under=under)
    return found._replace(
        hashes=found.hashes | driver.results(program, "--ways", *arguments, under=under).hashes
    )


def check(found: driver.Results) -> None:
    expected = json.loads(RECORD.read_text())[recorded_as(found)]
    assert found.hashes.keys() == expected.keys(), f"other cases than those recorded: {ACCEPT}"
    differing = [case for case in expected if found.hashes[case] != expected[case]]
    assert not differing, f"{len(differing)} of {len(expected)} differ; if all that has FMA agrees: {ACCEPT}"


def needs(package: str, *programs: str) -> str:
    """The first of the programs that is there; a skip that says what to install."""
    return driver.installed(*programs) or pytest.skip(
        f"{programs[0]} is not installed: on Debian, apt install {package}"
    )


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> Path:
    needs("gcc", shlex.split(driver.DEFAULT_CC)[0])
    return driver.build(tmp_path_factory.mktemp("native"), openmp=True)


@pytest.fixture(scope="module")
def streams(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return driver.build(tmp_path_factory.mktemp("streams"), f"{driver.DEFAULT_CC} -DSTREAMED_BYTES=1")


def at_level(program: Path, level: str, *arguments: str) -> driver.Results:
    try:
        found = everything(program, "--isa", level, *arguments)
    except driver.Failed as failure:
        if "does not have the level" not in str(failure):
            raise
        pytest.skip(f"this machine does not have {level}")
    assert found.level == level
    return found


@pytest.mark.parametrize("level", LEVELS)
def test_no_hole_in_the_tables(native: Path, level: str) -> None:
    """The driver says which cell of a table of functions is empty; a call would not survive it."""
    assert at_level(native, level, "no case has this name").hashes == {}


@pytest.mark.parametrize("level", LEVELS)
def test_levels(native: Path, level: str) -> None:
    check(at_level(native, level))


@pytest.mark.parametrize("threads", [2, 3, 4, 7, 16])
def test_threads(native: Path, threads: int) -> None:
    check(everything(native, "--threads", str(threads)))


@pytest.mark.skipif(not X86_64, reason="Nehalem is an x86-64 processor")
def test_a_machine_without_fma(native: Path) -> None:
    qemu = needs("qemu-user", "qemu-x86_64")
    found = everything(native, under=[qemu, "-cpu", "Nehalem"])
    assert found.level == "baseline"
    check(found)


@pytest.mark.skipif(not X86_64, reason="the levels are those of x86-64")
@pytest.mark.parametrize("lacking", ["f16c", "movbe", "bmi1", "lzcnt"])
def test_a_machine_that_lacks_a_part_of_its_level(native: Path, lacking: str) -> None:
    qemu = needs("qemu-user", "qemu-x86_64")
    some = ("nll-logvar/grad/f32/2000x8",)
    assert driver.results(native, *some, under=[qemu, "-cpu", "Haswell"]).level == "v3"
    name = {"lzcnt": "abm"}.get(lacking, lacking)
    assert driver.results(native, *some, under=[qemu, "-cpu", f"Haswell,-{name}"]).level == "baseline"


def test_arm64(tmp_path: Path) -> None:
    cc, qemu = needs("gcc-aarch64-linux-gnu", "aarch64-linux-gnu-gcc"), needs("qemu-user", "qemu-aarch64")
    found = everything(driver.build(tmp_path, cc=f"{cc} -static"), under=[qemu])
    assert found.machine == "arm64"
    check(found)


def test_clang(tmp_path: Path) -> None:
    cc = needs("clang", *driver.CLANGS)
    found = everything(driver.build(tmp_path, cc=cc))
    assert found.compiler.startswith("clang")
    check(found)


@pytest.mark.parametrize("level", LEVELS)
def test_streams(native: Path, streams: Path, level: str) -> None:
    """Gradients go past the caches, however small: of one argument, of two, of all."""
    check(at_level(streams, level))
    for gradients in (1, 4, 6, 14):
        usual, streamed = [
            at_level(program, level, "--gradients", str(gradients)).hashes for program in (native, streams)
        ]
        assert streamed == usual, f"gradients {gradients:04b}"


def accept() -> None:
    """Record what this machine computes: x86-64 with FMA, so that there are both."""
    with tempfile.TemporaryDirectory() as folder:
        program = driver.build(Path(folder))
        found = [everything(program, "--isa", level) for level in ("baseline", "v3")]
    record = {recorded_as(each): each.hashes for each in found}
    RECORD.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
    print(f"Recorded: {', '.join(f'{len(hashes)} hashes {name}' for name, hashes in record.items())}.")


if __name__ == "__main__":
    if sys.argv[1:] != ["--accept"]:
        sys.exit(f"usage: {ACCEPT}   (to check: pytest tests/native)")
    accept()
