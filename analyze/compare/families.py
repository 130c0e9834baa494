"""Relate the features of a smaller and a larger dictionary: persists, splits, merges, new, vanished.

A feature i of the small dictionary and j of the large one are related if their decoder cosine is at least 0.7, or
if they fire alike on the rows on which j fires (masked cosine at least 0.6): a child may point elsewhere and still
fire only where its parent does. Only each feature's few nearest features, by cosine, are candidates.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from analyze.compare.cosines import nearest_cosines
from analyze.compare.functional import Agreement, functional_agreement
from winnow.dictionary import Dictionary

COSINE = 0.7
MASKED = 0.6
CANDIDATES = 4  # nearest features of the other dictionary, searched from both sides


class Relations(NamedTuple):
    """The related pairs, and how many relatives each alive feature has."""

    edges: Int[Tensor, "edge 2"]  # index in the small dictionary, index in the large one
    cosines: Float[Tensor, " edge"]
    masked: Float[Tensor, " edge"]  # cosine over the rows on which the large dictionary's feature fires
    children: Int[Tensor, " n_small"]  # for each alive feature of the small dictionary
    parents: Int[Tensor, " n_large"]


class Candidates(NamedTuple):
    """Pairs of alive features with similar directions: each feature and its nearest in the other; each pair once."""

    a: Int[Tensor, " pair"]  # latent of dictionary A
    b: Int[Tensor, " pair"]  # latent of dictionary B
    cosines: Float[Tensor, " pair"]
    nearest_of_a: Int[Tensor, " n_a"]  # for each alive feature: index of the pair with its nearest feature
    nearest_of_b: Int[Tensor, " n_b"]


@torch.no_grad()
def candidates(
    a: Dictionary, b: Dictionary, alive: tuple[Bool[Tensor, " n_a_all"], Bool[Tensor, " n_b_all"]], k: int = CANDIDATES
) -> Candidates:
    """Find each alive feature's `k` nearest in the other dictionary, by decoder cosine, for both dictionaries."""
    alive_a, alive_b = (mask.nonzero()[:, 0] for mask in alive)
    left, right = a.W_dec.detach()[alive_a], b.W_dec.detach()[alive_b]
    a_to_b, b_to_a = nearest_cosines(left, right, k), nearest_cosines(right, left, k)
    pairs = torch.cat([_pairs(a_to_b.indices), _pairs(b_to_a.indices).flip(1)])
    cosines = torch.cat([a_to_b.values.flatten(), b_to_a.values.flatten()])
    keys, place = (pairs[:, 0] * max(len(alive_b), 1) + pairs[:, 1]).unique(return_inverse=True)
    first = torch.zeros(len(keys), dtype=torch.int64)
    first[place] = torch.arange(len(pairs))
    pairs, of_a, of_b = pairs[first], a_to_b.indices.shape[1], b_to_a.indices.shape[1]
    return Candidates(
        alive_a[pairs[:, 0]],
        alive_b[pairs[:, 1]],
        cosines[first],
        place[: len(alive_a) * of_a : max(of_a, 1)],
        place[len(alive_a) * of_a :: max(of_b, 1)],
    )


def relate(
    small: Dictionary,
    large: Dictionary,
    alive: tuple[Bool[Tensor, " n_small_all"], Bool[Tensor, " n_large_all"]],
    rows: Float[Tensor, "row d_model"],
) -> Relations:
    """Find the relatives of every alive feature between two neighbouring sizes."""
    near = candidates(small, large, alive)
    return related(near, functional_agreement(small, large, rows, (near.a, near.b)), alive)


def related(
    near: Candidates,
    agreed: Agreement,
    alive: tuple[Bool[Tensor, " n_small_all"], Bool[Tensor, " n_large_all"]],
) -> Relations:
    """Choose the candidates that are relatives; `agreed` is their functional agreement on rows."""
    kept = (near.cosines >= COSINE) | (agreed.masked_to_b >= MASKED)
    a, b = near.a[kept], near.b[kept]
    return Relations(
        torch.stack([a, b], dim=1),
        near.cosines[kept],
        agreed.masked_to_b[kept].float(),
        torch.bincount(a, minlength=len(alive[0]))[alive[0]],
        torch.bincount(b, minlength=len(alive[1]))[alive[1]],
    )


def summarise_families(found: Relations, small: str, large: str) -> dict[str, Any]:
    """Count the fates, named as in `metrics.json`; `edges` are [small, large, cosine, masked cosine].

    Where a size has no alive feature, nothing persists, vanishes or is new: all counts are None.
    """
    children, parents = found.children, found.parents
    fates = {
        "persists": int((children == 1).sum()),
        "splits": int((children > 1).sum()),
        "vanished": int((children == 0).sum()),
        "new": int((parents == 0).sum()),
        "merges": int((parents > 1).sum()),
    }
    return {
        "from": small,
        "to": large,
        **(fates if len(children) and len(parents) else dict.fromkeys(fates)),
        "edges": [
            [*edge, cosine, masked]
            for edge, cosine, masked in zip(
                found.edges.tolist(), found.cosines.tolist(), found.masked.tolist(), strict=True
            )
        ],
    }


def _pairs(indices: Tensor) -> Tensor:
    """List (row, entry) of an index matrix [n, k] as [n * k, 2]."""
    rows = torch.arange(len(indices))[:, None].expand_as(indices)
    return torch.stack([rows.flatten(), indices.flatten()], dim=1)
