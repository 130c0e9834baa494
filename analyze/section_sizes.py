"""Sizes: how much dictionaries of neighbouring sizes share, always beside what chance would give."""

from collections.abc import Mapping, Sequence
from typing import Any

from analyze.chart import Axis, Chart, HeatMap, Panel, Series
from analyze.section import Section, Table, decimal, measured, percent
from analyze.section_ladder import Pair, pairs_by_ladder

VISIBLE = 0.01  # per cent in a bin; chance gives every bin a little more than nothing
WIDE = 4  # columns of a heat map beyond which a cell has room for one number only


def sizes_section(metrics: Mapping[str, Any]) -> Section:
    groups = pairs_by_ladder(metrics)
    if not groups:
        return Section(name="sizes", title="Sizes")
    return Section(
        name="sizes",
        title="Sizes",
        paragraphs=[
            "For every alive latent of one dictionary, the most similar decoder direction of the other: the mean of "
            "these maximal cosines is MMCS. It has a direction: A → B asks whether what A found is in B. Random "
            "directions reach a sizeable MMCS too, more of it the larger B is, so each score stands beside its "
            "chance level: corrected is (MMCS − chance) / (1 − chance), 0 at chance and 1 for equal directions.",
        ],
        tables=[_table(groups)],
        charts=_heat_maps(groups) + _distributions(groups),
    )


def _table(groups: Mapping[str, Sequence[Pair]]) -> Table:
    return Table(
        title="Comparisons",
        how_to_read=(
            "Matched mean is the mean cosine when every latent may be used once only: MMCS far above it means "
            "duplicates and splits. Shared is the share of latents for which the matchings on encoder and on decoder "
            "agree with both cosines at least 0.7."
        ),
        columns=(
            *("from", "to", "MMCS", "chance", "corrected", "MMCS with dead", "median cosine"),
            *("matched mean", "shared"),
        ),
        groups={
            label: [
                (
                    *pair.ends,
                    decimal(measured(pair.scores, "mmcs")),
                    decimal(measured(pair.scores, "mmcs_null")),
                    decimal(measured(pair.scores, "mmcs_corrected")),
                    decimal(measured(pair.scores, "mmcs_with_dead")),
                    decimal((measured(pair.scores, "max_cosines.quantiles") or {}).get("0.5")),
                    decimal(measured(pair.scores, "matched_mean")),
                    percent(measured(pair.scores, "shared_fraction")),
                )
                for pair in pairs
            ]
            for label, pairs in groups.items()
        },
    )


def _heat_maps(groups: Mapping[str, Sequence[Pair]]) -> list[Chart]:
    """Make one chart with a heat map per ladder, or a chart per hook where there are many."""
    by_hook: dict[str, list[HeatMap]] = {}
    for label, pairs in groups.items():
        hook = pairs[0].source["hook"]
        by_hook.setdefault(hook, []).append(_heat_map(label, pairs))
    return [
        Chart(
            name=f"mmcs-{number:02d}",
            title="MMCS between sizes, corrected for chance",
            how_to_read=(
                "Row → column: how well the row's latents are present in the column's dictionary, 0 at chance and 1 "
                "for equal directions; in brackets, where there is room, the MMCS itself and its chance level. Above "
                "the diagonal a smaller dictionary is looked up in a larger one, below it the reverse; empty cells "
                "were not compared."
            ),
            panels=tuple(heat_maps),
            family="mmcs",
            choice=hook,
        )
        for number, (hook, heat_maps) in enumerate(by_hook.items())
    ]


def _heat_map(label: str, pairs: Sequence[Pair]) -> HeatMap:
    ends = {name: end["n_latents"] for p in pairs for name, end in zip(p.ends, (p.source, p.target), strict=True)}
    names = tuple(sorted(ends, key=lambda name: (ends[name], name)))
    scores = {pair.ends: pair.scores for pair in pairs}
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
        notes=tuple(tuple(_note(cell, wide=len(names) > WIDE) for cell in row) for row in cells),
        range=(0, 1),
    )


def _note(scores: Mapping[str, Any] | None, wide: bool) -> str:
    if scores is None:
        return ""
    corrected = decimal(measured(scores, "mmcs_corrected"), 2)
    both = f"({decimal(measured(scores, 'mmcs'), 2)}, {decimal(measured(scores, 'mmcs_null'), 2)})"
    return corrected if wide else f"{corrected}\n{both}"


def _distributions(groups: Mapping[str, Sequence[Pair]]) -> list[Chart]:
    charts = []
    for number, (label, pairs) in enumerate(groups.items()):
        panels = tuple(_distribution(pair) for pair in pairs if measured(pair.scores, "max_cosines"))
        if panels:
            charts.append(
                Chart(
                    name=f"max-cosines-{number:02d}",
                    title="The distribution of maximal cosines",
                    how_to_read=(
                        "Each latent's cosine with its most similar latent of the other dictionary; dashed, what "
                        "random directions would give. Latents at the right are present in both, those under the "
                        "dashed curve are no closer than chance, and a hump between the two is features that split "
                        "or merged."
                    ),
                    panels=panels,
                    family="max-cosines",
                    choice=label,
                )
            )
    return charts


def _distribution(pair: Pair) -> Panel:
    cosines = pair.scores["max_cosines"]
    total = sum(cosines["counts"]) or 1
    series = [Series(name="found", x=cosines["edges"], y=[100 * c / total for c in cosines["counts"]], mark="bins")]
    if null := measured(cosines, "null"):
        series.append(
            Series(
                name="chance",
                x=cosines["edges"],
                y=[100 * c / (sum(null) or 1) for c in null],
                mark="bins",
                reference=True,
            )
        )
    filled = [i for s in series for i, share in enumerate(s.y) if (share or 0) > VISIBLE]
    lowest = min([0, *(cosines["edges"][i] for i in filled)])
    mmcs, chance = (decimal(measured(pair.scores, key), 2) for key in ("mmcs", "mmcs_null"))
    return Panel(
        title=f"{pair.label}: MMCS {mmcs}, chance {chance}",
        x=Axis(title="maximal cosine", range=(lowest, 1)),
        y=Axis(title="latents (% per bin)", from_zero=True),
        series=tuple(series),
    )
