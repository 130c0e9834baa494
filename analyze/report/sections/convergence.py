"""Whether dictionaries had stopped learning: the verdict on each, and how near each was to its end all along."""

from collections.abc import Mapping, Sequence
from typing import Any

from analyze.format import NOT_MEASURED, count
from analyze.ladders import Ladder, ladders, ladders_of
from analyze.report.draw.chart import Axis, Chart, Panel, Series
from analyze.report.section import Table
from analyze.schema.metric import texts, titles
from analyze.schema.metrics import LOSS_SHARE, SIMILARITY, SLOPE, START_SIMILARITY
from analyze.schema.record import measured

NUMBERS = (SLOPE, SIMILARITY, START_SIMILARITY, LOSS_SHARE)

Dictionary = Mapping[str, Any]


def convergence_table(metrics: Mapping[str, Any]) -> list[Table]:
    """Make the table of the trainer's verdicts."""
    known = ladders_of(metrics, lambda d: measured(d, "convergence"))
    table = Table(
        title="Had they converged?",
        how_to_read=(
            "The trainer's own rule: slope is d log loss / d log rows of the held-out loss over the last doubling of "
            "the rows at full rate, 0 for a level curve; self-similarity is the mean cosine of the directions with "
            "themselves at half the rows, 1 where they have stopped turning. What stands still has converged only if "
            "it has learned: its directions have left their start and its loss has fallen; otherwise it has stalled. A "
            "comparison with a dictionary that had not converged compares moments of trainings."
        ),
        columns=(
            "latents",
            "rows seen",
            *titles(NUMBERS),
            "converged",
            "because",
        ),
        groups={
            label: [
                (
                    count(d["n_latents"]),
                    count(measured(d, "rows")),
                    *texts(d, NUMBERS),
                    _verdict(d),
                    measured(d, "convergence.caveat") or "",
                )
                for d in dictionaries
            ]
            for label, dictionaries in known.items()
        },
    )
    return [table] if known else []


def has_stalled(dictionary: Dictionary) -> bool:
    """Tell whether a dictionary stood still without having learned."""
    return bool(measured(dictionary, "convergence.stalled"))


def _verdict(dictionary: Dictionary) -> str:
    if has_stalled(dictionary):
        return "stalled"
    return {True: "yes", False: "no", None: NOT_MEASURED}[measured(dictionary, "convergence.converged")]


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
        title="When features formed",
        how_to_read=(
            "The mean cosine of the final features with the nearest direction of each snapshot, and the share of them "
            "that existed already (cosine above 0.9), over the rows seen. A sudden rise is a phase in which features "
            "form; a slow rise to the very end means that they were still turning."
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
