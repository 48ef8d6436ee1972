"""Random calls of every public function with arrays, right and wrong, each judged by contract.py.

    python tests/fuzz.py --calls 1000000 --seed 0

Call number n of a seed is the same in every run: `--seed S --from N` begins with the one that failed. With
`--processes` the numbers are shared out. Under AddressSanitizer and UBSan: `python tests/sanitize.py fuzz`.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import multiprocessing
import sys
import time
import traceback
import warnings
from typing import Any

import numpy as np

import calls
import judge


def run(seed: int, numbers: range, minutes: float) -> tuple[collections.Counter[tuple[str, str]], int, int]:
    """How often each function ended how, and how many calls were made and failed."""
    ends: collections.Counter[tuple[str, str]] = collections.Counter()
    warnings.simplefilter("error")
    source, stop, failed = calls.Calls(seed), time.monotonic() + 60 * minutes, 0
    for done, number in enumerate(numbers, 1):
        name, arguments = "?", {}
        try:
            name, arguments = source[number]
            ends[name, judge.judge(name, arguments, source.memory)] += 1
        except Exception:
            failed += 1
            shown = ", ".join(f"{key}={show(value)}" for key, value in arguments.items())
            traceback.print_exc()
            print(f"\n{name}({shown})\n--seed {seed} --from {number}", file=sys.stderr)
            if failed == 5:
                return ends, done, failed
        if time.monotonic() > stop:
            return ends, done, failed
    return ends, len(numbers), failed


def show(value: Any) -> str:
    if not isinstance(value, np.ndarray) or value.ndim == 0:
        return f"({', '.join(map(show, value))})" if isinstance(value, tuple) else repr(value)
    flags = "" if value.flags.writeable else ", read-only"
    return f"<{value.dtype} {value.shape}, strides {value.strides}{flags}>"


def main() -> int:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--from", type=int, default=0, dest="first", metavar="N")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=1e6, help="stop after so many")
    options = parser.parse_args()
    last = options.first + options.calls
    shares = [range(options.first + i, last, options.processes) for i in range(options.processes)]
    jobs = [(options.seed, share, options.minutes) for share in shares]
    begin = time.monotonic()
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(options.processes, spawn) as pool:  # it tells of a crash
        found = list(pool.map(run, *zip(*jobs, strict=True)))
    ends = sum([part for part, _, _ in found], collections.Counter())
    made, failed = (sum(part[i] for part in found) for i in (1, 2))
    for name in calls.NAMES:
        own = {end: count for (function, end), count in sorted(ends.items()) if function == name}
        print(f"{name:22} " + ", ".join(f"{end} {count}" for end, count in own.items()))
    took = time.monotonic() - begin
    print(f"seed {options.seed}, from {options.first}: {made} calls, {failed} failures in {took:.0f} s")
    return int(failed > 0 or made == 0)


if __name__ == "__main__":
    sys.exit(main())
