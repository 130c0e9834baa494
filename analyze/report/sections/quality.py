"""Quality: how much of the activations each dictionary keeps, with how many latents, and how many are dead."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from analyze.format import NOT_MEASURED, Number, count
from analyze.ladders import full_name, ladders
from analyze.report.draw.chart import Axis, Chart, Panel, Series
from analyze.report.section import Section, Table
from analyze.report.sections.baselines import baseline_series, baseline_table, shrinkage_chart
from analyze.report.sections.density import density_charts
from analyze.schema.metric import texts, titles
from analyze.schema.metrics import (
    DEAD,
    DROPPED,
    FVU,
    FVU_ALL_ROWS,
    L0,
    L0_HIGH,
    L0_LOW,
    LOSS_RECOVERED,
    N_LATENTS,
    QUALITY,
    ROWS_LEFT_OUT,
    SHARED_16,
    SHARED_64,
)
from analyze.schema.record import measured

Dictionary = Mapping[str, Any]


def quality_section(metrics: Mapping[str, Any], controls: Sequence[Table] = ()) -> Section:
    if not metrics.get("dictionaries"):
        return Section(name="quality", title="Quality")
    return Section(
        name="quality",
        title="Quality",
        paragraphs=[
            "Everything here is measured on sequences that no dictionary was trained on. Read FVU and L0 together: "
            "more active latents always reconstruct better, so compare dictionaries at equal L0 only.",
            *text_in_both(metrics),
        ],
        tables=[_table(metrics), *controls, *baseline_table(metrics)],
        charts=[chart for make in (_frontier, _recovered, shrinkage_chart, _dead) if (chart := make(metrics)).panels]
        + density_charts(metrics),
    )


def text_in_both(metrics: Mapping[str, Any]) -> list[str]:
    """Say how much of the held-out text the dictionaries were trained on all the same; nothing of toy data."""
    evaluation = metrics.get("evaluation")
    if not evaluation or not evaluation["shared_ngrams"]:
        return []
    said = (
        f"The held-out text is not all new: {SHARED_16.text(evaluation)} of its stretches of 16 tokens and "
        f"{SHARED_64.text(evaluation)} of those of 64 also stand in the harvested text."
    )
    if evaluation["dropped_sequences"] is None:
        return [f"{said} text.drop_shared_ngrams, in a new run, leaves such text out."]
    return [f"{said} {DROPPED.text(evaluation)} sequences were left out of the harvest for what they shared."]


def _table(metrics: Mapping[str, Any]) -> Table:
    left_out = any(measured(d, "rows_left_out") for d in metrics["dictionaries"])
    quality = (FVU, FVU_ALL_ROWS, ROWS_LEFT_OUT, *QUALITY[1:]) if left_out else QUALITY
    return Table(
        title="Dictionaries",
        how_to_read=(
            "FVU is the fraction of variance unexplained (0 is perfect, 1 is no better than the mean row). Loss "
            "recovered is 0% with the hook's activation set to zero, or to its mean, and 100% for the unchanged "
            "model. Dead latents never fired on the evaluation rows; alive ones fired on more than 10 of them."
            + (" Massive rows are left out of everything but the FVU of all rows." if left_out else "")
        ),
        columns=(N_LATENTS.title, L0.title, "L0, 5–95% of rows", *titles(quality)),
        groups={
            ladder.label: [(N_LATENTS.text(d), L0.text(d), _spread(d), *texts(d, quality)) for d in dictionaries]
            for ladder, dictionaries in ladders(metrics).items()
        },
    )


def _spread(dictionary: Dictionary) -> str:
    known = dictionary["l0_quantiles"] is not None
    return f"{L0_LOW.text(dictionary)} to {L0_HIGH.text(dictionary)}" if known else NOT_MEASURED


def _frontier(metrics: Mapping[str, Any]) -> Chart:
    panels = _per_hook(metrics, FVU.value, Axis(title=FVU.title, log=True), _l0)
    return Chart(
        name="fvu-l0",
        title="Reconstruction against sparsity",
        how_to_read=(
            "Each mark is a dictionary. Lower and further left is better; at the same L0 the lower one reconstructs "
            "more. Colours are sizes, symbols architectures. Grey marks are simpler codes: PCA and random directions "
            "at the same L0, and the nearest of as many k-means centres, at L0 1."
        ),
        panels=tuple(
            replace(panel, series=(*panel.series, *baseline_series(_at_hook(metrics, panel.title)))) for panel in panels
        ),
    )


def _recovered(metrics: Mapping[str, Any]) -> Chart:
    return Chart(
        name="loss-recovered",
        title="Loss recovered against sparsity",
        how_to_read=(
            "100% means that the model predicts as well from the reconstruction as from its own activation, 0% that "
            "it predicts no better than from zeros. A hook that matters little to the loss makes this easy, so "
            "compare dictionaries of one hook only."
        ),
        panels=_per_hook(
            metrics,
            lambda d: None if (value := LOSS_RECOVERED.value(d)) is None else 100 * value,
            Axis(title=f"{LOSS_RECOVERED.title} (%)"),
            _l0,
        ),
    )


def _dead(metrics: Mapping[str, Any]) -> Chart:
    sizes = tuple(sorted({d["n_latents"] for d in metrics["dictionaries"]}))
    most = max((DEAD.value(d) or 0 for d in metrics["dictionaries"]), default=0)
    return Chart(
        name="dead-latents",
        title="Dead latents",
        how_to_read=(
            "The share of each dictionary's latents that never fired on the evaluation rows. Dead latents are wasted "
            "capacity: a size whose dead share jumps is too large for its training."
        ),
        panels=_per_hook(
            metrics,
            lambda d: None if (value := DEAD.value(d)) is None else 100 * value,
            Axis(title="dead latents (%)", range=(-1, max(10, 105 * most))),
            (Axis(title="latents in the dictionary", log=True, ticks=sizes), lambda d: d["n_latents"]),
        ),
    )


def _at_hook(metrics: Mapping[str, Any], hook: str) -> list[Dictionary]:
    return [d for d in metrics["dictionaries"] if d["hook"] == hook]


_l0 = (Axis(title=f"{L0.title} ({L0.unit})", log=True), L0.value)


def _per_hook(
    metrics: Mapping[str, Any],
    y_of: Callable[[Dictionary], Number | None],
    y: Axis,
    horizontal: tuple[Axis, Callable[[Dictionary], Number | None]],
) -> tuple[Panel, ...]:
    """Make one panel per hook, with a series per architecture and size; what was not measured is left out."""
    x, x_of = horizontal
    sizes = sorted({d["n_latents"] for d in metrics["dictionaries"]})
    architectures = sorted({d["architecture"] for d in metrics["dictionaries"]})
    panels: dict[str, dict[tuple[str, int], list[Dictionary]]] = {}
    for dictionaries in ladders(metrics).values():
        for d in dictionaries:
            if x_of(d) is not None and y_of(d) is not None:
                panels.setdefault(d["hook"], {}).setdefault((d["architecture"], d["n_latents"]), []).append(d)
    return tuple(
        Panel(
            title=hook,
            x=x,
            y=y,
            series=tuple(
                Series(
                    name=f"{architecture} {count(size)}",
                    x=[x_of(d) for d in ordered],
                    y=[y_of(d) for d in ordered],
                    mark="linked",
                    colour=sizes.index(size),
                    symbol=architectures.index(architecture),
                    notes=[full_name(d) for d in ordered],
                )
                for (architecture, size), dictionaries in series.items()
                for ordered in [sorted(dictionaries, key=lambda d: (x_of(d) or 0, y_of(d) or 0))]
            ),
        )
        for hook, series in panels.items()
    )
