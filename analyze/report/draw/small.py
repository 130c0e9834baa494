"""Draw a panel small: three of them beside each other on a screen, or two on a telephone.

What the panel's own title says is not said again at its axis, and references carry their names in the plot.
"""

from html import escape
from typing import Any

from analyze.format import Number
from analyze.report.draw.chart import REFERENCE_COLOUR, Panel, Series
from analyze.report.draw.interactive import PlotlyFigure, plotly_figure

HEIGHT = 190  # pixels; report.js makes it less on a narrow screen
FONT_SIZE = 11
GAP = "\u00a0\u00a0"  # between a mark and its name


def small_figure(panel: Panel, colours: dict[str, str]) -> PlotlyFigure:
    """Make the plotly figure of a panel that is read at a glance."""
    figure = plotly_figure(panel, colours)
    named = {series.name: series for series in reversed(panel.series) if series.reference}
    furthest = max((x for series in panel.series for x in series.x if x is not None), default=0)
    figure["data"] += [_name(series, furthest) for series in named.values()]
    layout = figure["layout"]
    layout |= {"height": HEIGHT, "margin": {"l": 36, "r": 10, "t": 8, "b": 36}, "dragmode": False}
    layout["font"] = {**layout["font"], "size": FONT_SIZE}
    layout["yaxis"] |= {"title": {"text": ""}, "nticks": 5, "fixedrange": True}
    layout["xaxis"] |= {"tickangle": 0, "fixedrange": True}
    layout["xaxis"]["title"]["standoff"] = 2
    return figure


def _name(series: Series, furthest: Number) -> dict[str, Any]:
    """Write a reference's name above its line, at the start of one that falls, else at the end; right of a point."""
    points = [(x, y) for x, y in zip(series.x, series.y, strict=True) if y is not None]
    falls = points[0][1] > points[-1][1]
    x, y = points[0] if falls else points[-1]
    beside = len(points) == 1 and x is not None and x < furthest
    place = "middle right" if beside else "top right" if falls else "top left"
    return {
        "type": "scatter",
        "mode": "text",
        "name": escape(series.name),
        "x": [x],
        "y": [y],
        "text": [f"{GAP}{escape(series.name)}{GAP}" if series.mark == "linked" else escape(series.name)],
        "textposition": place,
        "textfont": {"color": REFERENCE_COLOUR},
        "hoverinfo": "skip",
        "showlegend": False,
        "cliponaxis": False,
    }
