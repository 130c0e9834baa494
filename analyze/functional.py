"""Do two features fire alike? Agreement of latents of two dictionaries on the same rows.

Equal decoder directions need not fire equally. For given pairs (i, j) of a latent of A and one of B, over all
rows: the correlation of their values, the Jaccard index of the rows on which they fire, and the cosine of their
values over only those rows on which the target fires (the masked cosine: 1 where i is j whenever j fires,
whatever else i does).
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from winnow.dictionary import Dictionary

BATCH = 4096  # rows encoded at a time


class Agreement(NamedTuple):
    """Of each pair; NaN where a latent never fires on the rows that count."""

    correlation: Float[Tensor, " pair"]
    jaccard: Float[Tensor, " pair"]
    masked_to_b: Float[Tensor, " pair"]  # over the rows on which B's latent fires
    masked_to_a: Float[Tensor, " pair"]


@torch.no_grad()
def agreement(
    a: Dictionary,
    b: Dictionary,
    rows: Float[Tensor, "row d_model"],
    pairs: tuple[Int[Tensor, " pair"], Int[Tensor, " pair"]],
    batch: int = BATCH,
) -> Agreement:
    """Compare latents `pairs[0]` of `a` with latents `pairs[1]` of `b`, pair by pair, over `rows`."""
    names = ("x", "y", "xx", "yy", "xy", "both", "either", "xx_on_y", "yy_on_x")
    sums = {name: torch.zeros(len(pairs[0]), dtype=torch.float64) for name in names}
    for part in rows.split(batch):
        x, y = a.encode(part)[:, pairs[0]], b.encode(part)[:, pairs[1]]  # (row, pair)
        on_x, on_y = x > 0, y > 0
        terms = (
            x.sum(0),
            y.sum(0),
            x.square().sum(0),
            y.square().sum(0),
            (x * y).sum(0),
            (on_x & on_y).sum(0),
            (on_x | on_y).sum(0),
            (x.square() * on_y).sum(0),
            (y.square() * on_x).sum(0),
        )
        for name, term in zip(names, terms, strict=True):
            sums[name] += term.double().cpu()
    n = len(rows)
    covariance = sums["xy"] - sums["x"] * sums["y"] / n
    spread = (sums["xx"] - sums["x"].square() / n) * (sums["yy"] - sums["y"].square() / n)
    return Agreement(
        covariance / spread.clamp_min(0).sqrt(),
        sums["both"] / sums["either"],
        sums["xy"] / (sums["xx_on_y"] * sums["yy"]).sqrt(),
        sums["xy"] / (sums["yy_on_x"] * sums["xx"]).sqrt(),
    )
