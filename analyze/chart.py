"""Describe a chart as data, so that the page, the paper and a spreadsheet show the same numbers.

A `Chart` is a row of panels that are read together: either `Panel`s of series, or `HeatMap`s. Nothing here
draws: `figure_interactive` makes a chart a plotly figure, `figure_paper` an SVG and a PDF, and `to_csv`
writes its numbers out.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Number = int | float
Values = Sequence[Number | None]
Mark = Literal["line", "points", "linked", "bins"]

# Okabe and Ito's palette, told apart with every common colour blindness; its yellow is too pale for a line
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#4D4D4D")
REFERENCE_COLOUR = "#767676"
HEAT_COLOURS = ("#e9f1f8", "#9ecae1", "#4292c6", "#08519c")  # from the least to the most


@dataclass(frozen=True, kw_only=True)
class Axis:
    """What an axis shows: its title says the unit.

    `range` is in the data's own units, also on a log axis; `from_zero` starts a linear one at 0.
    """

    title: str
    log: bool = False
    range: tuple[Number, Number] | None = None
    ticks: tuple[Number, ...] | None = None
    from_zero: bool = False


@dataclass(frozen=True, kw_only=True)
class Series:
    """One named set of values; None is a gap.

    With mark "bins", `x` holds the len(y) + 1 edges of bins whose heights are `y`. A reference (a chance
    level, a normal law) is drawn dashed and grey. Series of one colour number belong together; where none is
    given, each name of a chart has its own.
    """

    name: str
    x: Values
    y: Values
    mark: Mark = "line"
    reference: bool = False
    colour: int | None = None
    symbol: int = 0
    notes: Sequence[str] = ()  # said of each point when it is pointed at

    def __post_init__(self) -> None:
        expected = len(self.y) + (self.mark == "bins")
        assert len(self.x) == expected, f"{self.name}: {len(self.x)} x values for {len(self.y)} y values"
        assert len(self.notes) in (0, len(self.y)), f"{self.name}: {len(self.notes)} notes for {len(self.y)} values"


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Series over two common axes."""

    title: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]


@dataclass(frozen=True, kw_only=True)
class HeatMap:
    """A table of values in colours; None is an empty cell, and `notes` is the text in each cell."""

    title: str
    x: str
    y: str
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    values: tuple[tuple[Number | None, ...], ...]  # [row][column]
    notes: tuple[tuple[str, ...], ...]
    range: tuple[Number, Number]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Panels that are read together; `name` is also its files' name.

    Charts of one `family` show the same of different things, of which `choice` names the thing: where there
    are many of them, the page shows one at a time.
    """

    name: str
    title: str
    how_to_read: str
    panels: tuple[Panel, ...] | tuple[HeatMap, ...]
    family: str = ""
    choice: str = ""

    def colours(self) -> dict[str, str]:
        """Give every series name that is no reference its colour, in the order in which names appear."""
        colours: dict[str, str] = {}
        for series in (s for panel in self.panels if isinstance(panel, Panel) for s in panel.series):
            if not series.reference and series.name not in colours:
                number = len(colours) if series.colour is None else series.colour
                colours[series.name] = PALETTE[number % len(PALETTE)]
        return colours

    def legend(self) -> list[Series]:
        """Return one series per name, those that are no reference first; empty where there is nothing to tell apart."""
        first = {s.name: s for panel in self.panels if isinstance(panel, Panel) for s in reversed(panel.series)}
        order = {s.name: s for panel in self.panels if isinstance(panel, Panel) for s in panel.series}
        named = sorted((first[name] for name in order), key=lambda s: s.reference)
        return named if len(named) > 1 else []


def to_csv(chart: Chart) -> str:
    """Write a chart's numbers as a table with one row per value; an empty field is a gap."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    heat = isinstance(chart.panels[0], HeatMap)
    series_header = ["panel", "series", "x_axis", "x", "x_end", "y_axis", "y", "note"]
    writer.writerow(["panel", "row", "column", "value", "note"] if heat else series_header)
    for panel in chart.panels:
        writer.writerows(_cells(panel) if isinstance(panel, HeatMap) else _points(panel))
    return text.getvalue()


def _cells(heat: HeatMap) -> list[list[object]]:
    return [
        [heat.title, row, column, value, note.replace("\n", " ")]
        for row, values, notes in zip(heat.rows, heat.values, heat.notes, strict=True)
        for column, value, note in zip(heat.columns, values, notes, strict=True)
    ]


def _points(panel: Panel) -> list[list[object]]:
    rows: list[list[object]] = []
    for series in panel.series:
        ends = list(series.x[1:]) if series.mark == "bins" else [None] * len(series.y)
        notes = series.notes or [""] * len(series.y)
        for x, end, y, note in zip(series.x[: len(series.y)], ends, series.y, notes, strict=True):
            rows.append([panel.title, series.name, panel.x.title, x, end, panel.y.title, y, note])
    return rows
