"""Describe the distribution of a hook's activations, from the statistics that the harvest accumulated.

    describe(hook, store.statistics(hook))

Values are in units of the hook's standard deviation sigma, that of its median dimension, so that hooks of different
scale share one axis. The mean variance will not do: one outlier dimension can be most of it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from winnow.shards.statistics import MAGNITUDES, HookStatistics, bin_edges
from winnow.toy.truth import HOOK

SMALL = 1e-3  # a value below this share of its dimension's standard deviation counts as small
FINEST = 0.02  # histogram bins narrower than this many sigma are joined
OUTLIER = 10  # multiple of the median over dimensions


def kind_of(hook: str) -> str:
    """Name the part of the model that a hook reads: residual, mlp or other; toy for toy data."""
    if hook == HOOK:
        return "toy"
    if "resid" in hook:
        return "residual"
    return "mlp" if "mlp" in hook else "other"


def describe(hook: str, statistics: HookStatistics) -> dict[str, Any]:
    """Describe one hook, named as in `metrics.json`."""
    return {
        "hook": hook,
        "kind": kind_of(hook),
        "width": len(statistics.mean),
        "rows": statistics.rows,
        "mean_norm": statistics.mean_norm,
        "zeros": statistics.share_of_zeros,
        "small": share_of_small(statistics),
        "histogram": histogram(statistics),
        "kurtosis": statistics.excess_kurtosis,
        "variance": statistics.variance,
        "mean": statistics.mean,
        "skewness": statistics.skewness,
        "norms": norms(statistics),
        "position_norms": position_norms(statistics),
        "outlier_dimensions": outlier_dimensions(statistics),
    }


def share_of_small(statistics: HookStatistics) -> float:
    """Compute the share of values with |x| < 0.001 of their dimension's standard deviation, zeros included.

    Values are assumed to be uniform within the bin that contains the limit.
    """
    edges = bin_edges()
    limits = SMALL * np.sqrt(statistics.variance)
    below = np.concatenate([np.zeros((len(limits), 1)), statistics.histogram.cumsum(1)], axis=1)  # (d, BINS + 1)
    counts = [
        np.interp(limit, edges, row) - np.interp(-limit, edges, row) for limit, row in zip(limits, below, strict=True)
    ]
    # zero's own bin always counts in full, however small the limit
    narrow = limits < edges[MAGNITUDES + 1]
    exact = np.where(narrow, statistics.histogram[:, MAGNITUDES], counts)
    return float(exact.sum() / statistics.histogram.sum())


def histogram(statistics: HookStatistics) -> dict[str, NDArray]:
    """Compute the density of all values over all dimensions, in units of sigma.

    The bins are those of the statistics (four per octave), joined around zero where they are too fine.
    """
    sigma = typical_deviation(statistics.variance)
    counts = statistics.histogram.sum(0)
    used = np.nonzero(counts)[0]
    counts = counts[used[0] : used[-1] + 1]
    edges = bin_edges()[used[0] : used[-1] + 2] / (sigma if sigma > 0 else 1)
    wide = np.diff(edges) >= FINEST
    keep = np.concatenate([[True], wide[1:] | wide[:-1], [True]])  # keep an edge where a wide bin begins or ends
    starts = np.nonzero(keep)[0]
    joined = np.add.reduceat(counts, starts[:-1])
    return {"edges": edges[starts], "density": joined / (counts.sum() * np.diff(edges[starts]))}


def typical_deviation(variance: NDArray[np.float64]) -> float:
    """Compute the standard deviation of the median dimension, of those that vary; 0 where none does."""
    varying = variance[variance > 0]
    return float(np.sqrt(np.median(varying))) if len(varying) else 0.0


def norms(statistics: HookStatistics) -> dict[str, NDArray]:
    """Compute the histogram of the rows' Euclidean norms, over the range that occurs."""
    edges = bin_edges()[MAGNITUDES + 1 :]
    used = np.nonzero(statistics.norm_histogram)[0]
    part = slice(used[0], used[-1] + 1)
    return {"edges": edges[used[0] : used[-1] + 2], "counts": statistics.norm_histogram[part]}


def position_norms(statistics: HookStatistics) -> list[float | None]:
    """Compute the mean norm at each position of a sequence, None where no row is kept."""
    pairs = zip(statistics.norm_sum, statistics.position_rows, strict=True)
    return [float(total / rows) if rows else None for total, rows in pairs]


def outlier_dimensions(statistics: HookStatistics) -> list[int]:
    """List the dimensions whose |mean|, standard deviation or kurtosis (not excess) is above ten times the median."""
    mean = np.abs(statistics.mean)
    kurtosis = statistics.excess_kurtosis + 3
    outliers = (mean > OUTLIER * np.median(mean)) | (kurtosis > OUTLIER * np.median(kurtosis))
    outliers |= np.sqrt(statistics.variance) > OUTLIER * typical_deviation(statistics.variance)
    return [int(d) for d in np.nonzero(outliers)[0]]
