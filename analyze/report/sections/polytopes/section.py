"""The section "Polytopes": the parts of the experiments that were made, in the order of the guide."""

from collections.abc import Callable
from typing import Any

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


PARTS: dict[str, Callable[[Any], Part]] = {  # in the order of the guide
    "codes": codes_part,
    "clusters": clusters_part,
    "maps": maps_part,
    "scaling": scaling_part,
    "density": density_part,
    "radius": radius_part,
    "regions": regions_part,
    "adversaries": adversaries_part,
}


def polytopes_section(polytopes: Polytopes) -> Section:
    made = {name: results for name in PARTS if (results := getattr(polytopes, name)) is not None}
    parts = [PARTS[name](results) for name, results in made.items()]
    return Section(name="polytopes", title="Polytopes", paragraphs=[WORDS] if parts else [], parts=parts)
