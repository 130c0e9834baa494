"""Adversaries: do small steps that change the output cross more boundaries than steps that go as far?"""

from collections.abc import Sequence

from analyze.format import NOT_MEASURED, Number, count, decimal, listing, percent, significant
from analyze.report.draw.chart import Axis, Chart, Panel, Series
from analyze.report.section import Part, Table
from analyze.report.sections.polytopes.words import charts_of, extent, interval, layers_in_words
from analyze.schema.polytopes.adversaries import Adversaries, AdversariesAt, ScaledSteps
from analyze.schema.polytopes.common import Interval

KINDS = {
    "adversary": "adversary",
    "random": "random step of its length",
    "covariance": "step with the data's covariance",
    "random_at_path": "random, as long downstream",
    "random_at_kl": "random, of its KL",
}


def adversaries_part(adversaries: Adversaries) -> Part:
    return Part(
        name="polytopes-adversaries",
        title="Do adversaries seek boundaries?",
        charts=_clouds(adversaries.tables),
        tables=[_numbers(adversaries.tables)],
        verdict=_verdict(adversaries.tables),
    )


def _place(at: AdversariesAt) -> str:
    return f"{at.hook}, length {at.relative_norm:g} of the row"


def _clouds(tables: Sequence[AdversariesAt]) -> list[Chart]:
    panels = {}
    for at in tables:
        series = tuple(
            Series(
                name=name,
                x=[value if value > 0 else None for value in at.points[kind].kl],
                y=at.points[kind].crossings,
                mark="points",
                symbol=number,
            )
            for number, (kind, name) in enumerate(KINDS.items())
        )
        x = Axis(title="KL from the unchanged output (nats)", log=True)
        panels[_place(at)] = [Panel(title=_place(at), x=x, y=Axis(title="boundaries crossed", log=True), series=series)]
    return charts_of(
        "polytopes-adversaries",
        "Boundaries against the change of the output",
        "Each point is a step. If adversaries lie on the random cloud's trend, they do what any step does that goes as "
        "far; if they have fewer crossings per length, boundaries are not what they use.",
        panels,
    )


def _numbers(tables: Sequence[AdversariesAt]) -> Table:
    groups = {}
    for at in tables:
        rows = []
        for kind, name in KINDS.items():
            of = at.kinds[kind]
            ratio = at.ratios[kind] if kind != "adversary" else None
            scaled = isinstance(of, ScaledSteps)
            rows.append(
                (
                    name,
                    interval(of.kl),
                    significant(of.kl_median),
                    interval(of.flips, percent),
                    interval(of.crossings),
                    interval(of.path),
                    interval(of.per_path),
                    interval(ratio.crossings if ratio else None, _two),
                    interval(ratio.per_path if ratio else None, _two),
                    f"×{significant(of.scale)}" if scaled and of.scale is not None else NOT_MEASURED,
                    percent(of.reached) if scaled else NOT_MEASURED,
                )
            )
        name = f"{_place(at)}: {count(at.rows)} rows, boundaries of {layers_in_words(at.layers)}"
        groups[f"{name}; rank correlation of KL and crossings among random steps {interval(at.spearman, _two)}"] = rows
    return Table(
        title="Adversaries and their controls",
        how_to_read=(
            "Means with 95% intervals. Path: the way in the pre-activations of later layers. What changes the output "
            "goes far there, and what goes far crosses boundaries, so the number to look at is crossings per path. The "
            "last columns are the adversaries' over this control's, and how much longer a random step had to become, "
            "for what share of the steps. Crossings are a lower bound, counted at 17 points."
        ),
        columns=(
            *("step", "KL", "KL, median", "token changes", "crossings", "path", "crossings per path"),
            *("adversary's crossings over it", "adversary's per path over it", "made longer by", "reached"),
        ),
        groups=groups,
    )


def _two(value: Number | None) -> str:
    return decimal(value, 2)


def _verdict(tables: Sequence[AdversariesAt]) -> str:
    if not tables:
        return ""
    judged: dict[str, list[str]] = {}
    for at in tables:
        per_path = at.ratios.random_at_path.per_path
        judged.setdefault(_judged(per_path), []).append(f"{_place(at)} (ratio {interval(per_path, _two)})")
    plain = extent([at.ratios.random.crossings.value for at in tables], _two)
    as_far = extent([at.ratios.random_at_path.crossings.value for at in tables], _two)
    as_strong = extent([at.ratios.random_at_kl.crossings.value for at in tables], _two)
    ranks = extent([at.spearman.value for at in tables], _two)
    outcomes = "; ".join(f"{words} at {listing(places)}" for words, places in judged.items())
    return (
        f"Adversaries cross {plain} times the boundaries of random steps of their length, and {as_far} times those of "
        f"random steps that go as far downstream ({as_strong} times those of random steps that change the output as "
        f"much; among random steps, KL and crossings have a rank correlation of {ranks}). Per length of that way they "
        f"cross {outcomes}."
    )


def _judged(per_path: Interval) -> str:
    if per_path.low is not None and per_path.low > 1:
        return "more, so they seek boundaries,"
    if per_path.high is not None and per_path.high < 1:
        return "fewer, so boundaries are not what they use,"
    return "as many, so they do what any step does that goes as far,"
