"""Clusters that say most, with places in the text that a reader can look at."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

CLUSTERS = 20
CONTEXTS = 6
BEFORE, AFTER = 15, 5  # tokens shown before the place and after it


class Told(NamedTuple):
    """A cluster and the label that is commonest in it."""

    cluster: int
    rows: int
    label: int
    share: float  # of the cluster's rows that have it
    log10_p: float  # that so many of as many random rows would have it, times the number of labels


def telling_clusters(
    cluster: Int[np.ndarray, " row"], label: Int[np.ndarray, " row"], most: int = CLUSTERS
) -> list[Told]:
    """Give the clusters of the lowest p, the hypergeometric probability of their commonest label, Bonferroni-corrected.

    Rows of one sequence are not independent, so p orders the clusters and is no more than that.
    """
    from scipy.stats import hypergeom

    labels, everywhere = np.unique(label, return_counts=True)
    total = dict(zip(labels.tolist(), everywhere.tolist(), strict=True))
    found = []
    for number in range(int(cluster.max(initial=-1)) + 1):
        names, counts = np.unique(label[cluster == number], return_counts=True)
        if not len(names):
            continue
        rows, best = int(counts.sum()), int(counts.argmax())
        name, count = int(names[best]), int(counts[best])
        log_p = hypergeom.logsf(count - 1, len(label), total[name], rows) / np.log(10) + np.log10(len(labels))
        found.append(Told(number, rows, name, count / rows, min(float(log_p), 0.0)))
    return sorted(found, key=lambda told: (told.log10_p, told.cluster))[:most]


def choose_contexts(
    members: Int[np.ndarray, " member"], sequence: Int[np.ndarray, " row"], generator: np.random.Generator
) -> list[int]:
    """Choose rows of a cluster to show, from different sequences where there are enough, ascending."""
    drawn = generator.permutation(members)
    seen: dict[int, int] = {}
    again = []  # how many before it are from its sequence
    for row in drawn:
        again.append(seen.setdefault(int(sequence[row]), 0))
        seen[int(sequence[row])] += 1
    order = np.argsort(again, kind="stable")
    return sorted(int(row) for row in drawn[order[:CONTEXTS]])


def context(tokens: Int[np.ndarray, " position"], position: int, texts: Sequence[str]) -> dict[str, Any]:
    """Give the decoded tokens around a place, and which of them it is."""
    start = max(0, position - BEFORE)
    around = tokens[start : position + AFTER + 1].tolist()
    return {"tokens": [texts[token] for token in around], "at": position - start}
