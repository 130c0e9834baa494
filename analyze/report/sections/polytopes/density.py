"""Density: are boundaries denser between meanings than within one, on lines of equal length?"""

from collections.abc import Sequence

from analyze.format import Number, count, decimal, percent
from analyze.report.draw.chart import Axis, Chart, Panel, Series
from analyze.report.section import Part, Table
from analyze.report.sections.polytopes.words import charts_of, extent, interval, layers_in_words, spread
from analyze.schema.polytopes.boundaries import Compared, Density, DensityByLabel, DensityOfLayer
from analyze.schema.polytopes.common import Interval

KINDS = {
    "same": "same label",
    "different": "different labels",
    "gaussian": "Gaussian rows",
    "random": "random direction",
}
RATIOS = {"ratio": "different to same", "permuted": "permuted labels", "untrained": "untrained twin"}
MEASURES = {"crossings": "crossings", "soft": "soft, Σ|Δp|"}


def density_part(density: Density) -> Part:
    return Part(
        name="polytopes-density",
        title="Are boundaries denser between meanings?",
        charts=[*_densities(density), *_ratios(density)],
        tables=[_ratio_table(density), _density_table(density), *_through(density)],
        verdict=_verdict(density),
    )


def _series(name: str, found: Sequence[Interval | None], symbol: int = 0, reference: bool = False) -> Series:
    return Series(
        name=name,
        x=list(range(len(found))),
        y=[one.value if one else None for one in found],
        low=[one.low if one else None for one in found],
        high=[one.high if one else None for one in found],
        mark="points" if not reference else "linked",
        symbol=symbol,
        reference=reference,
    )


def _axis(label: DensityByLabel) -> Axis:
    return Axis(title="layer", categories=tuple(str(layer.layer) for layer in label.layers))


def _densities(density: Density) -> list[Chart]:
    panels = {}
    for label in density.labels:
        series = [
            _series(name, [layer.crossings.density[kind] for layer in label.layers], symbol, reference=kind == "random")
            for symbol, (kind, name) in enumerate(KINDS.items())
        ]
        y = Axis(title="boundaries per unit of length", log=True)
        panels[label.label] = [Panel(title=f"by {label.label}", x=_axis(label), y=y, series=tuple(series))]
    return charts_of(
        "polytopes-density",
        "Boundaries on lines between rows",
        "Boundaries per unit of length, with 95% intervals; lines of equal length in every kind. Above the dashed "
        "random one: boundaries gather where the data go. Gaussian rows have the data's covariance and no meaning.",
        panels,
    )


def _ratios(density: Density) -> list[Chart]:
    panels = {}
    for label in density.labels:
        found = [layer.crossings for layer in label.layers]
        series = [
            _series(name, [one[kind] for one in found], symbol)
            for symbol, (kind, name) in enumerate(RATIOS.items())
            if any(one[kind] is not None for one in found)
        ]
        series.append(Series(name="no difference", x=[0, max(len(found) - 1, 0)], y=[1, 1], reference=True))
        y = Axis(title="density, different to same label")
        panels[label.label] = [Panel(title=f"by {label.label}", x=_axis(label), y=y, series=tuple(series))]
    return charts_of(
        "polytopes-ratio",
        "Denser between labels than within one?",
        "A ratio above 1: boundaries are denser between labels. Permuted labels must be at 1; the untrained twin shows "
        "what needs no training. Bars are 95% intervals by bootstrap over labels.",
        panels,
    )


def _places(density: Density) -> list[tuple[str, DensityOfLayer]]:
    return [
        (
            f"by {label.label}, layer {layer.layer}: {count(label.pairs)} lines of one label, {count(label.classes)} "
            "labels",
            layer,
        )
        for label in density.labels
        for layer in label.layers
    ]


def _ratio_table(density: Density) -> Table:
    def row(name: str, one: Compared) -> tuple[str, ...]:
        kinds = (one.ratio, one.permuted, one.untrained, one.gaussian, one.random)
        lengths = [kind.length_ratio for kind in kinds if kind is not None]
        return (
            name,
            *(interval(kind, decimal) for kind in kinds),
            decimal(one.unmatched),
            " / ".join(map(decimal, lengths)),
        )

    return Table(
        title="Ratios of densities, matched by length",
        how_to_read=(
            "Different to same label, then what stands for nothing: permuted labels and the untrained twin (both must "
            "hold 1), and Gaussian rows and random directions to the same lines. Unmatched is the ratio without "
            "equal lengths: it misleads, and stands here as a warning. Soft: the sum of changes of π in place of bits."
        ),
        columns=(
            *("measured by", "different to same", "permuted labels", "untrained twin", "Gaussian rows to same"),
            *("random directions to same", "unmatched (misleads)", "ratios of lengths"),
        ),
        groups={
            place: [row(name, layer[measure]) for measure, name in MEASURES.items()]
            for place, layer in _places(density)
        },
    )


def _density_table(density: Density) -> Table:
    def row(name: str, layer: DensityOfLayer, one: Compared) -> tuple[str, ...]:
        return (
            name,
            *(interval(one.density[kind]) for kind in KINDS),
            spread(layer.length),
            percent(layer.full_share),
            "before the norm" if layer.before_norm else "in what the layer reads",
        )

    return Table(
        title="Densities",
        how_to_read=(
            "Per unit of length, with 95% intervals. Full: of the bits that differ between the ends of lines of one "
            "label, the share that goes from below 0.1 to above 0.9."
        ),
        columns=("measured by", *KINDS.values(), "length", "full crossings", "lines run"),
        groups={
            place: [row(name, layer, layer[measure]) for measure, name in MEASURES.items()]
            for place, layer in _places(density)
        },
    )


def _through(density: Density) -> list[Table]:
    """Tabulate lines through all later layers, where they were measured."""
    groups = {
        f"by {label.label}": [
            (
                str(one.layer),
                count(one.lines),
                count(one.boundaries),
                interval(one.same),
                interval(one.different),
                interval(one.ratio, decimal),
                decimal(one.ratio.length_ratio),
                spread(one.points, count),
            )
            for one in label.through or []
            if one is not None
        ]
        for label in density.labels
    }
    groups = {label: rows for label, rows in groups.items() if rows}
    table = Table(
        title="Through all later layers",
        how_to_read=(
            "Lines in the residual stream after a layer, and the boundaries of all later layers on them. No closed "
            "form goes through attention, so they are counted at sampled points: a lower bound. Lines of one label are "
            "the control of lines between labels of equal length."
        ),
        columns=(
            *("after layer", "lines of each kind", "later boundaries", "same label", "different labels"),
            *("different to same", "ratio of lengths", "points sampled"),
        ),
        groups=groups,
    )
    return [table] if groups else []


def _verdict(density: Density) -> str:
    return " ".join(map(_of_label, density.labels))


def _of_label(label: DensityByLabel) -> str:
    found = {layer.layer: layer.crossings for layer in label.layers}
    denser = [layer for layer, one in found.items() if _above(one.ratio, 1)]
    beyond = [
        layer
        for layer in denser
        if not _above(found[layer].permuted, 1) and not (found[layer].untrained and _above(found[layer].untrained, 1))
    ]
    controls = f"permuted labels {_extent([one.permuted for one in found.values()])}"
    twins = [one.untrained for one in found.values() if one.untrained is not None]
    if twins:
        controls += f", untrained twin {_extent(twins)}"
    where = layers_in_words(beyond) if beyond else "no layer"
    small = "; the difference is small" if beyond and _largest(found, beyond) < 1.2 else ""
    gaussian = [one.gaussian for one in found.values()]
    sparse = [layer for layer, one in found.items() if one.random.high is not None and one.random.high < 1]
    said = (
        f"By {label.label}, boundaries are denser between labels than within one in {where}: "
        f"{_extent([one.ratio for one in found.values()])} at equal lengths ({controls}){small}."
    )
    said += f" Lines between Gaussian rows, which mean nothing, have {_extent(gaussian)} times the same label's density"
    alike = [layer for layer in beyond if not _is_above(found[layer].ratio, found[layer].gaussian)]
    if alike:
        said += (
            f", as much as lines between labels in {layers_in_words(alike)}: there lines of one label are sparser, "
            "rather than those between labels denser"
        )
    said += (
        f". Random directions are sparser in {layers_in_words(sparse)}: boundaries gather along the directions in "
        "which data vary."
        if sparse
        else ". Random directions are no sparser."
    )
    missed = [layer for layer in denser if layer not in beyond]
    if missed:
        said += f" In {layers_in_words(missed)} a control is above 1, too: no evidence there."
    return said


def _above(one: Interval | None, bound: Number) -> bool:
    return one is not None and one.low is not None and one.low > bound


def _is_above(one: Interval, other: Interval) -> bool:
    """Say whether an interval lies above another."""
    return other.high is not None and _above(one, other.high)


def _largest(found: dict[int, Compared], layers: Sequence[int]) -> Number:
    return max(found[layer].ratio.value or 0 for layer in layers)


def _extent(found: Sequence[Interval]) -> str:
    values: list[Number | None] = [one.value for one in found]
    return extent(values, lambda v: decimal(v, 2))
