"""MMCS between sizes, corrected for chance: heat maps both ways, and each size's ceiling beside its scores."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from analyze.format import Number, decimal
from analyze.ladders import Pair, ladder_of
from analyze.report.draw.chart import Axis, Chart, HeatMap, Panel, Series
from analyze.schema.record import measured

WIDE = 4  # columns of a heat map beyond which a cell has room for one number only


def ceiling_of(metrics: Mapping[str, Any], path: str, key: str = "mmcs_corrected") -> float | None:
    """Average a score of a dictionary with those that differ in their seed alone; None where there are none."""
    found = [measured(score, key) for score in metrics.get("ceilings") or [] if score["from"] == path]
    known = [value for value in found if value is not None]
    return fmean(known) if known else None


def mmcs_charts(metrics: Mapping[str, Any], groups: Mapping[str, Sequence[Pair]]) -> list[Chart]:
    """Make heat maps and a chart of the scores over sizes for every hook, with a panel per ladder."""
    by_hook: dict[str, list[str]] = {}
    for label, pairs in groups.items():
        by_hook.setdefault(pairs[0].source["hook"], []).append(label)
    maps = [
        Chart(
            name=f"mmcs-{number:02d}",
            title="MMCS between sizes, corrected for chance",
            how_to_read=(
                "Row → column: how well the row's latents are present in the column's dictionary, 0 at chance and 1 "
                "for equal directions; in brackets, where there is room, the MMCS itself and its chance level. Above "
                "the diagonal a smaller dictionary is looked up in a larger one, below it the reverse; on the "
                "diagonal, where there are several seeds, stands the ceiling: the same size trained with another "
                "seed. Empty cells were not compared."
            ),
            panels=tuple(_heat_map(metrics, label, groups[label]) for label in labels),
            family="mmcs",
            choice=hook,
        )
        for number, (hook, labels) in enumerate(by_hook.items())
    ]
    lines = [
        Chart(
            name=f"agreement-{number:02d}",
            title="Agreement between sizes, between chance and ceiling",
            how_to_read=(
                "Corrected MMCS of each size in its neighbours, 0 at chance: the nearer to the dashed ceiling, what "
                "the same size trained with another seed shares, the less of the difference is owed to size; without "
                "a dashed line no second seed was trained, and the ceiling is not known."
            ),
            panels=_agreements(metrics, {label: groups[label] for label in labels}),
            family="agreement",
            choice=hook,
        )
        for number, (hook, labels) in enumerate(by_hook.items())
    ]
    return [*maps, *(chart for chart in lines if chart.panels)]


def _heat_map(metrics: Mapping[str, Any], label: str, pairs: Sequence[Pair]) -> HeatMap:
    ends = {name: end for p in pairs for name, end in zip(p.ends, (p.source, p.target), strict=True)}
    names = tuple(sorted(ends, key=lambda name: (ends[name]["n_latents"], name)))
    ceilings = {(name, name): _ceiling(metrics, ends[name]["path"]) for name in names}
    scores = {pair.ends: pair.scores for pair in pairs} | {ends: found for ends, found in ceilings.items() if found}
    cells = [[scores.get((row, column)) for column in names] for row in names]
    return HeatMap(
        title=label,
        x="to (latents)",
        y="from (latents)",
        columns=names,
        rows=names,
        values=tuple(
            tuple(measured(cell, "mmcs_corrected") if cell is not None else None for cell in row) for row in cells
        ),
        notes=tuple(
            tuple(_note(cell, row == column, wide=len(names) > WIDE) for column, cell in zip(names, line, strict=True))
            for row, line in zip(names, cells, strict=True)
        ),
        range=(0, 1),
    )


def _ceiling(metrics: Mapping[str, Any], path: str) -> dict[str, Any] | None:
    found = {key: ceiling_of(metrics, path, key) for key in ("mmcs_corrected", "mmcs", "mmcs_null")}
    return found if found["mmcs_corrected"] is not None else None


def _note(scores: Mapping[str, Any] | None, ceiling: bool, wide: bool) -> str:
    if scores is None:
        return ""
    corrected = decimal(measured(scores, "mmcs_corrected"), 2)
    if wide:
        return corrected
    above = "ceiling " if ceiling else ""
    return f"{above}{corrected}\n({decimal(measured(scores, 'mmcs'), 2)}, {decimal(measured(scores, 'mmcs_null'), 2)})"


def _agreements(metrics: Mapping[str, Any], groups: Mapping[str, Sequence[Pair]]) -> tuple[Panel, ...]:
    panels = (_agreement(metrics, label, pairs) for label, pairs in groups.items())
    return tuple(panel for panel in panels if panel is not None)


def _agreement(metrics: Mapping[str, Any], label: str, pairs: Sequence[Pair]) -> Panel | None:
    dictionaries = {end["path"]: end for p in pairs for end in (p.source, p.target)}
    upwards = [p for p in pairs if p.source["n_latents"] < p.target["n_latents"]]
    downwards = [p for p in pairs if p.source["n_latents"] > p.target["n_latents"]]
    if any(ladder_of(p.source) != ladder_of(p.target) for p in pairs):
        return None
    ceilings = [(d["n_latents"], ceiling_of(metrics, path)) for path, d in dictionaries.items()]
    parts: list[tuple[str, list[tuple[Number, Number | None]], bool]] = [
        ("in the next larger", [(p.source["n_latents"], measured(p.scores, "mmcs_corrected")) for p in upwards], False),
        (
            "in the next smaller",
            [(p.source["n_latents"], measured(p.scores, "mmcs_corrected")) for p in downwards],
            False,
        ),
        ("same size, other seed: ceiling", [(n, c) for n, c in ceilings if c is not None], True),
    ]
    series = tuple(
        Series(name=name, x=[n for n, _ in points], y=[y for _, y in points], mark="linked", reference=ceiling)
        for name, points, ceiling in ((name, sorted(points), ceiling) for name, points, ceiling in parts)
        if any(y is not None for _, y in points)
    )
    sizes = tuple(sorted({d["n_latents"] for d in dictionaries.values()}))
    lowest = min([0, *(y for s in series for y in s.y if y is not None)])
    return (
        Panel(
            title=label,
            x=Axis(title="latents in the dictionary", log=True, ticks=sizes),
            y=Axis(title="corrected MMCS", range=(lowest, 1)),
            series=series,
        )
        if series
        else None
    )
