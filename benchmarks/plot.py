"""The race as two pictures: who is ahead in every cell, and how far the machine's own limits are."""

from __future__ import annotations

import math
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter

import inputs
import ops
import report
from contenders import PEERS
from race import TIE, Result

COLOURS = colormaps["RdBu"]  # red to blue by way of white: told apart by colour-blind readers too
FULL = 3.0  # binary orders of magnitude from white to the full colour
SHORT = {"numpy": "NumPy", "numexpr": "ne", "numba": "Numba", "torch": "torch", "torch_library": "loss"}
SHORT |= {"torch_compile": "compile", "jax": "jax.jit"}
INK, LOST, GREY, BLUE = "#222222", "#b00020", "#8a8a8a", "#0072B2"
Row = tuple[str, bool]  # loss, with gradients


def heat_map(results: list[Result], run: dict[str, Any], file: str) -> bool:
    """Ratio to the best peer: a panel per dtype and thread count, a row per loss, a column per input.

    False where there is nothing to draw.
    """
    results = [r for r in results if r.best()]
    if not results:
        return False
    rows = _rows(results)
    columns = [c for c in inputs.CASES if any(r.cell.case == c for r in results)]
    dtypes = sorted({r.cell.dtype for r in results})
    threads = sorted({r.cell.threads for r in results})
    width = max(7.5, 2.1 + 0.56 * len(columns) * len(dtypes))
    height = 1.5 + len(threads) * (0.75 + 0.33 * len(rows))
    figure = Figure(figsize=(width, height), layout="constrained")
    grid = figure.subplots(len(threads), len(dtypes), squeeze=False, sharex=True, sharey=True)
    for i, n in enumerate(threads):
        for j, dtype in enumerate(dtypes):
            own = [r for r in results if (r.cell.dtype, r.cell.threads) == (dtype, n)]
            _panel(grid[i, j], own, rows, columns)
            grid[i, j].set_title(f"{dtype}, {_threads(n)}", fontsize=10, loc="left", fontweight="bold")
    present = list(dict.fromkeys(b[0].name for r in results if (b := r.best())))
    short = ", ".join(
        f"{SHORT[p.name]} = {p.label}" for p in PEERS if p.name in present and SHORT[p.name] != p.label
    )
    figure.suptitle(
        f"Time of the fastest peer of each cell / time of fastelbo\n{_where(run)}",
        fontsize=10.5,
    )
    figure.supxlabel(
        f"blue: fastelbo is faster;  red and framed: the peer named is faster (below {TIE})"
        + (f";  {short}" if short else ""),
        fontsize=8.5,
    )
    figure.savefig(file, dpi=140)
    return True


def roofline(results: list[Result], run: dict[str, Any], file: str) -> bool:
    """Left, bytes per second where memory is the limit; right, time per element where it is not.

    False where there is nothing to draw.
    """
    far = [r for r in results if report.memory_share(r) is not None]
    near = [r for r in results if report.in_cache(r) and r.best()]
    if not far and not near:
        return False
    height = 1.9 + 0.3 * max(len(_rows(far)), len(_rows(near)), 4)
    figure = Figure(figsize=(12, height), layout="constrained")
    left, right = figure.subplots(1, 2)
    _bandwidth(left, far)
    _arithmetic(right, near)
    figure.suptitle(f"fastelbo and the machine's limits\n{_where(run)}", fontsize=10.5)
    figure.savefig(file, dpi=140)
    return True


def _where(run: dict[str, Any]) -> str:
    isa, version = run["isa"].get("fastelbo", "?"), run["versions"].get("fastelbo", "")
    limit = ", every contender limited to AVX2" if run["limit"] else ""
    return f"{run['machine']['cpu']}, fastelbo {version} with {isa}{limit}"


def _threads(n: int) -> str:
    return f"{n} thread{'s' * (n > 1)}"


def _rows(results: list[Result]) -> list[Row]:
    """The losses there are, values before gradients."""
    found = {(r.cell.op, r.cell.grad) for r in results}
    return [(op, grad) for op in ops.LOSSES for grad in (False, True) if (op, grad) in found]


def _row_label(row: Row) -> str:
    return ops.LOSSES[row[0]].label + ("  + grad" if row[1] else "")


def _case_label(case: str) -> str:
    shape = inputs.shape_of(case)
    return report.shape_label(shape).replace("×", "\n×") if shape else case


def _panel(axes: Axes, results: list[Result], rows: list[Row], columns: list[str]) -> None:
    """One cell of the table is one coloured square with its number, and the peer's name below."""
    norm = Normalize(-FULL, FULL)
    for r in results:
        best = r.best()
        assert best is not None
        peer, ratio = best
        x, y = columns.index(r.cell.case), rows.index((r.cell.op, r.cell.grad))
        shade = float(norm(max(-FULL, min(FULL, math.log2(ratio)))))
        lost = ratio < TIE
        axes.add_patch(
            Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=COLOURS(shade), edgecolor="white", lw=0.8)
        )
        if lost:
            box = (x - 0.46, y - 0.46)
            axes.add_patch(Rectangle(box, 0.92, 0.92, fill=False, edgecolor=LOST, lw=2, zorder=3))
        ink = "white" if abs(shade - 0.5) > 0.32 else INK
        weight = "bold" if lost else "normal"
        number = f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"
        axes.text(x, y - 0.12, number, ha="center", va="center", fontsize=9, color=ink, fontweight=weight)
        axes.text(x, y + 0.27, SHORT[peer.name], ha="center", va="center", fontsize=6.5, color=ink)
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xticks(range(len(columns)), [_case_label(c) for c in columns], fontsize=7.5)
    axes.set_yticks(range(len(rows)), [_row_label(r) for r in rows], fontsize=8.5)
    axes.set_facecolor("#ececec")  # where nobody was measured
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for y in range(1, len(rows)):
        if rows[y][0] != rows[y - 1][0]:
            axes.axhline(y - 0.5, color=INK, lw=0.6)


def _bandwidth(axes: Axes, results: list[Result]) -> None:
    """A mark per cell out of cache: its share of the bandwidth measured in the same rounds."""
    rows = _rows(results)
    styles = {("float32", 1): ("o", BLUE), ("float64", 1): ("o", "white")}
    seen = set()
    for r in results:
        share = report.memory_share(r)
        assert share is not None
        key = (r.cell.dtype, r.cell.threads)
        marker, face = styles.get(key, ("^", BLUE if r.cell.dtype == "float32" else "white"))
        axes.scatter(
            share, rows.index((r.cell.op, r.cell.grad)), s=28, marker=marker, facecolors=face,
            edgecolors=BLUE, linewidths=1, zorder=3, clip_on=False,
            label=None if key in seen else f"{key[0]}, {_threads(key[1])}",
        )  # fmt: skip
        seen.add(key)
    axes.axvspan(report.SHARE, 100, color="#e3eef6", lw=0, zorder=0)
    axes.axvline(100, color=INK, lw=1.2, zorder=1)
    axes.set_xlim(0, max([125, *[share + 5 for r in results if (share := report.memory_share(r))]]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.0f} %"))
    axes.set_title(
        "Out of cache: bytes per second, share of what a plain loop\n"
        "with the same streams reached in the same rounds", fontsize=9.5, loc="left",
    )  # fmt: skip
    speeds = report.speeds(results)
    axes.set_xlabel("\n".join("; ".join(speeds[i : i + 2]) for i in range(0, len(speeds), 2)), fontsize=8)
    _finish(axes, rows)
    if results:
        axes.legend(fontsize=7.5, loc="lower left", framealpha=0.9)


def _arithmetic(axes: Axes, results: list[Result]) -> None:
    """Time per element in cache, with the limit and the aim where there are any."""
    rows = _rows(results)
    for r in results:
        y, best = rows.index((r.cell.op, r.cell.grad)), r.best()
        assert best is not None
        own = report.ns_per_element(r)
        limit, aim = report.LIMITS.get((r.cell.op, r.cell.grad), (None, None))
        missed = limit is not None and own > limit
        axes.plot([own, own * best[1]], [y, y], color="#cccccc", lw=1.2, zorder=1)
        axes.scatter(own * best[1], y, s=26, color=GREY, zorder=2, marker="s")
        axes.scatter(own, y, s=36, color=LOST if missed else BLUE, zorder=3)
        axes.annotate(
            f"{own:.2g}", (own, y), (0, 5), textcoords="offset points", fontsize=7.5, ha="center",
            color=LOST if missed else INK, fontweight="bold" if missed else "normal",
        )  # fmt: skip
        for at, style in ((limit, "-"), (aim, ":")):
            if at is not None:
                axes.plot([at, at], [y - 0.4, y + 0.4], color=INK, lw=1.8, ls=style, zorder=4)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator([0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10]))
    axes.xaxis.set_minor_locator(FixedLocator([]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.set_title(
        "In cache, 128×784 float32, 1 thread: ns per element\n"
        "● fastelbo  (red: beyond the limit)   ■ fastest peer   | limit   ⁞ aim", fontsize=9.5, loc="left",
    )  # fmt: skip
    _finish(axes, rows)


def _finish(axes: Axes, rows: list[Row]) -> None:
    axes.set_yticks(range(len(rows)), [_row_label(r) for r in rows], fontsize=8.5)
    axes.set_ylim(len(rows) - 0.4, -0.7)
    axes.grid(axis="x", color="#e6e6e6", lw=0.6, zorder=0)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)
    axes.spines[["top", "right", "left"]].set_visible(False)
