"""Convert a family tree to JSON for the page, whose script lets a reader go from a feature to its relatives."""

from typing import Any

from analyze.report.draw.chart import FamilyTree

HUNDREDTHS = 100  # cosines are stored as whole hundredths: a tree may have a hundred thousand kinships


def tree_data(tree: FamilyTree) -> dict[str, Any]:
    """Return sizes, paths, and for each step a flat list: parent, child, cosine, masked cosine, parent, …"""
    return {
        "sizes": list(tree.sizes),
        "paths": list(tree.paths),
        "kinships": [
            [value for k in kinships for value in (k.parent, k.child, _hundredths(k.cosine), _hundredths(k.masked))]
            for kinships in tree.kinships
        ],
    }


def _hundredths(cosine: float | int | None) -> int | None:
    return None if cosine is None else round(HUNDREDTHS * cosine)
