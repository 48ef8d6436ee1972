"""Everyday calls against NumPy: what a user gains, or loses, beside the lines that a call stands for.

    python benchmarks/everyday.py [--quick] [--summary] [--only REGEX] [--dtype float64] [--threads N]
                                  [--seconds S] [--json FILE] [--list]

The calls come from the signatures: every function with arrays, at the shapes of its uses, and with one
option, form of scale or memory layout at a time. The NumPy is what one writes for it (numpy_calls.py),
temporaries and all. Both allocate their results, in one process, taking turns; the results are compared
first. A ratio is NumPy's time over fastelbo's, the median over the rounds ± half the interquartile range.
With one thread it is of CPU time, so that what else runs counts less. `compare.py` compares files of --json.
"""

from __future__ import annotations

import argparse
import datetime
import gc
import json
import re
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

import fastelbo as fe
import machine
import numpy_forms
from everyday_cases import Call, Case, cases

Samples = dict[str, list[float]]

TIE = 0.95  # a ratio from here on is no loss
TOLERANCE = {"float32": 2e-3, "float64": 1e-8}  # of the largest element: more is another formula
ROUNDS = (7, 25)


# --- the race -----------------------------------------------------------------------------------------------


def check(case: Case, calls: tuple[Call, Call], dtype: str) -> None:
    """Both do the same work."""
    results = (result if isinstance(result, tuple) else (result,) for result in (call() for call in calls))
    one, two = ([a for a in result if a is not None] for result in results)
    for a, b in zip(one, two, strict=True):
        error = np.max(np.abs(np.asarray(a, np.float64) - b)) / (np.max(np.abs(b)) or 1.0)
        same = np.shape(a) == np.shape(b) and (np.ndim(a) < 2 or a.dtype == b.dtype.newbyteorder("="))
        if not (same and error <= TOLERANCE[dtype]):
            raise AssertionError(f"{case.label}: {np.shape(a)} and {np.shape(b)} differ by {error:.1e}")


def seconds_per_call(call: Call, loops: int, clock: Callable[[], float]) -> float:
    """A sample."""
    start = clock()
    for _ in range(loops):
        call()
    return (clock() - start) / loops


def measure(calls: tuple[Call, Call], seconds: float, threads: int) -> Samples:
    """Rounds of a sample each, in turns, until the time is spent."""
    clock, (least, most) = time.thread_time if threads == 1 else time.perf_counter, ROUNDS
    samples: tuple[list[float], list[float]] = ([], [])
    loops = [max(1, int(seconds / most / 2 / seconds_per_call(call, 3, clock))) for call in calls]
    end = clock() + seconds
    while len(samples[1]) < least or (len(samples[1]) < most and clock() < end):
        for i in (0, 1) if len(samples[1]) % 2 else (1, 0):
            samples[i].append(seconds_per_call(calls[i], loops[i], clock))
    return {"fastelbo": samples[0], "numpy": samples[1]}


@dataclass
class Result:
    """One call, measured."""

    case: Case
    samples: Samples

    def __post_init__(self) -> None:
        ratios = [a / b for a, b in zip(self.samples["numpy"], self.samples["fastelbo"], strict=True)]
        low, self.ratio, high = np.quantile(ratios, (0.25, 0.5, 0.75)).tolist()
        self.spread = 50 * (high - low) / self.ratio


# --- what is said -------------------------------------------------------------------------------------------


def print_groups(results: list[Result], title: str, of: Callable[[Case], str]) -> None:
    """Geometric means, the least first."""
    groups: dict[str, list[float]] = defaultdict(list)
    for r in results:
        groups[of(r.case)].append(r.ratio)
    print(f"\nGeometric mean per {title}, of so many calls, of which so many are slower than NumPy:")
    for name, ratios in sorted(groups.items(), key=lambda item: statistics.geometric_mean(item[1])):
        slower = sum(ratio < TIE for ratio in ratios)
        print(f"{statistics.geometric_mean(ratios):9.2f}× {len(ratios):4} {slower:4}  {name}")


def print_all(results: list[Result], left_out: list[tuple[str, str]], summary: bool) -> None:
    """The slowest first, in a summary no others; and means."""
    results.sort(key=lambda r: r.ratio)
    for r in results:
        if r.ratio < TIE or not summary:
            print(f"{'✗' if r.ratio < TIE else ' '}{r.ratio:8.2f}× ±{r.spread:3.0f} %  {r.case.label}")
    print_groups(results, "function", lambda case: case.function)
    if not summary:
        print_groups(results, "option", lambda case: case.option or case.layout or "none")
        print_groups(results, "shape", lambda case: "×".join(map(str, case.shape)))
    print()
    for reason in sorted({why for _, why in left_out}):
        names = [function for function, why in left_out if why == reason]
        print(f"{len(names)} calls left out, as {reason}: {', '.join(sorted(set(names)))}")
    ratios = [r.ratio for r in results]
    slower, mean = sum(ratio < TIE for ratio in ratios), statistics.geometric_mean(ratios)
    print(f"{len(results)} calls, {slower} slower than NumPy (< {TIE}); geometric mean {mean:.2f}×; ", end="")
    print(f"worst {ratios[0]:.2f}×: {results[0].case.label}")


def arguments() -> argparse.Namespace:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = p.add_argument
    add("--quick", action="store_true", help="fewer rounds: under a minute")
    add("--summary", action="store_true", help="of the calls print those alone that are slower than NumPy")
    add("--only", metavar="REGEX", default="", help="calls whose key this finds")
    add("--dtype", choices=["float32", "float64"], default="float32")
    add("--threads", type=int, default=1, metavar="N", help="of fastelbo, on as many cores (1)")
    add("--seconds", type=float, metavar="S", help="for each call (0.5, --quick 0.05)")
    add("--json", type=Path, metavar="FILE", help="write machine, versions and every sample")
    add("--list", action="store_true", help="print the keys, and measure nothing")
    options = p.parse_args()
    options.seconds = options.seconds or (0.05 if options.quick else 0.5)
    return options


def main() -> int:
    """Check, measure, print."""
    options = arguments()
    keys = {f"{case.label} {options.dtype} threads={options.threads}": case for case in cases()}
    selected = {key: case for key, case in keys.items() if re.search(options.only, key)}
    if not selected:
        sys.exit(f"--only {options.only!r} matches no call; --list prints their keys")
    if options.list:
        print(*selected, sep="\n")
        return 0
    machine.pin(options.threads)
    fe.set_num_threads(options.threads)
    results: dict[str, Result] = {}
    left_out = []
    gc.disable()
    np.ones(31 * 2**20, np.uint8)  # once this is freed, malloc keeps pages for both, whatever ran before
    with threadpool_limits(options.threads, "blas"), np.errstate(all="ignore"):
        for key, case in selected.items():
            try:
                calls = case.calls(options.dtype)
            except numpy_forms.MissingError as reason:
                left_out.append((case.function, str(reason)))
                continue
            check(case, calls, options.dtype)
            results[key] = Result(case, measure(calls, options.seconds, options.threads))
    about: dict[str, Any] = {
        "schema": 2,
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine.describe(),
        "versions": {"fastelbo": fe.__version__, "numpy": np.__version__},
        "isa": {name: machine.INSTRUCTION_SET[name]() for name in ("fastelbo", "numpy")},
    }
    if options.json:
        content = about | {"cells": {key: {"samples": r.samples} for key, r in results.items()}}
        options.json.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    said = ", ".join(
        f"{name} {version} ({about['isa'][name]})" for name, version in about["versions"].items()
    )
    print(f"{about['machine']['cpu']}, {said}, {options.dtype}, threads={options.threads}")
    print_all(list(results.values()), left_out, options.summary)
    return 0


if __name__ == "__main__":
    sys.exit(main())
