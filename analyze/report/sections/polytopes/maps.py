"""Maps: how different those of neighbouring polytopes are, and whether crossing a boundary changes the output."""

from analyze.format import count, decimal, percent, significant
from analyze.report.draw.chart import Axis, Chart, Panel, Series
from analyze.report.section import Part, Table
from analyze.report.sections.polytopes.words import between, by_layer, charts_of, extent, spread
from analyze.schema.polytopes.maps import Flips, Histogram, Jumps, Maps, MapsOfLayer

LOW = 0.5  # rank correlation below which weight norms say little of effects


def maps_part(maps: Maps) -> Part:
    title = "How different are neighbouring maps?"
    if maps.layers is None:
        return Part(name="polytopes-maps", title=title, verdict=f"Not measured: {maps.reason}.")
    return Part(
        name="polytopes-maps",
        title=title,
        charts=[*_rho(maps, maps.layers), *_effects(maps.layers)],
        tables=[_numbers(maps, maps.layers), _outputs(maps.layers)],
        verdict=_verdict(maps, maps.layers),
    )


def _rho(maps: Maps, layers: list[MapsOfLayer]) -> list[Chart]:
    twin = by_layer(maps.untrained)
    panels = {}
    for layer in layers:
        series = [_bins("model", layer.rho_histogram)]
        if layer.layer in twin:
            series.append(_bins("untrained twin", twin[layer.layer].rho_histogram, reference=True))
        panels[f"layer {layer.layer}"] = [
            Panel(
                title=f"layer {layer.layer}",
                x=Axis(title="ρ, jump relative to the maps on both sides"),
                y=Axis(title="density of neurons", from_zero=True),
                series=tuple(series),
            )
        ]
    return charts_of(
        "polytopes-rho",
        "How far one boundary changes the map",
        "Each neuron's boundary, by how much of the layer's map changes across it (0: nothing, 2: all). Far right: a "
        "boundary that swaps a large part of the layer's map. Dashed: the untrained twin.",
        panels,
    )


def _bins(name: str, found: Histogram, reference: bool = False) -> Series:
    total = sum(found.counts) or 1
    widths = [stop - start for start, stop in zip(found.edges[:-1], found.edges[1:], strict=True)]
    density = [c / total / width if width else None for c, width in zip(found.counts, widths, strict=True)]
    return Series(name=name, x=found.edges, y=density, mark="bins", reference=reference)


def _effects(layers: list[MapsOfLayer]) -> list[Chart]:
    panels = {}
    for layer in layers:
        of = layer.effects.scatter
        points = Series(
            name="neuron",
            x=[jump or None for jump in of.jump],
            y=[effect or None for effect in of.effect],
            mark="points",
            notes=[f"neuron {neuron}" for neuron in of.neuron],
        )
        panels[f"layer {layer.layer}"] = [
            Panel(
                title=f"layer {layer.layer}",
                x=Axis(title="jump J in the weights", log=True),
                y=Axis(title="effect E, of the whole map's", log=True),
                series=(points,),
            )
        ]
    return charts_of(
        "polytopes-effects",
        "Does a large jump in the weights change the output?",
        "Each point is a neuron: its jump in the weights, and what crossing its boundary does to the model's output, "
        "relative to the whole layer. A rising cloud: the weights tell. A flat one: weight norms mislead.",
        panels,
    )


def _numbers(maps: Maps, layers: list[MapsOfLayer]) -> Table:
    twin = by_layer(maps.untrained)

    def row(name: str, one: Jumps) -> tuple[str, ...]:
        return (
            name,
            spread(one.rho),
            significant(one.rho.max),
            spread(one.jumps),
            spread(one.map_norm),
            spread(one.kappa),
            _flips(one.flips),
            _flips(one.hard_flips),
            f"{percent(one.sharpness)} of {count(one.pairs)} pairs",
        )

    groups = {}
    for layer in layers:
        rows = [row("model", layer)]
        if layer.layer in twin:
            rows.append(row("untrained twin", twin[layer.layer]))
        groups[f"layer {layer.layer}"] = rows
    return Table(
        title="Neighbouring maps",
        how_to_read=(
            "Medians with the 5% and 95% quantiles, over neurons; the map's norm over rows. J has the scale of the "
            "weights, so compare ρ. Distance of two rows' maps: observed, as it were if neurons flipped independently, "
            "and the ratio, for the value maps and for those of on/off bits. Sharp: of the bits that differ between "
            "two random rows, the share that goes from below 0.1 to above 0.9 (100% for ReLU)."
        ),
        columns=(
            *("maps of", "ρ", "ρ, largest", "jump J", "norm of the map", "κ, how often crossed"),
            *("distance of value maps", "distance of hard maps", "sharp"),
        ),
        groups=groups,
    )


def _flips(found: Flips) -> str:
    return f"{significant(found.observed)} against {significant(found.independent)}: {decimal(found.ratio, 2)}"


def _outputs(layers: list[MapsOfLayer]) -> Table:
    return Table(
        title="Effects on the output",
        how_to_read=(
            "Effect of one boundary relative to the whole map's: median with the 5% and 95% quantiles over rows and "
            "neurons, beside the same for the weights (ρ). Rank correlation of effect and jump over neurons: of the "
            "mean effect, and of a row's, with its 95% interval. It is no control where it is high; where it is low, "
            "weight norms mislead."
        ),
        columns=(
            *(
                "layer",
                "rows",
                "labels drawn",
                "relative effect",
                "largest",
                "ρ",
                "rank correlation with J, mean effect",
            ),
            "rank correlation, a row's",
        ),
        groups={
            "": [
                (
                    str(layer.layer),
                    count(of.rows),
                    count(of.labels),
                    spread(of.relative),
                    significant(of.relative.max),
                    spread(layer.rho),
                    decimal(of.spearman.of_mean, 2),
                    between(of.spearman.of_row, of.spearman.low, of.spearman.high, lambda v: decimal(v, 2)),
                )
                for layer in layers
                for of in (layer.effects,)
            ]
        },
    )


def _verdict(maps: Maps, layers: list[MapsOfLayer]) -> str:
    twin = f" (untrained twin: {extent([one.rho.median for one in maps.untrained])})" if maps.untrained else ""
    sharp = [layer.sharpness for layer in layers]
    sharp_twin = f" (twin: {extent([one.sharpness for one in maps.untrained], percent)})" if maps.untrained else ""
    ranks = [layer.effects.spearman.of_row for layer in layers]
    low = [rank for rank in ranks if rank is not None and rank < LOW]
    mislead = ": in a single row weight norms mislead" if low else ": weight norms are a fair guide"
    return (
        f"A median boundary changes the map by {extent([layer.rho.median for layer in layers])} of its size{twin}; the "
        f"largest by {extent([layer.rho.max for layer in layers])}. {extent(sharp, percent)} of the bits that differ "
        f"between two rows go all the way{sharp_twin}, against 100% for ReLU. A row's effects on the output have a "
        f"rank correlation of {extent(ranks, lambda v: decimal(v, 2))} with the jumps{mislead}."
    )
