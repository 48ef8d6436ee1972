"""Gaussian NLL and KL, value and gradients: fastelbo against every peer that is installed.

    python benchmarks/bench_nll.py [--quick] [--threads N …] [--dtype float32|float64 …] [--only PATTERN]
                                   [--json FILE] [--plot FILE.png]

Shows the MSE identity on real data (digits, photographs), then races on them and on the shapes of the field.
Needs `pip install "fastelbo[bench,peers]"`; a peer that is not installed is left out. Exit status 1: a
result of fastelbo was wrong. Losing to a peer is reported, not an error.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import re
import sys
from collections.abc import Iterable
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
    sys.exit(f'{missing}. The benchmark needs: pip install "fastelbo[bench,peers]"')

import identity
import inputs
import machine
import ops
import race
import report
from race import Cell, Pace, Result

FULL = Pace(rounds=(7, 25), seconds=3.0, sample=2e-3)
QUICK = Pace(rounds=(5, 15), seconds=0.6, sample=1e-3)
QUICK_OPS = (("nll_shared", False), ("nll_logvar", False), ("nll_logvar", True), ("kl", False))
QUICK_CASES = ("digits", "photos", "128x784", "8192x3072")


def arguments() -> argparse.Namespace:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument(
        "--quick", action="store_true", help="a representative subset and fewer rounds: under a minute"
    )
    p.add_argument(
        "--threads", type=int, nargs="+", default=[1], metavar="N", help="threads of every contender (1)"
    )
    p.add_argument(
        "--dtype", nargs="+", default=["float32"], choices=["float32", "float64"], help="(float32)"
    )
    p.add_argument(
        "--only",
        metavar="PATTERN",
        help='cells whose key this regular expression finds, e.g. "kl grad 128x784"',
    )
    p.add_argument("--json", metavar="FILE", help="write machine, versions and every sample")
    p.add_argument("--plot", metavar="FILE.png", help="write the picture (needs matplotlib)")
    options = p.parse_args()
    if min(options.threads) < 1:
        p.error("--threads must be at least 1")
    return options


def cells(options: argparse.Namespace) -> list[Cell]:
    """What is raced. Cells with the same inputs are neighbours: they are loaded once."""
    some = options.quick and not options.only
    cases = QUICK_CASES if some else inputs.CASES
    kinds = QUICK_OPS if some else tuple(itertools.product(ops.OP, (False, True)))
    product = itertools.product(options.threads, options.dtype, cases, kinds)
    found = [Cell(op, grad, case, dtype, threads) for threads, dtype, case, (op, grad) in product]
    if options.only:
        found = [c for c in found if re.search(options.only, c.key, re.IGNORECASE)]
    if not found:
        example = Cell("nll_logvar", True, "128x784", "float32", 1).key
        sys.exit(f"--only {options.only!r} matches no cell; a cell's key looks like {example!r}")
    return found


def run(selected: list[Cell], pace: Pace, console: Console) -> tuple[list[Result], dict[str, Any]]:
    """The race with a progress bar; what was measured until an interrupt is kept."""
    here, missing = race.installed()
    about: dict[str, Any] = {}
    results: list[Result] = []
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
                with race.started(here, threads) as (processes, hello):
                    about |= hello
                    for result in race.run(
                        list(group), processes, pace, lambda c: bar.update(task, description=c.key)
                    ):
                        results.append(result)
                        bar.advance(task)
        except KeyboardInterrupt:
            console.print("Interrupted: what follows is what was measured until then.")
    return results, describe(about, here, missing)


def describe(about: dict[str, Any], here: Iterable[Any], missing: Iterable[Any]) -> dict[str, Any]:
    """Machine and versions, as they stand above the table and in --json."""
    config = about.get("fastelbo", {}).get("config", {})
    return {
        "machine": machine.describe(),
        "versions": {c.package: about.get(c.name, {}).get("version", "?") for c in here},
        "not_installed": list(dict.fromkeys(c.package for c in missing)),
        "failed": {k: a["failed"] for k, a in about.items() if "failed" in a},
        "isa": config.get("instruction set", "?").split(" (")[0],
        "config": config,
    }


def write_json(
    file: str, about: dict[str, Any], shown: Iterable[identity.Shown], results: Iterable[Result]
) -> None:
    """Everything, under keys that stay the same from run to run."""
    content = {
        "schema": 1,
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **about,
        "identity": [asdict(s) for s in shown],
        "cells": {r.cell.key: asdict(r) for r in results},
    }
    Path(file).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


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
    results, about = run(selected, QUICK if options.quick else FULL, console)
    for line in report.heading(about):
        console.print(line, width=prose)
    report.print_tables(console, results)
    for line in report.conclusion(results):
        console.print(line, width=prose)
    if options.json:
        write_json(options.json, about, shown, results)
    if options.plot:
        import plot

        plot.draw(results, about, options.plot)
    wrong = any("fastelbo" in r.absent or "fastelbo_new" in r.absent for r in results)
    return 1 if wrong or not all(s.holds for s in shown) else 0


if __name__ == "__main__":
    sys.exit(main())
