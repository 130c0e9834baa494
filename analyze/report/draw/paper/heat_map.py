"""Draw a heat map into the axes of a paper figure, with the numbers in each cell."""

from textwrap import fill, wrap

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from analyze.report.draw.chart import HEAT_COLOURS, HeatMap
from analyze.report.draw.paper.words import LINE, width_of

WRAPPED = 26  # most characters per line of a row's or column's name
CROWDED = 10  # from this many columns on, column names are vertical and numbers smaller
DARK = 0.55  # share of the range above which a cell's numbers are white
COLOURS = LinearSegmentedColormap.from_list("heat", HEAT_COLOURS)


def below_heat_map(heat: HeatMap) -> float:
    """Return the extra height, in inches, of column names beyond one line."""
    if len(heat.columns) >= CROWDED:
        return max(map(width_of, heat.columns)) - LINE
    return LINE * (max(len(wrap(name, WRAPPED)) for name in heat.columns) - 1)


def draw_heat_map(ax: Axes, heat: HeatMap) -> None:
    low, high = heat.range
    crowded = len(heat.columns) >= CROWDED
    values = [[float("nan") if v is None else v for v in row] for row in heat.values]
    ax.pcolormesh(values, vmin=low, vmax=high, cmap=COLOURS, edgecolors="white", linewidth=1)
    ax.invert_yaxis()
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    names = heat.columns if crowded else [fill(name, WRAPPED) for name in heat.columns]
    ax.set_xticks([c + 0.5 for c in range(len(names))], names, rotation=90 if crowded else 0)
    ax.set_yticks([r + 0.5 for r in range(len(heat.rows))], [fill(name, WRAPPED) for name in heat.rows])
    ax.set_xlabel(heat.x)
    ax.set_ylabel(heat.y)
    for r, (row, notes) in enumerate(zip(heat.values, heat.notes, strict=True)):
        for c, (value, note) in enumerate(zip(row, notes, strict=True)):
            if value is not None:
                dark = value > low + DARK * (high - low)
                look = {"size": 5 if crowded else 6, "color": "white" if dark else "black"}
                ax.text(c + 0.5, r + 0.5, note, ha="center", va="center", **look)
