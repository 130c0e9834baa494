"""The small charts of the first screen: reconstruction, similarity of sizes and loss, for one hook at a time.

The numbers are those of the sections' charts, with one series for each setting, averaged over seeds; where there are
too many settings to tell apart, with one point for each dictionary and a colour for each architecture.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from analyze.format import Number
from analyze.ladders import full_name, ladder_of, ladders, pairs_of
from analyze.report.draw.chart import Axis, Chart, Panel, Series
from analyze.report.sections.baselines import DRAWN, baseline_series
from analyze.report.sections.mmcs import ceiling_of
from analyze.schema.metrics import PCA
from analyze.schema.record import measured

Dictionary = Mapping[str, Any]
Settings = Mapping[str, Sequence[Dictionary]]
APART = 6  # settings that are told apart by their colour
TICKS = 4  # sizes that a small axis has room for
MARGIN = 1.2  # factor by which an axis of sizes reaches beyond them


def overview_chart(metrics: Mapping[str, Any], number: int, hook: str) -> Chart:
    """Make the chart of one hook; panels of what was not measured are left out."""
    settings = _settings(metrics, hook)
    sizes = sorted({d["n_latents"] for found in settings.values() for d in found})
    panels = (
        _reconstruction(settings),
        _similarity(metrics, settings, sizes),
        _loss(settings, sizes) or _truth(settings, sizes),
    )
    return Chart(
        name=f"overview-{number:02d}",
        title="Overview",
        how_to_read="",
        panels=tuple(panel for panel in panels if panel is not None),
        family="overview",
        choice=hook,
    )


def _settings(metrics: Mapping[str, Any], hook: str) -> dict[str, list[Dictionary]]:
    kinds: dict[str, list[Dictionary]] = {}
    architectures: dict[str, list[Dictionary]] = {}
    for ladder, dictionaries in ladders(metrics).items():
        if ladder.hook == hook:
            kinds.setdefault(ladder.kind, []).extend(dictionaries)
            architectures.setdefault(ladder.architecture, []).extend(dictionaries)
    return kinds if len(kinds) <= APART else architectures


def _reconstruction(settings: Settings) -> Panel | None:
    series = []
    for place, (name, dictionaries) in enumerate(settings.items()):
        known = [d for d in dictionaries if measured(d, "fvu") is not None and measured(d, "l0")]
        one_kind = len({ladder_of(d).kind for d in known}) == 1
        groups = _by_size(known) if one_kind else [(d["n_latents"], [d]) for d in known]
        if groups:
            series.append(
                Series(
                    name=name,
                    x=[fmean(d["l0"] for d in found) for _, found in groups],
                    y=[fmean(d["fvu"] for d in found) for _, found in groups],
                    mark="linked" if one_kind else "points",
                    colour=place,
                    symbol=place,
                    notes=[f"{size:,} latents" if one_kind else full_name(found[0]) for size, found in groups],
                )
            )
    everything = [d for found in settings.values() for d in found]
    pca = [s for s in baseline_series(everything) if s.name == DRAWN[PCA]]
    return (
        Panel(
            title="FVU against L0 (lower is better)",
            x=Axis(title="L0 (latents active per row)", from_zero=True),
            y=Axis(title="FVU", from_zero=True),
            series=(*series, *(Series(name="PCA", x=s.x, y=s.y, reference=True) for s in pca)),
        )
        if series
        else None
    )


def _similarity(metrics: Mapping[str, Any], settings: Settings, sizes: Sequence[int]) -> Panel | None:
    to_larger = {
        pair.scores["from"]: measured(pair.scores, "mmcs_corrected")
        for pair in pairs_of(metrics)
        if ladder_of(pair.source) == ladder_of(pair.target) and pair.source["n_latents"] < pair.target["n_latents"]
    }
    series = _over_sizes(settings, lambda d: to_larger.get(d["path"]))
    if not series:
        return None
    ceilings = {
        name: [(size, fmean(c)) for size, found in _by_size(dictionaries) if (c := _ceilings(metrics, found))]
        for name, dictionaries in settings.items()
    }
    references = [
        Series(
            name="ceiling",
            x=[size for size, _ in points],
            y=[value for _, value in points],
            mark="linked",
            reference=True,
            symbol=5,
            notes=[f"{name}: same size, other seed"] * len(points),
        )
        for name, points in ceilings.items()
        if points
    ]
    chance = Series(name="chance", x=[sizes[0], sizes[-1]], y=[0, 0], reference=True)
    lowest = min([0, *(y for s in (*series, *references) for y in (*s.y, *s.low) if y is not None)])
    return Panel(
        title="Corrected MMCS to next size",
        x=_size_axis(sizes),
        y=Axis(title="corrected MMCS", range=(min(-0.04, lowest), 1.02)),
        series=(*series, *references, chance),
    )


def _ceilings(metrics: Mapping[str, Any], dictionaries: Iterable[Dictionary]) -> list[float]:
    return [c for d in dictionaries if (c := ceiling_of(metrics, d["path"])) is not None]


def _loss(settings: Settings, sizes: Sequence[int]) -> Panel | None:
    return _share("Loss recovered (%)", settings, sizes, "ce.recovered")


def _truth(settings: Settings, sizes: Sequence[int]) -> Panel | None:
    return _share("True features found (%)", settings, sizes, "truth.recovered")


def _share(title: str, settings: Settings, sizes: Sequence[int], key: str) -> Panel | None:
    series = _over_sizes(settings, lambda d: None if (v := measured(d, key)) is None else 100 * v)
    lowest = min([0, *(y for s in series for y in (*s.y, *s.low) if y is not None)])
    return (
        Panel(title=title, x=_size_axis(sizes), y=Axis(title=title, range=(lowest, 103)), series=tuple(series))
        if series
        else None
    )


def _over_sizes(settings: Settings, value_of: Callable[[Dictionary], Number | None]) -> list[Series]:
    """Draw the mean of a quantity for each size of each setting, with its range where there are several."""
    series = []
    for place, (name, dictionaries) in enumerate(settings.items()):
        values = [
            (size, known)
            for size, found in _by_size(dictionaries)
            if (known := [v for d in found if (v := value_of(d)) is not None])
        ]
        several = any(len(known) > 1 for _, known in values)
        if values:
            series.append(
                Series(
                    name=name,
                    x=[size for size, _ in values],
                    y=[fmean(known) for _, known in values],
                    low=[min(known) for _, known in values] if several else (),
                    high=[max(known) for _, known in values] if several else (),
                    mark="linked",
                    colour=place,
                    symbol=place,
                )
            )
    return series


def _by_size(dictionaries: Iterable[Dictionary]) -> list[tuple[int, list[Dictionary]]]:
    sizes: dict[int, list[Dictionary]] = {}
    for dictionary in dictionaries:
        sizes.setdefault(dictionary["n_latents"], []).append(dictionary)
    return sorted(sizes.items())


def _size_axis(sizes: Sequence[int]) -> Axis:
    few = len(sizes) <= TICKS
    ticks = sizes if few else (sizes[0], sizes[len(sizes) // 2], sizes[-1])
    return Axis(title="latents", log=True, ticks=tuple(ticks), range=(sizes[0] / MARGIN, sizes[-1] * MARGIN))
