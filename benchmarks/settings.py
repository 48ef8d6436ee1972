"""fastelbo against itself: what options, threads and arrays of fewer bytes cost or bring.

    python benchmarks/settings.py [calls | threads | neighbours | storage]

calls       what each option of the everyday calls adds on 128×32; and two elements with `out=`
threads     two threads' gain on 4·10⁶ elements, of each everyday function; the other core must be free
neighbours  what a call costs beside two busy processes, below and above the size where threads begin
storage     the NLL with one shared σ² on x and mean of 8 and 16 bits, out of cache, where memory is the
            limit; uint8 comes with `x_scale=1/255`, arithmetic and results are float32 everywhere

Measured in one process, settings taking turns in every round; printed are medians of the ratios of a round,
and for what must never stall its 99th percentile and worst case. Each takes a minute at most.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import subprocess
import sys
import time
import timeit
from collections.abc import Iterator
from functools import partial
from typing import Any

try:
    import numpy as np
    from rich.console import Console
    from rich.table import Table

    import fastelbo as fe
except ImportError as missing:
    sys.exit(f'{missing}. The benchmark needs: pip install ".[bench]"')

import contenders
import everyday_cases
import losses
import machine
from processes import Args, Array, Call
from report import marked, shape_label, table

NEIGHBOURED, STALL, STORED = 1.3, 15.0, 1.5  # limits: ×, ms, ×
OPTION, SMALLEST, SHARED = 2.0, 0.6, 1.8  # limits: µs, µs, ×
LARGE = (4096, 1024)
BELOW, ABOVE = ((128, 784),), ((256, 784), (1024, 3072))  # either side of 2¹⁷ elements
STALLS = 3000  # calls, of which 30 are beyond the 99th percentile
STORAGE = ("float32 float32", "uint8 float32", "uint8 float16", "float16 float16", "bfloat16 bfloat16")


def microseconds(*calls: Call) -> list[float]:
    """Of each call, in the median of rounds in which they take turns, on one thread."""
    fe.set_num_threads(1)
    rounds = [[timeit.timeit(call, number=200) / 200 for call in calls] for _ in range(15)]
    return [1e6 * float(time) for time in np.median(rounds, axis=0)]


def everyday(function: str, option: str, shape: tuple[int, ...], changes: Args | None = None) -> Call:
    """A call of everyday.py, in another shape."""
    case = everyday_cases.Case(function, option, shape, changes or {})
    return partial(getattr(fe, function), **case.arguments("float32"))


def calls() -> Iterator[Table]:
    """The options, dearest first; and the smallest calls."""
    options, smallest = [], []
    for function in everyday_cases.functions():
        plain = everyday(function, "", (128, 32))
        for option, changes in everyday_cases.options(function):
            default, time = microseconds(plain, everyday(function, option, (128, 32), changes))
            more = time - default
            figures = f"{default:.1f} µs", f"{time:.1f} µs", marked(f"{more:+.1f}", more > OPTION)
            options.append((more, (f"{function} {option}", *figures)))
            if "out" in changes and "axis" not in changes:
                (time,) = microseconds(everyday(function, option, (1, 2), changes))
                smallest.append((f"{function} {option}", marked(f"{time:.2f} µs", time > SMALLEST)))
    rows = [row for _, row in sorted(options, key=lambda option: -option[0])]
    title = f"128×32, float32, 1 thread: what an option adds   (limit {OPTION:g} µs)"
    yield table(title, ("call",), ("default", "with it", "µs more"), rows)
    yield table(f"1×2 with out=   (limit {SMALLEST:g} µs)", ("call",), ("time",), smallest)


def threads() -> Iterator[Table]:
    """Time of one thread over that of two, least first."""
    rows = []
    for function in everyday_cases.functions():
        call = everyday(function, "", LARGE)
        times = np.array([[seconds(call, n) for n in (1, 2)] for _ in range(25)])
        one, gain = 1e3 * np.median(times[:, 0]), float(np.median(times[:, 0] / times[:, 1]))
        rows.append((gain, (function, f"{one:.2f} ms", marked(f"{gain:.2f}×", gain < SHARED))))
    title = f"{shape_label(LARGE)}, float32: two threads' gain   (limit {SHARED}×)"
    yield table(title, ("call",), ("1 thread", "1 / 2 threads"), [row for _, row in sorted(rows)])


def seconds(call: Call, threads: int = 1) -> float:
    """Of one call, with so many threads."""
    fe.set_num_threads(threads)
    return timeit.timeit(call, number=1)


@contextlib.contextmanager
def busy(count: int = 2) -> Iterator[None]:
    """Processes that want a core each."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    time.sleep(0.5)
    try:
        yield
    finally:
        for p in others:
            p.kill()
            p.wait()


def neighbours() -> Iterator[Table]:
    """Two threads' time beside two busy processes, in units of one thread's beside the same."""
    below, above = [], []
    for shape in BELOW + ABOVE:
        (nll, _), op = losses.synthetic(shape, "float32"), losses.OP["nll_logvar"]
        call = contenders.fastelbo(contenders.Task({k: nll[k] for k in op.args}, op.name, True, 2))
        with busy():
            rounds = 1e3 * np.array([[seconds(call, n) for n in (1, 2)] for _ in range(STALLS)])
        one, two = np.median(rounds, axis=0).tolist()
        alone, late = np.quantile(rounds, 0.99, axis=0) - one
        name = f"{shape_label(shape)} {op.label} + grad"
        if shape in BELOW:
            below.append((name, f"{one:.3f} ms", marked(f"{two / one:.2f}×", two > NEIGHBOURED * one)))
        else:
            figures = f"{one:.3f}", f"{two - one:.2f}", marked(f"{late:.2f}", late > STALL)
            above.append((name, *figures, f"{rounds[:, 1].max() - one:.1f}", f"{alone:.2f}"))
    title = f"Beside two busy processes, below the threshold   (limit {NEIGHBOURED}×)"
    yield table(title, ("call",), ("1 thread", "2 threads / 1"), below)
    title = f"Beside two busy processes, above it: 2 threads − median of 1, ms   (limit {STALL:g} at 99 %)"
    yield table(title, ("call",), ("1 thread", "median", "99 %", "worst", "1 thread's own 99 %"), above)


def stored(values: Array, dtype: str) -> Array:
    """Numbers of 0 … 1 in a dtype; bytes are 0 … 255."""
    if dtype == "bfloat16":
        dtype = importlib.import_module("ml_dtypes").bfloat16
    return np.round(255 * values).astype(dtype) if dtype == "uint8" else values.astype(dtype)


def on_storage(arrays: Array, pair: str, grad: bool) -> Any:
    """The call on x and mean in a pair of dtypes, with `out=`."""
    own = [stored(a, dtype) for a, dtype in zip(arrays, pair.split(), strict=True)]
    function: Any = fe.gaussian_nll_grad if grad else fe.gaussian_nll
    x_scale = 1 / 255 if pair.startswith("uint8") else 1.0
    call = partial(function, *own, var=0.04, x_scale=x_scale)
    first = call()
    return partial(call, out=(first.value, None, first.mean, None) if grad else first)


def storage() -> Iterator[Table | str]:
    """Time on float32 over the time on other dtypes."""
    arrays = np.random.default_rng(2013).random((2, 8192, 3072), dtype=np.float32)
    rows, reasons = [], {}
    for grad in (False, True):
        calls = {}
        for pair in STORAGE:
            try:
                calls[pair] = on_storage(arrays, pair, grad)
            except (ImportError, TypeError) as error:
                reasons[pair] = f"No time for x, mean of {pair}: {str(error).splitlines()[0]}"
        rounds = np.array([[seconds(call) for call in calls.values()] for _ in range(15)])
        for (pair, call), times in zip(calls.items(), rounds.T, strict=True):
            speed, size = float(np.median(rounds[:, 0] / times)), sum(a.nbytes for a in call.args) / 1e9
            missed = not grad and pair != STORAGE[0] and speed < STORED
            figures = f"{1e3 * np.median(times):.1f} ms", marked(f"{speed:.2f}×", missed), f"{size:.2f}"
            rows.append((*pair.split(), "+ grad" if grad else "value", *figures))
    title = f"NLL, shared σ², 8192×3072, 1 thread: time on float32 / time   (limit of values {STORED}×)"
    yield table(title, ("x", "mean", ""), ("time", "speed", "read, GB"), rows)
    yield from reasons.values()


def main() -> int:
    """Ask, and print."""
    parts = {f.__name__: f for f in (calls, threads, neighbours, storage)}
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("part", nargs="?", choices=parts, help="(all)")
    part = p.parse_args().part
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 110)
    about = machine.describe()
    console.print(f"{about['cpu']}, {about['cores']} cores, {about['system']}, fastelbo {fe.__version__}")
    for name in [part] if part else parts:
        console.print(*parts[name](), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
