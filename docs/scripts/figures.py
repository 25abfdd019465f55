"""Figures of the documentation, in one style: drawn by numbers of the pages, or of the method.

Example: python docs/scripts/figures.py FOLDER
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

matplotlib.use("Agg")
DOCS = Path(__file__).parents[1]
# Frozen, trained, data; Okabe and Ito's palette, which color-blind readers can tell apart.
FROZEN, TRAINED, DATA, INK = "#9db7d5", "#e69f00", "#e8e8e8", "#333333"
STYLE = {
    "svg.fonttype": "path",
    "svg.hashsalt": "bpt_det",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw_all(folder: Path) -> None:
    """Write all figures to a folder as SVG."""
    folder.mkdir(parents=True, exist_ok=True)
    drawings: dict[str, Callable[[], plt.Figure]] = {
        "method": draw_method,
        "placement": draw_placement,
        "parameters": draw_parameters,
        "kurtosis": draw_kurtosis,
        "soak": draw_soak,
        "scale": draw_scale,
    }
    with plt.rc_context(STYLE):
        for name, draw in drawings.items():
            figure = draw()
            figure.savefig(folder / f"{name}.svg", bbox_inches="tight", metadata={"Date": None})
            plt.close(figure)


def _canvas(width: float, height: float) -> tuple[plt.Figure, Axes]:
    """Return a figure in inches whose axes have the same unit and are not drawn."""
    figure, axes = plt.subplots(figsize=(width, height))
    axes.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    axes.axis("off")
    return figure, axes


def _box(axes: Axes, x: float, y: float, w: float, h: float, color: str, text: str = "") -> None:
    style = "round,pad=0,rounding_size=0.06"
    axes.add_patch(FancyBboxPatch((x, y), w, h, style, facecolor=color, edgecolor=INK, lw=0.8))
    axes.text(x + w / 2, y + h / 2, text, ha="center", va="center", fontsize=9)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=9, color=INK, lw=1))


def _legend(axes: Axes, x: float, y: float) -> None:
    for i, (color, name) in enumerate(((FROZEN, "frozen"), (TRAINED, "trained"), (DATA, "data"))):
        _box(axes, x + 1.05 * i, y, 0.22, 0.16, color)
        axes.text(x + 1.05 * i + 0.3, y + 0.08, name, va="center", fontsize=9)


def _tokens(axes: Axes, x: float, y: float, prompts: int, patches: int) -> float:
    """Draw a column of tokens: class token, prompts, patches from the top; return its height."""
    colors = [FROZEN] + [TRAINED] * prompts + [DATA] * patches
    for i, color in enumerate(colors):
        _box(axes, x, y - 0.2 * (i + 1), 0.2, 0.18, color)
    return 0.2 * len(colors)


def draw_method() -> plt.Figure:
    """Draw the way of an image to masks."""
    figure, axes = _canvas(9.6, 3.3)
    middle = 1.75
    for row in range(4):
        for column in range(4):
            _box(axes, 0.05 + 0.24 * column, middle - 0.48 + 0.24 * row, 0.22, 0.22, DATA)
    axes.text(0.53, middle - 0.72, "image\nin patches", ha="center", va="top", fontsize=9)
    _arrow(axes, (1.1, middle), (1.55, middle))
    _tokens(axes, 1.65, middle + 1.1, 3, 7)
    for y, name in ((1.0, "class token"), (0.6, "prompts"), (-0.4, "patches\n+ position")):
        axes.text(1.93, middle + y, name, va="center", fontsize=9)
    axes.text(2.15, 0.28, "tokens", ha="center", va="center", fontsize=9)
    _arrow(axes, (2.85, middle), (3.2, middle))
    for i in range(4):
        _box(axes, 3.3 + 0.42 * i, middle - 1.0, 0.34, 2.0, FROZEN)
    axes.text(4.1, 0.28, "12 frozen blocks", ha="center", va="center", fontsize=9)
    axes.text(4.1, 3.0, "ViT", ha="center", va="center", fontsize=10)
    _arrow(axes, (5.05, middle), (5.4, middle))
    _box(axes, 5.5, middle - 0.35, 0.7, 0.7, DATA, "map\n1/16")
    axes.text(5.85, 0.28, "patches", ha="center", va="center", fontsize=9)
    _arrow(axes, (6.25, middle), (6.6, middle))
    for i, (size, name) in enumerate(
        ((0.85, "1/4"), (0.65, "1/8"), (0.48, "1/16"), (0.36, "1/32"))
    ):
        top = 3.1 - sum((0.85, 0.65, 0.48, 0.36)[:i]) - 0.08 * i
        _box(axes, 6.7, top - size, size, size, TRAINED, name if size > 0.4 else "")
    axes.text(7.1, 0.28, "pyramid", ha="center", va="center", fontsize=9)
    _arrow(axes, (7.65, middle), (7.95, middle))
    _box(axes, 8.0, middle + 0.35, 1.5, 0.55, TRAINED, "RPN")
    _box(axes, 8.0, middle - 0.3, 1.5, 0.55, TRAINED, "box heads × 3")
    _box(axes, 8.0, middle - 0.95, 1.5, 0.55, TRAINED, "mask head")
    axes.text(8.75, 0.28, "Cascade Mask R-CNN", ha="center", va="center", fontsize=9)
    _legend(axes, 0.05, 3.0)
    return figure


def draw_placement() -> plt.Figure:
    """Draw shallow prompts beside deep ones, in a ViT of 6 blocks."""
    figure, axes = _canvas(9.4, 3.0)
    for left, title, deep in ((0.1, "shallow", ()), (4.9, "deep, last 4 blocks", (2, 3, 4, 5))):
        axes.text(left + 2.1, 2.8, title, ha="center", va="center", fontsize=10)
        for block in range(6):
            x = left + 0.7 * block
            new = block in deep or (not deep and block == 0)
            here = not deep or block >= deep[0]
            colors = [FROZEN] + [TRAINED if new else "#f6ddae"] * (2 if here else 0) + [DATA] * 4
            for i, color in enumerate(colors):
                _box(axes, x, 2.3 - 0.22 * (i + 1), 0.2, 0.2, color)
            _box(axes, x + 0.28, 0.72, 0.32, 1.6, FROZEN, str(block))
            if new:
                _arrow(axes, (x + 0.1, 2.68), (x + 0.1, 2.32))
    axes.text(2.2, 0.4, "learned once, carried through all blocks", ha="center", fontsize=9)
    axes.text(7.0, 0.4, "each listed block replaces them by its own", ha="center", fontsize=9)
    _legend(axes, 0.1, 0.05)
    axes.text(3.6, 0.13, "pale: prompts as the block before left them", va="center", fontsize=9)
    return figure


def draw_parameters() -> plt.Figure:
    """Draw the parameters of Cascade Mask R-CNN with ViT-B, frozen and trained."""
    parts = (
        ("ViT-B", 85.8, FROZEN),
        ("box and mask heads", 48.53, TRAINED),
        ("pyramid", 5.56, TRAINED),
        ("RPN", 1.18, TRAINED),
        ("prompts", 0.087, TRAINED),
    )
    figure, axes = plt.subplots(figsize=(7, 2))
    for i, (name, count, color) in enumerate(parts):
        axes.barh(-i, count, color=color, edgecolor=INK, linewidth=0.8, height=0.7)
        axes.text(count + 1, -i, f"{count:g} M", va="center", fontsize=9)
        axes.text(-1, -i, name, va="center", ha="right", fontsize=9)
    axes.set(xlim=(0, 100), yticks=[], xlabel="million parameters")
    return figure


def _table(page: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table of a page whose header begins with ``heading``."""
    lines = (DOCS / page).read_text().split(f"\n| {heading}", 1)[1].split("\n")[2:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def draw_kurtosis() -> plt.Figure:
    """Draw the excess kurtosis of what prompts meet, by block, from burstiness.md."""
    text = (DOCS / "explanation/burstiness.md").read_text()
    tables = re.findall(r"(\| block \|.*?)\n\|[-|]+\n(.*?)\n\n", text, re.DOTALL)
    titles = ("supervised, cars", "masked autoencoder, birds", "rendered shapes")
    figure, panels = plt.subplots(1, len(titles), figsize=(9, 2.8), sharey=True)
    for axes, (header, body), title in zip(panels, tables, titles, strict=True):
        names, *rows = [
            [cell.strip() for cell in line.strip("|").split("|")]
            for line in (header, *body.split("\n"))
        ]
        blocks = [int(row[0]) for row in rows]
        for start, label, color in (("M Xᵀ", "M Xᵀ", INK), ("W M Xᵀ", "whitened", TRAINED)):
            column = next(i for i, name in enumerate(names) if name.startswith(start))
            values = [float(row[column].split(" ")[0]) for row in rows]
            axes.plot(blocks, values, "o-", color=color, label=label, markersize=4)
        axes.axhline(3, color=FROZEN, linestyle="--", label="Laplace")
        axes.set(title=title, xlabel="block", xticks=blocks)
        axes.title.set_fontsize(10)
    panels[0].set_ylabel("excess kurtosis")
    panels[-1].legend(frameon=False, fontsize=9)
    figure.tight_layout()
    return figure


def draw_soak() -> plt.Figure:
    """Draw what a process holds over a long time, from the tables of the raw note on the soak."""
    page = "performance/raw/2026-11-29_soak.md"
    titles = ("iterations of the loop", "iterations of a detector", "images predicted", "starts")
    figure, panels = plt.subplots(2, len(titles), figsize=(9, 3.8), sharey="row", sharex="col")
    for (memory, counts), title in zip(panels.T, titles, strict=True):
        columns = list(zip(*_table(page, title), strict=True))
        x, rss, _, _, _, descriptors, threads, children = [list(map(float, c)) for c in columns]
        memory.plot(x, rss, color=INK)
        memory.set(title=title, ylim=(0, 1000))
        memory.title.set_fontsize(10)
        for name, values, style in (
            ("descriptors", descriptors, "-"),
            ("threads", threads, "--"),
            ("children", children, ":"),
        ):
            counts.plot(x, values, style, color=INK if style == "-" else TRAINED, label=name)
        counts.set(ylim=(0, 30))
        counts.locator_params(axis="x", nbins=4)
    panels[0, 0].set_ylabel("resident memory, MB")
    panels[1, 0].set_ylabel("number")
    panels[1, -1].legend(frameon=False, fontsize=9)
    figure.tight_layout()
    return figure


def draw_scale() -> plt.Figure:
    """Draw time and memory of a training step as work grows, from the tables of summary.md."""
    titles = ("pixels", "prompts", "images", "backbone")
    figure, panels = plt.subplots(2, len(titles), figsize=(9, 4.2), sharex="col")
    for (seconds, memory), title in zip(panels.T, titles, strict=True):
        names, times, _, sizes = zip(*_table("performance/summary.md", f"{title} | s"), strict=True)
        is_number = names[0].isdecimal()
        x = [int(name) for name in names] if is_number else range(len(names))
        for axes, cells in ((seconds, times), (memory, sizes)):
            values = [float(cell) for cell in cells]
            axes.plot(x, values, "o-" if is_number else "o", color=INK)
            axes.set_ylim(0, 1.1 * max(values))
            axes.grid(axis="y", color="#dddddd")
            axes.set_axisbelow(True)
        memory.set_xlabel(title)
        if is_number:
            memory.locator_params(axis="x", integer=True)
        else:
            memory.set_xticks(x, names, rotation=90, fontsize=9)
    panels[0, 0].set_ylabel("s of a step")
    panels[1, 0].set_ylabel("activations, GB")
    figure.tight_layout()
    return figure


if __name__ == "__main__":
    draw_all(Path(sys.argv[1]))
