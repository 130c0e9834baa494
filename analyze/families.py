"""Which feature of a larger dictionary comes from which of a smaller one: persists, splits, merges, new, vanished.

A small feature i and a large one j are related where their decoder cosine is at least 0.7, or where they fire
alike on the rows on which j fires (masked cosine at least 0.6): a child may point elsewhere and still fire only
where its parent does. Only the nearest few of each feature, by cosine, are candidates.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from analyze.cosines import nearest_cosines
from analyze.functional import agreement
from winnow.dictionary import Dictionary

COSINE = 0.7
MASKED = 0.6
CANDIDATES = 4  # nearest features of the other dictionary, from either side


class Relations(NamedTuple):
    """The related pairs, and how many relatives each living feature has."""

    edges: Int[Tensor, "edge 2"]  # index in the small dictionary, index in the large one
    cosines: Float[Tensor, " edge"]
    masked: Float[Tensor, " edge"]  # over the rows on which the large one's feature fires
    children: Int[Tensor, " n_small"]  # of each living small feature
    parents: Int[Tensor, " n_large"]


@torch.no_grad()
def relate(
    small: Dictionary,
    large: Dictionary,
    alive: tuple[Bool[Tensor, " n_small_all"], Bool[Tensor, " n_large_all"]],
    rows: Float[Tensor, "row d_model"],
) -> Relations:
    """Find the relatives of every living feature between two neighbouring sizes."""
    mine, theirs = (mask.nonzero()[:, 0] for mask in alive)
    a, b = small.W_dec.detach()[mine], large.W_dec.detach()[theirs]
    forth, back = nearest_cosines(a, b, CANDIDATES), nearest_cosines(b, a, CANDIDATES)
    pairs = torch.cat([_pairs(forth.indices), _pairs(back.indices).flip(1)])
    cosines = torch.cat([forth.values.flatten(), back.values.flatten()])
    pairs, first = _distinct(pairs, len(theirs))
    cosines = cosines[first]
    masked = agreement(small, large, rows, (mine[pairs[:, 0]], theirs[pairs[:, 1]])).masked_to_b
    related = (cosines >= COSINE) | (masked >= MASKED)
    pairs = pairs[related]
    return Relations(
        torch.stack([mine[pairs[:, 0]], theirs[pairs[:, 1]]], dim=1),
        cosines[related],
        masked[related].float(),
        torch.bincount(pairs[:, 0], minlength=len(mine)),
        torch.bincount(pairs[:, 1], minlength=len(theirs)),
    )


def summary(found: Relations, small: str, large: str) -> dict[str, Any]:
    """Count the fates under the names of `metrics.json`; `edges` are [small, large, cosine, masked cosine]."""
    children, parents = found.children, found.parents
    return {
        "from": small,
        "to": large,
        "persists": int((children == 1).sum()),
        "splits": int((children > 1).sum()),
        "vanished": int((children == 0).sum()),
        "new": int((parents == 0).sum()),
        "merges": int((parents > 1).sum()),
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


def _distinct(pairs: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Keep each pair once, with the place where it stood."""
    keys, inverse = (pairs[:, 0] * max(width, 1) + pairs[:, 1]).unique(return_inverse=True)
    first = torch.zeros(len(keys), dtype=torch.int64)
    first[inverse] = torch.arange(len(pairs))
    return pairs[first], first
