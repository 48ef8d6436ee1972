"""Small calls without end, right and wrong, of every public function: nothing may be left behind.

    python tests/soak.py --calls 10000000
    python tests/soak.py --calls 1000000000 --minutes 30

The calls are some thousand of fuzz.py's, made again and again. After a warm-up the resident memory may grow
by less than 1 MiB, and no reference count of an argument or dtype, nor the number of threads, at all.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import calls
import fastelbo as fe
import signatures

MOST = 1 << 20  # bytes
DIFFERENT = 3000
CONSTANTS = (None, True, False, Ellipsis, "none", "sum", "mean", np.dtype("f4"), np.dtype("f8"), np.ndarray,
             np.float32, np.float64, fe.NLLGrad, fe.KLGrad, fe.NegELBO, fe.NegELBOGrad)  # fmt: skip


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


class Soak:
    """Calls that repeat, and the counts that they must leave as they are."""

    def __init__(self, seed: int, different: int = DIFFERENT) -> None:
        self.calls = self.some(seed, different)
        self.calls += [
            (fe.implied_objective, {"error": "mean", "kl": "sum", "n_features": 5}),
            (fe.implied_objective, {"error": "mean", "kl": "sum"}),
            (fe.get_num_threads, {}),
            (fe.set_num_threads, {"n": 0}),
            (fe.set_num_threads, {"n": None}),
        ]
        random.Random(seed).shuffle(self.calls)
        arguments = [value for _, given in self.calls for value in given.values()]
        flat = [one for value in arguments for one in (value if isinstance(value, tuple) else (value,))]
        flat = [one for one in (*flat, *CONSTANTS) if type(one) is not int]  # the counts are ints
        self.objects = list({id(one): one for one in flat}.values())
        self.made = self.failed = 0

    @staticmethod
    def some(seed: int, different: int) -> list[tuple[Callable[..., Any], dict[str, Any]]]:
        """Small calls in arrays of their own, so that they can be made again."""
        source, found, number = calls.Calls(seed), [], 0
        while len(found) < different:
            name, arguments = source[number]
            number += 1
            sizes = [value.size for value in arguments.values() if isinstance(value, np.ndarray)]
            if max(sizes, default=0) > 64:
                continue
            own = {key: private(value) for key, value in arguments.items()}
            if not any(hasattr(value, "send") for value in own.values()):  # a generator ends
                found.append((getattr(fe, name), own))
        return found

    def run(self, stop: Callable[[], bool]) -> None:
        """Until `stop`, asked after each round."""
        while not stop():
            failed = 0
            for function, arguments in self.calls:
                try:
                    function(**arguments)
                except Exception:
                    failed += 1
            self.made += len(self.calls)
            self.failed += failed

    def counts(self) -> list[int]:
        """Of references to all arguments and what calls have in common; and of Python's blocks of memory."""
        gc.collect()
        return [*[sys.getrefcount(one) for one in self.objects], sys.getallocatedblocks()]

    def moved(self, before: list[int]) -> list[str]:
        """Counts that differ: of an array at all, of what the interpreter shares by half of one a round."""
        half = self.made // len(self.calls) // 2

        def allowed(one: Any) -> int:
            return 0 if isinstance(one, np.ndarray) else max(250 if one == "blocks" else 20, half)

        return [
            f"{one!r:.50}: {b} became {a}"
            for one, b, a in zip(
                itertools.chain(self.objects, ("blocks",)), before, self.counts(), strict=True
            )
            if abs(a - b) > allowed(one)
        ]


def private(value: Any) -> Any:
    """The same argument in memory that no other call has; outputs no longer lie over inputs."""
    if isinstance(value, tuple):
        return tuple([private(one) for one in value])
    if type(value) is np.ndarray and value.dtype.kind != "O":
        copy = np.empty_like(value, subok=False)
        copy[...] = value
        copy.flags.writeable = value.flags.writeable
        return copy
    return value


def main() -> int:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--minutes", type=float, default=1e6, help="stop after so many")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    soak = Soak(options.seed)
    begin = time.monotonic()
    soak.run(lambda: soak.made >= min(options.calls / 10, 300_000))  # warm up
    warm, counts, memory, running = soak.made, soak.counts(), resident(), threads()
    soak.made = soak.failed = 0
    end = begin + 60 * options.minutes
    soak.run(lambda: soak.made >= options.calls or time.monotonic() > end)
    grown, moved = resident() - memory, soak.moved(counts)
    started = threads() - running
    print(*moved[:20], sep="\n")
    took = (time.monotonic() - begin) / 60
    print(
        f"{soak.made} calls of {len(signatures.FUNCTIONS) + 3} functions, {soak.failed} of them errors, "
        f"after {warm} to warm up, in {took:.1f} minutes: resident memory grew by {grown / 1024:.0f} KiB, "
        f"threads by {started}, and {len(moved)} of {len(counts)} reference counts differ"
    )
    return int(grown >= MOST or started != 0 or bool(moved) or soak.made < min(options.calls, warm))


if __name__ == "__main__":
    sys.exit(main())
