"""Classify ground-truth directions: mostly in opposite pairs, strongly interfering, or neither.

Dimensionality of feature i (Elhage et al. 2022): D_i = ‖w_i‖² / Σ_j (ŵ_i · w_j)². 1: a dimension of its own; ½: half
of one, as in an opposite pair; d/(d + G) for G random directions in d dimensions. Learned directions differ from
random ones by a larger D_i and a smaller maximal cosine: their overlaps are negative.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

CHUNK = 4096
ANTIPODAL = -0.9
MOSTLY = 0.5  # antipodal: at least this share of features in opposite pairs
CROWDED = 0.2  # interfering: at most this mean dimensionality, that of random directions at G/d = 4


class Regime(NamedTuple):
    """How much features overlap."""

    dimensionality: Float[Tensor, " feature"]  # D_i
    antipodal_share: float  # share of features whose smallest cosine with another is below −0.9
    mean_max_abs_cosine: float  # mean over features of the largest |cosine| with another
    mean_max_cosine: float  # the same, signed

    @property
    def name(self) -> str:
        """`antipodal`, `interfering` or `mild`."""
        if self.antipodal_share >= MOSTLY:
            return "antipodal"
        return "interfering" if float(self.dimensionality.mean()) <= CROWDED else "mild"


def regime(directions: Float[Tensor, "feature d_model"]) -> Regime:
    """Measure the regime of directions of any norm; computes n² cosines, a chunk of rows at a time."""
    unit = F.normalize(directions.float(), dim=1)
    n = len(unit)
    overlaps, smallest, largest = (unit.new_zeros(n) for _ in range(3))
    for start in range(0, n, CHUNK):
        part = slice(start, min(n, start + CHUNK))
        overlaps[part] = (unit[part] @ directions.float().T).square().sum(1)
        cosines = unit[part] @ unit.T  # (chunk, n)
        cosines[torch.arange(cosines.shape[0]), torch.arange(part.start, part.stop)] = 0
        smallest[part] = cosines.amin(1)
        largest[part] = cosines.amax(1)
    return Regime(
        dimensionality=directions.square().sum(1) / overlaps,
        antipodal_share=float((smallest < ANTIPODAL).float().mean()),
        mean_max_abs_cosine=float(torch.maximum(largest, -smallest).mean()),
        mean_max_cosine=float(largest.mean()),
    )
