"""The instructions that each kernel takes, by valgrind's callgrind, against the record in instructions.json.

    python tests/native/instructions.py [--accept]

Counts are the same from run to run, as times are not. More than 5 % above the record is a failure; --accept
makes these counts the record. They depend on the compiler, so each has a record of its own: without one
nothing is judged. It takes half a minute, most of it for the compiler.
"""

import argparse
import json
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from driver import HERE, Failed, build, is_x86_64, results

RECORD = HERE / "instructions.json"
ALLOWED = 0.05
ACCEPT = "python tests/native/instructions.py --accept"

Counts = dict[str, dict[str, int]]  # by level, by case


def count(driver: Path, level: str) -> tuple[str, dict[str, int]]:
    """What built the driver, and the instructions of each case, from the first task to the last sum."""
    with tempfile.TemporaryDirectory() as folder:
        dump = Path(folder, "dump")
        callgrind = ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={dump}"]
        callgrind += ["--toggle-collect=carry_out", "--dump-after=carry_out"]
        found = results(driver, "--isa", level, under=callgrind)
        counts = {}
        for number, case in enumerate(found.hashes, 1):
            lines = dump.with_suffix(f".{number}").read_text().splitlines()
            counts[case] = int(next(line for line in lines if line.startswith("totals: ")).split()[1])
    assert all(counts.values()), "callgrind saw no carry_out"
    return f"{found.compiler}, {found.machine}", counts


def measure() -> tuple[str, Counts]:
    """What compiled the kernels, and the instructions by level; valgrind knows no AVX-512."""
    levels = ["baseline", "v3"] if is_x86_64() else ["baseline"]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor() as pool:
        driver = build(Path(folder))
        found = list(pool.map(lambda level: count(driver, level), levels))
    return found[0][0], {level: counts for level, (_, counts) in zip(levels, found, strict=True)}


def compare(recorded: Counts, found: Counts) -> tuple[list[str], list[str]]:
    """What is worse than the record, or not comparable with it; and what is better."""
    worse, better = [], []
    for level, counts in found.items():
        old = recorded.get(level, {})
        worse += [f"{case} at {level}: no longer counted" for case in old.keys() - counts.keys()]
        for case, new in counts.items():
            if case not in old:
                worse.append(f"{case} at {level}: not recorded")
                continue
            ratio = new / old[case]
            text = f"{case} at {level}: {old[case]} instructions recorded, {new} now, {ratio - 1:+.1%}"
            if ratio > 1 + ALLOWED:
                worse.append(text)
            elif ratio < 1 - ALLOWED:
                better.append(text)
    return worse, better


def main() -> int:
    """Count and judge, or count and record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--accept", action="store_true", help="record these counts")
    accept = parser.parse_args().accept
    record: dict[str, Counts] = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    try:
        compiler, found = measure()
    except Failed as failure:
        sys.exit(f"Nothing counted: {failure}\nIt takes a C compiler and valgrind: apt install gcc valgrind")
    total = sum(map(len, found.values()))
    worse, better = compare(record[compiler], found) if compiler in record else ([], [])
    print("\n".join([*worse, *better]), end="\n" if worse or better else "")
    if accept:
        record[compiler] = found
        RECORD.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
        print(f"Recorded: {total} counts of {compiler}.")
        return 0
    if compiler not in record:
        print(f"Not judged: instructions.json has no counts of {compiler}, only of {'; '.join(record)}.")
        print(f"To record these: {ACCEPT}")
        return 0
    if better:
        print(f"{len(better)} of {total} are more than {ALLOWED:.0%} better. To keep that: {ACCEPT}")
    if worse:
        print(f"{len(worse)} of {total} are more than {ALLOWED:.0%} worse, or new. If it is meant: {ACCEPT}")
        return 1
    print(f"{total} counts of {compiler}: none more than {ALLOWED:.0%} above the record.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
