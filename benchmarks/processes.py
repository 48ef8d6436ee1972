"""Contenders in processes of their own, taking turns: how every race here is run.

Several OpenMP runtimes in one process fight for the cores, hence a pinned process each. One sample of each
contender makes a round, in an order that rotates: a slow spell of the machine hits all alike, and what is
quoted is the median over the rounds of a ratio taken within a round.

A race is a module with `CONTENDERS`, a row each, `load(package, threads)` and `Task(arguments, …, threads)`.
This file is both ends of the pipe: `processes.py MODULE NAME THREADS FD` is the contender's.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.metadata
import os
import subprocess
import sys
import tempfile
import time
import timeit
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

import machine

Array = np.ndarray[Any, np.dtype[Any]]
Args = dict[str, Any]
Call = Callable[[], Any]
PATIENCE = 600.0  # seconds that one request may take, compilation included
BRIEF = 0.02  # seconds; what takes longer than this streams through memory and is not warmed up
LONG = 0.2  # seconds; what takes longer has been warmed up by the one call that was checked
BEATEN = 3.0  # so many times slower than the fastest peer, a contender sits out later rounds of a long cell
SAMPLE = 20_000  # elements of a result that are compared
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class FailedError(Exception):
    """A contender could not answer; says why."""


@dataclass(frozen=True, eq=False)  # a row is itself: usable as a key
class Contender:
    """Who races: how it is named, what it needs, how it is set up in its own process."""

    name: str
    label: str
    package: str  # what must be installed
    build: Callable[[Any], Call]  # task -> a call without arguments
    compiled: bool = False
    peer: bool = True  # is raced against; the others are measured beside
    unit: bool = False  # is what others are measured in: in every round
    says: str = ""  # the package, or what else to ask for its instruction set
    env: dict[str, str] = field(default_factory=dict)  # "{n}" is the number of threads


@dataclass(frozen=True)
class Pace:
    """How long to measure."""

    rounds: tuple[int, int]  # at least, at most
    seconds: float  # per cell, between those
    sample: float  # seconds that one sample lasts at least
    few: int = 3  # rounds for a contender that is too slow for more


@dataclass(eq=False, kw_only=True)
class Timed:
    """Seconds per call of each contender, one entry per round; and why some have none."""

    samples: dict[str, list[float]] = field(default_factory=dict)
    loops: dict[str, int] = field(default_factory=dict)  # calls in a sample
    error: dict[str, float] = field(default_factory=dict)  # worst, as the race's check has it
    absent: dict[str, str] = field(default_factory=dict)

    def ratio(self, peer: str, to: str = "fastelbo") -> tuple[float, float, float] | None:
        """Median, lower and upper quartile over the rounds of one time over another."""
        if peer not in self.samples or to not in self.samples:
            return None
        pairs = zip(self.samples[peer], self.samples[to], strict=False)  # a slow one sits out later rounds
        low, middle, high = np.quantile([a / b for a, b in pairs], (0.25, 0.5, 0.75)).tolist()
        return middle, low, high

    def median(self, name: str = "fastelbo") -> float:
        """Seconds per call."""
        return float(np.median(self.samples[name]))


def sample(full: Array) -> Array:
    """Evenly spaced elements, so that checking 200 MB costs nothing."""
    flat = full.reshape(-1)
    return flat[:: max(1, flat.size // SAMPLE)]


class Process:
    """One contender, started."""

    def __init__(self, module: str, contender: Contender, threads: int, limit: machine.Limit | None) -> None:
        self.contender, self.dead = contender, ""
        self.pipe, theirs = Pipe()
        self.log = tempfile.TemporaryFile()  # noqa: SIM115  (read when the process has died)
        fd = theirs.fileno()
        words = [sys.executable, __file__, module, contender.name, str(threads), str(fd)]
        own = {k: v.format(n=threads) for k, v in contender.env.items()}
        env = os.environ | dict.fromkeys(THREADS, str(threads)) | own | (limit.env if limit else {})
        self.process = subprocess.Popen(words, env=env, pass_fds=[fd], stdout=self.log, stderr=self.log)
        theirs.close()

    def send(self, method: str, *arguments: Any) -> None:
        """Ask; `answer` has the result. Asking a dead process is allowed, its answer says why it died."""
        if not self.dead:
            with contextlib.suppress(OSError):  # it has died, and `answer` will find out
                self.pipe.send((method, arguments))

    def answer(self) -> Any:
        """The result of the last request, or the FailedError in its place."""
        if self.dead:
            return FailedError(self.dead)
        try:
            if not self.pipe.poll(PATIENCE):
                self.process.kill()
            state, result = self.pipe.recv()
        except (EOFError, OSError):
            code = self.process.wait()
            self.log.seek(0)
            last = self.log.read().decode(errors="replace").strip().splitlines()[-1:]
            self.dead = f"process ended with {code}" + "".join(f": {line[:200]}" for line in last)
            return FailedError(self.dead)
        return result if state == "ok" else FailedError(result)

    def stop(self) -> None:
        """It has nothing to lose."""
        self.process.kill()
        self.process.wait()
        self.pipe.close()
        self.log.close()


def ask_all(processes: list[Process], method: str, *arguments: Any) -> Iterator[tuple[Process, Any]]:
    """A request to all at once; every process with its answer."""
    for p in processes:
        p.send(method, *arguments)
    for p in processes:
        yield p, p.answer()


@contextlib.contextmanager
def started(
    module: str, threads: int, limit: machine.Limit | None = None
) -> Iterator[tuple[list[Process], dict[str, Any]]]:
    """The contenders of a race that are installed, libraries loaded; and what each says about itself."""
    rows = importlib.import_module(module).CONTENDERS
    processes = [Process(module, c, threads, limit) for c in rows if find_spec(c.package)]
    about: dict[str, Any] = {}
    try:
        for p, said in ask_all(processes, "hello"):
            if isinstance(said, FailedError):
                p.dead = f"could not be loaded: {said}"
            elif limit and not set(said["isa"].split(" + ")) <= limit.allowed:
                p.dead = f"is not limited as the others: {said['isa']}"
            about[p.contender.name] = {"failed": p.dead} if p.dead else said
        yield processes, about
    finally:
        for p in processes:
            p.stop()


def ready(
    processes: list[Process], timed: Timed, check: Callable[[Any], float], saved: Args, *what: Any
) -> list[Process]:
    """Load, compile and check everywhere; returns those who start."""
    for p, answer in ask_all(processes, "prepare", saved, *what):
        try:
            if isinstance(answer, FailedError):
                raise answer
            if answer is not None:
                timed.error[p.contender.name] = check(answer)
        except FailedError as failure:
            timed.absent[p.contender.name] = str(failure)
    return [p for p in processes if p.contender.name not in timed.absent]


def measure(starters: list[Process], timed: Timed, pace: Pace, pause: float = 0.0) -> None:
    """Rounds until the time for a cell is spent. Who fails is out, with the reason; the others go on.

    `pause`: seconds between two samples, for threads of the one before that are still spinning.
    """
    running, first = list(starters), dict.fromkeys(starters, 0.0)

    def ask(p: Process, method: str, argument: float) -> Any:
        time.sleep(pause)
        p.send(method, argument)
        found = p.answer()
        if not isinstance(found, FailedError):
            return found
        running.remove(p)
        timed.samples.pop(p.contender.name, None)
        timed.absent[p.contender.name] = str(found)
        return None

    for p in starters:
        if (found := ask(p, "calibrate", pace.sample)) is not None:
            timed.loops[p.contender.name], first[p] = found
            timed.samples[p.contender.name] = [first[p]]
    # whose one call fills the later rounds, or who is long and beaten beyond doubt, sits them out
    fastest = min((first[p] for p in running if p.contender.peer), default=0.0)
    limit = min(pace.seconds / 2, max(BEATEN * fastest, pace.seconds / 20))
    slow = {p for p in running if not p.contender.unit and first[p] > limit}
    usual = sum(timed.loops[p.contender.name] * first[p] for p in running if p not in slow)
    least, most = pace.rounds
    for i in range(1, max(least, min(most, int(pace.seconds / (usual or pace.seconds))))):
        runners = [p for p in running if i < pace.few or p not in slow]
        turn = i % max(1, len(runners))
        for p in runners[turn:] + runners[:turn]:
            if (seconds := ask(p, "sample", timed.loops[p.contender.name])) is not None:
                timed.samples[p.contender.name].append(seconds)


@contextlib.contextmanager
def shared(args: Args, processes: list[Process]) -> Iterator[Args]:
    """For `ready`: paths in place of arrays, of which each process loads copies of its own, until the end."""
    with tempfile.TemporaryDirectory() as folder:
        saved = {k: Path(folder, f"{k}.npy") if np.ndim(a) else a for k, a in args.items()}
        for k, path in saved.items():
            if isinstance(path, Path):
                np.save(path, args[k])
        yield saved
    list(ask_all(processes, "release"))  # who is dead will say so in the next cell


class Worker:
    """The other end of the pipe: answers for one contender. Every public method is a request."""

    def __init__(self, module: str, name: str, threads: int) -> None:
        self.module, self.name, self.threads = module, name, threads
        self.call: Any = None
        self.saved: Args = {}
        self.args: Args = {}
        self.brief = True

    def hello(self) -> dict[str, Any]:
        """Load the library; say what it is."""
        self.race = importlib.import_module(self.module)
        self.contender = next(c for c in self.race.CONTENDERS if c.name == self.name)
        self.race.load(self.contender.package, self.threads)
        says = machine.INSTRUCTION_SET[self.contender.says or self.contender.package]
        about = {"version": importlib.metadata.version(self.contender.package), "isa": says()}
        return about | ({"config": machine.fastelbo_config()} if self.name == "fastelbo" else {})

    def prepare(self, saved: Args, *what: Any) -> Any:
        """Load the inputs, compile, run once; returns the value and samples of the gradients, if any.

        All contenders prepare at once: one thread may wander between two cores meanwhile. Not several, they
        would be created there, and stay.
        """
        machine.pin(max(self.threads, 2))
        try:
            self.call = None
            if saved != self.saved:
                self.release()
                self.args = {k: np.load(a) if isinstance(a, Path) else a for k, a in saved.items()}
                self.saved = saved
            self.call = self.contender.build(self.race.Task(self.args, *what, self.threads))
            results = self.call()
        finally:
            machine.pin(self.threads)
        if results is None:
            return None
        value, *grads = (np.asarray(a) for a in results)
        return np.array(value), [np.array(sample(g)) for g in grads]

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
        timer = timeit.Timer(self.call)
        if self.brief:
            self.call()
        return timer.timeit(loops) / loops

    def release(self) -> None:
        """Give buffers and inputs back."""
        self.call = None
        self.saved, self.args = {}, {}
        gc.collect()


def serve(worker: Worker, pipe: Connection) -> None:
    """Answer until the other end hangs up."""
    with contextlib.suppress(EOFError):
        while True:
            method, arguments = pipe.recv()
            try:
                pipe.send(("ok", getattr(worker, method)(*arguments)))
            except Exception as error:  # what a library throws is its result, not the end of the race
                text = str(error).strip().splitlines()
                pipe.send(("error", f"{type(error).__name__}: {text[0][:200] if text else ''}"))


if __name__ == "__main__":
    module, name, threads, fd = sys.argv[1:]
    machine.pin(int(threads))
    warnings.simplefilter("ignore")
    gc.disable()
    serve(Worker(module, name, int(threads)), Connection(int(fd)))
