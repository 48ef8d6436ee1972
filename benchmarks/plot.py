"""The race as two pictures: who is ahead in every cell, and how far the machine's own limits are."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FormatStrFormatter, NullLocator

import contenders
import report
from losses import CASES, SHAPES
from report import TIE, Result

FULL = 3.0  # binary orders of magnitude from white to the full colour
INK, LOST, GREY, BLUE = "#222222", "#b00020", "#8a8a8a", "#0072B2"
Rows = dict[tuple[int, bool], str]  # the losses there are, and their names


def heat_map(results: list[Result], run: dict[str, Any], file: str) -> bool:
    """Ratio to the best peer: a panel per dtype and thread count, a row per loss, a column per input."""
    results = [r for r in results if r.best()]
    if not results:
        return False
    rows, columns = _rows(results), [c for c in CASES if any(r.cell.case == c for r in results)]
    threads, dtypes = {r.cell.threads for r in results}, {r.cell.dtype for r in results}
    width = max(7.5, 2.1 + 0.56 * len(columns) * len(dtypes))
    height = 1.5 + len(threads) * (0.75 + 0.33 * len(rows))
    figure = Figure(figsize=(width, height), layout="constrained")
    grid = figure.subplots(len(threads), len(dtypes), squeeze=False, sharex=True, sharey=True)
    for axes, setting in zip(grid.flat, itertools.product(sorted(threads), sorted(dtypes)), strict=True):
        _panel(axes, [r for r in results if r.cell.setting == setting], rows, columns)
        title = f"{setting[1]}, {report.threads_label(setting[0])}"
        axes.set_title(title, fontsize=10, loc="left", fontweight="bold")
    legend = f"blue: fastelbo is faster;  red and framed: the peer named is faster (below {TIE})"
    figure.supxlabel(f"{legend};  compile, loss: PyTorch's", fontsize=8.5)
    return _save(figure, "Time of the fastest peer of each cell / time of fastelbo", run, file)


def roofline(results: list[Result], run: dict[str, Any], file: str) -> bool:
    """Left, bytes per second where memory is the limit; right, time per element where it is not."""
    far = [r for r in results if r.share is not None]
    near = [r for r in results if r.in_cache and r.best()]
    if not far and not near:
        return False
    height = 1.9 + 0.3 * max(len(_rows(far)), len(_rows(near)), 4)
    figure = Figure(figsize=(12, height), layout="constrained")
    left, right = figure.subplots(1, 2)
    _bandwidth(left, far)
    _arithmetic(right, near)
    return _save(figure, "fastelbo and the machine's limits", run, file)


def _save(figure: Figure, title: str, run: dict[str, Any], file: str) -> bool:
    isa, version = run["isa"].get("fastelbo", "?"), run["versions"].get("fastelbo", "")
    limit = ", every contender limited to AVX2" if run["limit"] else ""
    where = f"{run['machine']['cpu']}, fastelbo {version} with {isa}{limit}"
    figure.suptitle(f"{title}\n{where}", fontsize=10.5)
    figure.savefig(file, dpi=140)
    return True


def _rows(results: list[Result]) -> Rows:
    return {r.cell.row: r.cell.label for r in report.by_row(results)}


def _panel(axes: Axes, results: list[Result], rows: Rows, columns: list[str]) -> None:
    """One cell of the table is one coloured square with its number, and the peer's name below."""
    ratios, places = np.full((len(rows), len(columns)), np.nan), list(rows)
    for r in results:
        peer, ratio = r.best() or (contenders.PEERS[0], np.nan)
        x, y = columns.index(r.cell.case), places.index(r.cell.row)
        ratios[y, x] = ratio
        dark, lost = abs(np.log2(ratio)) > 0.64 * FULL, ratio < TIE
        if lost:
            axes.add_patch(Rectangle((x - 0.46, y - 0.46), 0.92, 0.92, fill=False, edgecolor=LOST, lw=2))
        style: dict[str, Any] = {"ha": "center", "va": "center", "color": "white" if dark else INK}
        number, weight = f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}", "bold" if lost else "normal"
        axes.text(x, y - 0.12, number, fontsize=9, fontweight=weight, **style)
        name = peer.label.removeprefix("torch.").removeprefix("torch ")
        axes.text(x, y + 0.27, name, fontsize=6.5, **style)
    # red to blue by way of white: told apart by colour-blind readers too
    axes.imshow(np.log2(ratios), cmap="RdBu", vmin=-FULL, vmax=FULL, aspect="auto")
    labels = [report.shape_label(SHAPES[c]).replace("×", "\n×") if c in SHAPES else c for c in columns]
    axes.set_xticks(range(len(columns)), labels, fontsize=7.5)
    axes.set_yticks(range(len(rows)), list(rows.values()), fontsize=8.5)
    axes.set_facecolor("#ececec")  # where nobody was measured
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for y in range(1, len(rows)):
        axes.axhline(y - 0.5, color=INK if places[y][0] != places[y - 1][0] else "white", lw=0.7)
    for x in range(1, len(columns)):
        axes.axvline(x - 0.5, color="white", lw=0.7)


def _bandwidth(axes: Axes, results: list[Result]) -> None:
    """A mark per cell out of cache: its share of the bandwidth measured in the same rounds."""
    rows = _rows(results)
    for threads, dtype in sorted({r.cell.setting for r in results}):
        own = [r for r in results if r.cell.setting == (threads, dtype)]
        axes.scatter(
            [r.share or 0 for r in own],
            [list(rows).index(r.cell.row) for r in own],
            label=f"{dtype}, {report.threads_label(threads)}",
            facecolors=BLUE if dtype == "float32" else "white",
            edgecolors=BLUE,
            marker="o" if threads == 1 else "^",
        )
    axes.axvspan(report.SHARE, 100, color="#e3eef6", lw=0, zorder=0)
    axes.set_xlim(0, max([125.0, *((r.share or 0) + 5 for r in results)]))
    axes.set_xlabel("\n".join(report.speeds(results)), fontsize=8)
    if results:
        axes.legend(fontsize=7.5, loc="lower left", framealpha=0.9)
    what = "bytes per second, % of what a plain loop\nwith the same streams reached in the same rounds"
    _finish(axes, rows, f"Out of cache: {what}")


def _arithmetic(axes: Axes, results: list[Result]) -> None:
    """Time per element in cache."""
    rows = _rows(results)
    for r in results:
        y, (_, ratio) = list(rows).index(r.cell.row), r.best() or (None, 1.0)
        axes.plot([r.ns, r.ns * ratio], [y, y], color="#cccccc", lw=1.2, zorder=1)
        axes.scatter([r.ns * ratio, r.ns], [y, y], color=[GREY, BLUE], zorder=3)
        axes.annotate(f"{r.ns:.2g}", (r.ns, y - 0.2), fontsize=7.5, ha="center")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator([0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    what = f"{report.NEAR[0].upper()}{report.NEAR[1:]}: ns per element"
    _finish(axes, rows, f"{what}\nblue: fastelbo   grey: the fastest peer")


def _finish(axes: Axes, rows: Rows, title: str) -> None:
    axes.set_title(title, fontsize=9.5, loc="left")
    axes.set_yticks(range(len(rows)), list(rows.values()), fontsize=8.5)
    axes.set_ylim(len(rows) - 0.4, -0.7)
    axes.grid(axis="x", color="#e6e6e6", lw=0.6, zorder=0)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)
    axes.spines[["top", "right", "left"]].set_visible(False)
