"""Seeds: what differs between trainings of one kind by chance, and which kinds differ by more than that."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from analyze.format import NOT_MEASURED, Number, count, significant
from analyze.ladders import ladder_of
from analyze.report.draw.chart import PALETTE, Axis, Chart, Panel, Series
from analyze.report.section import Section, Table
from analyze.schema.metric import PERCENT
from analyze.schema.metrics import OVER_SEEDS

Group = Mapping[str, Any]
QUANTITIES = {one.path.removesuffix(".mean"): one for one in OVER_SEEDS}
SURE = 0.05


def seeds_section(metrics: Mapping[str, Any]) -> Section:
    groups = metrics.get("groups") or []
    if not groups:
        return Section(name="seeds", title="Seeds")
    shown = [name for name in QUANTITIES if any(group[name] for group in groups)]
    return Section(
        name="seeds",
        title="Seeds",
        paragraphs=[
            "Dictionaries that differ in their seed alone: each mean stands with the interval that holds it with 95% "
            "confidence (Student's t over seeds; rows in logarithms, so that their mean is the geometric one). Kinds "
            "that differ in one setting alone are compared by Welch's t, not pairwise by seed, since equal seeds of "
            "different kinds share no draw that matters.",
        ],
        tables=[_table(groups, shown)],
        charts=[chart for number, hook in enumerate(_hooks(groups)) if (chart := _chart(number, groups, hook)).panels],
        more_tables=_differences(metrics, groups),
    )


def _table(groups: Sequence[Group], shown: Sequence[str]) -> Table:
    return Table(
        title="Means over seeds",
        how_to_read=(
            "Intervals that do not overlap differ by more than chance; those that do may still: see the comparisons "
            "below. Where some seeds never got half of the features, how many did is said instead of a mean, which "
            "would flatter."
        ),
        columns=("kind", "latents", "seeds", *(QUANTITIES[name].title for name in shown)),
        groups={
            hook: [
                (kind_of(g), count(g["n_latents"]), count(len(g["seeds"])), *(_cell(g, name) for name in shown))
                for g in groups
                if g["hook"] == hook
            ]
            for hook in _hooks(groups)
        },
    )


def kind_of(group: Group) -> str:
    """Name what the members of a group share, but hook and size."""
    return ladder_of({**group, "seed": 0}).kind


def _cell(group: Group, name: str) -> str:
    found, write = group[name], QUANTITIES[name].form.write
    if found is None:
        return NOT_MEASURED
    if found["mean"] is None:
        return f"{found['known']} of {len(group['seeds'])} got there"
    if found["low"] is None:
        return write(found["mean"])
    return f"{write(found['mean'])} [{write(found['low'])}, {write(found['high'])}]"


def _drawn(groups: Sequence[Group], name: str) -> list[Group]:
    return [group for group in groups if group[name] and group[name]["mean"] is not None]


def _hooks(groups: Sequence[Group]) -> list[str]:
    return [*dict.fromkeys(group["hook"] for group in groups)]


def _chart(number: int, groups: Sequence[Group], hook: str) -> Chart:
    known = {name: [g for g in _drawn(groups, name) if g["hook"] == hook] for name in QUANTITIES}
    return Chart(
        name=f"seeds-{number:02d}",
        title="Over seeds",
        how_to_read=(
            "Each mark is the mean of one kind of dictionary, over the seeds, and its bar the 95% interval: what lies "
            "within another's bar may differ by chance alone."
        ),
        panels=tuple(_panel(found, name) for name, found in known.items() if found),
        family="seeds",
        choice=hook,
    )


def _panel(groups: Sequence[Group], name: str) -> Panel:
    kinds = list(dict.fromkeys(map(kind_of, groups)))
    scale = 100 if QUANTITIES[name].form is PERCENT else 1
    log = name == "rows_to_half"
    return Panel(
        title=QUANTITIES[name].title,
        x=Axis(title="latents", log=True, ticks=tuple(sorted({g["n_latents"] for g in groups}))),
        y=Axis(title=f"{QUANTITIES[name].title}{' (%)' if scale == 100 else ''}", log=log),
        series=tuple(
            Series(
                name=kind,
                # side by side, not one upon the other
                x=[g["n_latents"] * 1.03 ** (place - (len(kinds) - 1) / 2) for g in mine],
                y=[scale * g[name]["mean"] for g in mine],
                mark="linked" if len(mine) > 1 else "points",
                low=[_end(g[name], "low", scale) for g in mine],
                high=[_end(g[name], "high", scale) for g in mine],
                colour=place,
                symbol=place // len(PALETTE),
            )
            for place, kind in enumerate(kinds)
            for mine in [sorted((g for g in groups if kind_of(g) == kind), key=lambda g: g["n_latents"])]
        ),
    )


def _end(found: Mapping[str, Any], end: str, scale: int) -> Number:
    return scale * (found["mean"] if found[end] is None else found[end])


def _differences(metrics: Mapping[str, Any], groups: Sequence[Group]) -> list[Table]:
    said = metrics.get("differences") or []
    rows: dict[str, list[tuple[str, ...]]] = {}
    for one in said:
        a, b = groups[one["from"]], groups[one["to"]]
        values = [str((group["options"] or {}).get(one["option"], "none")) for group in (a, b)]
        quantity = QUANTITIES[one["of"]]
        title, write = quantity.title, times if one["factor"] else signed_by(quantity.form.write)
        verdict = "differ" if one["p_adjusted"] < SURE else "may be equal"
        label = f"{a['hook']} · {count(a['n_latents'])} latents · {title}"
        rows.setdefault(label, []).append(
            (
                f"{one['option']}: {values[1]} against {values[0]}",
                write(one["mean"]),
                f"[{write(one['low'])}, {write(one['high'])}]",
                significant(one["p"], 2),
                significant(one["p_adjusted"], 2),
                verdict,
            )
        )
    table = Table(
        title="Which kinds differ",
        how_to_read=(
            "How much more the first has than the second, or how many times as many rows it needs, with its 95% "
            "interval (Welch's t), and p, adjusted by Holm's method for all the comparisons that answer the same "
            "question: below 0.05, the kinds differ by more than seeds do."
        ),
        columns=("comparison", "difference", "95% interval", "p", "p, adjusted", "verdict"),
        groups=rows,
    )
    return [table] if rows else []


def times(factor: Number) -> str:
    return f"× {significant(factor)}"


def signed_by(write: Callable[[Number | None], str]) -> Callable[[Number], str]:
    """Write a difference as `write` does, always with its sign."""
    return lambda value: f"{'+' if value > 0 else '−' if value < 0 else ''}{write(abs(value))}"
