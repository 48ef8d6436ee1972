"""What the race says: the table, and in plain words who won where."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import ops
from contenders import CONTENDER, CONTENDERS, PEERS, Contender
from identity import Shown
from inputs import REAL
from race import TIE, Result

COLUMNS = (*PEERS, CONTENDER["fastelbo_new"])


def duration(seconds: float) -> str:
    """Three figures and a unit."""
    unit, size = next(((u, s) for u, s in (("s", 1.0), ("ms", 1e-3)) if seconds >= s), ("µs", 1e-6))
    return f"{seconds / size:.3g} {unit}"


def times(ratio: float) -> str:
    """A ratio in three figures at most."""
    return f"{ratio:.2f}×" if ratio < 10 else f"{ratio:.3g}×"


def case_label(result: Result) -> str:
    """Real data by name and shape, the others by shape; large powers of ten as such."""
    long = {10**6: "10⁶", 10**7: "10⁷"}
    shape = "×".join(long.get(n, str(n)) for n in result.shape)
    return f"{result.cell.case} {shape}" if result.cell.case in REAL else shape


def cell_label(result: Result) -> str:
    """One cell in a sentence."""
    mode = "value + gradients" if result.cell.grad else "value"
    threads = "" if result.cell.threads == 1 else f", {result.cell.threads} threads"
    return f"{ops.OP[result.cell.op].label}, {mode}, {case_label(result)}, {result.cell.dtype}{threads}"


def ratio_text(result: Result, contender: Contender, *, spread: bool) -> str:
    """Median and half the interquartile range, marked where the contender wins (✗) or ties (=)."""
    found = result.ratio(contender.name)
    if found is None:
        return "[dim]–[/]"
    middle, low, high = found
    text = times(middle) + (f" [dim]±{50 * (high - low) / middle:.0f}%[/]" if spread else "")
    if contender not in PEERS:
        return text
    return f"[bold red]✗ {text}[/]" if middle < TIE else f"[yellow]= {text}[/]" if middle <= 1 / TIE else text


def memory_share(result: Result) -> float | None:
    """Share of the memory bandwidth measured in the same rounds; None where the caches hold the data."""
    found = result.ratio("bandwidth")
    return None if found is None else 100 * found[0]


def print_identity(console: Console, shown: Iterable[Shown]) -> None:
    """The identity, on each data set and dtype."""
    title = "The MSE identity on real data:  NLL = D·MSE/(2σ²) + (D/2)·log 2πσ²,  σ² = MSE of the whole set"
    table = Table(box=box.SIMPLE, title=title, title_justify="left", title_style="bold")
    table.add_column("data")
    for name in ("σ²", "mean NLL, fastelbo", "mean right-hand side", "worst row", "with MSE for D·MSE"):
        table.add_column(name, justify="right")
    for s in shown:
        worst = f"{s.ulp:.2f} ULP" if s.holds else f"[bold red]✗ {s.ulp:.3g} ULP[/]"
        name = f"{s.case} {s.shape[0]}×{s.shape[1]} {s.dtype}"
        table.add_row(
            name, f"{s.var:.6g}", f"{s.nll:.9f}", f"{s.right:.9f}", worst, f"off by {s.slip:.1f} nats"
        )
    console.print(table)


def print_tables(console: Console, results: list[Result]) -> None:
    """One table per dtype and thread count; without the spread where the terminal is too narrow for it."""
    for dtype, threads in dict.fromkeys((r.cell.dtype, r.cell.threads) for r in results):
        group = [r for r in results if (r.cell.dtype, r.cell.threads) == (dtype, threads) and not r.skipped]
        count = f"{threads} thread{'s' if threads > 1 else ''}"
        title = f"{dtype}, {count}: time of the peer / time of fastelbo   (✗ the peer is faster, = a tie)"
        table = race_table(group, title, spread=True)
        if natural_width(console, table) > console.width:
            table = race_table(group, title, spread=False)
        width, console.width = console.width, max(console.width, natural_width(console, table))
        console.print(table, crop=False)
        console.width = width


def natural_width(console: Console, table: Table) -> int:
    """How wide a table is where nothing is cut off: a wrapped line is ugly, a lost figure is worse."""
    return console.measure(table, options=console.options.update(max_width=1000)).maximum


def race_table(results: list[Result], title: str, *, spread: bool) -> Table:
    """A section per loss, a row per cell, a column per peer."""
    order = [op.name for op in ops.OPS]
    results = sorted(results, key=lambda r: (order.index(r.cell.op), r.cell.grad))
    columns = [c for c in COLUMNS if any(c.name in r.samples for r in results)]
    table = Table(box=box.SIMPLE, title=title, title_justify="left", title_style="bold", padding=(0, 1, 0, 0))
    for name in ("loss", "", "input"):
        table.add_column(name, no_wrap=True)
    for name in ("fastelbo", "memory", *(c.label for c in columns)):
        table.add_column(name.replace(" ", "\n").replace(".c", ".\nc"), justify="right", no_wrap=True)
    for r, after in zip(results, [*results[1:], None], strict=True):
        samples, share = r.samples.get("fastelbo"), memory_share(r)
        table.add_row(
            ops.OP[r.cell.op].label,
            "+ grad" if r.cell.grad else "value",
            case_label(r),
            duration(statistics.median(samples)) if samples else "[bold red]✗[/]",
            "" if share is None else f"{share:.0f} %",
            *(ratio_text(r, c, spread=spread) for c in columns),
            end_section=after is None or r.cell.op != after.cell.op,
        )
    return table


def verdict(results: list[Result]) -> list[str]:
    """Every lost cell in a sentence, the ties, the means."""
    raced = [r for r in results if r.best()]
    lost, tied = [], []
    for r in raced:
        ratios = sorted((found, p.label) for p in PEERS if (found := r.ratio(p.name)))
        wins = [f"{p} {times(m)} ({low:.2f} … {high:.2f})" for (m, low, high), p in ratios if m < TIE]
        lost += [f"[bold red]✗[/] {cell_label(r)}: {', '.join(wins)}"] if wins else []
        tied += [f"{cell_label(r)}, {p} {times(m)}" for (m, _, _), p in ratios if TIE <= m <= 1 / TIE]
    lines = [
        f"A peer is faster than fastelbo in {len(lost)} of {len(raced)} cells (ratio, quartiles):"
        if lost
        else f"No peer is faster than fastelbo in any of {len(raced)} cells."
    ]
    lines += lost
    lines += [f"[yellow]=[/] Ties ({TIE} … {1 / TIE:.2f}): " + "; ".join(tied) + "."] if tied else []
    return lines + means(raced)


def means(results: list[Result]) -> list[str]:
    """Geometric means of the ratios; a 1×2 call measures the call, not the loss, and stays out."""
    large = [r for r in results if r.shape != (1, 2)]
    compiled = tuple(p for p in PEERS if p.compiled and any(p.name in r.samples for r in large))
    rivals = {
        "the fastest peer of each cell": PEERS,
        f"the fastest compiled peer ({', '.join(p.label for p in compiled)}) of each cell": compiled,
        "NumPy": (CONTENDER["numpy"],),
    }
    parts = []
    for name, peers in rivals.items():
        ratios = [best[1] for r in large if (best := r.best(peers))]
        if ratios:
            parts.append(f"{math.exp(statistics.fmean(map(math.log, ratios))):.3g}× {name}")
    return [f"Geometric mean over {len(large)} cells (1×2 apart): " + ", ".join(parts) + "."] if parts else []


def bandwidth(results: list[Result]) -> list[str]:
    """What a plain loop over memory reached in this run: what the column "memory" is a share of."""
    texts = []
    for threads, grad in dict.fromkeys((r.cell.threads, r.cell.grad) for r in results):
        speeds = [
            r.bytes_moved / statistics.median(r.samples["bandwidth"]) / 1e9
            for r in results
            if "bandwidth" in r.samples and (r.cell.threads, r.cell.grad) == (threads, grad)
        ]
        if speeds:
            kind = "copy-like loop" if grad else "read loop"
            texts.append(f"{kind}, threads={threads}: {statistics.median(speeds):.1f} GB/s")
    return ["Memory bandwidth in this run: " + "; ".join(texts) + "."] if texts else []


def accuracy(results: list[Result]) -> str:
    """Worst rounding error of the values, per contender."""
    worst: dict[str, float] = {}
    for r in results:
        for name, error in r.error.items():
            worst[name] = max(error, worst.get(name, 0.0))
    texts = [
        f"{c.label} {worst[c.name]:.2g}" for c in CONTENDERS if c.name in worst and c.name != "fastelbo_new"
    ]
    return (
        "Largest error of a value against float64, in eps of the sum of its terms: " + ", ".join(texts) + "."
    )


def absences(results: list[Result]) -> list[str]:
    """Who has no time where, and why; one line per contender and reason."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for r in results:
        for name, why in r.absent.items():
            reasons.setdefault((f"No time for {CONTENDER[name].label}", why), []).append(r.cell.key)
        if r.skipped:
            reasons.setdefault(("Skipped", r.skipped), []).append(r.cell.key)
    return [
        f"{what} in {len(keys)} of {len(results)} cells ({keys[0]}{', …' if keys[1:] else ''}): "
        + escape(why)
        for (what, why), keys in reasons.items()
    ]


def heading(run: dict[str, Any]) -> list[str]:
    """Machine, versions, threads and instruction set, for above the table."""
    m, versions = run["machine"], ", ".join(f"{k} {v}" for k, v in run["versions"].items())
    cache = m["cache_bytes"] // 2**20
    return [
        f"{m['cpu']}, {m['cores']} cores, {cache} MiB last-level cache, {m['system']}, Python {m['python']}",
        f"{versions}; fastelbo's instruction set: {run['isa']}",
        *([f"Not installed: {', '.join(run['not_installed'])}"] if run["not_installed"] else []),
        "Each contender in its own pinned process, rounds interleaved; ratios are medians over the rounds "
        "± half the interquartile range. fastelbo, NumPy, numexpr and Numba write into given buffers, the "
        "others allocate; 'no out=' is fastelbo allocating. 'memory' is the share of the bandwidth that a "
        "plain read (values) or copy (gradients) of the same arrays reaches, where they exceed the caches.",
    ]


def conclusion(results: list[Result]) -> list[str]:
    """What stands below the table."""
    raced = [r for r in results if not r.skipped]
    said = [*verdict(raced), *bandwidth(raced), accuracy(raced)] if raced else []
    return said + absences(results)
