"""Radius: do boundaries gather at a distance, in a shell, and is that shell the data's?"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from analyze.format import NOT_MEASURED, Number, count, significant
from analyze.report.draw.chart import Axis, Chart, Panel, Series
from analyze.report.section import Part, Table
from analyze.report.sections.polytopes.words import by_layer, charts_of, layers_in_words
from analyze.schema.polytopes.boundaries import Profile, Radius, RadiusOfLayer, Rays

SPACES = {
    "residual": "residual stream, from the mean",
    "read": "what the layer reads, from the mean",
    "read_from_origin": "what the layer reads, from 0",
}
KINDS = {"data": "towards rows", "gaussian": "Gaussian, the data's covariance", "isotropic": "isotropic"}
APART = 3  # standard errors


def radius_part(radius: Radius) -> Part:
    return Part(
        name="polytopes-radius",
        title="Is there a shell?",
        charts=_profiles(radius),
        tables=[_numbers(radius)],
        verdict=_verdict(radius),
    )


def _places(radius: Radius) -> Iterator[tuple[str, RadiusOfLayer, Rays, Rays | None]]:
    """Yield each space and layer with its rays, and the twin's."""
    twin = by_layer(radius.untrained)
    for space in SPACES:
        for layer in radius.layers:
            rays = layer.spaces[space]
            if rays is not None:
                other = twin.get(layer.layer)
                yield space, layer, rays, other.spaces[space] if other else None


def _profiles(radius: Radius) -> list[Chart]:
    panels: dict[str, list[Panel]] = {SPACES[space]: [] for space in SPACES}
    for space, layer, rays, _ in _places(radius):
        panels[SPACES[space]].append(
            Panel(
                title=f"layer {layer.layer}, {SPACES[space]}",
                x=Axis(title="distance (median distance of a row = 1)"),
                y=Axis(title="boundaries per unit", log=True),
                series=tuple(
                    Series(
                        name=name,
                        x=radius.edges,
                        y=[value or None for value in rays[kind].density],
                        mark="bins",
                        reference=kind == "isotropic",
                    )
                    for kind, name in KINDS.items()
                ),
                shaded=_natural(rays),
            )
        )
    return charts_of(
        "polytopes-radius",
        "Boundaries by distance from the centre",
        "Boundaries crossed per median distance on rays from a centre; shaded: where 90% of the rows are. A shell that "
        "the dashed isotropic rays show as well is the weights' geometry, not the data's.",
        panels,
    )


def _natural(rays: Rays) -> tuple[Number, Number] | None:
    low, high = rays.natural
    return None if low is None or high is None else (low, high)


def _numbers(radius: Radius) -> Table:
    edges = radius.edges
    groups = {}
    for space, layer, rays, twin in _places(radius):
        rows = [(name, *_cells(rays[kind])) for kind, name in KINDS.items()]
        if twin is not None:
            rows += [(f"untrained twin: {name}", *_cells(twin[kind])) for kind, name in KINDS.items()]
        place = f"{SPACES[space]}, layer {layer.layer}: {_where(rays)}"
        groups[place + (f" (untrained twin: {_where(twin)})" if twin is not None else "")] = rows
    return Table(
        title="Boundaries in each bin of the distance",
        how_to_read=(
            f"Crossings per median distance, ± the standard error over {count(radius.rays)} rays. Compare a row's rays "
            "with the isotropic ones, and the model with its twin, whose rows have other norms."
        ),
        columns=("rays", *(f"{a:g} to {b:g}" for a, b in pairwise(edges))),
        groups=groups,
    )


def _where(rays: Rays) -> str:
    low, high = rays.natural
    median = significant(rays.median_radius)
    return f"median distance {median}, 90% of rows at {significant(low)} to {significant(high)} of it"


def _cells(found: Profile) -> list[str]:
    return [
        NOT_MEASURED if value is None else f"{significant(value)} ± {significant(error, 2)}"
        for value, error in zip(found.density, found.error, strict=True)
    ]


def _verdict(radius: Radius) -> str:
    shells, own = [], []
    space = "residual" if any(layer.spaces.residual for layer in radius.layers) else "read"
    for name, layer, rays, _ in _places(radius):
        if name == space and (densest := _densest(rays.data.density)):
            shells.append(layer.layer)
            if _densest(rays.isotropic.density) != densest and _stands_out(rays, densest):
                own.append(layer.layer)
    where = SPACES[space]
    if not shells:
        return f"No shell in the {where}: boundaries are densest at the centre and thin out from there."
    isotropic = [layer for layer in shells if layer not in own]
    said = f"In {layers_in_words(shells)} ({where}) boundaries are densest at a distance. "
    if isotropic:
        said += (
            f"In {layers_in_words(isotropic)} isotropic rays have the same shell: it is the weights' geometry and the "
            "norm's, not the data's. "
        )
    if own:
        said += (
            f"In {layers_in_words(own)} rays towards rows are denser there than isotropic ones: a shell of the data. "
        )
    return said.strip()


def _densest(density: Sequence[Number | None]) -> int:
    """Find the bin with the most; 0 is the centre, which is no shell."""
    return max(range(len(density)), key=lambda i: density[i] or 0)


def _stands_out(rays: Rays, place: int) -> bool:
    a, b = rays.data, rays.isotropic
    first, second = a.density[place], b.density[place]
    if first is None or second is None:
        return False
    error = ((a.error[place] or 0) ** 2 + (b.error[place] or 0) ** 2) ** 0.5
    return first - second > APART * error
