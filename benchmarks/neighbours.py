"""What fastelbo does with a second core, beside processes that want it too, and what its smallest calls cost.

    python benchmarks/neighbours.py

A minute: what a second thread brings where cores are free; what a call costs beside two busy processes, below
the size from which threads are used and above it; what the smallest calls cost beside `np.add`. Measured in
one process, settings taking turns in every round; printed are medians of the ratios of a round, and for what
must never stall its 99th percentile and worst case.
"""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

try:
    import numpy as np
    from rich import box
    from rich.console import Console
    from rich.table import Table

    import fastelbo as fe
except ImportError as missing:
    sys.exit(f'{missing}. The benchmark needs: pip install ".[bench]"')

import contenders
import inputs
import machine
import ops

Call = Callable[[], Any]
TWO_THREADS, NEIGHBOURED, STALL = 1.8, 1.3, 15.0  # limits: ×, ×, ms
Bounds = tuple[float | None, float | None]  # limit and aim
SMALL: dict[str, Bounds] = {"1x2": (0.8, 0.5), "128x32": (4.0, None)}  # µs
BELOW, ABOVE = ("128x784",), ("256x784", "1024x3072")  # either side of 2¹⁷ elements
BURST = 5  # calls in a row
STALLS = 3000  # calls, of which 30 are beyond the 99th percentile


def prepared(case: str, op: str, grad: bool) -> Call:
    """A call with `out=`, on float32."""
    loss = ops.LOSSES[op]
    call: Call = contenders.fastelbo(2)(contenders.Task(loss, inputs.load(case, "float32").args(loss), grad))
    call()
    return call


def seconds(call: Call, loops: int = 1) -> float:
    """Of one call."""
    start = time.perf_counter()
    for _ in itertools.repeat(None, loops):
        call()
    return (time.perf_counter() - start) / loops


def threaded(call: Call, threads: int, loops: int = 1) -> float:
    """Seconds of one call with so many threads."""
    fe.set_num_threads(threads)
    return seconds(call, loops)


@contextlib.contextmanager
def neighbours(count: int = 2) -> Iterator[None]:
    """Processes that want a core each."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    time.sleep(0.5)
    try:
        yield
    finally:
        for p in busy:
            p.kill()
            p.wait()


def table(title: str, *columns: str) -> Table:
    """In the dress of the race's."""
    made = Table(box=box.SIMPLE, title=title, title_justify="left", title_style="bold", min_width=len(title))
    for i, name in enumerate(columns):
        made.add_column(name, justify="right" if i else "left", no_wrap=True)
    return made


def marked(text: str, missed: bool) -> str:
    """Red where a limit is missed."""
    return f"[bold red]✗ {text}[/]" if missed else text


def second_thread() -> Table:
    """One thread's time over two threads', where both cores are free."""
    made = table(
        f"A second thread, 1024×3072 float32   (limit {TWO_THREADS}×)",
        "loss",
        "1 thread",
        "gain",
        "quartiles",
    )
    for op, grad in itertools.product(ops.OP, (False, True)):
        call = prepared("1024x3072", op, grad)
        rounds = np.array([[threaded(call, n, BURST) for n in (1, 2)] for _ in range(40)])
        low, gain, high = np.quantile(rounds[:, 0] / rounds[:, 1], (0.25, 0.5, 0.75)).tolist()
        made.add_row(
            ops.OP[op].label + (" + grad" if grad else ""), f"{1e3 * np.median(rounds[:, 0]):.2f} ms",
            marked(f"{gain:.2f}×", gain < TWO_THREADS), f"{low:.2f} … {high:.2f}",
        )  # fmt: skip
    return made


def busy() -> tuple[Table, Table]:
    """Two threads' time beside two busy processes, in units of one thread's beside the same."""
    title = f"Beside two busy processes, below the threshold   (limit {NEIGHBOURED}×)"
    below = table(title, "call", "1 thread", "2 threads / 1")
    title = f"Beside two busy processes, above it: 2 threads − median of 1   (limit {STALL:g} ms at 99 %)"
    above = table(title, "call", "1 thread", "median", "99 %", "worst", "1 thread's own 99 %")
    for case in BELOW + ABOVE:
        call = prepared(case, "nll_logvar", True)
        with neighbours():
            rounds = np.array([(threaded(call, 1), threaded(call, 2)) for _ in range(STALLS)])
        serial, name = float(np.median(rounds[:, 0])), case.replace("x", "×") + " NLL, logvar + grad"
        if case in BELOW:
            ratio = float(np.median(rounds[:, 1])) / serial
            below.add_row(name, f"{1e3 * serial:.3f} ms", marked(f"{ratio:.2f}×", ratio > NEIGHBOURED))
        else:
            late = 1e3 * (rounds[:, 1] - serial)
            at, alone = float(np.quantile(late, 0.99)), 1e3 * (np.quantile(rounds[:, 0], 0.99) - serial)
            above.add_row(
                name,
                f"{1e3 * serial:.3f} ms",
                f"{np.median(late):.2f} ms",
                marked(f"{at:.2f} ms", at > STALL),
                f"{late.max():.1f} ms",
                f"{alone:.2f} ms",
            )
    return below, above


def small_calls() -> Table:
    """The cost of a call that has next to nothing to do."""
    made = table("Small calls with out=, float32, 1 thread", "call", "µs", "limit", "aim")
    fe.set_num_threads(1)
    x, y = np.ones((2, 1, 2), np.float32)
    out = np.empty_like(x)
    none: Bounds = (None, None)
    calls: dict[str, tuple[Call, Bounds]] = {"1×2 np.add": (lambda: np.add(x, y, out=out), none)}
    for case, bounds in SMALL.items():
        for op, grad in itertools.product(("nll_shared", "nll_logvar", "kl"), (False, True)):
            name = f"{case.replace('x', '×')} {ops.OP[op].label}{' + grad' if grad else ''}"
            bound = not grad and (case == "1x2" or op == "nll_logvar")
            calls[name] = (prepared(case, op, grad), bounds if bound else none)
    fe.set_num_threads(1)
    rounds = [[1e6 * seconds(call, 2000) for call, _ in calls.values()] for _ in range(15)]
    for (name, (_, bounds)), own in zip(calls.items(), np.median(rounds, axis=0).tolist(), strict=True):
        text = marked(f"{own:.2f}", own > (bounds[0] or own))
        made.add_row(name, text, *("" if b is None else f"{b:g}" for b in bounds))
    return made


def main() -> int:
    """Ask, and print."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 110)
    about = machine.describe()
    console.print(f"{about['cpu']}, {about['cores']} cores, {about['system']}, fastelbo {fe.__version__}")
    if about["cores"] > 1:
        console.print(second_thread())
        console.print(*busy(), sep="\n")
    else:
        console.print("One core: nothing to say about threads.")
    console.print(small_calls())
    return 0


if __name__ == "__main__":
    sys.exit(main())
