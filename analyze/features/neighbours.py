"""Where a latent is found again in the other sizes: its nearest by decoder direction, its parents and children."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from jaxtyping import Bool, Float, Int
from torch import Tensor

from analyze.compare.chance import Chance
from analyze.compare.cosines import nearest_cosines

SHOWN = 3  # nearest latents of each other size


class Nearest(NamedTuple):
    """For every latent its nearest living latents in another dictionary, and the cosine that chance would give."""

    latents: Int[Tensor, "n_latents k"]
    cosines: Float[Tensor, "n_latents k"]
    chance: float  # the mean largest cosine with as many random directions


class Relative(NamedTuple):
    """A latent of a neighbouring size that fires or points alike, as `analyze.compare.families` found it."""

    path: str
    latent: int
    cosine: float | None
    masked: float | None  # cosine over the rows on which the larger one's latent fires


def nearest_latents(
    directions: Float[Tensor, "n_latents d_model"],
    others: Float[Tensor, "n_others d_model"],
    alive: Bool[Tensor, " n_others"],
    k: int = SHOWN,
) -> Nearest:
    """Find the `k` nearest of the living `others` by cosine, nearest first; fewer, where fewer live."""
    living = alive.nonzero()[:, 0].to(others.device)
    found = nearest_cosines(directions, others[living], k)
    chance = Chance(directions.shape[1], len(living)).mean
    return Nearest(living[found.indices].cpu(), found.values.cpu(), chance)


def relatives(families: Iterable[Mapping[str, Any]], path: str) -> tuple[dict[int, list[Relative]], ...]:
    """Gather the parents and the children of every latent of one dictionary, strongest relation first.

    `families` are those of `metrics.json`: edges are [small, large, cosine, masked cosine].
    """
    parents: dict[int, list[Relative]] = {}
    children: dict[int, list[Relative]] = {}
    for family in families:
        for small, large, cosine, masked in family["edges"]:
            if family["to"] == path:
                parents.setdefault(large, []).append(Relative(family["from"], small, cosine, masked))
            if family["from"] == path:
                children.setdefault(small, []).append(Relative(family["to"], large, cosine, masked))
    for side in (parents, children):
        for found in side.values():
            found.sort(key=lambda relative: -max(relative.cosine or 0, relative.masked or 0))
    return parents, children
