"""Summarise the distribution of max-cosines beyond its mean: how many features recur, and which.

All functions take m [n], the max-cosines of one dictionary's features in another.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

THRESHOLDS = np.round(np.linspace(0, 1, 51), 2)
RATE_EDGES = np.array([-np.inf, -4, -3.5, -3, -2.5, -2, -1.5, -1, 0])  # log10 of the firing rate


def recovery_curve(m: NDArray[np.float64]) -> dict[str, NDArray[np.float64]] | None:
    """Compute R(t), the share of features with m_i > t; None without features, or without any to find them among."""
    if not np.isfinite(m).any():
        return None
    above = np.searchsorted(np.sort(m), THRESHOLDS, side="right")  # number at or below each threshold
    return {"thresholds": THRESHOLDS, "shares": 1 - above / len(m)}


def by_firing_rate(m: NDArray[np.float64], rates: NDArray[np.float64]) -> list[dict[str, Any]]:
    """Average m over features of similar firing rate: dictionaries disagree most on rare features.

    Returns one entry for each range that has features: its bounds in log10 of the rate, count and mean.
    """
    with np.errstate(divide="ignore"):
        place = np.digitize(np.log10(rates), RATE_EDGES[1:-1])
    return [
        {"from": RATE_EDGES[i], "to": RATE_EDGES[i + 1], "count": int(mine.sum()), "mean": float(m[mine].mean())}
        for i in range(len(RATE_EDGES) - 1)
        if (mine := place == i).any()
    ]


def scale_aware(m: NDArray[np.float64], scales: NDArray[np.float64]) -> float:
    """Average m_i with weights s_i = sqrt(E f_i^2): sum of s_i m_i over sum of s_i.

    A unit direction has no scale: the size of a feature's contribution to the activations is in its coefficients.
    """
    return float((scales * m).sum() / scales.sum()) if scales.sum() > 0 else float("nan")
