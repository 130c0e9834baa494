"""Families: what becomes of features from size to size, and a tree to walk along."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from analyze.format import count
from analyze.ladders import Ladder, ladder_of
from analyze.report.draw.chart import Axis, Chart, FamilyTree, HeatMap, Kinship, Panel, Series
from analyze.report.section import Table
from analyze.schema.metric import texts, titles
from analyze.schema.metrics import BY_BOTH, BY_COSINE, BY_MASKED, COSINE_RANDOM, MUTUAL
from analyze.schema.record import measured

BASES = (BY_COSINE, BY_BOTH, BY_MASKED)

Dictionary = Mapping[str, Any]


class Step(NamedTuple):
    """How the features of one size and of the next are related, and the dictionaries."""

    found: Mapping[str, Any]
    small: Dictionary
    large: Dictionary

    @property
    def label(self) -> str:
        return f"{count(self.small['n_latents'])} → {count(self.large['n_latents'])}"


def family_charts(metrics: Mapping[str, Any]) -> list[Chart]:
    chains = _chains(metrics)
    return [*_trees(chains), *_fates(chains), *_rests(chains), *_survival(metrics)]


def family_tables(metrics: Mapping[str, Any]) -> list[Table]:
    chains = _chains(metrics)
    table = Table(
        title="What relations between sizes rest on",
        how_to_read=(
            "Edges join a feature of one size and one of the next: because their directions have a cosine of at least "
            "0.7, because they fire alike where the larger size's fires (masked cosine at least 0.6), or both. Mutual "
            "are those of which each feature is the other's nearest by direction. Random counts the edges that as many "
            "random directions would have by cosine: many in few dimensions."
        ),
        columns=("from", "to", "edges", *titles((MUTUAL, *BASES, COSINE_RANDOM))),
        groups={
            ladder.label: [
                (
                    *(count(d["n_latents"]) for d in (step.small, step.large)),
                    count(_edges(step)),
                    *texts(step.found, (MUTUAL, *BASES, COSINE_RANDOM)),
                )
                for step in steps
            ]
            for ladder, steps in chains.items()
        },
    )
    return [table] if chains else []


def _edges(step: Step) -> int:
    return sum(base.value(step.found) for base in BASES)


def _chains(metrics: Mapping[str, Any]) -> dict[Ladder, list[Step]]:
    """Sort the steps into ladders, each from the smallest size on; a ladder with a gap becomes none."""
    by_path = {d["path"]: d for d in metrics.get("dictionaries") or []}
    chains: dict[Ladder, list[Step]] = {}
    steps = [Step(f, by_path[f["from"]], by_path[f["to"]]) for f in metrics.get("families") or []]
    for step in sorted(steps, key=lambda step: step.small["n_latents"]):
        chains.setdefault(ladder_of(step.small), []).append(step)
    order = {d["hook"]: i for i, d in reversed([*enumerate(by_path.values())])}
    return dict(sorted(chains.items(), key=lambda item: (order[item[0].hook], item[0])))


def _trees(chains: Mapping[Ladder, Sequence[Step]]) -> list[Chart]:
    return [
        Chart(
            name=f"family-tree-{number:02d}",
            title="Family tree of features",
            how_to_read=(
                "Press a feature to see its parents in the smaller sizes (left) and its children in the larger ones "
                "(right), or type its number. Solid lines join features with a cosine of at least 0.7, dashed lines "
                "features that fire alike where the child fires; thicker lines have higher cosines."
            ),
            panels=(
                FamilyTree(
                    title=ladder.label,
                    sizes=tuple(
                        count(n) for n in (steps[0].small["n_latents"], *(s.large["n_latents"] for s in steps))
                    ),
                    paths=(steps[0].small["path"], *(step.large["path"] for step in steps)),
                    kinships=tuple(tuple(Kinship(*edge) for edge in step.found["edges"]) for step in steps),
                ),
            ),
            family="family-tree",
            choice=ladder.label,
        )
        for number, (ladder, steps) in enumerate(chains.items())
        if all(a.large["path"] == b.small["path"] for a, b in pairwise(steps))
        and any(step.found.get("edges") for step in steps)
    ]


def _fates(chains: Mapping[Ladder, Sequence[Step]]) -> list[Chart]:
    return [
        Chart(
            name=f"fates-{number:02d}",
            title="What becomes of features from size to size",
            how_to_read=(
                "Left: the smaller size's alive features, with one child (persists), several (splits) or none "
                "(vanished). Right: the larger size's, with one parent, several (merges) or none (new)."
            ),
            panels=(
                _bars("Features of the smaller size", steps, _down(steps)),
                _bars("Features of the larger size", steps, _up(steps)),
            ),
            family="fates",
            choice=ladder.label,
        )
        for number, (ladder, steps) in enumerate(chains.items())
    ]


def _down(steps: Sequence[Step]) -> list[tuple[str, int, list[float | None]]]:
    keys = ("persists", "splits", "vanished")
    totals = [None if _unknown(step) else sum(step.found[key] for key in keys) for step in steps]
    return [
        (
            key,
            colour,
            [100 * step.found[key] / total if total else None for step, total in zip(steps, totals, strict=True)],
        )
        for key, colour in zip(keys, (0, 4, 6), strict=True)
    ]


def _up(steps: Sequence[Step]) -> list[tuple[str, int, list[float | None]]]:
    shares: dict[str, list[float | None]] = {"one parent": [], "merges": [], "new": []}
    for step in steps:
        alive = 0 if _unknown(step) else round((measured(step.large, "alive_fraction") or 0) * step.large["n_latents"])
        new, merges = step.found["new"] or 0, step.found["merges"] or 0
        for key, features in (("one parent", alive - new - merges), ("merges", merges), ("new", new)):
            shares[key].append(100 * features / alive if alive else None)
    return [(key, colour, values) for (key, values), colour in zip(shares.items(), (0, 3, 2), strict=True)]


def _rests(chains: Mapping[Ladder, Sequence[Step]]) -> list[Chart]:
    by_hook: dict[str, list[Panel]] = {}
    for ladder, steps in chains.items():
        by_hook.setdefault(ladder.hook, []).append(_bases(ladder.label, steps))
    return [
        Chart(
            name=f"edges-{number:02d}",
            title="What relations between sizes rest on",
            how_to_read=(
                "The share of edges that rest on the cosine of directions, on firing alike where the larger size's "
                "feature fires (masked cosine), or on both. Dots are the share of edges of which each feature is the "
                "other's nearest by direction."
            ),
            panels=tuple(panels),
            family="edges",
            choice=hook,
        )
        for number, (hook, panels) in enumerate(by_hook.items())
    ]


def _bases(title: str, steps: Sequence[Step]) -> Panel:
    totals = [_edges(step) for step in steps]
    return Panel(
        title=title,
        x=Axis(title="from → to (latents)", categories=tuple(step.label for step in steps)),
        y=Axis(title="edges (%)", range=(0, 100)),
        series=tuple(
            Series(
                name=base.title,
                x=range(len(steps)),
                y=[100 * base.value(s.found) / n if n else None for s, n in zip(steps, totals, strict=True)],
                mark="points" if base is MUTUAL else "bars",
                colour=colour,
                notes=[f"{base.text(s.found)} of {count(n)}" for s, n in zip(steps, totals, strict=True)],
            )
            for base, colour in zip((*BASES, MUTUAL), (0, 5, 4, 6), strict=True)
        ),
    )


def _unknown(step: Step) -> bool:
    """Tell whether one of the two sizes has no alive feature, so that there are no fates."""
    return step.found["vanished"] is None


def _bars(title: str, steps: Sequence[Step], shares: Sequence[tuple[str, int, list[float | None]]]) -> Panel:
    return Panel(
        title=title,
        x=Axis(title="from → to (latents)", categories=tuple(step.label for step in steps)),
        y=Axis(title="features (%)", range=(0, 100)),
        series=tuple(
            Series(name=name, x=range(len(steps)), y=values, mark="bars", colour=colour)
            for name, colour, values in shares
        ),
    )


def _survival(metrics: Mapping[str, Any]) -> list[Chart]:
    by_path = {d["path"]: d for d in metrics.get("dictionaries") or []}
    by_hook: dict[str, list[HeatMap]] = {}
    for found in metrics.get("lineages") or []:
        dictionaries = [by_path[path] for path in found["paths"]]
        names = tuple(count(d["n_latents"]) for d in dictionaries)
        table = found["survival"]
        heat_map = HeatMap(
            title=ladder_of(dictionaries[0]).label,
            x="in (latents)",
            y="of (latents)",
            columns=names[1:],
            rows=names[:-1],
            values=tuple(
                tuple(value if j >= i else None for j, value in enumerate(row[1:])) for i, row in enumerate(table[:-1])
            ),
            notes=tuple(
                tuple(f"{100 * value:.0f}%" if j >= i and value is not None else "" for j, value in enumerate(row[1:]))
                for i, row in enumerate(table[:-1])
            ),
            range=(0, 1),
        )
        by_hook.setdefault(dictionaries[0]["hook"], []).append(heat_map)
    return [
        Chart(
            name=f"lineages-{number:02d}",
            title="How long lineages last",
            how_to_read=(
                "Row → column: the share of a size's alive features that still have descendants in a larger size, "
                "through every step in between. A steep drop along a row means that those features were particular to "
                "that size."
            ),
            panels=tuple(heat_maps),
            family="lineages",
            choice=hook,
        )
        for number, (hook, heat_maps) in enumerate(by_hook.items())
    ]
