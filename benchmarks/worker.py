"""One contender in its own process: `worker.py NAME THREADS FD` loads one library and answers over a pipe.

Several OpenMP runtimes in one process fight for the cores, hence the processes. Requests are
(method, arguments), answers ("ok", result) or ("error", text). race.py is the other end.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.metadata
import io
import itertools
import os
import re
import sys
import time
import warnings
from multiprocessing.connection import Connection
from typing import Any

BRIEF = 0.02  # seconds; what takes longer than this streams through memory and is not warmed up


class Worker:
    """Answers for one contender. Every public method is a request."""

    def __init__(self, name: str, threads: int) -> None:
        self.name, self.threads = name, threads
        self.call: Any = None
        self.brief = True

    def hello(self) -> dict[str, Any]:
        """Load the library; say what it is."""
        from contenders import CONTENDER

        contender = CONTENDER[self.name]
        self.build = contender.setup(self.threads)
        about: dict[str, Any] = {"version": importlib.metadata.version(contender.package)}
        if self.name == "fastelbo":
            about["config"] = config()
        return about

    def prepare(self, op: str, saved: dict[str, Any], grad: bool) -> Any:
        """Load the inputs, compile, run once; returns values and samples of gradients (the floor: None)."""
        import numpy as np

        from contenders import Task
        from inputs import restore
        from ops import OP, sample

        self.call = None
        self.call = self.build(Task(OP[op], restore(saved), grad))
        if self.name == "bandwidth":
            return None
        value, *grads = (np.asarray(a) for a in self.call())
        return np.array(value), [np.array(sample(g)) for g in grads]

    def calibrate(self, target: float) -> tuple[int, float]:
        """How many calls make a sample of at least `target` seconds, and how long that takes."""
        loops = 1
        while (spent := self.sample(loops) * loops) < target:
            loops = max(2 * loops, int(1.2 * loops * target / max(spent, 1e-7))) if loops > 1 else 10
        self.brief = spent / loops < BRIEF
        return loops, spent

    def sample(self, loops: int) -> float:
        """Seconds per call, after one that does not count: the others have had the caches meanwhile."""
        call, repeat = self.call, itertools.repeat(None, loops)
        if self.brief:
            call()
        start = time.perf_counter()
        for _ in repeat:
            call()
        return (time.perf_counter() - start) / loops

    def release(self) -> None:
        """Give the inputs and buffers back."""
        self.call = None
        gc.collect()


def config() -> dict[str, str]:
    """What fastelbo says about itself: its lines, name and fact."""
    import fastelbo

    with contextlib.redirect_stdout(io.StringIO()) as printed:
        fastelbo.show_config()
    pairs = (re.split(r"\s{2,}", line, maxsplit=1) for line in printed.getvalue().splitlines())
    return {pair[0]: pair[-1] for pair in pairs}


def serve(worker: Worker, pipe: Connection) -> None:
    """Answer until the other end hangs up."""
    while True:
        try:
            method, arguments = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(("ok", getattr(worker, method)(*arguments)))
        except (
            Exception
        ) as error:  # whatever a library throws is that library's result, not the end of the race
            text = str(error).strip().splitlines()
            pipe.send(("error", f"{type(error).__name__}: {text[0][:200] if text else ''}"))


def main() -> None:
    """Pin to as many cores as threads were asked for, before any library counts them."""
    name, threads, fd = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])
    warnings.simplefilter("ignore")
    gc.disable()
    serve(Worker(name, threads), Connection(fd))


if __name__ == "__main__":
    main()
