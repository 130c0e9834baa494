"""Draw a chart for a paper: SVG and PDF, a column or a page wide, without a title, the same bytes every time.

Every panel's position in inches is computed before drawing. matplotlib's own layout draws a figure several times to
measure its labels, which takes longer than everything else.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from analyze.report.draw.chart import Chart, FamilyTree, HeatMap, Panel
from analyze.report.draw.paper.font import family_for
from analyze.report.draw.paper.heat_map import below_heat_map, draw_heat_map
from analyze.report.draw.paper.panel import draw_panel, handle
from analyze.report.draw.paper.tree import draw_tree
from analyze.report.draw.paper.words import LINE, lines_of, width_of, y_labels

COLUMN = 3.4  # inches: one column of a two-column page; two panels fill the page's width
PANEL_HEIGHT = 2.3
TREE_HEIGHT = 4.5
BELOW, RIGHT, TOP = 0.42, 0.1, 0.08  # margins around the axes; the one below holds the tick labels and the axis's title
HANDLE = 0.42  # width of a legend entry's mark, before its name

STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "grid.color": "#ececec",
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "lines.linewidth": 1.1,
    "lines.markersize": 4,
    "pdf.fonttype": 42,  # embeds text as text, as journals require
    "svg.fonttype": "none",
    "svg.hashsalt": "winnow",
    "text.parse_math": False,  # a dollar sign in a name does not start math
}


@contextmanager
def paper_figure(chart: Chart) -> Iterator[Figure]:
    """Yield the drawn matplotlib figure; save it inside the block, where its style applies."""
    with mpl.rc_context(STYLE):
        columns = min(2, len(chart.panels))
        width = COLUMN * columns
        titles = [lines_of(panel.title, COLUMN - 0.5) if len(chart.panels) > 1 else [] for panel in chart.panels]
        rows = [range(i, min(i + columns, len(titles))) for i in range(0, len(titles), columns)]
        heads = [TOP + LINE * max(len(titles[i]) for i in row) for row in rows]
        heights = [max(_height(chart.panels[i]) for i in row) for row in rows]
        legend, legend_columns = _legend(chart, width)
        legend_height = LINE * 1.15 * ceil(len(legend) / legend_columns) + 0.08 if legend else 0
        height = sum(heights) + sum(heads) + legend_height
        figure = Figure(figsize=(width, height))
        colours, top = chart.colours(), height
        for row, head, tall in zip(rows, heads, heights, strict=True):
            for i in row:
                _draw(figure, chart.panels[i], colours, (COLUMN * (i - row[0]), top - head - tall, tall))
                for number, line in enumerate(titles[i]):
                    place = (COLUMN * (i - row[0]) + 0.08) / width, (top - 0.12 - LINE * number) / height
                    figure.text(*place, line, size=7)
            top -= head + tall
        if legend:
            figure.legend(handles=legend, loc="lower center", ncols=legend_columns, borderpad=0.2, borderaxespad=0.2)
        yield figure


def save_paper(figure: Figure, path: Path, kind: str) -> None:
    """Save as "svg" or "pdf", whatever the path's suffix, without a timestamp."""
    if kind == "svg":
        FigureCanvasSVG(figure).print_svg(path, metadata={"Date": None})
    else:
        with mpl.rc_context({"font.sans-serif": [family_for(figure)]}):
            FigureCanvasPdf(figure).print_pdf(path, metadata={"CreationDate": None})


def _height(panel: Panel | HeatMap | FamilyTree) -> float:
    if isinstance(panel, HeatMap):
        return BELOW + LINE + below_heat_map(panel) + 0.42 * len(panel.rows)
    return TREE_HEIGHT if isinstance(panel, FamilyTree) else PANEL_HEIGHT


def _draw(
    figure: Figure, panel: Panel | HeatMap | FamilyTree, colours: dict[str, str], place: tuple[float, float, float]
) -> None:
    """Draw a panel at this left edge, lower edge and height, in inches."""
    left, bottom, height = place
    width, whole = figure.get_size_inches()
    ax = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    below = BELOW
    match panel:
        case Panel():
            draw_panel(ax, panel, colours)
        case HeatMap():
            draw_heat_map(ax, panel)
            below += below_heat_map(panel)
        case FamilyTree():
            draw_tree(ax, panel)
    left_margin = 0.3 + y_labels(ax) if not isinstance(panel, FamilyTree) else 0.1
    size = COLUMN - left_margin - RIGHT, height - below
    ax.set_position(((left + left_margin) / width, (bottom + below) / whole, size[0] / width, size[1] / whole))
    ax.xaxis.set_label_coords(0.5, (0.2 - below) / size[1])
    ax.yaxis.set_label_coords((0.14 - left_margin) / size[0], 0.5)


def _legend(chart: Chart, width: float) -> tuple[list[Any], int]:
    """Return a legend's entries and the number of columns that fit."""
    colours = chart.colours()
    legend = chart.legend()
    widest = max((HANDLE + width_of(series.name) for series in legend), default=1)
    return [handle(series, colours) for series in legend], max(1, min(len(legend), int(width / widest)))
