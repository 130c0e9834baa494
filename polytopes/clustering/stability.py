"""Whether a clustering comes out again on other rows, or from another start: the adjusted Rand index of two.

It is 1 for equal clusterings and about 0 for independent ones (Hubert & Arabie 1985). Noise is no cluster, so only rows
that are clustered both times are compared; beside the index stands their share, since a high index over few rows is
weak.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

DRAWN = 0.8  # share of the rows in each draw


class Stability(NamedTuple):
    """How well two clusterings of the same rows agree."""

    ari: float | None  # None where fewer than two rows are clustered both times
    share: float  # rows clustered both times, of those that were there both times


def agreement(first: Int[np.ndarray, " row"], second: Int[np.ndarray, " row"]) -> Stability:
    """Compare two clusterings of the same rows; −1 is noise."""
    from sklearn.metrics import adjusted_rand_score

    both = (first >= 0) & (second >= 0)
    share = float(both.mean()) if len(both) else 0.0
    if both.sum() < 2:
        return Stability(None, share)
    return Stability(float(adjusted_rand_score(first[both], second[both])), share)


def stability_of_draws(
    cluster_rows: Callable[[Int[np.ndarray, " drawn"]], Int[np.ndarray, " drawn"]], rows: int, seed: int
) -> Stability:
    """Cluster two draws of 80 % of the rows, and compare them over the rows that are in both.

    cluster_rows: clusters the rows whose numbers it gets.
    """
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(2):
        drawn = np.sort(generator.choice(rows, round(DRAWN * rows), replace=False))
        cluster = np.full(rows, -2)  # not in this draw
        cluster[drawn] = cluster_rows(drawn)
        found.append(cluster)
    in_both = (found[0] > -2) & (found[1] > -2)
    return agreement(found[0][in_both], found[1][in_both])
