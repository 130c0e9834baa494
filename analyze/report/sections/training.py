"""Training: the curves, and whether dictionaries had converged."""

from collections.abc import Mapping, Sequence
from typing import Any

from analyze.format import Number, count
from analyze.ladders import ladders
from analyze.report.draw.chart import Axis, Chart, Panel, Series
from analyze.report.section import Section
from analyze.report.sections.convergence import convergence_table, has_stalled, snapshot_charts
from analyze.report.sections.undertraining import undertraining_charts, undertraining_tables
from analyze.schema.record import measured

POINTS = 400  # of a curve that are drawn

PANELS = (
    ("loss", Axis(title="training loss", log=True), 1),
    ("fvu", Axis(title="FVU", log=True), 1),
    ("l0", Axis(title="L0 (latents active per row)", from_zero=True), 1),
    ("dead", Axis(title="dead latents (%)", from_zero=True), 100),
)


def training_section(metrics: Mapping[str, Any]) -> Section:
    charts = [*_curves(metrics), *undertraining_charts(metrics), *snapshot_charts(metrics)]
    return Section(
        name="training",
        title="Training",
        paragraphs=[
            "A dictionary that is still learning differs from the others because it is unfinished, whatever its size. "
            "The overview names those that had not converged.",
            *_not_judged(metrics),
        ]
        if charts
        else [],
        tables=convergence_table(metrics),
        charts=charts,
        more_tables=undertraining_tables(metrics),
    )


def still_learning(dictionary: Mapping[str, Any]) -> bool:
    """Tell whether the trainer's rule says that a dictionary went on learning; without a verdict, False."""
    return measured(dictionary, "convergence.converged") is False and not has_stalled(dictionary)


def _not_judged(metrics: Mapping[str, Any]) -> list[str]:
    """Say of how many dictionaries it is not known whether they had converged."""
    dictionaries = metrics.get("dictionaries") or []
    unknown = [d for d in dictionaries if measured(d, "convergence.converged") is None]
    if not unknown:
        return []
    return [
        f"{len(unknown)} of {len(dictionaries)} dictionaries carry no verdict of winnow's trainer: it is not known "
        "whether they had converged."
    ]


def _curves(metrics: Mapping[str, Any]) -> list[Chart]:
    charts = []
    for number, (ladder, dictionaries) in enumerate(ladders(metrics).items()):
        curves = {d["n_latents"]: measured(d, "curve") for d in dictionaries if measured(d, "curve.rows")}
        panels = tuple(
            Panel(title=axis.title, x=Axis(title="activation rows seen", log=True), y=axis, series=series)
            for key, axis, scale in PANELS
            if (
                series := tuple(_curve(size, c, key, scale, axis.log) for size, c in curves.items() if measured(c, key))
            )
        )
        if panels:
            charts.append(
                Chart(
                    name=f"training-{number:02d}",
                    title="Training curves",
                    how_to_read=(
                        "One line per size over the rows that it has seen, on a logarithmic axis. A line that still "
                        "slopes at its right end would have improved with more rows; do not compare its dictionary "
                        "with a finished one."
                    ),
                    panels=panels,
                    family="training",
                    choice=ladder.label,
                )
            )
    return charts


def _curve(size: int, curve: Mapping[str, Any], key: str, scale: Number, log: bool) -> Series:
    kept = _spread_out(len(curve["rows"]))
    return Series(
        name=f"{count(size)} latents",
        x=[curve["rows"][i] or None for i in kept],
        y=[None if (v := curve[key][i]) is None or (log and v <= 0) else scale * v for i in kept],
    )


def _spread_out(n: int) -> Sequence[int]:
    """Choose at most `POINTS` of n points, evenly in the logarithm of their place, first and last among them."""
    if n <= POINTS:
        return range(n)
    return sorted({round(n ** (i / (POINTS - 1))) - 1 for i in range(POINTS)})
