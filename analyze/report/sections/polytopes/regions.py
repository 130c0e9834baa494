"""Regions: how much of a layer is a lookup among affine maps?"""

from analyze.format import NOT_MEASURED, Number, count, decimal, significant
from analyze.report.draw.chart import Axis, Chart, Panel, Series
from analyze.report.section import Part, Table
from analyze.report.sections.polytopes.words import between, charts_of, extent
from analyze.schema.polytopes.regions import Fvu, Regions, RegionsOfLayer

CURVES = {
    "ridge": "fitted maps",
    "shared_code": "the layer's value map at the centre",
    "tangent": "its tangent at the centre",
    "constant": "one constant per cell",
    "random_centres": "fitted, random centres",
    "shuffled": "fitted, shuffled cells",
}

LITTLE = 0.05  # of the variance


def regions_part(regions: Regions) -> Part:
    return Part(
        name="polytopes-regions",
        title="Is a layer a lookup among affine maps?",
        charts=_curves(regions),
        tables=[_numbers(regions)],
        verdict=_verdict(regions),
    )


def _curves(regions: Regions) -> list[Chart]:
    panels = {f"layer {layer.layer}": [_panel(layer)] for layer in regions.layers}
    return charts_of(
        "polytopes-regions",
        "The layer as N maps, the nearest centre's applies",
        "How much of the layer is a lookup among linear maps: the FVU on other sequences against the number of maps. "
        "Dashed: shuffled cells, which must stay where one map is, and, upright, the number of maps that takes as many "
        "numbers as the layer itself. The layer itself is at 0.",
        panels,
    )


def _panel(layer: RegionsOfLayer) -> Panel:
    curves = layer.curves
    series = [
        Series(
            name=name,
            x=layer.centres,
            y=[one.fvu for one in found],
            low=[one.low for one in found],
            high=[one.high for one in found],
            mark="linked",
            reference=kind == "shuffled",
            symbol=number,
        )
        for number, (kind, name) in enumerate(CURVES.items())
        if (found := curves[kind]) is not None
    ]
    ends = [layer.centres[0], layer.centres[-1]]
    if layer.hard_code is not None:
        series.append(Series(name="each row's own on/off bits", x=ends, y=[layer.hard_code.fvu] * 2))
    known = [value for one in series for value in one.y if value]
    equal = _equal_size(layer)
    if known and equal:
        size = Series(name="as many numbers as the layer", x=[equal] * 2, y=[min(known), max(known)], reference=True)
        series.append(size)
    return Panel(
        title=f"layer {layer.layer}",
        x=Axis(title="number of maps N", log=True),
        y=Axis(title="FVU", log=True),
        series=tuple(series),
    )


def _equal_size(layer: RegionsOfLayer) -> Number | None:
    """Compute how many maps take as many numbers as the layer itself."""
    each = layer.stored[0] / layer.centres[0]
    return layer.mlp.stored / each if each else None


def _numbers(regions: Regions) -> Table:
    groups = {}
    for layer in regions.layers:
        of, rows = layer.rows, []
        for place, centres in enumerate(layer.centres):
            rows.append(
                (
                    count(centres),
                    significant(layer.stored[place] / layer.mlp.stored),
                    significant(layer.multiplications[place] / layer.mlp.multiplications),
                    *(
                        _fvu(found[place]) if (found := layer.curves[kind]) is not None else NOT_MEASURED
                        for kind in CURVES
                    ),
                    _fvu(layer.hard_code),
                    _fvu(layer.zero),
                    " / ".join(
                        significant(layer.curves[kind][place].ridge) for kind in ("ridge", "random_centres", "shuffled")
                    ),
                )
            )
        name = f"layer {layer.layer}: {count(layer.mlp.stored)} numbers, {count(layer.mlp.multiplications)} products"
        groups[
            f"{name}; rows {count(of.train)} to fit, {count(of.validation)} to choose λ, {count(of.test)} to measure"
        ] = rows
    return Table(
        title="FVU of nearest-centre maps",
        how_to_read=(
            "On other sequences, with 95% intervals over sequences. Stored numbers and multiplications are relative to "
            "the layer itself. Shuffled cells must equal one map; random centres show what k-means adds; constants "
            "what the maps add. A row's own bits and y = 0 do not depend on N. A dash: maps are quadratic given the "
            "code. λ is that of fitted, random and shuffled."
        ),
        columns=(
            *("maps N", "stored / layer", "multiplications / layer", *CURVES.values()),
            *("each row's own bits", "y = 0", "λ"),
        ),
        groups=groups,
    )


def _fvu(one: Fvu | None) -> str:
    return NOT_MEASURED if one is None else between(one.fvu, one.low, one.high)


def _verdict(regions: Regions) -> str:
    curves = [layer.curves for layer in regions.layers]
    most = count(max(layer.centres[-1] for layer in regions.layers))
    first, last = [one.ridge[0].fvu for one in curves], [one.ridge[-1].fvu for one in curves]
    bits = [layer.hard_code.fvu for layer in regions.layers if layer.hard_code is not None]
    gains = [a - b for a, b in zip(first, last, strict=True) if a is not None and b is not None]
    said = (
        f"One map leaves {extent(first)} of a layer's variance unexplained, {most} maps {extent(last)} (with random "
        f"centres {extent([one.random_centres[-1].fvu for one in curves])}, with shuffled cells "
        f"{extent([one.shuffled[-1].fvu for one in curves])}, one constant per cell "
        f"{extent([one.constant[-1].fvu for one in curves])}"
    )
    said += f"; each row's own on/off bits {extent(bits)}). " if bits else "). "
    if not gains:
        return said.strip()
    if max(gains) < LITTLE:
        return f"{said}More maps help little: no layer is a lookup among so few linear maps."
    return f"{said}The lookup explains up to {decimal(max(gains), 2)} of the variance more than one map does."
