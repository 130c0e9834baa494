"""Explain each feature of one dictionary by a few features of another: non-negative matching pursuit.

    explained = decompose(a, b, terms=4)
    explained.r2[:, 0]      # share of a_i that its best single direction in B explains: m_i^2 if m_i > 0
    explained.r2[:, 3]      # share that at most four directions explain

This tells apart the causes of a middling max-cosine. A feature that one direction explains is present; one that
only several together (up to four) explain is split or composed; one that four do not explain is absent.

In few dimensions four directions explain nearly anything: among 64 random directions in 8 dimensions, 95 % of random
ones are composed. So the same shares, for a random dictionary in place of B, stand beside.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from analyze.compare.cosines import nearest_cosines, unit

TERMS = 4
HIGH = 0.8  # least explained share of a feature that counts as explained: a cosine of 0.89
CHUNK = 2048  # features decomposed at a time


class Decomposition(NamedTuple):
    """Per feature: the share explained by 1 … terms directions, their indices and final weights (>= 0)."""

    r2: Float[Tensor, "n terms"]
    indices: Int[Tensor, "n terms"]
    weights: Float[Tensor, "n terms"]

    @property
    def participation(self) -> Float[Tensor, " n"]:
        """Participation ratio of the weights: (sum of w^2)^2 / sum of w^4, between 1 and `terms`; 0 if all are 0."""
        square = self.weights.square()
        return torch.nan_to_num(square.sum(1).square() / square.square().sum(1))


@torch.no_grad()
def decompose(a: Float[Tensor, "n d"], b: Float[Tensor, "m d"], terms: int = TERMS) -> Decomposition:
    """Explain every unit row of `a` by at most `terms` unit rows of `b` with weights >= 0, greedily.

    Each step adds the direction nearest to the residual, then solves for all weights again.
    """
    a, b = unit(a), unit(b)
    parts = [_decompose_chunk(rows, b, min(terms, len(b)), terms) for rows in a.split(CHUNK)] if len(a) else []
    if not parts:
        return Decomposition(a.new_zeros(0, terms), torch.zeros(0, terms, dtype=torch.int64), a.new_zeros(0, terms))
    return Decomposition(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


def shares(found: Decomposition) -> dict[str, Any]:
    """Compute the shares present, composed and absent, and the mean r2 after each step, named as in `metrics.json`."""
    first, last = found.r2[:, 0], found.r2[:, -1]
    present, explained = first >= HIGH, last >= HIGH
    return {
        "present": _share(present),
        "composed": _share(explained & ~present),
        "absent": _share(~explained),
        "r2": [float(column.double().mean()) for column in found.r2.T] if len(first) else [],
    }


def diagnosis(found: Decomposition, by_chance: Decomposition) -> dict[str, Any]:
    """Summarise, named as in `metrics.json`: the shares, those that a random dictionary gives, and participation."""
    ratio = found.participation.double().cpu().numpy()
    return {
        **shares(found),
        "random": shares(by_chance),
        "participation": {str(q): float(np.quantile(ratio, q)) for q in (0.05, 0.25, 0.5, 0.75, 0.95)}
        if len(ratio)
        else {},
    }


def explained_variance(a: Float[Tensor, "n d"], found: Decomposition) -> float:
    """Compute 1 - sum |a_i - its combination|^2 / sum |a_i - mean|^2 of the unit rows of `a`, with all terms."""
    if not len(a):
        return float("nan")
    left = (1 - found.r2[:, -1].double()).sum()
    spread = len(a) * (1 - unit(a).double().mean(0).square().sum())
    return float(1 - left / spread)


def _decompose_chunk(a: Tensor, b: Tensor, steps: int, terms: int) -> tuple[Tensor, Tensor, Tensor]:
    n = len(a)
    indices = torch.zeros(n, terms, dtype=torch.int64, device=a.device)
    weights = a.new_zeros(n, terms)
    r2 = a.new_zeros(n, terms)
    residual = a
    for step in range(steps):
        near = nearest_cosines(residual, b, step + 1)  # directions chosen before are nearly orthogonal to the residual
        fresh = (near.indices[:, :, None] != indices[:, None, :step]).all(2)  # (n, step + 1)
        choice = fresh.int().argmax(1, keepdim=True)
        indices[:, step] = near.indices.gather(1, choice)[:, 0]
        chosen = b[indices[:, : step + 1]]  # (n, step + 1, d)
        w = _non_negative(chosen @ chosen.mT, (chosen @ a[:, :, None])[..., 0])
        residual = a - (w[:, None] @ chosen)[:, 0]
        weights[:, : step + 1] = w
        r2[:, step] = (1 - residual.square().sum(1)).clamp(0, 1)
    if steps:
        r2[:, steps:] = r2[:, steps - 1 : steps]
    return r2, indices, weights


def _non_negative(gram: Tensor, target: Tensor) -> Tensor:
    """Solve gram @ w = target for w >= 0 [n, k], dropping the most negative weight until none is negative."""
    k = target.shape[1]
    active = torch.ones_like(target, dtype=torch.bool)
    eye = torch.eye(k, device=gram.device)
    w = torch.zeros_like(target)
    for _ in range(k):
        both = active[:, :, None] & active[:, None]
        system = torch.where(both, gram, eye) + 1e-6 * eye  # a dropped row gives w = 0; copies stay solvable
        w = torch.linalg.solve(system, torch.where(active, target, 0))
        worst = w.min(1, keepdim=True)
        if bool((worst.values >= 0).all()):
            break
        active.scatter_(1, worst.indices, active.gather(1, worst.indices) & (worst.values >= 0))
    return w.clamp_min(0)


def _share(mask: Tensor) -> float:
    return float(mask.double().mean()) if len(mask) else float("nan")
