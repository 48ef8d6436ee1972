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
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

try:
    import numpy as np
    import rich.progress
    import sklearn  # noqa: F401  (the real data)
    from rich.console import Console

    import fastelbo  # noqa: F401
except ImportError as missing:
    sys.exit(f'{missing}. The benchmark needs: pip install ".[bench,peers]"')

import identity
import inputs
import isa
import machine
import ops
import race
import report
from race import Cell, Pace, Result

About = dict[str, Any]  # machine, versions, and what else a run says about itself
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
    pace = p.add_mutually_exclusive_group()
    pace.add_argument(
        "--quick", action="store_true", help="a representative subset and fewer rounds: under a minute"
    )
    pace.add_argument(
        "--complete", action="store_true", help="both dtypes, 1 and 2 threads: three quarters of an hour"
    )
    p.add_argument("--threads", type=int, nargs="+", metavar="N", help="threads of every contender (1)")
    p.add_argument("--dtype", nargs="+", choices=["float32", "float64"], help="(float32)")
    p.add_argument(
        "--isa", choices=isa.CHOICES, help="limit every contender to AVX2, as on a machine without AVX-512"
    )
    p.add_argument(
        "--only",
        metavar="PATTERN",
        help='cells whose key this regular expression finds, e.g. "kl grad 128x784"',
    )
    p.add_argument("--json", metavar="FILE", help="write machine, versions and every sample, cell by cell")
    p.add_argument("--resume", action="store_true", help="keep the cells that FILE of --json already has")
    p.add_argument("--plot", metavar="FILE.png", help="the table as a picture (needs matplotlib)")
    p.add_argument("--roofline", metavar="FILE.png", help="bandwidth and ns per element as a picture")
    options = p.parse_args()
    options.threads = options.threads or ([1, 2] if options.complete else [1])
    options.dtype = options.dtype or (["float32", "float64"] if options.complete else ["float32"])
    if min(options.threads) < 1:
        p.error("--threads must be at least 1")
    if options.resume and not options.json:
        p.error("--resume needs the --json FILE of the run that it resumes")
    if options.isa and not isa.supported():
        p.error(f"--isa {options.isa}: this machine is no x86-64")
    return options


def cells(options: argparse.Namespace) -> list[Cell]:
    """What is raced. Cells with the same inputs are neighbours: they are loaded once."""
    some = options.quick and not options.only
    cases = QUICK_CASES if some else inputs.CASES
    kinds = QUICK_OPS if some else tuple(itertools.product(ops.LOSSES, (False, True)))
    product = itertools.product(options.threads, options.dtype, cases, kinds)
    found = [Cell(op, grad, case, dtype, threads) for threads, dtype, case, (op, grad) in product]
    if options.only:
        found = [c for c in found if re.search(options.only, c.key, re.IGNORECASE)]
    if not found:
        example = Cell("nll_logvar", True, "128x784", "float32", 1).key
        sys.exit(f"--only {options.only!r} matches no cell; a cell's key looks like {example!r}")
    return found


def run(
    selected: list[Cell],
    options: argparse.Namespace,
    console: Console,
    before: About,
    keep: Callable[[Result, About], None],
) -> About:
    """The race with a progress bar; `keep` hears of every cell when it is done: an interrupt loses one."""
    here, missing = race.installed()
    pace = PACES["quick" if options.quick else "complete" if options.complete else "full"]
    about: dict[str, Any] = {}
    bar = rich.progress.Progress(
        *rich.progress.Progress.get_default_columns(),
        rich.progress.TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
    with bar:
        task = bar.add_task("starting", total=len(selected))
        try:
            for threads, group in itertools.groupby(selected, key=lambda c: c.threads):
                with race.started(here, threads, options.isa) as (processes, hello):
                    about |= hello
                    same_setting(before, describe(about, here, missing, pace, options.isa))
                    for result in race.run(
                        list(group), processes, pace, lambda c: bar.update(task, description=c.key)
                    ):
                        keep(result, describe(about, here, missing, pace, options.isa))
                        bar.advance(task)
        except KeyboardInterrupt:
            console.print("Interrupted: what follows is what was measured until then.")
    return describe(about, here, missing, pace, options.isa)


def describe(
    about: dict[str, Any], here: Iterable[Any], missing: Iterable[Any], pace: Pace, limit: str | None
) -> About:
    """Machine and versions, as they stand above the table and in --json."""
    config = about.get("fastelbo", {}).get("config", {})
    return {
        "machine": machine.describe(),
        "versions": {c.package: about.get(c.name, {}).get("version", "?") for c in here},
        "not_installed": list(dict.fromkeys(c.package for c in missing)),
        "failed": {k: a["failed"] for k, a in about.items() if "failed" in a},
        "isa": {c.name: about[c.name]["isa"] for c in here if "isa" in about.get(c.name, {})},
        "limit": limit,
        "pace": asdict(pace),
        "config": config,
    }


def write_json(file: Path, about: About, shown: Iterable[identity.Shown], results: Iterable[Result]) -> None:
    """Everything, under keys that stay the same from run to run; never half a file."""
    content = {
        "schema": 2,
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **about,
        "identity": [asdict(s) for s in shown],
        "cells": {r.cell.key: asdict(r) for r in results},
    }
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    partial.replace(file)


def resumed(file: Path) -> tuple[list[Result], About]:
    """What an earlier run measured, and on what."""
    if not file.exists():
        return [], {}
    about = json.loads(file.read_text())
    return [Result.of(r) for r in about.pop("cells").values()], about


def same_setting(old: About, new: About) -> None:
    """Cells of two settings in one table would say nothing."""
    for key in ("versions", "isa", "machine"):
        if old and old[key] != new[key]:
            sys.exit(
                f"--resume: the {key} of the run to be resumed, {old[key]}, is not that of now, {new[key]}"
            )


def main() -> int:
    """Identity, race, report."""
    options = arguments()
    selected = cells(options)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    prose = min(console.width, 110)
    shown = [
        identity.show(case, str(np.dtype(dtype))) for case in inputs.REAL for dtype in ("float32", "float64")
    ]
    report.print_identity(console, shown)
    file = Path(options.json) if options.json else None
    results, before = resumed(file) if file and options.resume else ([], {})
    done = {r.cell for r in results}

    def keep(result: Result, about: About) -> None:
        results.append(result)
        if file:
            write_json(file, about, shown, results)

    left = [c for c in selected if c not in done]
    about = run(left, options, console, before, keep) if left else before
    order = {c: i for i, c in enumerate(selected)}
    results = sorted((r for r in results if r.cell in order), key=lambda r: order[r.cell])
    for line in report.heading(about):
        console.print(line, width=prose)
    report.print_tables(console, results)
    report.print_limits(console, results)
    for line in report.conclusion(results):
        console.print(line, width=prose)
    if options.plot or options.roofline:
        import plot

        for draw, picture in ((plot.heat_map, options.plot), (plot.roofline, options.roofline)):
            if picture and not draw(results, about, picture):
                console.print(f"{picture}: there is nothing to draw in these cells")
    wrong = any("fastelbo" in r.absent or "fastelbo_new" in r.absent for r in results)
    return 1 if wrong or not all(s.holds for s in shown) else 0


if __name__ == "__main__":
    sys.exit(main())
