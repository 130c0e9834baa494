"""Order the features of a family tree, so that relatives lie beside one another."""

from collections import defaultdict

from analyze.report.draw.chart import FamilyTree

Feature = tuple[int, int]  # the number of its size, and its own


def families(tree: FamilyTree) -> list[set[Feature]]:
    """Find the features that are connected over any number of steps, the largest family first."""
    relatives: dict[Feature, list[Feature]] = defaultdict(list)
    for i, kinships in enumerate(tree.kinships):
        for kinship in kinships:
            relatives[i, kinship.parent].append((i + 1, kinship.child))
            relatives[i + 1, kinship.child].append((i, kinship.parent))
    found: list[set[Feature]] = []
    unseen = dict.fromkeys(sorted(relatives))
    while unseen:
        family, frontier = set(), [next(iter(unseen))]
        while frontier:
            feature = frontier.pop()
            if feature not in family:
                family.add(feature)
                del unseen[feature]
                frontier += relatives[feature]
        found.append(family)
    return sorted(found, key=lambda family: (-len(family), min(family)))


def place_families(tree: FamilyTree, at_most: int) -> dict[Feature, float]:
    """Give the features of the largest families, together `at_most` at least one family, a height each.

    Families are stacked. Within one, each size's features are in the order of their parents' mean height, spread
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
