"""Whether dictionaries had stopped learning: the verdict on each, and how near each was to its end all along."""

from collections.abc import Mapping, Sequence
from typing import Any

from analyze.format import NOT_MEASURED, count, decimal, percent
from analyze.ladders import Ladder, ladders, ladders_of
from analyze.report.draw.chart import Axis, Chart, Panel, Series
from analyze.report.section import Table
from analyze.schema.record import measured

Dictionary = Mapping[str, Any]


def convergence_table(metrics: Mapping[str, Any], falls: Mapping[str, float | None]) -> list[Table]:
    """Make the table of verdicts; `falls` holds by what share each path's curve fell over its last half."""
    known = ladders_of(metrics, lambda d: measured(d, "convergence") or falls.get(d["path"]) is not None)
    table = Table(
        title="Had they converged?",
        how_to_read=(
            "Slope is d log FVU / d log rows at the end, 0 for a level curve; self-similarity is the mean cosine of "
            "the directions with themselves at half the training, 1 where they have stopped turning; a comparison with "
            "a dictionary that had not converged compares moments of trainings."
        ),
        columns=("latents", "rows seen", "slope", "fell over the last half", "self-similarity", "converged", "because"),
        groups={
            label: [
                (
                    count(d["n_latents"]),
                    count(measured(d, "rows")),
                    decimal(measured(d, "convergence.slope")),
                    percent(falls.get(d["path"])),
                    decimal(measured(d, "convergence.self_similarity")),
                    {True: "yes", False: "no", None: NOT_MEASURED}[measured(d, "convergence.converged")],
                    measured(d, "convergence.caveat") or "",
                )
                for d in dictionaries
            ]
            for label, dictionaries in known.items()
        },
    )
    return [table] if known else []


def snapshot_charts(metrics: Mapping[str, Any]) -> list[Chart]:
    """Make one chart per ladder whose dictionaries kept snapshots of their training."""
    charts = []
    for number, (ladder, dictionaries) in enumerate(ladders(metrics).items()):
        kept = [d for d in dictionaries if measured(d, "snapshots.rows")]
        if kept:
            charts.append(_snapshots(number, ladder, kept))
    return charts


def _snapshots(number: int, ladder: Ladder, dictionaries: Sequence[Dictionary]) -> Chart:
    return Chart(
        name=f"snapshots-{number:02d}",
        title="When features became what they are",
        how_to_read=(
            "The mean cosine of the final features with the nearest direction of each snapshot, and the share of them "
            "that were there already (cosine above 0.9), over the rows seen: a sudden rise is a phase in which "
            "features form, a slow one to the very end means that they were still turning."
        ),
        panels=tuple(
            Panel(
                title=title,
                x=Axis(title="activation rows seen", log=True),
                y=Axis(title=title, range=(0, scale)),
                series=tuple(
                    Series(
                        name=f"{count(d['n_latents'])} latents",
                        x=d["snapshots"]["rows"],
                        y=[None if value is None else scale * value for value in d["snapshots"][key]],
                        mark="linked",
                    )
                    for d in dictionaries
                ),
            )
            for key, title, scale in (
                ("similarity", "cosine with the final features", 1),
                ("recovered", "final features found (%)", 100),
            )
        ),
        family="snapshots",
        choice=ladder.label,
    )
