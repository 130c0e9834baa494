"""Relate the features of a smaller and a larger dictionary: persists, splits, merges, new, vanished.

A feature i of the small dictionary and j of the large one are related if their decoder cosine is at least 0.7, or
if they fire alike on the rows on which j fires (masked cosine at least 0.6): a child may point elsewhere and still
fire only where its parent does. Only each feature's few nearest features, by cosine, are candidates. In few
dimensions random directions have cosines of 0.7 too: how many edges they would have is counted beside.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from scipy.special import betaincc
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
    mutual: Bool[Tensor, " edge"]  # each is the other's nearest, by decoder cosine
    near: Bool[Tensor, " edge"]  # the decoder cosine is enough
    alike: Bool[Tensor, " edge"]  # the masked cosine is enough
    random: int  # edges by cosine, if all directions were random
    children: Int[Tensor, " n_small"]  # for each alive feature of the small dictionary
    parents: Int[Tensor, " n_large"]


class Candidates(NamedTuple):
    """Pairs of alive features with similar directions: each feature and its nearest in the other; each pair once."""

    a: Int[Tensor, " pair"]  # latent of dictionary A
    b: Int[Tensor, " pair"]  # latent of dictionary B
    cosines: Float[Tensor, " pair"]
    nearest_of_a: Int[Tensor, " n_a"]  # for each alive feature: index of the pair with its nearest feature
    nearest_of_b: Int[Tensor, " n_b"]
    random: int  # pairs with a cosine of at least `COSINE`, if all directions were random


@torch.no_grad()
def candidates(
    a: Dictionary, b: Dictionary, alive: tuple[Bool[Tensor, " n_a_all"], Bool[Tensor, " n_b_all"]], k: int = CANDIDATES
) -> Candidates:
    """Find each alive feature's `k` nearest in the other dictionary, by decoder cosine, for both dictionaries."""
    alive_a, alive_b = (mask.nonzero()[:, 0] for mask in alive)
    left, right = a.W_dec.detach()[alive_a], b.W_dec.detach()[alive_b]
    pairs, cosines, of_a, of_b = _nearest_pairs(left, right, k)
    return Candidates(alive_a[pairs[:, 0]], alive_b[pairs[:, 1]], cosines, of_a, of_b, _random_edges(left, right, k))


def _nearest_pairs(left: Tensor, right: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Find each row's `k` nearest in the other matrix, both ways: pairs, cosines, and each row's nearest pair."""
    a_to_b, b_to_a = nearest_cosines(left, right, k), nearest_cosines(right, left, k)
    pairs = torch.cat([_pairs(a_to_b.indices), _pairs(b_to_a.indices).flip(1)])
    cosines = torch.cat([a_to_b.values.flatten(), b_to_a.values.flatten()])
    keys, place = (pairs[:, 0] * max(len(right), 1) + pairs[:, 1]).unique(return_inverse=True)
    first = torch.zeros(len(keys), dtype=torch.int64)
    first[place] = torch.arange(len(pairs))
    pairs, of_a, of_b = pairs[first], a_to_b.indices.shape[1], b_to_a.indices.shape[1]
    split = len(left) * of_a
    return pairs, cosines[first], place[: split : max(of_a, 1)], place[split :: max(of_b, 1)]


def _random_edges(left: Tensor, right: Tensor, k: int) -> int:
    """Count the pairs with a cosine of at least `COSINE` among as many random directions; 0 where none is expected."""
    d = left.shape[1]
    probability = betaincc(0.5, (d - 1) / 2, COSINE**2) / 2  # cos^2 ~ Beta(1/2, (d - 1)/2)
    if len(left) * len(right) * probability < 0.01:
        return 0
    generator = torch.Generator().manual_seed(0x66616D)  # a seed that no training uses
    a, b = (torch.randn(len(side), d, generator=generator) for side in (left, right))
    return int((_nearest_pairs(a, b, k)[1] >= COSINE).sum())


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
    close, alike = near.cosines >= COSINE, agreed.masked_to_b >= MASKED
    kept = close | alike
    a, b = near.a[kept], near.b[kept]
    return Relations(
        torch.stack([a, b], dim=1),
        near.cosines[kept],
        agreed.masked_to_b[kept].float(),
        _mutual(near)[kept],
        close[kept],
        alike[kept],
        near.random,
        torch.bincount(a, minlength=len(alive[0]))[alive[0]],
        torch.bincount(b, minlength=len(alive[1]))[alive[1]],
    )


def summarise_families(found: Relations, small: str, large: str) -> dict[str, Any]:
    """Count fates and edges, named as in `metrics.json`; `edges` are [small, large, cosine, masked cosine].

    Where a size has no alive feature, nothing persists, vanishes or is new: all fates are None.
    """
    children, parents = found.children, found.parents
    fates = {
        "persists": int((children == 1).sum()),
        "splits": int((children > 1).sum()),
        "vanished": int((children == 0).sum()),
        "new": int((parents == 0).sum()),
        "merges": int((parents > 1).sum()),
    }
    rests = {
        "mutual": int(found.mutual.sum()),
        "by_cosine": int((found.near & ~found.alike).sum()),
        "by_masked": int((found.alike & ~found.near).sum()),
        "by_both": int((found.near & found.alike).sum()),
        "cosine_random": found.random,
    }
    return {
        "from": small,
        "to": large,
        **(fates if len(children) and len(parents) else dict.fromkeys(fates)),
        **rests,
        "edges": [
            [*edge, cosine, masked]
            for edge, cosine, masked in zip(
                found.edges.tolist(), found.cosines.tolist(), found.masked.tolist(), strict=True
            )
        ],
    }


def _mutual(near: Candidates) -> Tensor:
    """Mark the pairs of which each is the other's nearest: bool [pair]."""
    of_a, of_b = torch.zeros(2, len(near.a), dtype=torch.bool).unbind(0)
    of_a[near.nearest_of_a] = True
    of_b[near.nearest_of_b] = True
    return of_a & of_b


def _pairs(indices: Tensor) -> Tensor:
    """List (row, entry) of an index matrix [n, k] as [n * k, 2]."""
    rows = torch.arange(len(indices))[:, None].expand_as(indices)
    return torch.stack([rows.flatten(), indices.flatten()], dim=1)
