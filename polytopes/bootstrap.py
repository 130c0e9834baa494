"""Intervals of ratios by a bootstrap over groups: rows of one class, or of one sequence, are drawn together."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

DRAWS = 1000


class Estimate(NamedTuple):
    """A ratio of sums and its 95 % interval; None where the denominator's sum is 0."""

    value: float | None
    low: float | None
    high: float | None


def ratio(
    numerator: Float[np.ndarray, " row"],
    denominator: Float[np.ndarray, " row"],
    group: Shaped[np.ndarray, " row"],
    seed: int,
) -> Estimate:
    """Estimate Σ numerator / Σ denominator; percentiles over draws of whole groups."""
    names, number = np.unique(group, return_inverse=True)
    above = np.bincount(number, weights=numerator, minlength=len(names))
    below = np.bincount(number, weights=denominator, minlength=len(names))
    if not below.sum() > 0:
        return Estimate(None, None, None)
    drawn = np.random.default_rng(seed).integers(len(names), size=(DRAWS, len(names)))
    above_drawn, below_drawn = above[drawn].sum(1), below[drawn].sum(1)
    some = below_drawn > 0
    low, high = np.quantile(above_drawn[some] / below_drawn[some], (0.025, 0.975))
    return Estimate(float(above.sum() / below.sum()), float(low), float(high))


def mean(values: Float[np.ndarray, " row"], group: Shaped[np.ndarray, " row"], seed: int) -> Estimate:
    """Estimate the mean of the values that are finite."""
    kept = np.isfinite(values)
    return ratio(np.where(kept, values, 0.0), kept.astype(float), group, seed)
