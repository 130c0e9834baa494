"""The section "Polytopes": the parts of the experiments that were made, in the order of the guide."""

from collections.abc import Iterator

from analyze.polytopes import Polytopes
from analyze.report.section import Part, Section
from analyze.report.sections.polytopes.adversaries import adversaries_part
from analyze.report.sections.polytopes.clusters import clusters_part
from analyze.report.sections.polytopes.codes import codes_part
from analyze.report.sections.polytopes.density import density_part
from analyze.report.sections.polytopes.maps import maps_part
from analyze.report.sections.polytopes.radius import radius_part
from analyze.report.sections.polytopes.regions import regions_part
from analyze.report.sections.polytopes.scaling import scaling_part

WORDS = (
    "A network with ReLU is a patchwork: inputs that switch the same neurons on share one affine map, and the set of "
    "such inputs is a convex polytope. These parts ask whether polytopes, or groups of near ones, are units of meaning "
    "in this model's MLPs. No number stands alone: beside it is the control that could have produced it by itself. The "
    "untrained twin is the same architecture with random weights. docs/guide/polytopes.md explains every term."
)


def polytopes_section(polytopes: Polytopes) -> Section:
    parts = list(_parts(polytopes))
    return Section(name="polytopes", title="Polytopes", paragraphs=[WORDS] if parts else [], parts=parts)


def _parts(polytopes: Polytopes) -> Iterator[Part]:
    if polytopes.codes is not None:
        yield codes_part(polytopes.codes)
    if polytopes.clusters is not None:
        yield clusters_part(polytopes.clusters)
    if polytopes.maps is not None:
        yield maps_part(polytopes.maps)
    if polytopes.scaling is not None:
        yield scaling_part(polytopes.scaling)
    if polytopes.density is not None:
        yield density_part(polytopes.density)
    if polytopes.radius is not None:
        yield radius_part(polytopes.radius)
    if polytopes.regions is not None:
        yield regions_part(polytopes.regions)
    if polytopes.adversaries is not None:
        yield adversaries_part(polytopes.adversaries)
