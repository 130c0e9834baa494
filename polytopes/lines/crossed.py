"""Boundaries of one layer on many lines: only how many, or where, without a list of them all."""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from winnow.spline.lines import PAIRS_AT_ONCE, affine_roots, normed_roots
from winnow.spline.mlp import MLP


def roots_in_parts(
    mlp: MLP, a: Float[Tensor, "line d"], b: Float[Tensor, "line d"], before_norm: bool
) -> Iterator[Float[Tensor, "part n most"]]:
    """Give the places of all crossings on some lines at a time, NaN where there is none; float64."""
    mlp = mlp.to(torch.float64)
    for first, second in zip(a.split(PAIRS_AT_ONCE), b.split(PAIRS_AT_ONCE), strict=True):
        start, end = mlp.fitting(first), mlp.fitting(second)
        if before_norm and mlp.norm is not None:
            yield normed_roots(mlp, mlp.norm, start, end)
        else:
            yield affine_roots(mlp, start, end)


@torch.no_grad()
def count_crossings(
    mlp: MLP, a: Float[Tensor, "line d"], b: Float[Tensor, "line d"], before_norm: bool
) -> Int64[Tensor, " line"]:
    """Count the crossings on each line from a to b; before_norm: lines in what the layer's norm reads."""
    counts = [(~roots.isnan()).sum((1, 2)).cpu() for roots in roots_in_parts(mlp, a, b, before_norm)]
    return torch.cat(counts) if counts else torch.zeros(0, dtype=torch.int64)
