"""Find a latent's counterparts in other sizes: nearest by decoder direction, parents, and children."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from jaxtyping import Bool, Float, Int
from torch import Tensor

from analyze.compare.cosines import nearest_cosines
from analyze.compare.decoder_null import decoder_null

SHOWN = 3  # nearest latents of each other size


class Nearest(NamedTuple):
    """Every latent's nearest alive latents in another dictionary, and the chance level of the cosine."""

    latents: Int[Tensor, "n_latents k"]
    cosines: Float[Tensor, "n_latents k"]
    chance: float | None  # the mean largest cosine of random vectors like these directions; None if none is alive


class Relative(NamedTuple):
    """A latent of a neighbouring size that fires alike or points alike, by `analyze.compare.families`."""

    path: str
    latent: int
    cosine: float | None
    masked: float | None  # cosine over the rows on which the larger dictionary's latent fires


def nearest_latents(
    directions: Float[Tensor, "n_latents d_model"],
    others: Float[Tensor, "n_others d_model"],
    alive: Bool[Tensor, " n_others"],
    k: int = SHOWN,
    own_alive: Bool[Tensor, " n_latents"] | None = None,
) -> Nearest:
    """Find the `k` nearest alive `others` by cosine, nearest first; fewer if fewer are alive.

    Chance is that of the alive `directions`, as in a comparison of both dictionaries; without `own_alive` of all.
    """
    living = alive.nonzero()[:, 0].to(others.device)
    found = nearest_cosines(directions, others[living], k)
    null = decoder_null(directions if own_alive is None else directions[own_alive], others[living])
    return Nearest(living[found.indices].cpu(), found.values.cpu(), null.mean if len(null.maxima) else None)


def relatives(families: Iterable[Mapping[str, Any]], path: str) -> tuple[dict[int, list[Relative]], ...]:
    """Collect the parents and children of every latent of one dictionary, strongest relation first.

    `families` come from `metrics.json`: edges are [small, large, cosine, masked cosine].
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
