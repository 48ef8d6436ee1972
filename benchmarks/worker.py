"""One contender in its own process: `worker.py NAME THREADS FD [ISA]` loads one library, answers over a pipe.

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
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

BRIEF = 0.02  # seconds; what takes longer than this streams through memory and is not warmed up
LONG = 0.2  # seconds; what takes longer has been warmed up by the one call that was checked


class Worker:
    """Answers for one contender. Every public method is a request."""

    def __init__(self, name: str, threads: int, isa: str | None) -> None:
        self.name, self.threads, self.isa = name, threads, isa
        self.call: Any = None
        self.saved: dict[str, Any] = {}
        self.args: dict[str, Any] = {}
        self.brief = True

    def hello(self) -> dict[str, Any]:
        """Load the library; say what it is."""
        import isa
        from contenders import CONTENDER

        contender = CONTENDER[self.name]
        self.build = contender.setup(self.threads)
        about: dict[str, Any] = {"version": importlib.metadata.version(contender.package)}
        about["isa"] = isa.used(self.name, self.isa)
        if self.name == "fastelbo":
            about["config"] = config()
        return about

    def prepare(self, op: str, saved: dict[str, Any], grad: bool) -> Any:
        """Load the inputs, compile, run once; returns values and samples of gradients (the floor: None)."""
        import numpy as np

        from contenders import Task
        from inputs import restore
        from ops import LOSSES, sample

        self.call = None
        with self.elbow_room():
            if saved != self.saved:
                self.args = {}
                self.saved, self.args = saved, restore(saved)
            self.call = self.build(Task(LOSSES[op], self.args, grad))
            if self.name == "bandwidth":
                return None
            value, *grads = (np.asarray(a) for a in self.call())
            return np.array(value), [np.array(sample(g)) for g in grads]

    @contextlib.contextmanager
    def elbow_room(self) -> Iterator[None]:
        """One thread may wander between two cores while nothing is measured: all contenders prepare at once.

        Not several threads: they would be created there, and stay. The second core is the next one, whose
        memory is as near.
        """
        if self.threads > 1 or not hasattr(os, "sched_setaffinity"):
            yield
            return
        (core,) = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {max(core - 1, 0), core})
        try:
            yield
        finally:
            os.sched_setaffinity(0, {core})

    def calibrate(self, target: float) -> tuple[int, float]:
        """How many calls make a sample of at least `target` seconds; and the first, in seconds per call."""
        loops, self.brief = 1, False
        seconds = self.sample(1)
        if seconds < LONG:
            self.brief = True
            seconds = self.sample(1)
        while (spent := seconds * loops) < target:
            loops = max(2 * loops, int(1.2 * loops * target / max(spent, 1e-7))) if loops > 1 else 10
            seconds = self.sample(loops)
        self.brief = seconds < BRIEF
        return loops, seconds

    def sample(self, loops: int) -> float:
        """Seconds per call, after one that does not count: the others have had the caches meanwhile."""
        call, repeat = self.call, itertools.repeat(None, loops)
        if self.brief:
            call()
        start = time.perf_counter()
        for _ in repeat:
            call()
        return (time.perf_counter() - start) / loops

    def release(self, keep: bool) -> None:
        """Give the buffers back, and the inputs unless the next cell has the same."""
        self.call = None
        if not keep:
            self.saved, self.args = {}, {}
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
    isa = sys.argv[4] if sys.argv[4:] else None
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])
    warnings.simplefilter("ignore")
    gc.disable()
    serve(Worker(name, threads, isa), Connection(fd))


if __name__ == "__main__":
    main()
