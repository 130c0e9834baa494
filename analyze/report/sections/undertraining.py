"""Undertraining: how recovery and agreement between sizes move as rows are seen, and where training stopped."""

from collections.abc import Mapping, Sequence
from typing import Any

from analyze.format import NOT_MEASURED, count, percent
from analyze.ladders import Ladder, full_name, ladders
from analyze.report.draw.chart import Axis, Chart, Panel, Series
from analyze.report.section import Table
from analyze.report.sections.truth_charts import of_size
from analyze.schema.metric import texts, titles
from analyze.schema.metrics import N_LATENTS, ROWS_SEEN, ROWS_TO_HALF, STEEPEST, STEEPEST_NEAR, TRUE_FOUND
from analyze.schema.record import measured

Dictionary = Mapping[str, Any]
PHASES = (N_LATENTS, ROWS_SEEN, TRUE_FOUND, ROWS_TO_HALF, STEEPEST_NEAR, STEEPEST)


def undertraining_charts(metrics: Mapping[str, Any]) -> list[Chart]:
    """Draw a chart per ladder: what is found of the truth, and what of each size is in the next, over log rows."""
    to_next = _agreement_with_next(metrics)
    charts = []
    for number, (ladder, dictionaries) in enumerate(ladders(metrics).items()):
        panels = (_recovery(dictionaries), _agreement(dictionaries, to_next))
        known = tuple(panel for panel in panels if panel.series)
        if known:
            charts.append(_chart(number, ladder, known))
    return charts


def undertraining_tables(metrics: Mapping[str, Any]) -> list[Table]:
    return [*_phases(metrics), *_stopping(metrics)]


def _chart(number: int, ladder: Ladder, panels: tuple[Panel, ...]) -> Chart:
    return Chart(
        name=f"undertraining-{number:02d}",
        title="What more rows would have changed",
        how_to_read=(
            "At every snapshot, the share of the true features that are found at a cosine above 0.9 (where there is a "
            "truth), and the corrected MMCS of each size with the next larger one after as many rows: while the one "
            "still rises, the other compares unfinished dictionaries, and says little of size."
        ),
        panels=panels,
        family="undertraining",
        choice=ladder.label,
    )


def _recovery(dictionaries: Sequence[Dictionary]) -> Panel:
    return Panel(
        title="True features found: R(0.9)",
        x=Axis(title="activation rows seen", log=True),
        y=Axis(title="true features found (%)", range=(0, 101)),
        series=tuple(
            Series(
                x=found["rows"],
                y=[None if share is None else 100 * share for share in found["recovered"]],
                mark="linked",
                **of_size(i, d),
            )
            for i, d in enumerate(dictionaries)
            if (found := measured(d, "truth.snapshots"))
        ),
    )


def _agreement_with_next(metrics: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Map the path of each dictionary to its agreement, over rows, with the next larger one."""
    sizes = {d["path"]: d["n_latents"] for d in metrics.get("dictionaries") or []}
    return {
        pair["from"]: found
        for pair in metrics.get("pairs") or []
        if sizes[pair["from"]] < sizes[pair["to"]] and (found := measured(pair, "snapshots"))
    }


def _agreement(dictionaries: Sequence[Dictionary], to_next: Mapping[str, Mapping[str, Any]]) -> Panel:
    known = [(i, d, to_next[d["path"]]) for i, d in enumerate(dictionaries) if d["path"] in to_next]
    values = [value for _, _, found in known for value in found["mmcs_corrected"] if value is not None]
    return Panel(
        title="Agreement with the next larger size",
        x=Axis(title="activation rows seen", log=True),
        y=Axis(title="corrected MMCS", range=(min([0, *values]), 1.02)),
        series=tuple(
            Series(x=found["rows"], y=found["mmcs_corrected"], mark="linked", **of_size(i, d)) for i, d, found in known
        ),
    )


def _phases(metrics: Mapping[str, Any]) -> list[Table]:
    groups = {
        ladder.label: [(*texts(d, PHASES),) for d in dictionaries if measured(d, "truth.snapshots")]
        for ladder, dictionaries in ladders(metrics).items()
    }
    groups = {label: rows for label, rows in groups.items() if rows}
    table = Table(
        title="When features were found",
        how_to_read=(
            "Rows to half is where R(0.9) first reached ½, interpolated between snapshots in log rows; the steepest "
            "rise is the pair of snapshots between which most features were found for a doubling of the rows: tens of "
            "per cent in one doubling are a phase transition, a few are steady learning."
        ),
        columns=titles(PHASES),
        groups=groups,
    )
    return [table] if groups else []


def _stopping(metrics: Mapping[str, Any]) -> list[Table]:
    said = metrics.get("stopping") or []
    by_path = {d["path"]: d for d in metrics.get("dictionaries") or []}
    table = Table(
        title="Did training stop when recovery had?",
        how_to_read=(
            "Dictionaries that the rule of convergence ended: where it held, what was found then and at the end, and "
            "what the longest training of the same dictionary found: a share near 100% says that the rule cost "
            "nothing; improved until is where the longest training came within 5% of its last value."
        ),
        columns=(
            *("dictionary", "rule held at", "ended at", "found then", "found at the end", "longest training"),
            *("it found", "share of that", "improved until"),
        ),
        groups={
            "": [
                (
                    full_name(by_path[one["path"]]),
                    count(one["held_at"]),
                    count(one["rows"]),
                    percent(one["recovered_at"]),
                    percent(one["recovered"]),
                    count(one["twin_rows"]) if one["twin"] else NOT_MEASURED,
                    percent(one["final"]),
                    percent(one["share"]),
                    count(one["improved_until"]),
                )
                for one in said
            ]
        },
    )
    return [table] if said else []
