"""Describe a chart as data, so that the page, the paper and a spreadsheet show the same numbers.

A `Chart` is a row of panels that belong together: all of them `Panel`s of series, or `HeatMap`s, or `FamilyTree`s.
This module draws nothing: interactive.py turns a chart into plotly figures, paper/figure.py into an SVG and a PDF, and
csv.py writes its numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from analyze.format import Number, Values

Mark = Literal["line", "points", "linked", "bins", "bars"]

# Okabe and Ito's palette, safe for the common kinds of colour blindness; its yellow is too pale for a line
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#4D4D4D")
REFERENCE_COLOUR = "#767676"
SHADE = "#f3ead2"
HEAT_COLOURS = ("#e9f1f8", "#9ecae1", "#4292c6", "#08519c")  # from the smallest to the largest value


@dataclass(frozen=True, kw_only=True)
class Axis:
    """An axis of a panel; its title includes the unit.

    `range` is in the data's own units, also on a log axis; `from_zero` starts a linear axis at 0. An axis of
    `categories` has one position for each, numbered from 0.
    """

    title: str
    log: bool = False
    range: tuple[Number, Number] | None = None
    ticks: tuple[Number, ...] | None = None
    from_zero: bool = False
    categories: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Series:
    """One named set of values; None is a gap.

    With mark "bins", `x` holds the len(y) + 1 edges of bins whose heights are `y`; with "bars", the series of a
    panel are stacked. `low` and `high` are the ends of each value's spread. A reference (a chance level, a normal law)
    is drawn dashed and grey. Series with the same `colour` number share a colour; by default each name has its own.
    """

    name: str
    x: Values
    y: Values
    mark: Mark = "line"
    reference: bool = False
    colour: int | None = None
    symbol: int = 0
    notes: Sequence[str] = ()  # shown when the reader points at each point
    low: Values = ()
    high: Values = ()

    def __post_init__(self) -> None:
        expected = len(self.y) + (self.mark == "bins")
        assert len(self.x) == expected, f"{self.name}: {len(self.x)} x values for {len(self.y)} y values"
        assert len(self.notes) in (0, len(self.y)), f"{self.name}: {len(self.notes)} notes for {len(self.y)} values"
        assert len(self.low) == len(self.high), (
            f"{self.name}: {len(self.low)} lower ends for {len(self.high)} upper ones"
        )
        assert len(self.low) in (0, len(self.y)), f"{self.name}: {len(self.low)} spreads for {len(self.y)} values"


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Series on two shared axes; `shaded` is a range of x behind them, where the data are."""

    title: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    shaded: tuple[Number, Number] | None = None


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


class Kinship(NamedTuple):
    """A relation between a feature of one size and one of the next, by their indices."""

    parent: int
    child: int
    cosine: Number | None
    masked: Number | None  # cosine over the rows on which the child fires


@dataclass(frozen=True, kw_only=True)
class FamilyTree:
    """Features of growing sizes, and their parents and children."""

    title: str
    sizes: tuple[str, ...]  # from the smallest to the largest
    paths: tuple[str, ...]  # of the dictionaries, one for each size
    kinships: tuple[tuple[Kinship, ...], ...]  # between each size and the next


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Panels that belong together; `name` is also the name of its files.

    Charts of one `family` show the same quantity for different subjects, and `choice` names the subject. If a family
    has many charts, the page shows one at a time.
    """

    name: str
    title: str
    how_to_read: str
    panels: tuple[Panel, ...] | tuple[HeatMap, ...] | tuple[FamilyTree, ...]
    family: str = ""
    choice: str = ""

    def colours(self) -> dict[str, str]:
        """Assign a colour to every series name that is not a reference, in order of appearance."""
        colours: dict[str, str] = {}
        for series in (s for panel in self.panels if isinstance(panel, Panel) for s in panel.series):
            if not series.reference and series.name not in colours:
                number = len(colours) if series.colour is None else series.colour
                colours[series.name] = PALETTE[number % len(PALETTE)]
        return colours

    def legend(self) -> list[Series]:
        """Return one series per name, references last; empty if there is only one name."""
        first = {s.name: s for panel in self.panels if isinstance(panel, Panel) for s in reversed(panel.series)}
        order = {s.name: s for panel in self.panels if isinstance(panel, Panel) for s in panel.series}
        named = sorted((first[name] for name in order), key=lambda s: s.reference)
        return named if len(named) > 1 else []
