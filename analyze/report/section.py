"""What a section of the report holds: paragraphs, tables, charts. A table cell is text that is ready to be read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from analyze.report.draw.chart import Chart


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of cells under headings; each group of rows has a name, "" where one group is all there is."""

    title: str
    how_to_read: str
    columns: Sequence[str]
    groups: Mapping[str, Sequence[Sequence[str]]]


class Passage(NamedTuple):
    """A place in the text: what stands before it, the token, and what follows."""

    before: str
    token: str
    after: str


class Quoted(NamedTuple):
    """Places in the text that belong together, and what they are."""

    label: str
    passages: Sequence[Passage]


@dataclass(frozen=True, kw_only=True)
class Quotes:
    """Places in the text, by group; each group opens to them."""

    title: str
    how_to_read: str
    groups: Mapping[str, Sequence[Quoted]]


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a section: charts, then tables and quotes, then a verdict in words. `name` is its anchor."""

    name: str
    title: str
    paragraphs: Sequence[str] = ()
    charts: Sequence[Chart] = ()
    tables: Sequence[Table] = ()
    quotes: Sequence[Quotes] = ()
    verdict: str = ""


@dataclass(frozen=True, kw_only=True)
class Section:
    """One part of the page; what is empty is left out. Where it has parts, they have the charts."""

    name: str
    title: str
    paragraphs: Sequence[str] = ()
    tables: Sequence[Table] = ()
    charts: Sequence[Chart] = field(default=())
    more_tables: Sequence[Table] = ()  # after the charts
    parts: Sequence[Part] = ()

    @property
    def is_empty(self) -> bool:
        return not (self.paragraphs or self.tables or self.charts or self.more_tables or self.parts)

    @property
    def all_charts(self) -> list[Chart]:
        """List its own charts and those of its parts."""
        return [*self.charts, *(chart for part in self.parts for chart in part.charts)]


class Note(NamedTuple):
    """A short label that opens to its text."""

    label: str
    text: str


class View(NamedTuple):
    """What the first screen shows of one hook: small charts, and a verdict in at most three sentences."""

    chart: Chart
    verdict: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Overview(Section):
    """The first screen: a line, one view at a time, and the caveats; paragraphs and facts open behind them."""

    line: str = ""
    views: Sequence[View] = ()
    caveats: Sequence[Note] = ()
    facts: Sequence[tuple[str, str]] = ()

    @property
    def is_empty(self) -> bool:
        return super().is_empty and not (self.line or self.views or self.caveats or self.facts)
