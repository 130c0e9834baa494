"""What much simpler ways of sparse coding reach: numbers without which a dictionary's FVU says little.

All are fitted on harvested rows and measured on held-out ones, at the dictionary's own L0:

pca        the L0 first principal components
kmeans     the nearest of n_latents centres (L0 = 1)
random     random unit directions, the L0 largest of their positive products with the centred row, and one gain for
           all that minimises the error
untrained  the same without the gain: what training starts from
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from analyze.cosines import unit

ITERATIONS = 6  # of Lloyd's algorithm; its FVU changes by less than 0.01 afterwards
CHUNK = 4096


class Baselines(NamedTuple):
    """The FVU of each baseline."""

    pca: float
    kmeans: float
    random: float
    untrained: float


@torch.no_grad()
def baselines(
    train: Float[Tensor, "row d"], test: Float[Tensor, "other d"], n_latents: int, l0: float | int, seed: int = 0
) -> Baselines:
    """Fit every baseline of a dictionary of `n_latents` latents, `l0` of which are active per row."""
    generator = torch.Generator().manual_seed(seed)
    active = max(0, min(round(l0), n_latents))
    mean = train.mean(0)
    directions = unit(torch.randn(n_latents, train.shape[1], generator=generator))
    fitted, measured = ((rows - mean) for rows in (train, test))
    rebuilt = sparse_code(fitted, directions, active)
    gain = (fitted * rebuilt).double().sum() / rebuilt.double().square().sum().clamp_min(1e-30)
    code = sparse_code(measured, directions, active)
    centres = kmeans(train, n_latents, generator)
    return Baselines(
        fvu(test, mean + project(measured, components(train, active))),
        fvu(test, centres[_nearest(test, centres)]),
        fvu(test, mean + float(gain) * code),
        fvu(test, mean + code),
    )


def fvu(x: Float[Tensor, "row d"], y: Float[Tensor, "row d"]) -> float:
    """Compute the fraction of variance unexplained, in float64."""
    x, y = x.double(), y.double()
    return float((x - y).square().sum() / (x - x.mean(0)).square().sum())


def components(rows: Float[Tensor, "row d"], count: int) -> Float[Tensor, "count d"]:
    """Find the `count` first principal components (all, where the width has fewer)."""
    vectors = torch.linalg.eigh(torch.cov(rows.double().T)).eigenvectors  # ascending
    return vectors.T.flip(0)[:count].float()


def project(rows: Float[Tensor, "row d"], basis: Float[Tensor, "count d"]) -> Float[Tensor, "row d"]:
    """Keep the part of each row that lies in the span of an orthonormal basis."""
    return rows @ basis.T @ basis


def sparse_code(rows: Float[Tensor, "row d"], directions: Float[Tensor, "n d"], active: int) -> Float[Tensor, "row d"]:
    """Rebuild rows from the `active` largest of their positive products with the directions."""
    parts = []
    for part in rows.split(CHUNK):
        largest = (part @ directions.T).topk(active, dim=1)
        parts.append((largest.values.relu()[:, :, None] * directions[largest.indices]).sum(1))
    return torch.cat(parts)


def kmeans(rows: Float[Tensor, "row d"], n: int, generator: torch.Generator) -> Float[Tensor, "n d"]:
    """Find `n` centres by Lloyd's algorithm from random rows; a centre that loses all its rows stays where it is."""
    start = torch.randint(len(rows), (n,), generator=generator) if n > len(rows) else None
    centres = rows[torch.randperm(len(rows), generator=generator)[:n] if start is None else start].clone()
    for _ in range(ITERATIONS):
        nearest = _nearest(rows, centres)
        sums = torch.zeros_like(centres).index_add_(0, nearest, rows)
        counts = torch.bincount(nearest, minlength=n)[:, None]
        centres = torch.where(counts > 0, sums / counts.clamp_min(1), centres)
    return centres


def _nearest(rows: Tensor, centres: Tensor) -> Tensor:
    half = centres.square().sum(1) / 2
    return torch.cat([(part @ centres.T - half).argmax(1) for part in rows.split(CHUNK)])
