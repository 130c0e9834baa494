"""Maximal cosines of every pair: their distribution, how many pass each threshold, and whether rare latents differ."""

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate

from analyze.format import decimal
from analyze.ladders import Pair
from analyze.report.draw.chart import Axis, Chart, Panel, Series
from analyze.schema.record import measured

VISIBLE = 0.01  # per cent in a bin; chance gives every bin a little more than nothing
Groups = Mapping[str, Sequence[Pair]]


def cosine_charts(groups: Groups) -> list[Chart]:
    """Make three charts per ladder: the distributions with a panel per pair, the others with a panel per direction."""
    return [
        *_charts(
            groups,
            "max-cosines",
            "The distribution of maximal cosines",
            "Each latent's cosine with its most similar latent of the other dictionary; dashed: random vectors with "
            "the second moment of these latents' directions. Latents at the right are present in both, latents under "
            "the dashed curve are no closer than chance, and a hump in between is features that split or merged.",
            lambda pairs: [_distribution(pair) for pair in pairs],
        ),
        *_charts(
            groups,
            "recovery",
            "How many latents are found again",
            "The share of latents whose maximal cosine is above each threshold; dashed: random vectors with the second "
            "moment of these latents' directions. The further right a curve stays high, the more latents the other "
            "dictionary contains, whatever threshold one chooses.",
            lambda pairs: _both_ways(_recovery, pairs),
        ),
        *_charts(
            groups,
            "firing-rates",
            "Do rare latents differ more?",
            "The mean maximal cosine of latents that fire about equally often; dashed: chance. A curve that falls to "
            "the left means that the dictionaries agree on frequent latents and differ on rare ones.",
            lambda pairs: _both_ways(_by_rate, pairs),
        ),
    ]


def _both_ways(make: Callable[[str, Sequence[Pair]], Panel | None], pairs: Sequence[Pair]) -> list[Panel | None]:
    upwards = [pair for pair in pairs if pair.source["n_latents"] <= pair.target["n_latents"]]
    downwards = [pair for pair in pairs if pair.source["n_latents"] > pair.target["n_latents"]]
    return [make("Looked up in the larger", upwards), make("Looked up in the smaller", downwards)]


def _charts(
    groups: Groups, name: str, title: str, how_to_read: str, panels_of: Callable[[Sequence[Pair]], list[Panel | None]]
) -> list[Chart]:
    panels = {label: tuple(panel for panel in panels_of(pairs) if panel) for label, pairs in groups.items()}
    return [
        Chart(
            name=f"{name}-{number:02d}",
            title=title,
            how_to_read=how_to_read,
            panels=panels[label],
            family=name,
            choice=label,
        )
        for number, label in enumerate(groups)
        if panels[label]
    ]


def _distribution(pair: Pair) -> Panel | None:
    cosines = measured(pair.scores, "max_cosines")
    if not cosines:
        return None
    total = sum(cosines["counts"]) or 1
    series = [Series(name="found", x=cosines["edges"], y=[100 * c / total for c in cosines["counts"]], mark="bins")]
    if null := measured(cosines, "null"):
        shares = [100 * c / (sum(null) or 1) for c in null]
        series.append(Series(name="chance", x=cosines["edges"], y=shares, mark="bins", reference=True))
    filled = [i for s in series for i, share in enumerate(s.y) if (share or 0) > VISIBLE]
    lowest = min([0, *(cosines["edges"][i] for i in filled)])
    mmcs, chance = (decimal(measured(pair.scores, key), 2) for key in ("mmcs", "mmcs_null"))
    return Panel(
        title=f"{pair.label}: MMCS {mmcs}, chance {chance}",
        x=Axis(title="maximal cosine", range=(lowest, 1)),
        y=Axis(title="latents (% per bin)", from_zero=True),
        series=tuple(series),
    )


def _recovery(label: str, pairs: Sequence[Pair]) -> Panel | None:
    known = [pair for pair in pairs if measured(pair.scores, "recovery")]
    if not known:
        return None
    return Panel(
        title=label,
        x=Axis(title="threshold on the maximal cosine", range=(0, 1)),
        y=Axis(title="latents above it (%)", range=(0, 101)),
        series=(
            *(
                Series(
                    name=pair.label,
                    x=pair.scores["recovery"]["thresholds"],
                    y=[100 * share for share in pair.scores["recovery"]["shares"]],
                )
                for pair in known
            ),
            *(series for pair in known for series in _chance_above(pair)),
        ),
    )


def _chance_above(pair: Pair) -> tuple[Series, ...]:
    """Sum the counts that chance expects above each edge of the histogram."""
    cosines, null = (measured(pair.scores, key) for key in ("max_cosines", "max_cosines.null"))
    if not null or not sum(null):
        return ()
    above = [*reversed([*accumulate(reversed(null), initial=0)])]
    points = [(edge, 100 * count / sum(null)) for edge, count in zip(cosines["edges"], above, strict=True) if edge >= 0]
    return (Series(name="chance", x=[x for x, _ in points], y=[y for _, y in points], reference=True),)


def _by_rate(label: str, pairs: Sequence[Pair]) -> Panel | None:
    bins = [[b for b in measured(pair.scores, "by_firing_rate") or [] if b["mean"] is not None] for pair in pairs]
    known = [(p, found) for p, found in zip(pairs, bins, strict=True) if len(found) > 1]  # one is the mean of all
    if not known:
        return None
    return Panel(
        title=label,
        x=Axis(title="log10 of the firing rate"),
        y=Axis(title="mean maximal cosine", range=(0, 1)),
        series=(
            *(
                Series(
                    name=pair.label,
                    x=[(b["from"] + b["to"]) / 2 for b in found],
                    y=[b["mean"] for b in found],
                    mark="linked",
                    notes=[f"{b['count']:,} latents" for b in found],
                )
                for pair, found in known
            ),
            *(
                Series(name="chance", x=[found[0]["from"], found[-1]["to"]], y=[chance, chance], reference=True)
                for pair, found in known
                if (chance := measured(pair.scores, "mmcs_null")) is not None
            ),
        ),
    )
