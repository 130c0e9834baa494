"""Training: the curves, and whether they had levelled off when training ended."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from analyze.format import Number, count
from analyze.ladders import ladders
from analyze.report.draw.chart import Axis, Chart, Panel, Series
from analyze.report.section import Section
from analyze.report.sections.convergence import convergence_table, snapshot_charts
from analyze.report.sections.undertraining import undertraining_charts, undertraining_tables
from analyze.schema.record import measured

STILL_FALLING = 0.05  # a loss that fell by more than this share over the last half of the rows has not converged
POINTS = 400  # of a curve that are drawn

PANELS = (
    ("loss", Axis(title="training loss", log=True), 1),
    ("fvu", Axis(title="FVU", log=True), 1),
    ("l0", Axis(title="L0 (latents active per row)", from_zero=True), 1),
    ("dead", Axis(title="dead latents (%)", from_zero=True), 100),
)


def training_section(metrics: Mapping[str, Any]) -> Section:
    charts = [*_curves(metrics), *undertraining_charts(metrics), *snapshot_charts(metrics)]
    falls = {d["path"]: last_half_fall(measured(d, "curve")) for d in metrics.get("dictionaries") or []}
    return Section(
        name="training",
        title="Training",
        paragraphs=[
            "Dictionaries that are still learning differ because they are unfinished, whatever their size: those "
            "that had not converged are named in the overview.",
        ]
        if charts
        else [],
        tables=convergence_table(metrics, falls),
        charts=charts,
        more_tables=undertraining_tables(metrics),
    )


def still_learning(dictionary: Mapping[str, Any]) -> bool:
    """Take the analysis's verdict on convergence, or, without one, judge by how far the curve fell at the end."""
    verdict = measured(dictionary, "convergence.converged")
    return (last_half_fall(measured(dictionary, "curve")) or 0) > STILL_FALLING if verdict is None else not verdict


def last_half_fall(curve: Mapping[str, Any] | None) -> float | None:
    """Measure by what share a curve fell over the last half of its rows, None where it is too short to tell.

    It compares the median over the tenth of the rows before the middle with the median over the last tenth:
    of the FVU where the curve has it, else of the loss.
    """
    rows = curve["rows"] if curve else []
    values = (curve["fvu"] or curve["loss"]) if curve else []
    known = [(row, value) for row, value in zip(rows, values, strict=bool(values)) if value is not None]
    if not known:
        return None
    end = known[-1][0]
    middle = [value for row, value in known if 0.4 * end <= row <= 0.5 * end]
    last = [value for row, value in known if row >= 0.9 * end]
    return 1 - median(last) / median(middle) if middle and median(middle) > 0 else None


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
                        "One line per size over the rows it has seen, on a logarithmic axis: a line that still "
                        "slopes at its right end would have improved with more rows, and its dictionary should not "
                        "be compared with a finished one."
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
