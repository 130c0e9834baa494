"""Intervals of ratios by a bootstrap over groups: rows of one class, or of one sequence, are drawn together."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

DRAWS = 1000


class Estimate(NamedTuple):
    """A number and its 95 % interval; None where it is not defined, as where a denominator is 0."""

    value: float | None
    low: float | None
    high: float | None


def of_sums(
    columns: Float[np.ndarray, "row column"],
    group: Shaped[np.ndarray, " row"],
    seed: int,
    compute: Callable[[np.ndarray], np.ndarray],
) -> Estimate:
    """Estimate a function of the columns' sums; percentiles over draws of whole groups.

    compute: from sums [..., column] to numbers [...]. What is not finite is not defined; draws of that are left out.
    """
    names, number = np.unique(group, return_inverse=True)
    sums = np.stack([np.bincount(number, column, minlength=len(names)) for column in columns.T], -1)  # [group, column]
    drawn = np.random.default_rng(seed).integers(len(names), size=(DRAWS, len(names)))
    # times that each group was drawn, and one product: the draws' sums
    times = np.stack([np.bincount(one, minlength=len(names)) for one in drawn])
    with np.errstate(divide="ignore", invalid="ignore"):
        value, found = compute(sums.sum(0)), compute(times @ sums)
    found = found[np.isfinite(found)]
    if not np.isfinite(value) or not len(found):
        return Estimate(None, None, None)
    low, high = np.quantile(found, (0.025, 0.975))
    return Estimate(float(value), float(low), float(high))


def ratio(
    numerator: Float[np.ndarray, " row"],
    denominator: Float[np.ndarray, " row"],
    group: Shaped[np.ndarray, " row"],
    seed: int,
) -> Estimate:
    """Estimate Σ numerator / Σ denominator."""
    return of_sums(np.stack([numerator, denominator], 1), group, seed, lambda sums: sums[..., 0] / sums[..., 1])


def mean(values: Float[np.ndarray, " row"], group: Shaped[np.ndarray, " row"], seed: int) -> Estimate:
    """Estimate the mean of the values that are finite."""
    kept = np.isfinite(values)
    return ratio(np.where(kept, values, 0.0), kept.astype(float), group, seed)
