"""Order the features of a family tree so that relatives are close to one another."""

from collections import defaultdict

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from analyze.report.draw.chart import FamilyTree

Feature = tuple[int, int]  # index of its size, index of the feature


def families(tree: FamilyTree) -> list[set[Feature]]:
    """Find the connected components of the tree, the largest family first."""
    edges = [
        ((i, kinship.parent), (i + 1, kinship.child))
        for i, kinships in enumerate(tree.kinships)
        for kinship in kinships
    ]
    numbers = {feature: number for number, feature in enumerate(sorted({end for edge in edges for end in edge}))}
    ends = np.array([[numbers[end] for end in edge] for edge in edges], dtype=np.int64).reshape(-1, 2)
    graph = csr_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(len(numbers), len(numbers)))
    count, labels = connected_components(graph, directed=False)
    found: list[set[Feature]] = [set() for _ in range(count)]
    for feature, label in zip(numbers, labels, strict=True):
        found[label].add(feature)
    return sorted(found, key=lambda family: (-len(family), min(family)))


def place_families(tree: FamilyTree, at_most: int) -> dict[Feature, float]:
    """Compute a height for each feature of the largest families: up to `at_most` features, but at least one family.

    Families are stacked. Within a family, each size's features are sorted by their parents' mean height and spaced
    evenly over the family's height.
    """
    parents: dict[Feature, list[Feature]] = defaultdict(list)
    for i, kinships in enumerate(tree.kinships):
        for kinship in kinships:
            parents[i + 1, kinship.child].append((i, kinship.parent))
    places: dict[Feature, float] = {}
    top = 0.0
    for family in families(tree):
        if places and len(places) + len(family) > at_most:
            break
        by_size: dict[int, list[Feature]] = defaultdict(list)
        for feature in sorted(family):
            by_size[feature[0]].append(feature)
        tall = max(map(len, by_size.values()))
        for size in sorted(by_size):
            features = sorted(by_size[size], key=lambda f: _mean([places[p] for p in parents[f]]))
            for number, feature in enumerate(features):
                places[feature] = top + tall * (number + 0.5) / len(features)
        top += tall + 1
    return places


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0
