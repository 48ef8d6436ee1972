"""The race as one picture: how many times longer than fastelbo each peer takes, cell by cell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

import ops
from contenders import PEERS
from race import TIE, Result
from report import case_label, times

# Okabe and Ito's palette, told apart by colour-blind readers too; a marker each besides.
COLOURS = ("#000000", "#E69F00", "#009E73", "#0072B2", "#56B4E9", "#CC79A7", "#D55E00")
STYLES = {p.name: (c, m) for p, c, m in zip(PEERS, COLOURS, "osD^v<P", strict=True)}
LOST = "#d00000"
FAR = 55.0  # whatever is slower by more than this is drawn at the right edge
TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)


def draw(results: list[Result], run: dict[str, Any], file: str) -> None:
    """Write the picture: a row of panels per dtype and thread count, a panel per loss, a line per cell."""
    results = [r for r in results if r.best()]
    if not results:
        return
    rows = list(dict.fromkeys((r.cell.dtype, r.cell.threads) for r in results))
    columns = [op.name for op in ops.OPS if any(r.cell.op == op.name for r in results)]
    panels = {(row, op): _lines(results, row, op) for row in rows for op in columns}
    height = max(map(len, panels.values()))
    size = (1.5 + 3.5 * len(columns), 1.7 + len(rows) * (0.7 + 0.22 * height))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(rows), len(columns), squeeze=False, sharex=True)
    for i, row in enumerate(rows):
        for j, op in enumerate(columns):
            _draw_panel(grid[i, j], panels[row, op], height)
            title = f"{ops.OP[op].label}   {row[0]}, {row[1]} thread{'s' * (row[1] > 1)}"
            grid[i, j].set_title(title, fontsize=9.5, loc="left")
    _scale(grid, results)
    _legend(figure, grid[0, 0], results, run)
    figure.savefig(Path(file), dpi=140)


def _lines(results: list[Result], row: tuple[str, int], op: str) -> list[str | Result]:
    """What a panel lists from top to bottom: two headings, with their cells below."""
    own = [r for r in results if (r.cell.dtype, r.cell.threads) == row and r.cell.op == op]
    lines: list[str | Result] = []
    for heading, grad in (("value", False), ("value + gradients", True)):
        cells = [r for r in own if r.cell.grad == grad]
        lines += [heading, *cells] if cells else []
    return lines


def _draw_panel(axes: Axes, lines: list[str | Result], height: int) -> None:
    """The lines of one panel, each with its best peer's ratio at the right edge."""
    for y, line in enumerate(lines):
        if isinstance(line, Result):
            _draw_line(axes, y, line)
    axes.set_yticks(
        range(len(lines)), [a if isinstance(a, str) else case_label(a) for a in lines], fontsize=8
    )
    for label, line in zip(axes.get_yticklabels(), lines, strict=True):
        label.set_fontweight("bold" if isinstance(line, str) else "normal")
    axes.set_ylim(height - 0.4, -0.6)
    axes.axvline(1, color="#222222", lw=1.5, zorder=2)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#e6e6e6", lw=0.6, zorder=0)


def _draw_line(axes: Axes, y: int, result: Result) -> None:
    """One cell: its peers on a line from 1×. A lost cell is red."""
    found = {p.name: min(r[0], FAR) for p in PEERS if (r := result.ratio(p.name))}
    least = min(found.values())
    lost = least < TIE
    if lost:
        axes.axhspan(y - 0.45, y + 0.45, color=LOST, alpha=0.15, lw=0)
    axes.plot([min(1, least), max(found.values())], [y, y], color="#bbbbbb", lw=1, zorder=1)
    for name, ratio in found.items():
        colour, marker = STYLES[name]
        edge, width = (LOST, 1.8) if ratio < TIE else ("white", 0.4)
        axes.scatter(ratio, y, s=34, c=colour, marker=marker, edgecolors=edge, linewidths=width, zorder=3)
    axes.text(
        1.01,
        y,
        times(least),
        transform=axes.get_yaxis_transform(),
        va="center",
        fontsize=8,
        color=LOST if lost else "#222222",
        fontweight="bold" if lost else "normal",
    )


def _scale(grid: Any, results: list[Result]) -> None:
    """One logarithmic scale for all panels, the side where peers are faster tinted."""
    ratios = [min(ratio[0], FAR) for r in results for p in PEERS if (ratio := r.ratio(p.name))]
    low, high = min([0.45, *(0.7 * r for r in ratios)]), max([10, *(1.2 * r for r in ratios)])
    first = grid[0, 0]
    first.set_xscale("log")
    first.set_xlim(low, high)
    first.xaxis.set_major_locator(FixedLocator([t for t in TICKS if low <= t <= high]))
    first.xaxis.set_minor_locator(NullLocator())
    first.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}×"))
    for axes in grid.flat:
        axes.axvspan(low, 1, color=LOST, alpha=0.05, lw=0, zorder=0)
        axes.tick_params(axis="x", labelsize=7.5)
    for axes in grid[-1]:
        axes.set_xlabel("← peer faster  |  fastelbo faster →", fontsize=8)


def _legend(figure: Figure, axes: Axes, results: list[Result], run: dict[str, Any]) -> None:
    """Who is who, and where it ran."""
    present = [p for p in PEERS if any(p.name in r.samples for r in results)]
    for p in present:
        colour, marker = STYLES[p.name]
        version = run["versions"].get(p.package, "")
        axes.scatter([], [], s=45, c=colour, marker=marker, label=f"{p.label} {version}")
    figure.legend(
        loc="outside lower center", ncols=min(len(present), 2 + 2 * figure.get_figwidth() // 5), frameon=False
    )
    beyond = any(ratio[0] > FAR for r in results for p in present if (ratio := r.ratio(p.name)))
    edge = f";  beyond {FAR:g}×: at the edge" if beyond else ""
    figure.suptitle(
        "Time of each peer / time of fastelbo;  right: the best peer's ratio, red where it is lost\n"
        f"{run['machine']['cpu']}, {run['isa']}{edge}",
        fontsize=10.5,
    )
