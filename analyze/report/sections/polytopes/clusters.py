"""Clusters: do near rows mean the same, beyond the token, and more than a ball or a direction?"""

from collections.abc import Iterator, Sequence

from analyze.format import NOT_MEASURED, Number, count, decimal, percent, significant
from analyze.report.draw.chart import Axis, Chart, Panel, Series
from analyze.report.section import Part, Passage, Quoted, Quotes, Table
from analyze.report.sections.polytopes.clusters_verdict import clusters_verdict, redrawn_of
from analyze.report.sections.polytopes.words import between, charts_of
from analyze.schema.polytopes.clusters import KINDS, Clustering, Clusters, Entropies, Example, Grouped, Told

LABELS = ("token", "next", "prediction")
NAMES = {
    "cluster": "clusters",
    "ball": "balls",
    "ball_of_member": "balls round members",
    "neuron": "neurons",
    "pca": "PCA",
    "nmf": "NMF",
    "random_direction": "random directions",
    "random_rows": "random rows",
}
VISIBLE = str.maketrans({"\n": "↵", "\t": "⇥", "\r": "␍"})


def clusters_part(clusters: Clusters) -> Part:
    tables = clusters.tables
    latents = _latents(tables)
    return Part(
        name="polytopes-clusters",
        title="Do near rows mean the same?",
        charts=[_gains(tables), *_entropies(tables)],
        tables=[_meaning(clusters), _purity(tables), *latents],
        quotes=[_examples(tables)],
        verdict=clusters_verdict(tables),
    )


def _gains(tables: Sequence[Clustering]) -> Chart:
    axis = Axis(title="clustering", categories=tuple(table.name for table in tables))
    places = list(range(len(tables)))

    def panel(title: str, y: Axis, told: Sequence[Sequence[Number | None]]) -> Panel:
        model, twin, redrawn = told
        return Panel(
            title=title,
            x=axis,
            y=y,
            series=(
                Series(name="model", x=places, y=model, mark="points"),
                Series(name="untrained twin", x=places, y=twin, mark="points", symbol=1),
                Series(name="Gaussian rows or permuted codes", x=places, y=redrawn, mark="points", symbol=4),
                Series(name="says nothing", x=[0, max(len(tables) - 1, 0)], y=[0, 0], reference=True),
            ),
        )

    groups = [(table, table.controls["untrained"], redrawn_of(table)[1]) for table in tables]

    def of(read: str) -> list[list[Number | None]]:
        return [[_gain(one, read) for one in group] for group in zip(*groups, strict=True)]

    return Chart(
        name="polytopes-gain",
        title="What clusters say of the text",
        how_to_read=(
            "Gain 0: the groups say nothing of the text; gain 1: they say all. Beyond near 0: they say which token it "
            "is, nothing more. Token purity alone is no evidence, so look at the twin's marks in the same panel."
        ),
        panels=(
            panel("the token", Axis(title="gain"), of("token")),
            panel("the model's prediction", Axis(title="gain"), of("prediction")),
            panel("the prediction, beyond the token", Axis(title="z (standard deviations)"), of("beyond")),
        ),
    )


def _gain(one: Grouped | None, read: str) -> Number | None:
    if one is None:
        return None
    if read == "beyond":
        return one.beyond.z if one.beyond else None
    told = one.gain[read]
    return told.gain if told else None


def _entropies(tables: Sequence[Clustering]) -> list[Chart]:
    panels: dict[str, list[Panel]] = {}
    for table in tables:
        if table.entropies is None:
            continue
        names = [NAMES[kind] for kind in KINDS] + [f"latents of {_short(one.dictionary)}" for one in table.latents]
        series = []
        for symbol, label in enumerate(("token", "prediction")):
            of_label = table.entropies[label]
            found = [of_label[kind] for kind in KINDS] + [one.entropies[label] for one in table.latents]
            series.append(
                Series(
                    name=label,
                    x=list(range(len(found))),
                    y=[one.median for one in found],
                    low=[one.low for one in found],
                    high=[one.high for one in found],
                    mark="points",
                    symbol=symbol,
                )
            )
        axis = Axis(title="", categories=tuple(name.replace(" ", "\n") for name in names))
        panels[table.name] = [
            Panel(title=table.name, x=axis, y=Axis(title="label entropy (bits)", from_zero=True), series=tuple(series))
        ]
    return charts_of(
        "polytopes-entropies",
        "Clusters against balls and directions",
        "How mixed the labels are in sets of equal size, median and quartiles: lower is purer. Any small region is "
        "purer than a direction, so clusters must lie below balls, and below balls round their own members.",
        panels,
    )


def _short(path: str) -> str:
    return path.rsplit("/", 1)[-1]


def _meaning(clusters: Clusters) -> Table:
    def row(name: str, one: Grouped | None, stability: str) -> tuple[str, ...]:
        if one is None:
            return (name, *[NOT_MEASURED] * 8)
        told = (*(one.gain[label] for label in LABELS), one.beyond)
        return (
            name,
            count(one.clusters),
            percent(one.noise),
            count(one.median_size),
            *map(_told, told),
            stability,
        )

    def rows(table: Clustering) -> Iterator[tuple[str, ...]]:
        stable = table.stability
        yield row("model", table, f"{decimal(stable.ari, 2)} over {percent(stable.share)} of the rows")
        yield row("untrained twin", table.controls["untrained"], NOT_MEASURED)
        yield row(*redrawn_of(table), NOT_MEASURED)

    return Table(
        title="Clusters and their controls",
        how_to_read=(
            f"{count(clusters.rows)} rows. Gain with its z, of the token, of the true next token, of the model's "
            "prediction, and of the prediction beyond the token. The number of clusters is no evidence: the controls "
            "may have more. Stability is the adjusted Rand index of two draws, over the rows clustered both times."
        ),
        columns=(
            *("rows of", "clusters", "in no cluster", "median size", "gain, token", "gain, next", "gain, prediction"),
            *("beyond the token", "stability"),
        ),
        groups={f"{table.name} ({table.method})": list(rows(table)) for table in clusters.tables},
    )


def _told(one: Told | None) -> str:
    return NOT_MEASURED if one is None else f"{decimal(one.gain)} (z = {significant(one.z)})"


def _purity(tables: Sequence[Clustering]) -> Table:
    return Table(
        title="Label entropy of equal-sized sets",
        how_to_read=(
            "Bits, the median with quartiles; how many sets in brackets behind. Clusters first, then what they must "
            "beat: balls, directions of every kind, random rows."
        ),
        columns=("label", *(NAMES[kind] for kind in KINDS)),
        groups={
            table.name: [(label, *(_entropy(table.entropies[label][kind]) for kind in KINDS)) for label in LABELS]
            for table in tables
            if table.entropies is not None
        },
    )


def _entropy(one: Entropies) -> str:
    return f"{between(one.median, one.low, one.high)} ({count(one.count)})"


def _latents(tables: Sequence[Clustering]) -> list[Table]:
    """Compare with a dictionary's latents, where there is one at the layer."""
    groups = {
        table.name: [
            (
                _short(one.dictionary),
                count(one.n_latents),
                *(
                    text
                    for label in LABELS
                    for text in (_entropy(table.entropies[label]["cluster"]), _entropy(one.entropies[label]))
                ),
            )
            for one in table.latents
        ]
        for table in tables
        if table.latents and table.entropies is not None
    }
    columns = [text for label in LABELS for text in (f"{label}, clusters", f"{label}, latents")]
    table = Table(
        title="Clusters against a dictionary's latents",
        how_to_read="Label entropy in bits, of clusters and of the rows where a latent is strongest: lower is purer.",
        columns=("dictionary", "latents", *columns),
        groups=groups,
    )
    return [table] if groups else []


def _examples(tables: Sequence[Clustering]) -> Quotes:
    return Quotes(
        title="The clusters that say most about the prediction",
        how_to_read=(
            "Up to 20 clusters of the lowest p, each with places in the text; the row's token is marked, and the model "
            "predicts what follows it. p puts them in order and is no more than that, since rows of one sequence are "
            "not independent."
        ),
        groups={
            f"{table.name}: {len(table.examples)} of {count(table.clusters)} clusters": [
                Quoted(_label(example), [_passage(one.tokens, one.place) for one in example.contexts])
                for example in table.examples
            ]
            for table in tables
        },
    )


def _label(example: Example) -> str:
    return (
        f"cluster {example.cluster}: {count(example.rows)} rows, {percent(example.share)} of them predict "
        f"“{example.text.translate(VISIBLE)}” (log10 p = {significant(example.log10_p)})"
    )


def _passage(tokens: Sequence[str], at: int) -> Passage:
    before, token, after = "".join(tokens[:at]), tokens[at], "".join(tokens[at + 1 :])
    return Passage(before.translate(VISIBLE), token.translate(VISIBLE), after.translate(VISIBLE))
