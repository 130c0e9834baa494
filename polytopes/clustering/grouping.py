"""Group rows that are near each other.

HDBSCAN gets a full matrix of distances: in 512 dimensions its own search takes ten times as long. k-means has no noise
and covers every row. Its distances are euclidean; of codes it clusters the bits as numbers.
"""

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from polytopes.clustering.representations import Representation
from winnow.errors import UserError

NOISE = -1
CENTRES = 150  # of k-means
ROWS_AT_ONCE = 2048  # of those that are assigned, times the members


def hdbscan(distances: Float[Tensor, "row row"], min_cluster_size: int, min_samples: int) -> Int[np.ndarray, " row"]:
    """Cluster by precomputed distances; −1 is noise. Campello, Moulavi & Sander 2013.

    A group of more than half the rows is no cluster but is looked into: without that, whether there are dozens of
    clusters or two, one of nearly all rows, hangs by a few rows. Clusters are numbered from the largest, then by their
    first row. The distances are not changed.
    """
    if len(distances) <= min_cluster_size:
        return np.full(len(distances), NOISE)
    from sklearn.cluster import HDBSCAN

    found = HDBSCAN(
        metric="precomputed",
        min_cluster_size=min_cluster_size,
        min_samples=min_samples,
        max_cluster_size=max(min_cluster_size, len(distances) // 2),  # pyright: ignore[reportArgumentType]
        copy=True,  # pyright: ignore[reportArgumentType]
    ).fit_predict(distances.cpu().numpy())
    return by_size(found)


def kmeans(rows: Float[Tensor, "row n"], seed: int, centres: int = CENTRES) -> Int[np.ndarray, " row"]:
    """Cluster by `MiniBatchKMeans`, which leaves no row out; at most as many clusters as a tenth of the rows."""
    from sklearn.cluster import MiniBatchKMeans

    count = max(1, min(centres, len(rows) // 10))
    x = rows.double().cpu().numpy()
    found = MiniBatchKMeans(
        count,
        random_state=seed,
        n_init=3,  # pyright: ignore[reportArgumentType]
        batch_size=1024,
    ).fit_predict(x)
    return by_size(found)


def by_size(cluster: Int[np.ndarray, " row"]) -> Int[np.ndarray, " row"]:
    """Number clusters from the largest, then by their first row; what is below 0 becomes −1."""
    names, first, counts = np.unique(cluster[cluster >= 0], return_index=True, return_counts=True)
    order = np.lexsort((first, -counts))
    number = np.full(int(cluster.max(initial=NOISE)) + 1, NOISE)
    number[names[order]] = np.arange(len(names))
    return np.where(cluster >= 0, number[np.maximum(cluster, 0)], NOISE) if len(number) else np.full_like(cluster, -1)


def assign(
    representation: Representation,
    rows: Float[Tensor, "row n"],
    members: Float[Tensor, "member n"],
    cluster: Int[np.ndarray, " member"],
) -> Int[np.ndarray, " row"]:
    """Give each row the cluster of its nearest member, noise included: a row beside noise is noise."""
    if len(members) != len(cluster):
        raise UserError(f"{len(members)} members beside {len(cluster)} clusters")
    # numpy takes the first of equal ones, and codes often are equally far
    nearest = [representation.distances(members, part).cpu().numpy().argmin(0) for part in rows.split(ROWS_AT_ONCE)]
    return cluster[np.concatenate(nearest)] if nearest else cluster[:0]
