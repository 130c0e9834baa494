"""Draw a chart for a paper: SVG and PDF, a column or a page wide, without a title, the same bytes every time."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil, log10
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from analyze.chart import HEAT_COLOURS, REFERENCE_COLOUR, Axis, Chart, HeatMap, Panel, Series

COLUMN = 3.4  # inches: one column of a two-column page; two panels fill the page's width
PANEL_HEIGHT = 2.3
TITLE_WIDTH = 48  # characters of a panel's title on one line
SYMBOLS = ("o", "D", "s", "^", "X", "*")
_HEAT = LinearSegmentedColormap.from_list("heat", HEAT_COLOURS)
HOLLOW = (1, 3, 5)  # symbols drawn as outlines, as on the page

STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "grid.color": "#ececec",
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "lines.linewidth": 1.1,
    "lines.markersize": 4,
    "pdf.fonttype": 42,  # text stays text, which journals ask for
    "svg.fonttype": "none",
    "svg.hashsalt": "winnow",
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
}


@contextmanager
def paper_figure(chart: Chart) -> Iterator[Figure]:
    """Yield the drawn matplotlib figure; save it within the block, where its style holds."""
    with mpl.rc_context(STYLE):
        columns = min(2, len(chart.panels))
        rows = ceil(len(chart.panels) / columns)
        legend = chart.legend()
        heights = [_height(panel) for panel in chart.panels[::columns]]
        legend_rows = ceil(len(legend) / (2 * columns))
        size = (COLUMN * columns, sum(heights) + 0.18 * legend_rows)
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False, height_ratios=heights)
        colours = chart.colours()
        for ax, panel in zip(axes.flat, chart.panels, strict=False):
            if isinstance(panel, HeatMap):
                _draw_heat_map(ax, panel)
            else:
                _draw_panel(ax, panel, colours)
            if len(chart.panels) > 1:
                ax.set_title(fill(panel.title, TITLE_WIDTH), loc="left")
        for ax in axes.flat[len(chart.panels) :]:
            ax.set_visible(False)
        if legend:
            handles = [_handle(series, colours) for series in legend]
            figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 2 * columns))
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # laid out once: doing it again for each format doubles the time
        yield figure


def save_paper(figure: Figure, path: Path, kind: str) -> None:
    """Save as "svg" or "pdf", whatever the path's suffix, without the time of writing."""
    undated: Any = {"Date": None} if kind == "svg" else {"CreationDate": None}
    figure.savefig(path, format=kind, metadata=undated)


def _height(panel: Panel | HeatMap) -> float:
    return PANEL_HEIGHT if isinstance(panel, Panel) else 0.7 + 0.45 * len(panel.rows)


def _draw_panel(ax: Axes, panel: Panel, colours: dict[str, str]) -> None:
    filled = not panel.y.log and sum(s.mark == "bins" and not s.reference for s in panel.series) == 1
    for series in panel.series:
        x = [float("nan") if v is None else v for v in series.x]
        y = [float("nan") if v is None else v for v in series.y]
        look = _look(series, colours)
        if series.mark == "bins":
            ax.stairs(y, x, baseline=None, color=look["color"], linestyle=look["linestyle"], linewidth=1.1)
            if filled and not series.reference:
                ax.stairs(y, x, fill=True, color=look["color"], alpha=0.25, linewidth=0)
        else:
            ax.plot(x, y, **look)
    _set_axis(ax, "x", panel.x)
    _set_axis(ax, "y", panel.y)


def _set_axis(ax: Axes, which: str, axis: Axis) -> None:
    setter = {"x": (ax.set_xlabel, ax.set_xscale, ax.set_xlim), "y": (ax.set_ylabel, ax.set_yscale, ax.set_ylim)}
    set_label, set_scale, set_limits = setter[which]
    set_label(axis.title)
    if axis.log:
        set_scale("log")
        _set_log_ticks(ax, which)
    if axis.ticks is not None:
        ticker = ax.xaxis if which == "x" else ax.yaxis
        ticker.set_ticks(axis.ticks, labels=[f"{tick:,.10g}" for tick in axis.ticks])
        ticker.set_minor_locator(NullLocator())
    if axis.from_zero and not axis.log:
        set_limits(0, None)
    if axis.range is not None:
        set_limits(*axis.range)


def _set_log_ticks(ax: Axes, which: str) -> None:
    """Place ticks that can be read over less than a decade and over many, written as on the page."""
    ticker, (low, high) = (ax.xaxis, ax.get_xlim()) if which == "x" else (ax.yaxis, ax.get_ylim())
    decades = log10(high / low)
    if decades < 0.8:
        ticker.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    else:
        ticker.set_major_locator(LogLocator(subs=(1,) if decades > 3 else (1, 2, 5), numticks=8))
    ticker.set_minor_formatter(NullFormatter())
    ticker.set_major_formatter(FuncFormatter(lambda value, _: _power_of_ten(value) if low < 1e-3 else _plain(value)))


def _power_of_ten(value: float) -> str:
    return "10" + str(round(log10(value))).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _plain(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 10 * size or (value >= size and size > 1e3):
            return f"{value / size:g}{letter}"
    return f"{value:,g}"


def _draw_heat_map(ax: Axes, heat: HeatMap) -> None:
    low, high = heat.range
    values = [[float("nan") if v is None else v for v in row] for row in heat.values]
    ax.pcolormesh(values, vmin=low, vmax=high, cmap=_HEAT, edgecolors="white", linewidth=1)
    ax.invert_yaxis()
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    ax.set_xticks([c + 0.5 for c in range(len(heat.columns))], heat.columns)
    ax.set_yticks([r + 0.5 for r in range(len(heat.rows))], heat.rows)
    ax.set_xlabel(heat.x)
    ax.set_ylabel(heat.y)
    for r, (row, notes) in enumerate(zip(heat.values, heat.notes, strict=True)):
        for c, (value, note) in enumerate(zip(row, notes, strict=True)):
            if value is not None:
                dark = value > low + 0.55 * (high - low)
                ax.text(c + 0.5, r + 0.5, note, ha="center", va="center", size=6, color="white" if dark else "black")


def _look(series: Series, colours: dict[str, str]) -> dict[str, Any]:
    colour = REFERENCE_COLOUR if series.reference else colours[series.name]
    marked = series.mark in ("points", "linked")
    hollow = series.symbol % len(SYMBOLS) in HOLLOW
    return {
        "color": colour,
        "linestyle": "none" if series.mark == "points" else "dashed" if series.reference else "solid",
        "marker": SYMBOLS[series.symbol % len(SYMBOLS)] if marked else "none",
        "markerfacecolor": "none" if hollow else colour,
    }


def _handle(series: Series, colours: dict[str, str]) -> Line2D:
    return Line2D([], [], label=series.name, **_look(series, colours))
