"""Two runs of the race compared: did fastelbo become slower or faster from one commit to the other?

    python benchmarks/bench_nll.py … --json OLD.json        # at one commit, then at the other
    python benchmarks/compare.py OLD.json NEW.json [--margin PERCENT]

Compared is fastelbo's time over NumPy's in the same round, which the machine's mood cancels out of. A cell is
slower (or faster) where the means of its rounds differ by more than the margin: Yuen's test of trimmed means
of the logarithms, with one verdict in a hundred expected to be false (Benjamini and Hochberg). All cells
together show a smaller change than one: their mean is compared with a third of the margin. Exit status 1:
slower, in a cell or in the mean.
"""

from __future__ import annotations

import argparse
import collections
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

try:
    import numpy as np
    from rich.console import Console
    from scipy import stats  # scikit-learn needs it
except ImportError as missing:
    sys.exit(f'{missing}. The comparison needs: pip install ".[bench]"')

Cells = dict[str, Any]  # by key, arrays
UNIT = "numpy"  # whose time fastelbo's is measured in
FALSE = 0.01  # share of the verdicts that may be false
TRIM = 0.2  # of the rounds, at either end: spells of something else
ENOUGH = 4  # rounds; with fewer the test has nothing to go by


@dataclass
class Change:
    """One cell: by how much its time in units of NumPy's changed, and how sure that is."""

    key: str
    ratio: float  # new / old
    noise: float  # standard error of its logarithm
    slower: float = 1.0  # p-values, of being beyond the margin
    faster: float = 1.0
    verdict: str = "same"


def change(key: str, before: Any, after: Any, margin: float) -> Change:
    """Compare one cell, both runs in units of NumPy's time."""
    ratio = math.exp(stats.trim_mean(after, TRIM) - stats.trim_mean(before, TRIM))
    noise = math.hypot(*(stats.mstats.trimmed_stde(a, (TRIM, TRIM)) for a in (before, after)))
    test = {"equal_var": False, "trim": TRIM}
    slower = stats.ttest_ind(after, before + math.log1p(margin), alternative="greater", **test).pvalue
    faster = stats.ttest_ind(after, before - math.log1p(margin), alternative="less", **test).pvalue
    return Change(key, ratio, noise, float(slower), float(faster))


def judge(changes: list[Change]) -> None:
    """The verdicts, of all cells at once: among hundreds some look slower by accident."""
    for kind in ("slower", "faster"):
        adjusted = stats.false_discovery_control([getattr(c, kind) for c in changes])
        for c, p in zip(changes, adjusted, strict=True):
            c.verdict = kind if p < FALSE else c.verdict


def together(changes: list[Change], margin: float) -> tuple[float, str]:
    """Geometric mean over the cells, and its verdict."""
    logs = np.log([c.ratio for c in changes])
    mean, third = math.exp(np.mean(logs)), math.log1p(margin / 3)
    for kind, alternative, limit in (("slower", "greater", third), ("faster", "less", -third)):
        p = stats.ttest_1samp(logs, limit, alternative=alternative).pvalue if len(logs) >= ENOUGH else 1.0
        if p < FALSE:
            return mean, kind
    return mean, "same"


def load(file: str) -> tuple[dict[str, Any], Cells]:
    """A run: what it says about itself, and of each cell the logarithms of fastelbo's time over NumPy's."""
    run = json.loads(Path(file).read_text())
    samples = {k: r["samples"] for k, r in run.pop("cells").items()}
    measured = {k: s for k, s in samples.items() if {"fastelbo", UNIT} <= s.keys()}
    return run, {
        k: np.log([a / b for a, b in zip(s["fastelbo"], s[UNIT], strict=False)]) for k, s in measured.items()
    }


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Why two runs can't be compared well."""
    facts = {
        "the machines differ": [run["machine"]["cpu"] for run in (old, new)],
        f"the versions of {UNIT} differ": [run["versions"].get(UNIT) for run in (old, new)],
        "the instruction sets differ": [run["isa"].get("fastelbo") for run in (old, new)],
    }
    return [f"{what}: {a}, {b}" for what, (a, b) in facts.items() if a != b]


def main(argv: list[str] | None = None) -> int:
    """Print the verdicts."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = p.add_argument
    add("old", help="--json of the one run")
    add("new", help="and of the other, on the same machine")
    add("--margin", type=float, default=6.0, metavar="PERCENT", help="no smaller change counts (6)")
    options = p.parse_args(argv)
    margin, console = options.margin / 100, Console(highlight=False, soft_wrap=True)
    (old_run, old), (new_run, new) = load(options.old), load(options.new)
    for text in differences(old_run, new_run):
        console.print(f"[yellow]![/] {text}")
    both = [k for k in new if k in old]
    changes = [change(k, old[k], new[k], margin) for k in both if min(len(old[k]), len(new[k])) >= ENOUGH]
    if not changes:
        sys.exit("no cell has been measured in both runs, in enough rounds")
    judge(changes)
    for c in sorted((c for c in changes if c.verdict != "same"), key=lambda c: -c.ratio):
        colour = "red" if c.verdict == "slower" else "green"
        console.print(f"[{colour}]{c.verdict}[/] {c.key}: {c.ratio:.2f}× the time, ± {100 * c.noise:.0f} %")
    mean, verdict = together(changes, margin)
    count = collections.Counter(c.verdict for c in changes)
    commits = " → ".join(run["machine"]["commit"] or "?" for run in (old_run, new_run))
    few, alone = len(both) - len(changes), len(old.keys() ^ new.keys())
    console.print(
        f"{commits}: {count['slower']} slower, {count['same']} the same, {count['faster']} faster of "
        f"{len(changes)} cells, by more than {options.margin:g} %; mean {mean:.3f}× the time, {verdict}"
        + (f"; {few} cells with too few rounds" if few else "")
        + (f"; {alone} in one run alone" if alone else "")
    )
    return int(count["slower"] > 0 or verdict == "slower")


if __name__ == "__main__":
    sys.exit(main())
