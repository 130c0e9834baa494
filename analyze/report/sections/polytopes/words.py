"""How numbers with intervals are written, and how charts by layer are laid out."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar, runtime_checkable

from analyze.format import NOT_MEASURED, Number, listing, significant
from analyze.report.draw.chart import Chart, Panel
from analyze.schema.polytopes.common import Interval, Quantiles

SIDE_BY_SIDE = 4  # panels that a chart shows at once
Write = Callable[[Number | None], str]


@runtime_checkable
class OfLayer(Protocol):
    @property
    def layer(self) -> int: ...


L = TypeVar("L", bound=OfLayer)


def between(value: Number | None, low: Number | None, high: Number | None, write: Write = significant) -> str:
    """Write a value and its ends: `1.05 [1.03, 1.07]`."""
    if value is None:
        return NOT_MEASURED
    return write(value) if low is None or high is None else f"{write(value)} [{write(low)}, {write(high)}]"


def interval(found: Interval | None, write: Write = significant) -> str:
    return NOT_MEASURED if found is None else between(found.value, found.low, found.high, write)


def spread(found: Quantiles | None, write: Write = significant) -> str:
    """Write the median and the 5% and 95% quantiles: `0.11 [0.05, 0.17]`."""
    return NOT_MEASURED if found is None else between(found.median, found.q05, found.q95, write)


def by_layer(layers: Iterable[L] | None) -> dict[int, L]:
    """Find a layer by its number; of a twin that was not measured, nothing."""
    return {one.layer: one for one in layers or []}


def layers_in_words(layers: Sequence[int]) -> str:
    """Write `layer 2`, `layers 0, 1 and 3`."""
    return f"layer{'s' if len(layers) > 1 else ''} {listing([str(layer) for layer in layers], at_most=12)}"


def extent(values: Iterable[Number | None], write: Write = significant) -> str:
    """Write the range of some values: `1.05 to 1.08`, or the one that all are."""
    known = [value for value in values if value is not None]
    if not known:
        return NOT_MEASURED
    low, high = write(min(known)), write(max(known))
    return low if low == high else f"{low} to {high}"


def charts_of(name: str, title: str, how_to_read: str, panels: Mapping[str, Sequence[Panel]]) -> list[Chart]:
    """Lay out panels by subject: side by side where they are few, else a chart for each, to choose from."""
    known = {subject: tuple(some) for subject, some in panels.items() if some}
    every = tuple(panel for some in known.values() for panel in some)
    if not every:
        return []
    if len(every) <= SIDE_BY_SIDE:
        return [Chart(name=name, title=title, how_to_read=how_to_read, panels=every)]
    return [
        Chart(
            name=f"{name}-{number:02d}",
            title=title,
            how_to_read=how_to_read,
            panels=some,
            family=name,
            choice=subject,
        )
        for number, (subject, some) in enumerate(known.items())
    ]
