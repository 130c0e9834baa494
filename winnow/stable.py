"""Which latents come back with other seeds, and a dictionary of those alone (2606.12138).

    seeds = [winnow.load_dictionary(f"…/topk-1024-k32-seed{seed}") for seed in range(3)]
    winnow.stability(seeds)[0]            # [n_latents, 2]: each latent's largest cosine in each of the other seeds
    pooled = winnow.pool_stable(seeds)    # a Dictionary; winnow.dictionary.save_dictionary writes it

A latent is stable if every other seed has a direction at a cosine of at least `threshold`. A dead latent stays near its
random start and is found nowhere.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from winnow.dictionary import Dictionary
from winnow.errors import UserError

THRESHOLD = 0.7  # of a cosine: the same feature
FEWEST = 3  # dictionaries; with two, a latent found by chance counts as stable
BLOCK = 4096  # rows of a block of cosines


@torch.no_grad()
def stability(dictionaries: Sequence[Dictionary]) -> list[Float[Tensor, "n_latents other"]]:
    """Compute each latent's largest decoder cosine in each of the other dictionaries, in their order.

    dictionaries: three or more of one width that differ in their seed. Raises `UserError` for fewer, and for others.
    """
    _refuse_unlike(dictionaries)
    directions = [_unit(d.W_dec) for d in dictionaries]
    return [
        torch.stack([_nearest(own, other) for j, other in enumerate(directions) if j != i], dim=1)
        for i, own in enumerate(directions)
    ]


@torch.no_grad()
def pool_stable(dictionaries: Sequence[Dictionary], threshold: float = THRESHOLD) -> Dictionary:
    """Put the stable latents of several dictionaries into one, each feature once.

    Seed by seed, a stable latent is taken over unless one taken before has a cosine of at least `threshold` with it. It
    fires on what it fired on in its own dictionary, but for the choice of the k largest. b_dec is the mean of theirs.
    Raises `UserError` as `stability` does, and where no latent is stable.
    """
    if not isinstance(threshold, int | float) or threshold != threshold:
        raise UserError(f"threshold: expected a cosine, found {threshold!r:.60}")
    found = stability(dictionaries)
    first = dictionaries[0]
    b_dec = torch.stack([d.b_dec for d in dictionaries]).mean(0)
    taken: list[tuple[Dictionary, Tensor]] = []
    kept = first.W_dec.new_zeros(0, first.d_model)
    for dictionary, cosines in zip(dictionaries, found, strict=True):
        stable = (cosines >= threshold).all(1).nonzero().squeeze(1)
        own = _unit(dictionary.W_dec[stable])
        new = torch.ones(len(stable), dtype=torch.bool, device=own.device)
        if len(kept):
            new = _nearest(own, kept) < threshold
        taken.append((dictionary, stable[new]))
        kept = torch.cat([kept, own[new]])
    if not len(kept):
        raise UserError(f"no latent is found at a cosine of {threshold} in every seed; lower the threshold")

    def joined(name: str) -> Tensor | None:
        parts = [getattr(d, name) for d, _ in taken]
        if parts[0] is None:
            return None
        return torch.cat([part[latents] for part, (_, latents) in zip(parts, taken, strict=True)])

    # a latent of another b_dec sees the same pre-activation when its bias takes up the difference
    moved = [(d.W_enc[:, latents], b_dec - d.b_dec) for d, latents in taken]
    b_mag, r_mag = joined("b_mag"), joined("r_mag")
    if b_mag is not None and r_mag is not None:
        stretched = [W.T @ shift for W, shift in moved]
        b_mag = b_mag + torch.cat(stretched) * r_mag.exp()
    b_enc = torch.cat([d.b_enc[latents] + W.T @ s for (d, latents), (W, s) in zip(taken, moved, strict=True)])
    W_dec = joined("W_dec")
    assert W_dec is not None
    return Dictionary(
        torch.cat([W for W, _ in moved], dim=1),
        b_enc,
        W_dec,
        b_dec,
        architecture=first.architecture,
        k=None if first.k is None else min(first.k, len(kept)),
        threshold=joined("threshold"),
        r_mag=r_mag,
        b_mag=b_mag,
        hook=first.hook,
        provenance={
            "settings": {"architecture": first.architecture},
            "pooled": {"threshold": threshold, "from": [str(d.path) for d in dictionaries]},
        },
    )


def _nearest(a: Float[Tensor, "n d"], b: Float[Tensor, "m d"]) -> Float[Tensor, " n"]:
    """Find each unit row's largest cosine with the rows of b; the matrix of all cosines is never held."""
    best = a.new_full((len(a),), -1.0)
    for part in b.split(BLOCK):
        best = torch.maximum(best, torch.cat([(rows @ part.T).amax(1) for rows in a.split(BLOCK)]) if len(a) else best)
    return best


def _unit(directions: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    return torch.nn.functional.normalize(directions.detach(), dim=1)


def _refuse_unlike(dictionaries: Sequence[Dictionary]) -> None:
    if not isinstance(dictionaries, Sequence) or not all(isinstance(d, Dictionary) for d in dictionaries):
        raise UserError(f"stability: expected a list of dictionaries, found {_kinds(dictionaries)}")
    if len(dictionaries) < FEWEST:
        raise UserError(f"stability needs {FEWEST} dictionaries that differ in their seed, found {len(dictionaries)}")
    first = dictionaries[0]
    for other in dictionaries[1:]:
        for name in ("hook", "d_model", "architecture", "k", "groups"):
            if getattr(other, name) != getattr(first, name):
                raise UserError(
                    f"{other.path}: {name} is {getattr(other, name)}, that of {first.path} is {getattr(first, name)}; "
                    "give dictionaries that differ in their seed alone"
                )
    if first.groups is not None:
        raise UserError(f"{first.path}: the latents of groupmax depend on their groups and cannot be pooled")


def _kinds(given: Any) -> str:
    if isinstance(given, str) or not isinstance(given, Sequence):
        return type(given).__name__
    return f"{type(given).__name__} of {', '.join(sorted({type(one).__name__ for one in given}))}"
