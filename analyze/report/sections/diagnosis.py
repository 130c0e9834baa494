"""What intermediate cosines mean: whether a feature is present, composed of several, or absent in the other size."""

from collections.abc import Mapping, Sequence

from analyze.format import Number, decimal
from analyze.ladders import Pair
from analyze.report.draw.chart import Axis, Chart, Panel, Series
from analyze.report.section import Table
from analyze.schema.metric import texts, titles
from analyze.schema.metrics import (
    ABSENT,
    ABSENT_RANDOM,
    BY_RANDOM,
    COMPOSED,
    COMPOSED_RANDOM,
    PARTICIPATION,
    PRESENT,
    PRESENT_RANDOM,
)
from analyze.schema.record import measured

SHARES, RANDOM = (PRESENT, COMPOSED, ABSENT), (PRESENT_RANDOM, COMPOSED_RANDOM, ABSENT_RANDOM)
Groups = Mapping[str, Sequence[Pair]]


def diagnosis_tables(groups: Groups) -> list[Table]:
    known = _known(groups)
    table = Table(
        title="What intermediate cosines mean",
        how_to_read=(
            "Each direction is approximated by one to four of the other dictionary's, with weights of at least 0; R² "
            "is the share of its square that they explain. Present: one explains 0.8 (a cosine of 0.89). Composed: "
            "four do, and one does not. Absent: four do not. Random is the same with as many random directions in "
            "place of the other dictionary: in few dimensions, four of them compose nearly anything. Participation is "
            "the effective number of directions, 1 to 4, for the median latent."
        ),
        columns=(
            *("from", "to", *titles(SHARES), *titles(RANDOM), "R², one", "R², two", "R², three", "R², four"),
            *("random, four", PARTICIPATION.title),
        ),
        groups={
            label: [
                (
                    *pair.ends,
                    *texts(pair.scores, SHARES),
                    *texts(pair.scores, RANDOM),
                    *[decimal(r2) for r2 in [*(measured(pair.scores, "diagnosis.r2") or []), *[None] * 4][:4]],
                    decimal(BY_RANDOM.value(pair.scores)),
                    PARTICIPATION.text(pair.scores),
                )
                for pair in pairs
            ]
            for label, pairs in known.items()
        },
    )
    return [table] if known else []


def diagnosis_charts(groups: Groups) -> list[Chart]:
    """Make a chart per hook, with a panel per ladder and a bar per pair."""
    by_hook: dict[str, list[str]] = {}
    known = _known(groups)
    for label, pairs in known.items():
        by_hook.setdefault(pairs[0].source["hook"], []).append(label)
    return [
        Chart(
            name=f"diagnosis-{number:02d}",
            title="Present, composed or absent",
            how_to_read=(
                "The shares of each size's latents that one direction of the other dictionary explains to 80% "
                "(present), that only four together explain (composed: split or merged), and that four do not explain "
                "(absent). Marks show how far these shares would reach with as many random directions in place of "
                "the other dictionary."
            ),
            panels=tuple(_shares(label, known[label]) for label in labels),
            family="diagnosis",
            choice=hook,
        )
        for number, (hook, labels) in enumerate(by_hook.items())
    ]


def _known(groups: Groups) -> dict[str, list[Pair]]:
    known = {label: [p for p in pairs if measured(p.scores, "diagnosis")] for label, pairs in groups.items()}
    return {label: pairs for label, pairs in known.items() if pairs}


def _shares(label: str, pairs: Sequence[Pair]) -> Panel:
    by_chance = [[_percent(share.value(pair.scores)) for share in RANDOM[:2]] for pair in pairs]
    both = [None if present is None or composed is None else present + composed for present, composed in by_chance]
    return Panel(
        title=label,
        x=Axis(title="from → to (latents)", categories=tuple("\n→ ".join(pair.ends) for pair in pairs)),
        y=Axis(title="latents (%)", range=(0, 100)),
        series=(
            *(
                Series(
                    name=share.title,
                    x=range(len(pairs)),
                    y=[_percent(share.value(pair.scores)) for pair in pairs],
                    mark="bars",
                    colour=colour,
                )
                for share, colour in zip(SHARES, (0, 5, 6), strict=True)
            ),
            _chance("present by chance", [present for present, _ in by_chance], 0),
            _chance("present or composed by chance", both, 1),
        ),
    )


def _chance(name: str, shares: Sequence[Number | None], symbol: int) -> Series:
    return Series(name=name, x=range(len(shares)), y=shares, mark="points", reference=True, symbol=symbol)


def _percent(share: float | int | None) -> float | None:
    return None if share is None else 100 * share
