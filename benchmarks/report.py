"""What came out of a race: a result per cell, the tables, and in plain words who won where."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from contenders import CONTENDER, CONTENDERS, PEERS
from losses import LOSSES, REAL
from processes import Contender, Timed

TIE = 0.95  # a ratio from here on is no loss; up to 1/TIE it is a tie
SHARE = 90  # % of the bandwidth that a call out of cache is to reach
IN_CACHE = ("128x784", "float32", 1)  # case, dtype, threads: where arithmetic is the limit
NEAR = "in cache, 128×784 float32, 1 thread"


@dataclass(frozen=True)
class Cell:
    """One field of the table."""

    op: str
    grad: bool
    case: str
    dtype: str
    threads: int

    @property
    def key(self) -> str:
        """The same in every run: what --only searches, and what runs are compared by."""
        mode = "grad" if self.grad else "value"
        return f"{self.op} {mode} {self.case} {self.dtype} threads={self.threads}"

    @property
    def row(self) -> tuple[int, bool]:
        """The loss by its place in the table, values before gradients."""
        return list(LOSSES).index(self.op), self.grad

    @property
    def label(self) -> str:
        return LOSSES[self.op].label + " + grad" * self.grad

    @property
    def setting(self) -> tuple[int, str]:
        """What has a table, and a panel, of its own."""
        return self.threads, self.dtype


@dataclass(eq=False, kw_only=True)
class Result(Timed):
    """What came out of one cell; `error` is in eps of the size of the terms."""

    cell: Cell
    shape: tuple[int, int]
    bytes_moved: int = 0  # what one call must read and write at least
    elements: int = 0  # of its largest argument
    skipped: str = ""  # why nobody has a time

    @classmethod
    def of(cls, saved: dict[str, Any]) -> Result:
        """From --json."""
        return cls(**saved | {"cell": Cell(**saved["cell"]), "shape": tuple(saved["shape"])})

    def best(self, peers: Sequence[Contender] = PEERS) -> tuple[Contender, float] | None:
        """The fastest of some peers, and its ratio."""
        found = [(p, r[0]) for p in peers if (r := self.ratio(p.name))]
        return min(found, key=lambda pair: pair[1], default=None)

    @property
    def share(self) -> float | None:
        """% of the bandwidth measured in the same rounds; None where the caches hold the data."""
        found = self.ratio("bandwidth")
        return None if found is None else 100 * found[0]

    @property
    def ns(self) -> float:
        """fastelbo's time per element."""
        return 1e9 * self.median() / self.elements

    @property
    def in_cache(self) -> bool:
        return (self.cell.case, self.cell.dtype, self.cell.threads) == IN_CACHE

    @property
    def where(self) -> str:
        """Real data by name and shape, the others by shape."""
        return f"{self.cell.case} " * (self.cell.case in REAL) + shape_label(self.shape)


def by_row(results: Iterable[Result]) -> list[Result]:
    return sorted(results, key=lambda r: r.cell.row)


def times(ratio: float) -> str:
    """Three figures at most."""
    return f"{ratio:.2f}×" if ratio < 10 else f"{ratio:.3g}×"


def duration(seconds: float) -> str:
    """Three figures and a unit."""
    unit, size = next(((u, s) for u, s in (("s", 1.0), ("ms", 1e-3)) if seconds >= s), ("µs", 1e-6))
    return f"{seconds / size:.3g} {unit}"


def threads_label(n: int) -> str:
    return f"{n} thread{'s' * (n > 1)}"


def shape_label(shape: Iterable[int]) -> str:
    return "×".join({10**6: "10⁶", 10**7: "10⁷"}.get(n, str(n)) for n in shape)


def marked(text: str, missed: bool) -> str:
    """Red where fastelbo loses, or misses a limit."""
    return f"[bold red]✗ {text}[/]" if missed else text


def table(title: str, left: Sequence[str], right: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """In the dress of all tables here: columns of words, columns of numbers."""
    made = Table(box=box.SIMPLE, title=title, title_justify="left", title_style="bold", padding=(0, 1, 0, 0))
    made.min_width = len(title)
    for i, name in enumerate((*left, *right)):
        made.add_column(name, justify="left" if i < len(left) else "right", no_wrap=True)
    for row in rows:
        made.add_row(*row)
    return made


def print_tables(console: Console, results: list[Result]) -> None:
    """One table per dtype and thread count; without the spread where the terminal is too narrow for it."""
    for setting in dict.fromkeys(r.cell.setting for r in results):
        group = [r for r in results if r.cell.setting == setting and not r.skipped]
        for spread in (True, False):
            made = race_table(group, setting, spread=spread)
            width = console.measure(made, options=console.options.update(max_width=1000)).maximum
            if width <= console.width:
                break
        console.print(made, crop=False, width=max(console.width, width))  # a lost figure is worse than a wrap


def race_table(results: list[Result], setting: tuple[int, str], *, spread: bool) -> Table:
    """A row per cell, a column per peer."""
    columns = [c for c in (*PEERS, CONTENDER["fastelbo_new"]) if any(c.name in r.samples for r in results)]
    names = ("fastelbo", "memory", *(c.label.replace(" ", "\n").replace(".c", ".\nc") for c in columns))
    what = "time of the peer / time of fastelbo   (✗ the peer is faster, = a tie)"
    made = table(f"{setting[1]}, {threads_label(setting[0])}: {what}", ("loss", "", "input"), names, [])
    for _, group in itertools.groupby(by_row(results), key=lambda r: r.cell.op):
        made.add_section()
        for r in group:
            made.add_row(
                LOSSES[r.cell.op].label,
                "+ grad" if r.cell.grad else "value",
                r.where,
                duration(r.median()) if "fastelbo" in r.samples else marked("", True),
                "" if r.share is None else f"{r.share:.0f} %",
                *(ratio_text(r, c, spread=spread) for c in columns),
            )
    return made


def ratio_text(result: Result, contender: Contender, *, spread: bool) -> str:
    """Median and half the interquartile range, marked where the contender wins (✗) or ties (=)."""
    if not (found := result.ratio(contender.name)):
        return "[dim]–[/]"
    middle, low, high = found
    text = times(middle) + (f" [dim]±{50 * (high - low) / middle:.0f}%[/]" if spread else "")
    tied = contender.peer and TIE <= middle <= 1 / TIE
    return f"[yellow]= {text}[/]" if tied else marked(text, contender.peer and middle < TIE)


def heading(run: dict[str, Any]) -> list[str]:
    """Machine, versions, threads and instruction set, for above the table."""
    m, cache = run["machine"], f"{run['machine']['cache_bytes'] // 2**20} MiB last-level cache"
    alike = ("fastelbo_new", "torch_library", "bandwidth", "numexpr")
    sets = ", ".join(f"{CONTENDER[k].label} {v}" for k, v in run["isa"].items() if k not in alike)
    return [
        f"{m['cpu']}, {m['cores']} cores, {cache}, {m['system']}, Python {m['python']}",
        ", ".join(f"{k} {v}" for k, v in run["versions"].items()),
        f"Instruction sets{' limited to AVX2' if run['limit'] else ''}: {sets}",
        *([f"Not installed: {', '.join(run['not_installed'])}"] if run["not_installed"] else []),
        "Each contender in its own pinned process, rounds interleaved; ratios are medians over the rounds "
        "± half the interquartile range. fastelbo, NumPy, numexpr and Numba write into given buffers, the "
        "others allocate; 'no out=' is fastelbo allocating. 'memory' is the share of the bandwidth that a "
        "plain read (values) or copy (gradients) of the same arrays reaches, where they exceed the caches.",
    ]


def conclusion(results: list[Result]) -> list[str]:
    """What stands below the tables: the losses first."""
    raced = [r for r in results if r.best()]
    small = [r for r in raced if r.shape == (1, 2)]  # measures the call: counted apart
    large = [r for r in raced if r.shape != (1, 2)]
    said = [*verdict(large, ""), *verdict(small, " with 1×2"), *means(large), *bandwidth(raced)]
    if near := "; ".join(f"{r.cell.label} {r.ns:.3f}" for r in raced if r.in_cache):
        said.append(f"ns per element {NEAR}: {near}.")
    errors = {c: [r.error[c.name] for r in results if c.name in r.error] for c in CONTENDERS}
    worst = ", ".join(
        f"{c.label} {max(found):.2g}" for c, found in errors.items() if found and c.name != "fastelbo_new"
    )
    said.append(f"Largest error of a value against float64, in eps of the sum of its terms: {worst}.")
    return said + absences(results)


def verdict(results: list[Result], which: str) -> list[str]:
    """Cells lost, tied and won; a line for each loss, with every cell that a peer wins."""
    ratios = [best[1] for r in results if (best := r.best())]
    lost, won = sum(q < TIE for q in ratios), sum(q > 1 / TIE for q in ratios)
    lines: dict[str, list[str]] = {}
    for r in by_row(results):
        peer, middle = r.best() or (PEERS[0], 1.0)
        if middle < TIE:
            _, low, high = r.ratio(peer.name) or (0.0, 0.0, 0.0)
            what = f"{r.where} {r.cell.dtype}" + f" {threads_label(r.cell.threads)}" * (r.cell.threads > 1)
            text = f"{what} {peer.label} {times(middle)} ({low:.2f} … {high:.2f})"
            lines.setdefault(r.cell.label, []).append(text)
    summary = (
        f"Of {len(ratios)} cells{which}, fastelbo is slower than the fastest peer in {lost}, ties with it in "
        f"{len(ratios) - lost - won} ({TIE} … {1 / TIE:.2f}) and is faster than all in {won}."
    )
    return [summary, *(marked(f"{k}: {'; '.join(v)}", True) for k, v in lines.items())] if ratios else []


def means(results: list[Result]) -> list[str]:
    """Geometric means of the ratios."""
    compiled = [p for p in PEERS if p.compiled and any(p.name in r.samples for r in results)]
    rivals = {
        "the fastest peer of each cell": PEERS,
        f"the fastest compiled peer ({', '.join(p.label for p in compiled)}) of each cell": compiled,
        "NumPy": (CONTENDER["numpy"],),
    }
    ratios = {name: [b[1] for r in results if (b := r.best(peers))] for name, peers in rivals.items()}
    parts = ", ".join(f"{statistics.geometric_mean(q):.3g}× {name}" for name, q in ratios.items() if q)
    return [f"Geometric mean over {len(results)} cells (1×2 apart): {parts}."] if parts else []


def speeds(results: list[Result]) -> list[str]:
    """What a plain loop over memory reached, per kind and thread count."""
    found: dict[str, list[float]] = {}
    for r in sorted(results, key=lambda r: (r.cell.threads, r.cell.grad)):
        if "bandwidth" in r.samples:
            kind = f"{'copy-like' if r.cell.grad else 'read'} loop, {threads_label(r.cell.threads)}"
            found.setdefault(kind, []).append(r.bytes_moved / r.median("bandwidth") / 1e9)
    return [f"{kind}: {statistics.median(speed):.1f} GB/s" for kind, speed in found.items()]


def bandwidth(results: list[Result]) -> list[str]:
    """What the column "memory" is a share of, and where fastelbo leaves some of it unused."""
    shares = {r: r.share for r in results if r.share is not None}
    if not shares:
        return []
    r, enough = min(shares, key=lambda r: shares[r]), sum(s >= SHARE for s in shares.values())
    return [
        f"Memory bandwidth in this run: {'; '.join(speeds(results))}. fastelbo reaches {SHARE} % of it in "
        f"{enough} of {len(shares)} cells out of cache; least {shares[r]:.0f} %: {r.cell.label}, {r.where} "
        f"{r.cell.dtype}."
    ]


def absences(results: list[Result]) -> list[str]:
    """Who has no time where, and why; one line per contender and reason."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for r in results:
        whys = {f"No time for {CONTENDER[name].label}": why for name, why in r.absent.items()}
        for reason in (whys | ({"Skipped": r.skipped} if r.skipped else {})).items():
            reasons.setdefault(reason, []).append(r.cell.key)
    return [
        f"{what} in {len(k)} of {len(results)} cells ({k[0]}{', …' if k[1:] else ''}): {escape(why)}"
        for (what, why), k in reasons.items()
    ]
