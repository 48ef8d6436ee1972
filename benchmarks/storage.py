"""Fewer bytes: the NLL with one shared σ² on arrays of 8 and 16 bits, where memory is the limit.

    python benchmarks/storage.py [--threads N]

Time on float32 over the time on x and mean of other dtypes, 8192×3072, value and value + gradients, medians
over interleaved rounds. uint8 comes with `x_scale=1/255`; arithmetic and results are float32 everywhere.
"""

from __future__ import annotations

import argparse
import functools
import sys
import time
from typing import Any

try:
    import numpy as np
    from rich import box
    from rich.console import Console
    from rich.table import Table

    import fastelbo as fe
except ImportError as missing:
    sys.exit(f'{missing}. The benchmark needs: pip install ".[bench]"')

import machine

SHAPE = (8192, 3072)
PAIRS = (
    ("float32", "float32"),
    ("uint8", "float32"),
    ("uint8", "float16"),
    ("float16", "float16"),
    ("bfloat16", "bfloat16"),
)
LIMIT = 1.5  # times the speed of float32, for values
ROUNDS = 15
VAR = 0.04


def stored(values: Any, dtype: str) -> Any:
    """Numbers of 0 … 1 in a dtype; bytes are 0 … 255."""
    if dtype == "uint8":
        return np.round(255 * values).astype(np.uint8)
    if dtype == "bfloat16":
        import ml_dtypes

        return values.astype(ml_dtypes.bfloat16)
    return values.astype(dtype)


def calls(x: Any, mean: Any, grad: bool) -> dict[tuple[str, str], Any]:
    """A call for each pair of dtypes; instead, the reason why there is none."""
    made: dict[tuple[str, str], Any] = {}
    for pair in PAIRS:
        try:
            own = stored(x, pair[0]), stored(mean, pair[1])
            options: dict[str, Any] = {"var": VAR} | ({"x_scale": 1 / 255} if pair[0] == "uint8" else {})
            function: Any = fe.gaussian_nll_grad if grad else fe.gaussian_nll
            first = function(*own, **options)
            out = (first.value, None, first.mean, None) if grad else first
            wrt = {"wrt": ("mean", "scale")} if grad else {}
            made[pair] = functools.partial(function, *own, **options, **wrt, out=out)
        except (ImportError, TypeError) as error:
            made[pair] = str(error).splitlines()[0]
    return made


def seconds(call: Any) -> float:
    """Of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> int:
    """Measure, and print."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--threads", type=int, default=1, metavar="N", help="(1)")
    options = p.parse_args()
    fe.set_num_threads(options.threads)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 110)
    about = machine.describe()
    console.print(f"{about['cpu']}, {about['system']}, fastelbo {fe.__version__}, threads: {options.threads}")
    draw = np.random.default_rng(2013).random
    x, mean = (draw(SHAPE, dtype=np.float32) for _ in range(2))
    table = Table(
        box=box.SIMPLE, title="NLL, shared σ², 8192×3072: time on float32 / time", title_justify="left"
    )
    for name in ("x", "mean", "", "time", "speed", "read, GB"):
        table.add_column(name, justify="left" if name in ("x", "mean", "") else "right")
    reasons: dict[tuple[str, str], str] = {}
    for grad in (False, True):
        found = calls(x, mean, grad)
        able = {pair: call for pair, call in found.items() if callable(call)}
        reasons |= {pair: why for pair, why in found.items() if pair not in able}
        for call in able.values():
            call()
        rounds = np.array([[seconds(call) for call in able.values()] for _ in range(ROUNDS)])
        for pair, ratio, own in zip(able, (rounds[:, :1] / rounds).T, rounds.T, strict=True):
            speed = float(np.median(ratio))
            text = f"{speed:.2f}×"
            missed = not grad and pair != PAIRS[0] and speed < LIMIT
            size = sum(a.nbytes for a in found[pair].args) / 1e9
            table.add_row(
                *pair, "+ grad" if grad else "value", f"{1e3 * np.median(own):.1f} ms",
                f"[bold red]✗ {text}[/]" if missed else text, f"{size:.2f}",
            )  # fmt: skip
    console.print(table)
    console.print(
        f"✗: less than {LIMIT}× the speed of float32. Gradients are written as float32 in all rows."
    )
    for pair, why in reasons.items():
        console.print(f"No time for x {pair[0]}, mean {pair[1]}: {why}", markup=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
