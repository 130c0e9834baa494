"""The norms of rows, by which massive rows are told: what a store keeps of them, and their median.

A shard holds the norm of each row of each hook (/norms/<hook>), statistics.h5 the median norm of each hook. A manifest
says so with `row_norms`; without it, a store was harvested before norms were kept, and its rows all count alike.

Importing this module does not import torch.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from winnow.config.experiment import Experiment
from winnow.errors import UserError
from winnow.shards.statistics import MAGNITUDES, bin_edges

ROW_NORMS = "row_norms"  # in the manifest
DEFAULT_BOUND: float = Experiment.model_fields["massive_norm"].default
HALF = 2**16


def norms_are_kept(manifest: Mapping[str, Any]) -> bool:
    """Tell whether the shards of a store hold the norms of their rows."""
    return bool(manifest.get(ROW_NORMS, False))


def bound_for(manifest: Mapping[str, Any], asked: float | int) -> float:
    """Return the bound by which rows are left out: the one asked for, or 0 where the store does not keep norms."""
    return float(asked) if norms_are_kept(manifest) else 0.0


def refuse_without_norms(folder: Path, manifest: Mapping[str, Any], asked: float | int) -> None:
    """Raise `UserError` where a bound of one's own is asked for, and the store was harvested before norms were kept."""
    if asked not in (0.0, DEFAULT_BOUND) and not norms_are_kept(manifest):
        raise UserError(
            f"{folder}: massive_norm = {asked:g} needs the norms of the rows, and this store was harvested before they "
            "were kept; remove it (no row is left out of this run), or harvest into a new run"
        )


def median_norm(norms: Callable[[], Iterable[np.ndarray]]) -> float:
    """Find the median of the norms above zero: of an even number of them, the lower of the two in the middle.

    `norms` yields all norms, float32 [row], in parts, and is called twice: memory does not grow with the rows. Rows of
    zeros do not count, so that the median of sparse data is no zero; 0 where all rows are zeros.
    """
    # positive float32 are ordered like their bits: find the upper half of the median's bits, then the lower half
    high = np.zeros(HALF, np.int64)
    for part in norms():
        bits = part.view(np.uint32)
        high += np.bincount(bits[bits > 0] >> 16, minlength=HALF)
    if not high.sum():
        return 0.0
    rank = (int(high.sum()) - 1) // 2
    upper, rank = _bin_of(high, rank)
    low = np.zeros(HALF, np.int64)
    for part in norms():
        bits = part.view(np.uint32)
        low += np.bincount(bits[(bits >> 16 == upper) & (bits > 0)] & (HALF - 1), minlength=HALF)
    lower, _ = _bin_of(low, rank)
    return float(np.array([upper << 16 | lower], np.uint32).view(np.float32)[0])


def estimated_median(norm_histogram: np.ndarray) -> float:
    """Estimate the median norm from counts [MAGNITUDES], as if norms were spread evenly within a bin."""
    total = int(norm_histogram.sum())
    if not total:
        return 0.0
    edges = bin_edges()[MAGNITUDES + 1 :]
    place, rest = _bin_of(norm_histogram, (total - 1) // 2)
    return float(edges[place] + (edges[place + 1] - edges[place]) * (rest + 0.5) / norm_histogram[place])


def may_exceed(norm_histogram: np.ndarray, limit: float) -> bool:
    """Tell whether a norm above `limit` may be among those counted [MAGNITUDES]; the last bin is open."""
    ends = np.append(bin_edges()[MAGNITUDES + 2 : -1], np.inf)
    return bool(norm_histogram[ends > limit].any())


def _bin_of(counts: np.ndarray, rank: int) -> tuple[int, int]:
    """Find the bin that holds the value of this rank, and its rank within the bin."""
    ends = counts.cumsum()
    place = int(np.searchsorted(ends, rank, side="right"))
    return place, rank - int(ends[place] - counts[place])
