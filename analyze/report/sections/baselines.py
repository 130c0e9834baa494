"""What stands beside a dictionary's quality: simpler codes at its sparsity, and how far its latents are too small."""

from collections.abc import Mapping, Sequence
from typing import Any

from analyze.ladders import full_name, ladders, ladders_of
from analyze.report.draw.chart import Axis, Chart, Panel, Series
from analyze.report.section import Table
from analyze.schema.metric import texts, titles
from analyze.schema.metrics import (
    BASELINES,
    FVU,
    KMEANS,
    L0,
    N_LATENTS,
    PCA,
    RANDOM,
    SHRINKAGE,
    SHRINKAGE_HIGH,
    SHRINKAGE_LOW,
)

Dictionary = Mapping[str, Any]
DRAWN = {PCA: "PCA keeping L0 components", KMEANS: "k-means, L0 = 1", RANDOM: "random directions"}


def baseline_series(dictionaries: Sequence[Dictionary]) -> list[Series]:
    """Draw the baselines of dictionaries of one hook at the L0 that they were measured for."""
    series = []
    for number, (baseline, name) in enumerate(DRAWN.items()):
        known = [d for d in dictionaries if baseline.value(d) is not None and L0.value(d)]
        known.sort(key=lambda d: (d["l0"], d["n_latents"]))
        if known:
            series.append(
                Series(
                    name=name,
                    x=[1 if baseline is KMEANS else d["l0"] for d in known],
                    y=[baseline.value(d) for d in known],
                    mark="linked" if baseline is PCA else "points",
                    reference=True,
                    symbol=4 - number,
                    notes=[f"beside {full_name(d)}" for d in known],
                )
            )
    return series


def baseline_table(metrics: Mapping[str, Any]) -> list[Table]:
    known = ladders_of(metrics, lambda d: d["baselines"])
    table = Table(
        title="Beside simpler codes",
        how_to_read=(
            "The FVU of codes that have learned less: PCA keeping as many components as the dictionary's L0, the "
            "nearest of as many k-means centres as it has latents, random directions with the dictionary's sparsity "
            "and the best gain, and the untrained dictionary; shrinkage is the factor by which the median latent is "
            "too small (1 is right, more is what an L1 penalty does), with its 5–95% range."
        ),
        columns=(*titles((N_LATENTS, L0, FVU, *BASELINES, SHRINKAGE)), "5–95% of latents"),
        groups={
            label: [
                (
                    *texts(d, (N_LATENTS, L0, FVU, *BASELINES, SHRINKAGE)),
                    f"{SHRINKAGE_LOW.text(d)} to {SHRINKAGE_HIGH.text(d)}",
                )
                for d in dictionaries
            ]
            for label, dictionaries in known.items()
        },
    )
    return [table] if known else []


def shrinkage_chart(metrics: Mapping[str, Any]) -> Chart:
    hooks: dict[str, list[Series]] = {}
    sizes = tuple(sorted({d["n_latents"] for d in metrics["dictionaries"]}))
    settings = sorted({ladder.kind for ladder in ladders(metrics)})
    for ladder, dictionaries in ladders(metrics).items():
        known = [d for d in dictionaries if SHRINKAGE.value(d) is not None]
        if known:
            place = settings.index(ladder.kind)
            hooks.setdefault(ladder.hook, []).append(
                Series(
                    name=ladder.kind,
                    x=[d["n_latents"] for d in known],
                    y=[SHRINKAGE.value(d) for d in known],
                    low=[SHRINKAGE_LOW.value(d) for d in known],
                    high=[SHRINKAGE_HIGH.value(d) for d in known],
                    mark="linked",
                    colour=place,
                    symbol=place,
                )
            )
    right = Series(name="right size", x=[sizes[0] * 0.9, sizes[-1] * 1.1], y=[1, 1], reference=True)
    return Chart(
        name="shrinkage",
        title="Shrinkage",
        how_to_read=(
            "By what factor a latent's value should grow to explain most beside the others: 1 is right, above it "
            "latents are systematically too small, as an L1 penalty makes them; marks are medians, lines span 5–95% "
            "of the latents."
        ),
        panels=tuple(
            Panel(
                title=hook,
                x=Axis(title="latents in the dictionary", log=True, ticks=sizes),
                y=Axis(title="factor to the right size", from_zero=True),
                series=(*series, right),
            )
            for hook, series in hooks.items()
        ),
    )
