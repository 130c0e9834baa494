"""Groups of rows that are near each other, by a layer's activations or by codes.

    post:2      the hidden activations of layer 2, euclidean distances
    code:2      its hard codes, Jaccard distances: an off bit that both share says little
    code:0-3    the codes of layers 0 to 3, joined

HDBSCAN gets a full matrix of distances: in 512 dimensions its own search takes ten times as long. k-means has no noise
and covers every row. Its distances are euclidean; of codes it clusters the bits as numbers.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from winnow.errors import UserError
from winnow.spline.codes import jaccard

Method = Literal["hdbscan", "kmeans"]
NOISE = -1
CENTRES = 150  # of k-means
ROWS_AT_ONCE = 2048  # of those that are assigned, times the members


@dataclass(frozen=True)
class Representation:
    """What of a row is compared: its activations or its codes, at some layers."""

    kind: Literal["post", "code"]
    layers: tuple[int, ...]

    @property
    def name(self) -> str:
        first, last = self.layers[0], self.layers[-1]
        return f"{self.kind}:{first}" if first == last else f"{self.kind}:{first}-{last}"

    def distances(
        self, rows: Float[Tensor, "row n"], others: Float[Tensor, "other n"] | None = None
    ) -> Float[Tensor, "row other"]:
        """Compute the distance between every two rows in float64; without `others`, exactly symmetric.

        rows: activations; of codes anything that is above 0 where a neuron is on.
        """
        if self.kind == "code":
            return jaccard(rows > 0, None if others is None else others > 0)
        return euclidean(rows, others)


def representations(names: Sequence[str], layers: int) -> list[Representation]:
    """Read `post:2`, `code:*`, `code:0-3`; a star is every layer by itself.

    Raises `UserError` for a name of another form, and for a layer that a model of so many layers lacks.
    """
    found: dict[str, Representation] = {}
    for name in names:
        match = re.fullmatch(r"(post|code):(?:(\*)|(\d+)(?:-(\d+))?)", name)
        if match is None or (match[1] == "post" and match[4]):
            raise UserError(
                f"polytopes.clusters.representations: {name!r} is none; there are post:L, code:L and code:L-K with "
                "layers L and K, and a star for every layer"
            )
        kind = "post" if match[1] == "post" else "code"
        if match[2]:
            spans = [(layer, layer) for layer in range(layers)]
        else:
            spans = [(int(match[3]), int(match[4] or match[3]))]
        for first, last in spans:
            if not first <= last < layers:
                raise UserError(
                    f"polytopes.clusters.representations: {name!r}: the model has layers 0 to {layers - 1}, and a "
                    "range goes upwards"
                )
            one = Representation(kind, tuple(range(first, last + 1)))
            found[one.name] = one
    return list(found.values())


def euclidean(
    rows: Float[Tensor, "row n"], others: Float[Tensor, "other n"] | None = None
) -> Float[Tensor, "row other"]:
    """Compute euclidean distances in float64 by a matrix product.

    Squares are subtracted: of rows at distance r from their mean, distances below 1e-8 r are noise.
    """
    x = rows.double()
    mean = x.mean(0)
    x = x - mean
    y = x if others is None else others.double() - mean
    squares = x.square().sum(1)[:, None] + y.square().sum(1)
    found = squares.addmm_(x, y.T, alpha=-2).clamp_(min=0).sqrt_()
    if others is None:  # HDBSCAN refuses what is symmetric only up to rounding
        return found.add_(found.T.clone()).div_(2).fill_diagonal_(0)
    return found


def hdbscan(distances: Float[Tensor, "row row"], min_cluster_size: int, min_samples: int) -> Int[np.ndarray, " row"]:
    """Cluster by precomputed distances; −1 is noise. Campello, Moulavi & Sander 2013.

    Clusters are numbered from the largest, then by their first row. The distances are not changed.
    """
    if len(distances) <= min_cluster_size:
        return np.full(len(distances), NOISE)
    from sklearn.cluster import HDBSCAN

    found = HDBSCAN(
        metric="precomputed",
        min_cluster_size=min_cluster_size,
        min_samples=min_samples,
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


def permuted_columns(rows: Float[Tensor, "row n"], seed: int) -> Float[Tensor, "row n"]:
    """Permute every column by itself: each neuron is on as often as before, but not together with others."""
    generator = torch.Generator().manual_seed(seed)
    result = torch.empty_like(rows)
    for column in range(rows.shape[1]):
        result[:, column] = rows[torch.randperm(len(rows), generator=generator).to(rows.device), column]
    return result


def gaussian_rows(rows: Float[Tensor, "row n"], seed: int) -> Float[Tensor, "row n"]:
    """Draw as many rows from the normal distribution with these rows' mean and covariance."""
    mean = rows.mean(0)
    # z X/√N has X's covariance, whatever its rank
    z = torch.randn(len(rows), len(rows), generator=torch.Generator().manual_seed(seed)).to(rows)
    return mean + z @ (rows - mean) / len(rows) ** 0.5
