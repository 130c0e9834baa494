"""How much of the truth was found: over thresholds, sizes, sparsities, rows seen and firing rates."""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

from analyze.format import Number, count
from analyze.ladders import Ladder, ladder_of, ladders
from analyze.report.draw.chart import PALETTE, Axis, Chart, Panel, Series
from analyze.schema.record import measured

Dictionary = Mapping[str, Any]
Ladders = Mapping[Ladder, Sequence[Dictionary]]
SCORES = (  # name, where it stands in an entry's truth, whether a reference
    ("MMCS of the true features, corrected", "mmcs_corrected"),
    ("MMCS of the latents, corrected", "learned.mmcs_corrected"),
    ("matched mean", "matched_mean"),
    ("found (cosine above 0.9)", "recovered"),
    ("F1 of firing, mean", "firing.f1.mean"),
    ("MCC of firing, mean", "firing.mcc.mean"),
)


def truth_charts(metrics: Mapping[str, Any]) -> list[Chart]:
    known = {ladder: [d for d in found if measured(d, "truth")] for ladder, found in ladders(metrics).items()}
    known = {ladder: found for ladder, found in known.items() if found}
    return [*_recovery(known), *_over_sizes(known), *_over_sparsity(known), *_over_rows(known), *_over_rates(known)]


def of_size(number: int, dictionary: Dictionary) -> dict[str, Any]:
    """Name the series of a size, and keep more sizes apart than there are colours."""
    return {"name": f"{count(dictionary['n_latents'])} latents", "colour": number, "symbol": number // len(PALETTE)}


def _family(known: Ladders, name: str, title: str, how: str, panels: Callable[..., list[Panel]]) -> list[Chart]:
    return [
        Chart(
            name=f"{name}-{i:02d}",
            title=title,
            how_to_read=how,
            panels=tuple(drawn),
            family=name,
            choice=ladder.label,
        )
        for i, (ladder, found) in enumerate(known.items())
        if (drawn := panels(found))
    ]


def _recovery(known: Ladders) -> list[Chart]:
    def panels(found: Sequence[Dictionary]) -> list[Panel]:
        curves = [(i, d, measured(d, "truth.recovery")) for i, d in enumerate(found)]
        series = tuple(
            Series(x=curve["thresholds"], y=[100 * share for share in curve["shares"]], **of_size(i, d))
            for i, d, curve in curves
            if curve
        )
        axes = Axis(title="threshold on the cosine", range=(0, 1)), Axis(title="true features above it (%)")
        y = Axis(title=axes[1].title, range=(0, 101))
        return [Panel(title="True features found", x=axes[0], y=y, series=series)] if series else []

    return _family(
        known,
        "true-recovery",
        "How many true features are found",
        "R(τ) is the share of the true features with an alive latent at a cosine above τ. The further right a curve "
        "stays high, the more exactly they are found; where it falls early, latents are only roughly aligned with "
        "them.",
        panels,
    )


def _over_sizes(known: Ladders) -> list[Chart]:
    def panels(found: Sequence[Dictionary]) -> list[Panel]:
        points = [(d["truth"]["size_ratio"], d) for d in found]
        x = Axis(title="latents per true feature", log=True, ticks=tuple(ratio for ratio, _ in points))
        return [_scores(points, x)] if len(points) > 1 else []

    return _family(
        known,
        "true-sizes",
        "Recovery of the truth over sizes",
        "Scores over the number of latents per true feature; all are 1 where the dictionary equals the truth. Too "
        "small a dictionary cannot hold all features. Where the score of the latents falls to the right, the surplus "
        "latents are not features.",
        panels,
    )


def _over_sparsity(known: Ladders) -> list[Chart]:
    """Make a chart for each size of what differs in its sparsity alone."""
    found = [(ladder, d) for ladder, dictionaries in known.items() for d in dictionaries if len(ladder.sparsity) == 1]

    def alike(item: tuple[Ladder, Dictionary]) -> tuple[Any, ...]:
        ladder, d = item
        rest = (ladder.hook, ladder.architecture, ladder.options, ladder.seed)
        return (*rest, ladder.sparsity[0][0], d["n_latents"])

    charts = []
    for number, (key, items) in enumerate(groupby(sorted(found, key=alike), key=alike)):
        hook, _, _, seed, name, size = key
        points = [(ladder.sparsity[0][1], d) for ladder, d in items]
        if len(points) > 1:
            plain = ladder_of({**points[0][1], "sparsity": {}})
            charts.append(
                Chart(
                    name=f"true-sparsity-{number:02d}",
                    title="Recovery of the truth over sparsity",
                    how_to_read=(
                        "The same scores over the sparsity setting; read them with the heat maps. They peak at the "
                        "sparsity at which latents match features best."
                    ),
                    panels=(_scores(points, Axis(title=name, log=True)),),
                    family="true-sparsity",
                    choice=f"{hook} · {plain.kind} · {count(size)} latents · seed {seed}",
                )
            )
    return charts


def _scores(points: Sequence[tuple[Number, Dictionary]], x: Axis) -> Panel:
    values = {name: [measured(d, f"truth.{key}") for _, d in points] for name, key in SCORES}
    lowest = min([0.0, *(value for of_one in values.values() for value in of_one if value is not None)])
    ordered = sorted(range(len(points)), key=lambda i: points[i][0])
    return Panel(
        title="Scores against the truth",
        x=x,
        y=Axis(title="score (1: all of it)", range=(lowest, 1.02)),
        series=tuple(
            Series(
                name=name,
                x=[points[i][0] for i in ordered],
                y=[of_one[i] for i in ordered],
                mark="linked",
                notes=[f"{count(points[i][1]['n_latents'])} latents" for i in ordered],
            )
            for name, of_one in values.items()
        ),
    )


def _over_rows(known: Ladders) -> list[Chart]:
    def panels(found: Sequence[Dictionary]) -> list[Panel]:
        kept = [(i, d) for i, d in enumerate(found) if measured(d, "truth.snapshots.rows")]
        return [
            Panel(
                title=title,
                x=Axis(title="activation rows seen", log=True),
                y=Axis(title=title, range=(lowest, 101 if scale == 100 else 1.02)),
                series=tuple(
                    Series(
                        x=d["truth"]["snapshots"]["rows"],
                        y=[None if v is None else scale * v for v in d["truth"]["snapshots"][key]],
                        mark="linked",
                        **of_size(i, d),
                    )
                    for i, d in kept
                ),
            )
            for key, title, scale in (
                ("recovered", "true features found (%)", 100),
                ("mmcs_corrected", "corrected MMCS to the truth", 1),
            )
            if kept
            for lowest in [min([0, *(scale * v for _, d in kept for v in d["truth"]["snapshots"][key] if v)])]
        ]

    return _family(
        known,
        "true-rows",
        "Recovery of the truth over rows seen",
        "What had been found at each snapshot of the training, on a logarithmic axis. A sudden rise is a phase "
        "transition; a level end means that more rows would have found nothing more.",
        panels,
    )


def _over_rates(known: Ladders) -> list[Chart]:
    def panels(found: Sequence[Dictionary]) -> list[Panel]:
        return [
            Panel(
                title=title,
                x=Axis(title="log10 of the feature's firing rate"),
                y=Axis(title=title, range=(0, 1.02)),
                series=tuple(
                    Series(
                        x=[(b["from"] + b["to"]) / 2 for b in bins],
                        y=[b[key] for b in bins],
                        mark="linked",
                        notes=[f"{b['count']:,} features" for b in bins],
                        **of_size(i, d),
                    )
                    for i, d in enumerate(found)
                    if (bins := measured(d, "truth.by_firing_rate"))
                ),
            )
            for key, title in (("cosine", "mean cosine of the nearest latent"), ("f1", "mean F1 of its firing"))
        ]

    return _family(
        known,
        "true-rates",
        "Are rare features found?",
        "Features grouped by how often they fire: the mean cosine of the nearest latent, and how well its firing "
        "predicts theirs. Curves that fall to the left mean that rare features are missed.",
        panels,
    )
