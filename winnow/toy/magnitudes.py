"""How strongly toy features fire: the moments of the law, and children as strong as their parents."""

import math

import numpy as np
from jaxtyping import Float, Int

from winnow.config.toy import ToySettings
from winnow.toy.trees import levels, parents


def moments(settings: ToySettings) -> tuple[float, float]:
    """Return the mean of a magnitude, and the mean of its square; of a root, where children are scaled by parents."""
    if settings.magnitude == "normal":
        s = settings.magnitude_spread
        mean = s * math.sqrt(2 / math.pi) * math.exp(-1 / (2 * s * s)) + math.erf(1 / (s * math.sqrt(2)))
        return mean, 1 + s * s
    laws = {"uniform": (1 / 2, 1 / 3), "half-normal": ((2 / np.pi) ** 0.5, 1.0), "constant": (1.0, 1.0)}
    return laws[settings.magnitude]


def squares(settings: ToySettings) -> Float[np.ndarray, " feature"]:
    """Return the mean square of each feature's magnitude: a factor for each level, where parents scale children."""
    mean, square = moments(settings)
    factors = square * (square / mean**2) ** levels(settings)
    return factors if settings.scale_by_parent else np.full(settings.n_features, square)


def scale_by_parent(
    row: Int[np.ndarray, " active"],
    feature: Int[np.ndarray, " active"],
    magnitudes: Float[np.ndarray, " active"],
    settings: ToySettings,
) -> None:
    """Multiply, in place, a child's magnitude by its parent's in units of the mean; entries ascend by row, feature."""
    parent, level = parents(settings), levels(settings)[feature]
    key = row * settings.n_features + feature
    mean = np.float32(moments(settings)[0])
    for depth in range(1, settings.depth + 1):
        mine = np.flatnonzero(level == depth)
        above = np.searchsorted(key, row[mine] * settings.n_features + parent[feature[mine]])
        magnitudes[mine] *= magnitudes[above] / mean
