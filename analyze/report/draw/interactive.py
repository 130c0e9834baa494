"""Draw a chart for the page: one plotly figure per panel, as the dictionary that plotly.js reads.

Panels are separate figures, and the page draws titles and legends itself, so that a narrow screen can wrap them.
plotly interprets some HTML in every text, so names are escaped here. Figures are plain dictionaries, since the checks
of plotly's Python classes take longer than the rest of the page; a test runs those checks on every kind of figure.
"""

from html import escape
from math import log10
from typing import Any

from analyze.format import Number, Values
from analyze.report.draw.chart import HEAT_COLOURS, REFERENCE_COLOUR, SHADE, Axis, HeatMap, Panel, Series

PlotlyFigure = dict[str, Any]  # {"data": traces, "layout": …}

FONT = "system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', sans-serif"
INK, LINE, GRID = "#2b2b2b", "#9a9a9a", "#ececec"
SYMBOLS = ("circle", "diamond-open", "square", "triangle-up-open", "x", "star-open")
GLYPHS = "●◇■△✖☆"  # the same symbols as text characters
BAR_GLYPH = "■"
PANEL_HEIGHT = 300  # pixels
CELL_HEIGHT = 56


def plotly_figure(panel: Panel | HeatMap, colours: dict[str, str]) -> PlotlyFigure:
    """Build the plotly figure of a panel, with a chart's colours; each trace is named after its series."""
    return _heat_map(panel) if isinstance(panel, HeatMap) else _panel(panel, colours)


def glyph_of(series: Series) -> str:
    """Return the character for a series' marks in a legend, "" for a line."""
    if series.mark == "bars":
        return BAR_GLYPH
    return GLYPHS[series.symbol % len(GLYPHS)] if series.mark in ("points", "linked") else ""


def _panel(panel: Panel, colours: dict[str, str]) -> PlotlyFigure:
    filled = not panel.y.log and sum(s.mark == "bins" and not s.reference for s in panel.series) == 1
    traces = [
        _trace(series, panel, REFERENCE_COLOUR if series.reference else colours[series.name], filled)
        for series in panel.series
    ]
    axes = {
        "xaxis": _axis(panel.x, [x for series in panel.series for x in series.x]),
        "yaxis": _axis(panel.y, [y for series in panel.series for y in series.y]),
    }
    layout = {**_layout(PANEL_HEIGHT), "barmode": "stack", "bargap": 0.3, **axes}
    if panel.shaded is not None:
        layout["shapes"] = [_shade(*panel.shaded)]
    return {"data": traces, "layout": layout}


def _shade(start: Number, stop: Number) -> dict[str, Any]:
    """Shade a range of x over the whole height, behind everything else."""
    ends = {"x0": start, "x1": stop, "y0": 0, "y1": 1}
    return {"type": "rect", "yref": "paper", **ends, "fillcolor": SHADE, "line": {"width": 0}, "layer": "below"}


def _trace(series: Series, panel: Panel, colour: str, filled: bool) -> dict[str, Any]:
    bins = series.mark == "bins"
    where = "%{text}" if bins or panel.x.categories else "%{x:.4~g}"
    about = "<br>%{text}" if series.notes and not (bins or panel.x.categories) else ""
    common = {
        "name": escape(series.name),
        "x": list(series.x),
        "y": [*series.y, series.y[-1]] if bins and series.y else list(series.y),
        "text": _texts(series, panel.x),
        "hovertemplate": (
            f"<b>{escape(series.name)}</b>{about}<br>{escape(panel.x.title)}: {where}"
            f"<br>{escape(panel.y.title)}: %{{y:.4~g}}<extra></extra>"
        ),
        "showlegend": False,
    }
    if series.mark == "bars":
        return {"type": "bar", **common, "textposition": "none", "marker": {"color": colour}}
    line: dict[str, Any] = {"color": colour, "width": 1.75, "dash": "dash" if series.reference else "solid"}
    if bins:
        line["shape"] = "hv"
    return {
        "type": "scatter",
        **common,
        "mode": {"line": "lines", "bins": "lines", "points": "markers", "linked": "lines+markers"}[series.mark],
        "line": line,
        "marker": {
            "color": colour,
            "size": 8,
            "symbol": SYMBOLS[series.symbol % len(SYMBOLS)],
            "line": {"width": 1.5, "color": colour},
        },
        "fill": "tozeroy" if bins and filled and not series.reference else "none",
        "connectgaps": False,
        "cliponaxis": series.mark not in ("points", "linked"),
        **_spread(series, colour),
    }


def _spread(series: Series, colour: str) -> dict[str, Any]:
    if not series.low:
        return {}
    ends = [
        (None, None) if None in (low, y, high) else (high - y, y - low)  # pyright: ignore[reportOperatorIssue, reportOptionalOperand]
        for low, y, high in zip(series.low, series.y, series.high, strict=True)
    ]
    above, below = zip(*ends, strict=True)
    bars = {"type": "data", "symmetric": False, "array": above, "arrayminus": below}
    return {"error_y": {**bars, "color": colour, "thickness": 1, "width": 3}}


def _texts(series: Series, x: Axis) -> list[str]:
    if series.mark == "bins":
        return _bin_names(series)
    if x.categories:
        return [escape(x.categories[int(place)]) for place in series.x if place is not None]
    return [escape(note) for note in series.notes]


def _bin_names(series: Series) -> list[str]:
    names = [
        f"{a:.3g} to {b:.3g}" if a is not None and b is not None else ""
        for a, b in zip(series.x[:-1], series.x[1:], strict=True)
    ]
    return [*names, *names[-1:]]  # the last edge repeats the last bin


def _heat_map(heat: HeatMap) -> PlotlyFigure:
    trace = {
        "type": "heatmap",
        "x": [escape(column) for column in heat.columns],
        "y": [escape(row) for row in heat.rows],
        "z": [list(row) for row in heat.values],
        "text": [[escape(note).replace("\n", "<br>") for note in row] for row in heat.notes],
        "texttemplate": "%{text}",
        "zmin": heat.range[0],
        "zmax": heat.range[1],
        "colorscale": [[i / (len(HEAT_COLOURS) - 1), colour] for i, colour in enumerate(HEAT_COLOURS)],
        "showscale": False,
        "xgap": 2,
        "ygap": 2,
        "hoverongaps": False,
        "hovertemplate": (
            f"<b>{escape(heat.title)}</b><br>{escape(heat.y)} %{{y}}<br>"
            f"{escape(heat.x)} %{{x}}<br>%{{text}}<extra></extra>"
        ),
    }
    category = {"type": "category", "showgrid": False, "automargin": True, "fixedrange": True}
    axes = {
        "xaxis": {**category, "title": {"text": escape(heat.x)}},
        "yaxis": {**category, "title": {"text": escape(heat.y)}, "autorange": "reversed"},
    }
    return {"data": [trace], "layout": {**_layout(90 + CELL_HEIGHT * len(heat.rows)), **axes}}


def _layout(height: int) -> dict[str, Any]:
    return {
        "template": None,
        "height": height,
        "margin": {"l": 60, "r": 14, "t": 12, "b": 48},
        "font": {"family": FONT, "size": 12, "color": INK},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hovermode": "closest",
        "hoverlabel": {"bgcolor": "#ffffff", "bordercolor": LINE, "font": {"color": INK}},
        "dragmode": "zoom",
        "modebar": {"bgcolor": "rgba(255,255,255,0.85)", "color": LINE, "activecolor": INK},
    }


def _axis(axis: Axis, values: Values) -> dict[str, Any]:
    described: dict[str, Any] = {
        "title": {"text": escape(axis.title), "standoff": 8},
        "type": "log" if axis.log else "linear",
        "showline": True,
        "linecolor": LINE,
        "gridcolor": GRID,
        "zeroline": False,
        "ticks": "outside",
        "tickcolor": LINE,
        "automargin": True,
    }
    if axis.log:
        described |= {"minor": {"ticks": "outside", "ticklen": 3, "tickcolor": LINE}, **_log_labels(values)}
    elif axis.from_zero:
        described["rangemode"] = "tozero"
    if axis.ticks is not None:
        ticks = {"tickvals": list(axis.ticks), "ticktext": [f"{tick:,.10g}" for tick in axis.ticks]}
        described |= {**ticks, "minor": {"ticks": ""}}
    if axis.categories:
        names = [escape(name).replace("\n", "<br>") for name in axis.categories]
        described |= {"tickvals": list(range(len(names))), "ticktext": names, "range": [-0.5, len(names) - 0.5]}
    if axis.range is not None:
        described["range"] = [_place(axis, value) for value in axis.range]
    return described


def _log_labels(values: Values) -> dict[str, Any]:
    """Choose the tick labels of a logarithmic axis: by default plotly mixes 10², 2 and 5 in three sizes."""
    known = [abs(value) for value in values if value]
    low, high = min(known, default=1), max(known, default=1)
    if low < 1e-3:
        return {"dtick": 1, "exponentformat": "power"}
    labels: dict[str, Any] = {"tickformat": "~s" if high >= 1e4 else ",~r"}
    if high > 8 * low:
        labels["dtick"] = "D2"  # 1, 2 and 5: all nine digits of a decade would overlap
    return labels


def _place(axis: Axis, value: Number) -> Number:
    return log10(value) if axis.log else value
