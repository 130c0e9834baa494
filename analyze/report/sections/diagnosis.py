"""What middling cosines mean: whether a feature is present, put together from several, or absent in the other size."""

from collections.abc import Mapping, Sequence

from analyze.format import decimal
from analyze.ladders import Pair
from analyze.report.draw.chart import Axis, Chart, Panel, Series
from analyze.report.section import Table
from analyze.schema.metric import texts, titles
from analyze.schema.metrics import ABSENT, BY_RANDOM, COMPOSED, PARTICIPATION, PRESENT
from analyze.schema.record import measured

SHARES = (PRESENT, COMPOSED, ABSENT)
Groups = Mapping[str, Sequence[Pair]]


def diagnosis_tables(groups: Groups) -> list[Table]:
    known = _known(groups)
    table = Table(
        title="What middling cosines mean",
        how_to_read=(
            "Each direction is put together from one to four of the other dictionary's with weights of at least 0, and "
            "R² is the explained share of its square: present if one explains 0.8 (a cosine of 0.89), composed if four "
            "do and one does not, absent if four do not either; participation is the number of directions that share "
            "the work, 1 to 4, of the median latent."
        ),
        columns=(
            *("from", "to", *titles(SHARES), "R², one", "R², two", "R², three", "R², four", "random, four"),
            PARTICIPATION.title,
        ),
        groups={
            label: [
                (
                    *pair.ends,
                    *texts(pair.scores, SHARES),
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
                "The shares of each size's latents of which one direction of the other explains 80% (present), of "
                "which four together do (composed: split up, or put together), and of which four do not (absent)."
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
    return Panel(
        title=label,
        x=Axis(title="from → to (latents)", categories=tuple("\n→ ".join(pair.ends) for pair in pairs)),
        y=Axis(title="latents (%)", range=(0, 100)),
        series=tuple(
            Series(
                name=share.title,
                x=range(len(pairs)),
                y=[_percent(share.value(pair.scores)) for pair in pairs],
                mark="bars",
                colour=colour,
            )
            for share, colour in zip(SHARES, (0, 5, 6), strict=True)
        ),
    )


def _percent(share: float | int | None) -> float | None:
    return None if share is None else 100 * share
