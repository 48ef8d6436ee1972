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
SHARE = 90  # % of the bandwidth that a call out of cache is to reach
# ns per element in cache (128×784, float32, one thread, AVX2): limit and aim; from prototypes in C
LIMITS = {
    ("nll_shared", False): (0.12, 0.10),
    ("nll_logvar", False): (0.75, 0.60),
    ("nll_logvar", True): (0.90, 0.70),
    ("kl", False): (0.90, 0.60),
}


def duration(seconds: float) -> str:
    """Three figures and a unit."""
    unit, size = next(((u, s) for u, s in (("s", 1.0), ("ms", 1e-3)) if seconds >= s), ("µs", 1e-6))
    return f"{seconds / size:.3g} {unit}"


def times(ratio: float) -> str:
    """A ratio in three figures at most."""
    return f"{ratio:.2f}×" if ratio < 10 else f"{ratio:.3g}×"


def shape_label(shape: Iterable[int]) -> str:
    """Large powers of ten as such."""
    return "×".join({10**6: "10⁶", 10**7: "10⁷"}.get(n, str(n)) for n in shape)


def case_label(result: Result) -> str:
    """Real data by name and shape, the others by shape."""
    shape = shape_label(result.shape)
    return f"{result.cell.case} {shape}" if result.cell.case in REAL else shape


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


def in_cache(result: Result) -> bool:
    """Whether a cell is one of those that the limits of arithmetic are stated for."""
    cell = result.cell
    return (cell.case, cell.dtype, cell.threads) == ("128x784", "float32", 1) and "fastelbo" in result.samples


def ns_per_element(result: Result) -> float:
    """Of fastelbo."""
    return 1e9 * statistics.median(result.samples["fastelbo"]) / result.elements


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


def print_limits(console: Console, results: list[Result]) -> None:
    """Time per element where arithmetic is the limit."""
    near = [r for r in results if in_cache(r) and (r.cell.op, r.cell.grad) in LIMITS]
    if not near:
        return
    console.print(
        "[bold]ns per element, 128×784 float32, 1 thread[/]   (limit and aim are for AVX2: --isa v3)"
    )
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("loss")
    for name in ("", "fastelbo", "limit", "aim"):
        table.add_column(name, justify="right")
    for r in near:
        own, (limit, aim) = ns_per_element(r), LIMITS[r.cell.op, r.cell.grad]
        text = f"[bold red]✗ {own:.3f}[/]" if own > limit else f"{own:.3f}"
        mode = "+ grad" if r.cell.grad else "value"
        table.add_row(ops.LOSSES[r.cell.op].label, mode, text, f"{limit:.2f}", f"{aim:.2f}")
    console.print(table)


def natural_width(console: Console, table: Table) -> int:
    """How wide a table is where nothing is cut off: a wrapped line is ugly, a lost figure is worse."""
    return console.measure(table, options=console.options.update(max_width=1000)).maximum


def race_table(results: list[Result], title: str, *, spread: bool) -> Table:
    """A section per loss, a row per cell, a column per peer."""
    order = list(ops.LOSSES)
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
            ops.LOSSES[r.cell.op].label,
            "+ grad" if r.cell.grad else "value",
            case_label(r),
            duration(statistics.median(samples)) if samples else "[bold red]✗[/]",
            "" if share is None else f"{share:.0f} %",
            *(ratio_text(r, c, spread=spread) for c in columns),
            end_section=after is None or r.cell.op != after.cell.op,
        )
    return table


def verdict(results: list[Result]) -> list[str]:
    """Cells won, tied and lost, the lost ones by name; the means. 1×2 measures the call: counted apart."""
    lines = []
    for name, small in (("", False), (" with 1×2", True)):
        ratios = {r: best[1] for r in results if (best := r.best()) and (r.shape == (1, 2)) == small}
        if not ratios:
            continue
        lost = [r for r, ratio in ratios.items() if ratio < TIE]
        tied = sum(TIE <= ratio <= 1 / TIE for ratio in ratios.values())
        won = len(ratios) - len(lost) - tied
        lines.append(
            f"Of {len(ratios)} cells{name}, fastelbo is faster than every peer in {won}, ties with the "
            f"fastest in {tied} ({TIE} … {1 / TIE:.2f}) and is slower in {len(lost)}" + (":" if lost else ".")
        )
        lines += losses(lost)
    return lines + means([r for r in results if r.best()])


def losses(lost: list[Result]) -> list[str]:
    """A line for each loss, with every cell that a peer wins, and the quartiles of its ratio."""
    lines = []
    order = list(ops.LOSSES)
    for op, grad in sorted({(r.cell.op, r.cell.grad) for r in lost}, key=lambda k: (order.index(k[0]), k[1])):
        texts = []
        for r in lost:
            best = r.best()
            if best and (r.cell.op, r.cell.grad) == (op, grad):
                middle, low, high = r.ratio(best[0].name) or (0.0, 0.0, 0.0)
                where = f"{case_label(r)} {r.cell.dtype}" + (
                    f" {r.cell.threads} threads" if r.cell.threads > 1 else ""
                )
                texts.append(f"{where} {best[0].label} {times(middle)} ({low:.2f} … {high:.2f})")
        mode = "value + gradients" if grad else "value"
        lines.append(f"[bold red]✗[/] {ops.LOSSES[op].label}, {mode}: {'; '.join(texts)}")
    return lines


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


def speeds(results: list[Result]) -> list[str]:
    """What a plain loop over memory reached, per kind and thread count."""
    texts = []
    for threads, grad in sorted({(r.cell.threads, r.cell.grad) for r in results}):
        found = [
            r.bytes_moved / statistics.median(r.samples["bandwidth"]) / 1e9
            for r in results
            if "bandwidth" in r.samples and (r.cell.threads, r.cell.grad) == (threads, grad)
        ]
        if found:
            kind = "copy-like loop" if grad else "read loop"
            count = f"{threads} thread{'s' if threads > 1 else ''}"
            texts.append(f"{kind}, {count}: {statistics.median(found):.1f} GB/s")
    return texts


def bandwidth(results: list[Result]) -> list[str]:
    """What the column "memory" is a share of, and where fastelbo leaves some of it unused."""
    shares = [(share, r) for r in results if (share := memory_share(r)) is not None]
    if not shares:
        return []
    least, r = min(shares, key=lambda pair: pair[0])
    worst = (
        f"{ops.LOSSES[r.cell.op].label}{', gradients' if r.cell.grad else ''}, {case_label(r)} {r.cell.dtype}"
    )
    enough = sum(s >= SHARE for s, _ in shares)
    return [
        f"Memory bandwidth in this run: {'; '.join(speeds(results))}. fastelbo reaches {SHARE} % of it in "
        f"{enough} of {len(shares)} cells out of cache; least {least:.0f} %: {worst}."
    ]


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
    alike = ("fastelbo_new", "torch_library", "bandwidth", "numexpr")
    sets = ", ".join(f"{CONTENDER[k].label} {v}" for k, v in run["isa"].items() if k not in alike)
    return [
        f"{m['cpu']}, {m['cores']} cores, {cache} MiB last-level cache, {m['system']}, Python {m['python']}",
        versions,
        f"Instruction sets{' limited to AVX2' if run['limit'] else ''}: {sets}",
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
