"""Draw a panel of series into the axes of a paper figure."""

from math import log10
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from analyze.format import Values
from analyze.report.draw.chart import REFERENCE_COLOUR, SHADE, Axis, Panel, Series

SYMBOLS = ("o", "D", "s", "^", "X", "*")
HOLLOW = (1, 3, 5)  # symbols drawn as outlines, as on the page
BAR = 0.7  # width of a bar, as a share of the distance between bars


def draw_panel(ax: Axes, panel: Panel, colours: dict[str, str]) -> None:
    filled = not panel.y.log and sum(s.mark == "bins" and not s.reference for s in panel.series) == 1
    piled = [0.0] * len(panel.x.categories)
    if panel.shaded is not None:
        ax.axvspan(*panel.shaded, color=SHADE, linewidth=0, zorder=0)
    for series in panel.series:
        x, y = _gaps(series.x), _gaps(series.y)
        look = _look(series, colours)
        if series.mark == "bins":
            ax.stairs(y, x, baseline=None, color=look["color"], linestyle=look["linestyle"], linewidth=1.1)
            if filled and not series.reference:
                ax.stairs(y, x, fill=True, color=look["color"], alpha=0.25, linewidth=0)
        elif series.mark == "bars":
            bottoms = [piled[int(place)] for place in x]
            ax.bar(x, y, BAR, bottom=bottoms, color=look["color"], edgecolor="white", linewidth=0.5)
            for place, height in zip(x, series.y, strict=True):
                piled[int(place)] += height or 0
        else:
            ax.plot(x, y, **look)
            if series.low:
                ax.vlines(x, _gaps(series.low), _gaps(series.high), color=look["color"], linewidth=0.8)
    set_axis(ax, "x", panel.x)
    set_axis(ax, "y", panel.y)


def handle(series: Series, colours: dict[str, str]) -> Line2D | Patch:
    """Make a series' mark for a legend."""
    if series.mark == "bars":
        return Patch(label=series.name, color=colours[series.name], linewidth=0)
    return Line2D([], [], label=series.name, **_look(series, colours))


def set_axis(ax: Axes, which: str, axis: Axis) -> None:
    setter = {"x": (ax.set_xlabel, ax.set_xscale, ax.set_xlim), "y": (ax.set_ylabel, ax.set_yscale, ax.set_ylim)}
    set_label, set_scale, set_limits = setter[which]
    set_label(axis.title)
    ticker = ax.xaxis if which == "x" else ax.yaxis
    if axis.log:
        set_scale("log")
        _set_log_ticks(ax, which)
    if axis.ticks is not None:
        ticker.set_ticks(axis.ticks, labels=[f"{tick:,.10g}" for tick in axis.ticks])
        ticker.set_minor_locator(NullLocator())
    if axis.categories:
        ticker.set_ticks(range(len(axis.categories)), labels=axis.categories)
        ticker.grid(False)
        set_limits(-0.5, len(axis.categories) - 0.5)
    if axis.from_zero and not axis.log:
        set_limits(0, None)
    if axis.range is not None:
        set_limits(*axis.range)


def _gaps(values: Values) -> list[float]:
    return [float("nan") if v is None else float(v) for v in values]


def _set_log_ticks(ax: Axes, which: str) -> None:
    """Place readable ticks, for ranges under a decade and over many, formatted as on the page."""
    ticker, (low, high) = (ax.xaxis, ax.get_xlim()) if which == "x" else (ax.yaxis, ax.get_ylim())
    decades = log10(high / low)
    if decades < 0.8:
        ticker.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    else:
        ticker.set_major_locator(LogLocator(subs=(1,) if decades > 3 else (1, 2, 5), numticks=8))
    if decades <= 3:
        ticker.set_minor_locator(NullLocator())  # 1, 2 and 5 are enough, and each tick costs time
    ticker.set_minor_formatter(NullFormatter())
    ticker.set_major_formatter(FuncFormatter(lambda value, _: _power_of_ten(value) if low < 1e-3 else _plain(value)))


def _power_of_ten(value: float) -> str:
    return "10" + str(round(log10(value))).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _plain(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 10 * size or (value >= size and size > 1e3):
            return f"{value / size:g}{letter}"
    return f"{value:,g}"


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
