"""Toy features that are children of others: a child fires only where its parent does.

Where a parent fires, its children fire with the probabilities that give them their rates (`winnow.config.toy_rates`):
of exclusive siblings at most one, independent ones each on its own. Given the parent, nothing else decides, so a child
correlates with features outside its tree only through its parent.
"""

import numpy as np
from jaxtyping import Float, Int

from winnow.config.toy import ToySettings


def parents(settings: ToySettings) -> Int[np.ndarray, " feature"]:
    """Return the parent of each feature, -1 for one that has none."""
    forest = settings.forest
    found = np.full(settings.n_features, -1)
    children = np.arange(forest.roots, forest.size)
    found[children] = (children - forest.roots) // forest.children
    return found


def levels(settings: ToySettings) -> Int[np.ndarray, " feature"]:
    """Return how many ancestors each feature has."""
    forest = settings.forest
    sizes = [forest.roots * forest.children**level for level in range(forest.depth + 1)]
    return np.repeat([*range(forest.depth + 1), 0], [*sizes, settings.n_features - forest.size])


def chances(settings: ToySettings) -> Float[np.ndarray, "parent child"]:
    """Return the probability that each child fires where its parent does; a row for each feature that has children."""
    forest, rates = settings.forest, np.array(settings.rates())
    of_children = rates[forest.roots : forest.size].reshape(forest.parents, forest.children)
    return of_children / rates[: forest.parents, None]


def draw_children(
    rng: np.random.Generator,
    row: Int[np.ndarray, " free"],
    feature: Int[np.ndarray, " free"],
    settings: ToySettings,
) -> tuple[Int[np.ndarray, " active"], Int[np.ndarray, " active"]]:
    """Add to the (row, feature) pairs that fire, without a child among them, those of children, level by level.

    Rows, then features ascend in the result.
    """
    forest, chance = settings.forest, chances(settings)
    rows, features = [row.astype(np.int64)], [feature.astype(np.int64)]
    parent_row, parent = rows[0], features[0]
    for _ in range(forest.depth):
        has_children = parent < forest.parents
        parent_row, parent = parent_row[has_children], parent[has_children]
        if settings.siblings == "exclusive":
            ends = chance.cumsum(1)[parent]  # (parent that fires, child)
            drawn = (rng.random(len(parent))[:, None] >= ends).sum(1)
            which, child = np.flatnonzero(drawn < forest.children), drawn[drawn < forest.children]
        else:
            which, child = np.nonzero(rng.random((len(parent), forest.children)) < chance[parent])
        parent_row, parent = parent_row[which], forest.roots + parent[which] * forest.children + child
        rows.append(parent_row)
        features.append(parent)
    row, feature = np.concatenate(rows), np.concatenate(features)
    order = np.lexsort((feature, row))
    return row[order], feature[order]
