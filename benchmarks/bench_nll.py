"""Gaussian NLL, KL and negative ELBO, value and gradients: fastelbo against every peer that is installed.

    python benchmarks/bench_nll.py [--quick | --complete] [--threads N …] [--dtype float32|float64 …]
                                   [--isa v3] [--only PATTERN] [--json FILE [--resume]]
                                   [--plot FILE.png] [--roofline FILE.png]

Shows the MSE identity on real data (digits, photographs), then races on them and on the shapes of the field.
Needs `pip install ".[bench,peers]"`; a peer that is not installed is left out. Exit status 1: a
result of fastelbo was wrong. Losing to a peer is reported, not an error.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

try:
    import numpy as np
    import sklearn  # noqa: F401  (the real data)
    from rich.console import Console
    from rich.progress import Progress

    import accuracy
    import plot
except ImportError as missing:
    sys.exit(f'{missing}. The benchmark needs: pip install ".[bench,peers]"')

import contenders
import losses
import machine
import processes
import report
from losses import LOSSES
from processes import Args, Pace, Process
from report import Cell, Result

PACES = {
    "full": Pace(rounds=(7, 25), seconds=3.0, sample=2e-3),
    "complete": Pace(rounds=(5, 12), seconds=1.2, sample=1e-3, few=2),  # hundreds of cells
    "quick": Pace(rounds=(5, 15), seconds=0.6, sample=1e-3, few=2),
}
QUICK_OPS = (("nll_shared", False), ("nll_logvar", False), ("nll_logvar", True), ("kl", False))
QUICK_CASES = ("digits", "photos", "128x784", "8192x3072")


def arguments() -> argparse.Namespace:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    pace, add = p.add_mutually_exclusive_group(), p.add_argument
    pace.add_argument("--quick", action="store_true", help="a subset and fewer rounds: under a minute")
    pace.add_argument("--complete", action="store_true", help="both dtypes, 1 and 2 threads: 45 minutes")
    add("--threads", type=int, nargs="+", metavar="N", help="threads of every contender (1)")
    add("--dtype", nargs="+", choices=["float32", "float64"], help="(float32)")
    add("--isa", choices=["v3"], help="limit every contender to AVX2, as on a machine without AVX-512")
    add("--only", metavar="PATTERN", help='cells whose key this finds, e.g. "kl grad 128x784"')
    add("--json", metavar="FILE", help="write machine, versions and every sample, cell by cell")
    add("--resume", action="store_true", help="keep the cells that FILE of --json already has")
    add("--plot", metavar="FILE.png", help="the table as a picture (needs matplotlib)")
    add("--roofline", metavar="FILE.png", help="bandwidth and ns per element as a picture")
    options = p.parse_args()
    options.threads = options.threads or ([1, 2] if options.complete else [1])
    options.dtype = options.dtype or (["float32", "float64"] if options.complete else ["float32"])
    options.pace = PACES["quick" if options.quick else "complete" if options.complete else "full"]
    if min(options.threads) < 1:
        p.error("--threads must be at least 1")
    if options.resume and not options.json:
        p.error("--resume needs the --json FILE of the run that it resumes")
    if options.isa and options.isa not in machine.limits():
        p.error(f"--isa {options.isa}: this machine is no x86-64")
    return options


def select(options: argparse.Namespace) -> list[Cell]:
    """What is raced. Cells with the same inputs are neighbours: they are loaded once."""
    some = options.quick and not options.only
    cases = QUICK_CASES if some else losses.CASES
    kinds = QUICK_OPS if some else tuple(itertools.product(LOSSES, (False, True)))
    product = itertools.product(options.threads, options.dtype, cases, kinds)
    cells = [Cell(op, grad, case, dtype, threads) for threads, dtype, case, (op, grad) in product]
    only = re.compile(options.only or "", re.IGNORECASE)
    found = [c for c in cells if losses.fits(LOSSES[c.op], c.case) and only.search(c.key)]
    if not found:
        sys.exit(f"--only {options.only!r} matches no cell; a cell's key looks like {cells[0].key!r}")
    return found


def race_cell(cell: Cell, args: Args, saved: Args, check: Any, running: list[Process], pace: Pace) -> Result:
    """Load, compile and check everywhere, then measure; `saved`: the arguments where contenders load them."""
    arrays = {k: a for k, a in args.items() if np.ndim(a)}
    written = [a.nbytes for k, a in arrays.items() if cell.grad and k in LOSSES[cell.op].wrt]
    moved = sum(a.nbytes for a in arrays.values()) + sum(written)
    first, largest = next(iter(arrays.values())), max(a.size for a in arrays.values())
    result = Result(cell=cell, shape=first.shape, bytes_moved=moved, elements=largest)
    far = moved >= 2 * machine.cache_bytes()  # bound by memory
    runners = [p for p in running if far or p.contender.name != "bandwidth"]
    # the arrays of all, and temporaries: one array of NumPy's, some of an eager library's
    need = moved * len(runners) + 6 * largest * first.itemsize
    if need > machine.free_bytes():
        result.skipped = f"the contenders together need {need / 2**30:.0f} GiB"
        return result
    starters = processes.ready(runners, result, check, saved, cell.op, cell.grad)
    processes.measure(starters, result, pace, pause=0.005 if cell.threads > 1 else 0.0)
    return result


def race(
    cells: list[Cell], running: list[Process], pace: Pace, starts: Callable[[Cell], object]
) -> Iterator[Result]:
    """All cells of one thread count, neighbours sharing inputs; `starts` hears of each."""
    for (case, dtype), of_case in itertools.groupby(cells, key=lambda c: (c.case, c.dtype)):
        inputs = losses.load(case, dtype)
        for op, of_op in itertools.groupby(of_case, key=lambda c: c.op):
            args = inputs.args(LOSSES[op])
            check = partial(accuracy.off, expected=accuracy.reference(LOSSES[op], args), dtype=dtype)
            with processes.shared(args, running) as saved:
                for cell in of_op:
                    starts(cell)
                    yield race_cell(cell, args, saved, check, running, pace)


@dataclass
class Run:
    """What --json has: machine and versions, the identity, and the cells measured so far."""

    file: Path | None
    before: dict[str, Any] = field(default_factory=dict)  # `about` of the run that this one resumes
    about: dict[str, Any] = field(default_factory=dict)
    identity: list[accuracy.Identity] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)

    def resume(self) -> None:
        """Go on from the file, if there is one."""
        if self.file and self.file.exists():
            self.about = self.before = json.loads(self.file.read_text())
            self.results = [Result.of(r) for r in self.about.pop("cells").values()]

    def describe(self, said: dict[str, Any], options: argparse.Namespace) -> None:
        """Machine and versions; cells of two settings in one table would say nothing."""
        here = [c for c in contenders.CONTENDERS if c.name in said]
        missing = [c.package for c in contenders.CONTENDERS if c.name not in said]
        self.about = {
            "machine": machine.describe(),
            "versions": {c.package: said[c.name].get("version", "?") for c in here},
            "not_installed": list(dict.fromkeys(missing)),
            "failed": {k: a["failed"] for k, a in said.items() if "failed" in a},
            "isa": {k: a["isa"] for k, a in said.items() if "isa" in a},
            "limit": options.isa,
            "pace": asdict(options.pace),
            "config": said.get("fastelbo", {}).get("config", {}),
        }
        for key in ("versions", "isa", "machine"):
            old, new = self.before.get(key), self.about[key]
            if self.before and old != new:
                sys.exit(f"--resume: the {key} of that run, {old}, is not that of now, {new}")

    def add(self, result: Result) -> None:
        """Keep a result; in the file too, under keys that are the same in every run, and never half of it."""
        self.results.append(result)
        if not self.file:
            return
        content = {
            "schema": 2,
            "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            **self.about,
            "identity": [s._asdict() for s in self.identity],
            "cells": {r.cell.key: asdict(r) for r in self.results},
        }
        half = self.file.with_suffix(".partial")
        half.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        half.replace(self.file)

    def measure(self, cells: list[Cell], options: argparse.Namespace, console: Console) -> None:
        """The race with a progress bar; an interrupt loses one cell."""
        limit = machine.limits()[options.isa] if options.isa else None
        with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
            task = bar.add_task("starting", total=len(cells))
            try:
                for threads, group in itertools.groupby(cells, key=lambda c: c.threads):
                    with processes.started("contenders", threads, limit) as (running, said):
                        self.describe(said, options)
                        starts = lambda c: bar.update(task, description=c.key)  # noqa: E731
                        for result in race(list(group), running, options.pace, starts):
                            self.add(result)
                            bar.advance(task)
            except KeyboardInterrupt:
                console.print("Interrupted: what follows is what was measured until then.")


def show_identity(console: Console) -> list[accuracy.Identity]:
    """The identity, on each data set and dtype."""
    shown, rows = [], []
    for case, dtype in itertools.product(losses.REAL, ("float32", "float64")):
        data = losses.load(case, dtype).nll
        name = f"{case} {report.shape_label(data['x'].shape)} {dtype}"
        shown.append(s := accuracy.identity(name, data["x"], data["mean"]))
        worst, slip = report.marked(f"{s.ulp:.2f} ULP", not s.holds), f"off by {s.slip:.1f} nats"
        rows.append((name, f"{s.var:.6g}", f"{s.nll:.9f}", f"{s.right:.9f}", worst, slip))
    title = "The MSE identity on real data:  NLL = D·MSE/(2σ²) + (D/2)·log 2πσ²,  σ² = MSE of the whole set"
    names = ("σ²", "mean NLL, fastelbo", "mean right-hand side", "worst row", "with MSE for D·MSE")
    console.print(report.table(title, ("data",), names, rows))
    return shown


def main() -> int:
    """Identity, race, report."""
    options = arguments()
    selected = select(options)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    run = Run(Path(options.json) if options.json else None)
    run.describe({}, options)
    if options.resume:
        run.resume()
    run.identity = show_identity(console)
    done = {r.cell for r in run.results}
    if left := [c for c in selected if c not in done]:
        run.measure(left, options, console)
    found = {r.cell: r for r in run.results}
    results = [found[c] for c in selected if c in found]
    prose = min(console.width, 110)
    console.print(*report.heading(run.about), sep="\n", width=prose)
    report.print_tables(console, results)
    console.print(*report.conclusion(results), sep="\n", width=prose)
    for draw, picture in ((plot.heat_map, options.plot), (plot.roofline, options.roofline)):
        if picture and not draw(results, run.about, picture):
            console.print(f"{picture}: there is nothing to draw in these cells")
    wrong = any("fastelbo" in r.absent or "fastelbo_new" in r.absent for r in results)
    return 1 if wrong or not all(s.holds for s in run.identity) else 0


if __name__ == "__main__":
    sys.exit(main())
