"""The race: contenders in processes of their own, interleaved rounds, ratios per round.

One sample of each contender makes a round; the order rotates from round to round. What is quoted is
the median over the rounds of (peer's time / fastelbo's time in the same round), with its quartiles:
a slow spell of the machine hits both.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import numpy as np

import inputs
import isa as isas
import machine
import ops
from contenders import CONTENDERS, PEERS, Contender

UNITS = ("fastelbo", "numpy", "bandwidth")  # what is measured, and what in: in every round
BEATEN = (
    3.0  # a contender this many times slower than the fastest peer sits out the later rounds of a long cell
)
PATIENCE = 600.0  # seconds that one request may take, compilation included
TIE = 0.95  # a ratio from here on is no loss; up to 1/TIE it is a tie
# Of the size of the terms: more than this is a wrong formula, not a rounding error.
TOLERANCE = {"float32": 1e-3, "float64": 1e-9}


class FailedError(Exception):
    """A contender could not answer; says why."""


@dataclass(frozen=True)
class Cell:
    """One field of the table."""

    op: str
    grad: bool
    case: str
    dtype: str
    threads: int

    @property
    def inputs(self) -> tuple[str, ...]:
        """What decides on the arguments."""
        return self.op, self.case, self.dtype

    @property
    def key(self) -> str:
        """The same in every run: what --only searches, and what runs are compared by."""
        mode = "grad" if self.grad else "value"
        return f"{self.op} {mode} {self.case} {self.dtype} threads={self.threads}"


@dataclass(frozen=True)
class Pace:
    """How long to measure."""

    rounds: tuple[int, int]  # at least, at most
    seconds: float  # per cell, between those
    sample: float  # seconds that one sample lasts at least
    few: int = 3  # rounds for a contender that is too slow for more


@dataclass(eq=False)
class Result:
    """What came out of one cell: seconds per call, one entry per round."""

    cell: Cell
    shape: tuple[int, int]
    bytes_moved: int = 0  # what one call must read and write at least
    elements: int = 0  # of its largest argument
    loops: dict[str, int] = field(default_factory=dict)
    samples: dict[str, list[float]] = field(default_factory=dict)
    error: dict[str, float] = field(default_factory=dict)  # worst, in eps of the size of the terms
    absent: dict[str, str] = field(default_factory=dict)  # contender: why it has no time here
    skipped: str = ""  # why nobody has

    @classmethod
    def of(cls, saved: dict[str, Any]) -> Result:
        """As --json has it."""
        return cls(**saved | {"cell": Cell(**saved["cell"]), "shape": tuple(saved["shape"])})

    def ratio(self, peer: str) -> tuple[float, float, float] | None:
        """Median, lower and upper quartile over the rounds of peer's time / fastelbo's time."""
        if peer not in self.samples or "fastelbo" not in self.samples:
            return None
        theirs = self.samples[peer]  # a slow peer sits out the later rounds
        ratios = np.divide(theirs, self.samples["fastelbo"][: len(theirs)])
        low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75))
        return float(middle), float(low), float(high)

    def best(self, peers: tuple[Contender, ...] = PEERS) -> tuple[Contender, float] | None:
        """The fastest of some peers, and its ratio."""
        found = [(p, r[0]) for p in peers if (r := self.ratio(p.name))]
        return min(found, key=lambda pair: pair[1], default=None)


class Process:
    """The parent's end of one contender."""

    def __init__(self, contender: Contender, threads: int, isa: str | None) -> None:
        self.contender, self.dead = contender, ""
        self.pipe, theirs = Pipe()
        self.log = tempfile.TemporaryFile()  # noqa: SIM115  (read when the process has died)
        script = str(Path(__file__).with_name("worker.py"))
        command = [sys.executable, script, contender.name, str(threads), str(theirs.fileno())]
        command += [isa] if isa else []
        self.process = subprocess.Popen(
            command,
            env=environment(contender, threads, isa),
            pass_fds=[theirs.fileno()],
            stdout=self.log,
            stderr=self.log,
        )
        theirs.close()

    def send(self, method: str, *arguments: Any) -> None:
        """Ask; `answer` has the result. Asking a dead process is allowed, its answer says why it died."""
        if not self.dead:
            try:
                self.pipe.send((method, arguments))
            except OSError:
                self._died()

    def answer(self) -> Any:
        """The result of the last request."""
        if not self.dead:
            try:
                if not self.pipe.poll(PATIENCE):
                    self.process.kill()
                state, result = self.pipe.recv()
            except (EOFError, OSError):
                self._died()
            else:
                if state == "ok":
                    return result
                raise FailedError(result)
        raise FailedError(self.dead)

    def ask(self, method: str, *arguments: Any) -> Any:
        """A request and its result."""
        self.send(method, *arguments)
        return self.answer()

    def _died(self) -> None:
        code = self.process.wait()
        self.log.seek(0)
        last = self.log.read().decode(errors="replace").strip().splitlines()[-1:]
        self.dead = f"process ended with {code}" + "".join(f": {line[:200]}" for line in last)

    def stop(self) -> None:
        """Hang up, and see that the process is gone."""
        self.pipe.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


def environment(contender: Contender, threads: int, isa: str | None) -> dict[str, str]:
    """Every runtime reads its thread count when it is loaded. Without `isa`, FASTELBO_ISA stays as it is."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    limits = dict.fromkeys(names, str(threads)) | {"TORCHINDUCTOR_COMPILE_THREADS": "1"}
    own = {k: v.format(n=threads) for k, v in contender.env.items()}
    return os.environ | limits | own | isas.environment(isa)


def installed() -> tuple[list[Contender], list[Contender]]:
    """The contenders whose package can be found, and the others. Nothing is imported."""
    here = [c for c in CONTENDERS if find_spec(c.package)]
    return here, [c for c in CONTENDERS if c not in here]


@contextmanager
def started(
    contenders: list[Contender], threads: int, isa: str | None = None
) -> Iterator[tuple[list[Process], dict[str, Any]]]:
    """Processes with their libraries loaded, and what each says about itself."""
    processes = [Process(c, threads, isa) for c in contenders]
    try:
        for p in processes:
            p.send("hello")
        about = {}
        for p in processes:
            try:
                about[p.contender.name] = p.answer()
            except FailedError as failure:
                p.dead = f"could not be loaded: {failure}"
                about[p.contender.name] = {"failed": p.dead}
        yield processes, about
    finally:
        for p in processes:
            p.stop()


def check(answer: Any, expected: ops.Reference, dtype: str) -> float:
    """Worst error in eps of the size of the terms; raises where that is no matter of rounding."""
    value, grads = answer
    eps = float(np.finfo(dtype).eps)
    worst = float(np.max(np.abs(value - expected.value) / expected.magnitude))
    if not worst <= TOLERANCE[dtype]:
        raise FailedError(f"wrong value, off by {worst:.1e} of the terms")
    for got, want in zip(grads, expected.grads, strict=False):
        off = float(np.max(np.abs(got - want)) / np.max(np.abs(want)))
        if not off <= TOLERANCE[dtype]:
            raise FailedError(f"wrong gradient, off by {off:.1e}")
    return worst / eps


def prepare(
    processes: list[Process], result: Result, saved: dict[str, Any], expected: ops.Reference
) -> list[Process]:
    """Load, compile and check everywhere; returns those who start."""
    cell, starters = result.cell, []
    for p in processes:
        p.send("prepare", cell.op, saved, cell.grad)
    for p in processes:
        name = p.contender.name
        try:
            answer = p.answer()
            if answer is not None:
                result.error[name] = check(answer, expected, cell.dtype)
            starters.append(p)
        except FailedError as failure:
            result.absent[name] = str(failure)
    return starters


def measure(starters: list[Process], result: Result, pace: Pace) -> None:
    """Rounds until the time for a cell is spent. Who fails is out, with the reason; the others go on."""
    running, times = list(starters), dict.fromkeys(starters, 0.0)

    def ask(p: Process, method: str, argument: float) -> Any:
        try:
            return p.ask(method, argument)
        except FailedError as failure:
            running.remove(p)
            result.samples.pop(p.contender.name, None)
            result.absent[p.contender.name] = str(failure)

    for p in starters:  # the first round
        settle(result.cell)
        if (found := ask(p, "calibrate", pace.sample)) is not None:
            result.loops[p.contender.name], times[p] = found
            result.samples[p.contender.name] = [times[p]]
    slow = too_slow(running, times, pace)
    least, most = pace.rounds
    usual = sum(result.loops[p.contender.name] * times[p] for p in running if p not in slow)
    for i in range(1, max(least, min(most, int(pace.seconds / (usual or pace.seconds))))):
        runners = [p for p in running if i < pace.few or p not in slow]
        turn = i % max(1, len(runners))
        for p in runners[turn:] + runners[:turn]:
            settle(result.cell)
            if (seconds := ask(p, "sample", result.loops[p.contender.name])) is not None:
                result.samples[p.contender.name].append(seconds)


def settle(cell: Cell) -> None:
    """Wait until the threads of the one before have stopped spinning."""
    if cell.threads > 1:
        time.sleep(0.005)


def too_slow(running: list[Process], times: dict[Process, float], pace: Pace) -> set[Process]:
    """Who sits out the later rounds: whose one call fills them, and who is long and beaten beyond doubt."""
    fastest = min((times[p] for p in running if p.contender in PEERS), default=0.0)
    doubtless = max(BEATEN * fastest, pace.seconds / 20)
    return {
        p for p in running if p.contender.name not in UNITS and times[p] > min(pace.seconds / 2, doubtless)
    }


def out_of_cache(result: Result) -> bool:
    """Whether the call is bound by memory: it moves at least twice what the last-level cache holds."""
    return result.bytes_moved >= 2 * machine.cache_bytes()


def run_cell(
    cell: Cell,
    args: dict[str, Any],
    expected: ops.Reference,
    saved: dict[str, Any],
    processes: list[Process],
    pace: Pace,
    keep: bool,
) -> Result:
    """One cell from loading to releasing; `keep` the inputs for the next one."""
    arrays = {k: a for k, a in args.items() if np.ndim(a)}
    written = [arrays[k].nbytes for k in ops.LOSSES[cell.op].wrt if k in arrays and cell.grad]
    moved = sum(a.nbytes for a in arrays.values()) + sum(written)
    first, largest = next(iter(arrays.values())), max(a.size for a in arrays.values())
    result = Result(cell, (first.shape[0], first.shape[1]), moved, largest)
    runners = [p for p in processes if p.contender.name != "bandwidth" or out_of_cache(result)]
    # the arrays of all, and temporaries: one array of NumPy's, some of an eager library's
    need, free = moved * len(runners) + 6 * largest * first.itemsize, machine.free_bytes()
    if free is not None and need > free:
        result.skipped = f"the contenders together need {need / 2**30:.0f} GiB"
        return result
    measure(prepare(runners, result, saved, expected), result, pace)
    for p in runners:
        p.send("release", keep)
    for p in runners:
        with suppress(FailedError):  # it is dead, and the next cell will say so
            p.answer()
    return result


def run(
    cells: list[Cell], processes: list[Process], pace: Pace, step: Callable[[Cell], None]
) -> Iterator[Result]:
    """All cells of one thread count, neighbours sharing inputs; `step` hears of each before it starts."""
    case: inputs.Case | None = None
    cells = [*cells, Cell("", False, "", "", 0)]
    with ExitStack() as stack:
        of: tuple[str, ...] = ()
        args: dict[str, Any] = {}
        saved: dict[str, Any] = {}
        for cell, after in itertools.pairwise(cells):
            step(cell)
            loss = ops.LOSSES[cell.op]
            if inputs.too_large(loss, cell.case):
                shape = inputs.shape_of(cell.case) or (0, 0)
                yield Result(cell, shape, skipped="S × N × D is beyond 8192×3072")
                continue
            if case is None or (case.name, case.dtype) != (cell.case, cell.dtype):
                case = inputs.load(cell.case, cell.dtype)
            if of != cell.inputs:
                stack.close()
                args, of = case.args(loss), cell.inputs
                expected = ops.reference(loss, args)
                saved = inputs.save(args, Path(stack.enter_context(tempfile.TemporaryDirectory())))
            yield run_cell(cell, args, expected, saved, processes, pace, keep=of == after.inputs)
