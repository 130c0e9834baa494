"""Tell massive rows of an evaluation by their norm: the harvest's rule, on rows that were never harvested."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def is_massive(x: Float[Tensor, "row d_model"], limit: float) -> Bool[Tensor, " row"] | None:
    """Mark the rows whose norm is above `limit` (`winnow.massive.rows.norm_limit`); None where there are none."""
    if math.isinf(limit):
        return None
    # in float64, as the harvest sums squares: those of values beyond 1e19 are no float32
    massive = torch.linalg.vector_norm(x, dim=1, dtype=torch.float64).float() > limit
    return massive if bool(massive.any()) else None


def without_massive(
    kept: Bool[Tensor, "sequence context"], massive: Bool[Tensor, " row"] | None
) -> Bool[Tensor, "sequence context"]:
    """Take massive rows, of those at the kept positions, out of the kept positions."""
    if massive is None:
        return kept
    less = kept.clone()
    less[kept] = ~massive
    return less
