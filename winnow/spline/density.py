"""How densely boundaries lie on lines: per unit of length, and only between lines of equal length.

Crossings per length depend on the length itself (a neuron crosses once or twice however long the line is), and pairs of
rows of one label are nearer to each other than pairs of two. So each line between rows of one label is matched with the
line between rows of different labels whose length is closest, and only such pairs of lines are compared.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from winnow.errors import UserError
from winnow.shapes import checks_shapes


@checks_shapes
def match_lengths(same: Float[Tensor, " same"], different: Float[Tensor, " different"]) -> Int64[Tensor, " same"]:
    """Give for each length in `same` the index of the closest one in `different`, which may serve several times."""
    if len(different) == 0:
        raise UserError("no line between different labels to match with; give more rows, or rows of more labels")
    ordered, order = different.double().sort()
    after = torch.searchsorted(ordered, same.double()).clamp(max=len(ordered) - 1)
    before = (after - 1).clamp(min=0)
    nearer = (same - ordered[before]).abs() <= (ordered[after] - same).abs()
    return order[torch.where(nearer, before, after)]


@checks_shapes
def soft_density(
    p: Float[Tensor, "line n"], q: Float[Tensor, "line n"], length: Float[Tensor, " line"]
) -> Float[Tensor, " line"]:
    """Compute Σ|p_i − q_i| / ‖b − a‖, p and q being the soft codes of the ends: the crossings of a smooth gate."""
    return (p.double() - q.double()).abs().sum(-1) / length


class DensityRatio(NamedTuple):
    """R = mean density of matched lines between labels / mean density of lines within one, and its interval."""

    ratio: float
    low: float  # 2.5 %
    high: float  # 97.5 %
    length_ratio: float  # mean length of the matched lines / of the others: 1 where the match is good


@checks_shapes
def density_ratio(
    same: Float[Tensor, " same"],
    same_length: Float[Tensor, " same"],
    different: Float[Tensor, " different"],
    different_length: Float[Tensor, " different"],
    label: Int64[Tensor, " same"],
    seed: int,
    draws: int = 1000,
) -> DensityRatio:
    """Compare densities of lines within a label (`label`) with those of lines between labels, matched by length.

    R > 1: boundaries are denser between labels than within. The interval is a bootstrap over labels, since the lines of
    one label share rows; 95 %, percentiles.
    """
    matched = match_lengths(same_length, different_length)
    names, number = np.unique(label.cpu().numpy(), return_inverse=True)

    def by_label(values: Tensor) -> np.ndarray:
        return np.bincount(number, weights=values.double().cpu().numpy(), minlength=len(names))

    between, within = by_label(different[matched]), by_label(same)
    drawn = np.random.default_rng(seed).integers(len(names), size=(draws, len(names)))
    low, high = np.quantile(between[drawn].sum(1) / within[drawn].sum(1), (0.025, 0.975))
    length_ratio = different_length[matched].double().mean() / same_length.double().mean()
    return DensityRatio(float(between.sum() / within.sum()), float(low), float(high), length_ratio.item())
