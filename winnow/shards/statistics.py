"""Statistics of a hook's activations: merge them over shards, store them, read them.

Per dimension: mean and central moments up to the fourth (float64; the pairwise merge of Chan, Golub and
LeVeque 1979, extended to higher moments by Pebay 2008) and a histogram of signed magnitudes. Per position:
rows and the sum of norms. Per hook: a histogram of norms.

Histograms have four bins per octave. Magnitudes outside 2^-20 … 2^20 count in the outermost bins, and zeros (below
2^-127) in a bin of their own. `harvest.accumulate` measures rows.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from winnow.errors import UserError
from winnow.shards.contiguous import DataSet, create_contiguous

LOWEST = -20  # exponents of two that the histogram resolves
HIGHEST = 20
PER_OCTAVE = 4
MAGNITUDES = (HIGHEST - LOWEST) * PER_OCTAVE
BINS = 2 * MAGNITUDES + 1  # negative magnitudes, largest first; zero; positive magnitudes
STATISTICS = "statistics.h5"
EQUAL = 1e-13  # variance over squared mean, of rows that differ by no more than float32 rounds
SMALLEST_NORM, LARGEST_NORM = 1e-30, 1e30  # of rows that can be scaled to a norm near 1 and back in float32
MEDIAN = "median_norm"  # data set of a hook in statistics.h5


def bin_edges() -> np.ndarray:
    """Compute the edges [BINS + 1] of the signed bins; the zero bin lies between the two smallest magnitudes."""
    octaves = 2.0 ** np.arange(LOWEST, HIGHEST)[:, None] * (1 + np.arange(PER_OCTAVE) / PER_OCTAVE)
    positive = np.append(octaves.ravel(), 2.0**HIGHEST)
    return np.concatenate([-positive[::-1], positive])


class HookStatistics(NamedTuple):
    """The statistics of one hook; all arrays are float64 or int64 and on the CPU."""

    rows: int
    mean: np.ndarray  # [d]
    m2: np.ndarray  # [d] sum of (x - mean)^2; m3 and m4 likewise
    m3: np.ndarray
    m4: np.ndarray
    histogram: np.ndarray  # [d, BINS] counts
    norm_histogram: np.ndarray  # [MAGNITUDES] counts
    norm_sum: np.ndarray  # [context] sum of the norms at each position
    position_rows: np.ndarray  # [context]

    @property
    def variance(self) -> np.ndarray:
        return self.m2 / self.rows

    @property
    def skewness(self) -> np.ndarray:
        return _ratio(self.m3 / self.rows, self.variance**1.5)

    @property
    def excess_kurtosis(self) -> np.ndarray:
        return _ratio(self.m4 / self.rows, self.variance**2) - 3 * (self.variance > 0)

    @property
    def mean_norm(self) -> float:
        return float(self.norm_sum.sum() / self.rows)

    @property
    def share_of_zeros(self) -> float:
        return float(self.histogram[:, MAGNITUDES].sum() / self.histogram.sum())

    @classmethod
    def zero(cls, width: int, context: int) -> "HookStatistics":
        d = np.zeros(width)
        return cls(
            0,
            *(d, d, d, d),
            np.zeros((width, BINS), np.int64),
            np.zeros(MAGNITUDES, np.int64),
            np.zeros(context),
            np.zeros(context, np.int64),
        )

    def merge(self, other: "HookStatistics") -> "HookStatistics":
        """Combine with the statistics of other rows of the same hook."""
        if other.rows == 0:
            return self
        if self.rows == 0:
            return other
        a, b = self.rows, other.rows
        n = a + b
        delta = other.mean - self.mean
        step = delta / n
        mean = self.mean + step * b
        m2 = self.m2 + other.m2 + delta * step * a * b
        m3 = self.m3 + other.m3 + delta * step**2 * a * b * (a - b) + 3 * step * (a * other.m2 - b * self.m2)
        m4 = (
            self.m4
            + other.m4
            + delta * step**3 * a * b * (a * a - a * b + b * b)
            + 6 * step**2 * (a * a * other.m2 + b * b * self.m2)
            + 4 * step * (a * other.m3 - b * self.m3)
        )
        return HookStatistics(n, mean, m2, m3, m4, *(s + o for s, o in zip(self[5:], other[5:], strict=True)))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the fields as arrays of at least one dimension, by the names under which they are stored."""
        return {name: np.atleast_1d(np.asarray(value)) for name, value in zip(self._fields, self, strict=True)}

    @classmethod
    def read(cls, group: Any) -> "HookStatistics":
        """Read the fields from an HDF5 group, as they are; `read_hook` checks them."""
        return cls(int(group["rows"][0]), *(np.asarray(group[name]) for name in cls._fields[1:]))


def read_hook(
    path: Path, group: Any, width: int, context: int, rows: int, remedy: str
) -> tuple[HookStatistics, float | None]:
    """Read the statistics of one hook from an HDF5 group, and the median norm; None where there is none.

    Raises `UserError` where shapes, types or counts are not those of `rows` rows [width].
    """
    expected = HookStatistics.zero(width, context).arrays()
    read: dict[str, np.ndarray] = {}
    for name, like in [*expected.items(), (MEDIAN, np.zeros(1))]:
        found = group.get(name) if isinstance(group, h5py.Group) else None
        if found is None and name == MEDIAN:
            continue
        if not isinstance(found, h5py.Dataset) or found.is_virtual or found.external:
            raise UserError(f"{path}: {getattr(group, 'name', '?')}/{name}: no such data set; {remedy}")
        if found.shape != like.shape or found.dtype != like.dtype:
            raise UserError(
                f"{path}: {found.name}: expected {like.dtype} {list(like.shape)}, "
                f"found {found.dtype} {None if found.shape is None else list(found.shape)}; {remedy}"
            )
        read[name] = np.asarray(found)
        if like.dtype.kind == "f" and not np.isfinite(read[name]).all():
            raise UserError(f"{path}: {found.name}: expected finite numbers, found others; {remedy}")
    for name in ("norm_histogram", "position_rows"):
        if read[name].sum() != rows or (read[name] < 0).any():
            raise UserError(f"{path}: {group.name}/{name}: expected {rows} in all, found {read[name].sum()}; {remedy}")
    if (read["histogram"].sum(1) != rows).any():
        raise UserError(f"{path}: {group.name}/histogram: expected {rows} for each dimension, found others; {remedy}")
    if read["rows"][0] != rows:
        raise UserError(f"{path}: {group.name}/rows: expected {rows}, found {read['rows'][0]}; {remedy}")
    median = float(read[MEDIAN][0]) if MEDIAN in read else None
    return HookStatistics.read(group), median


def why_untrainable(mean: np.ndarray, variance: np.ndarray, mean_norm: float) -> str:
    """Say why no dictionary can be trained on the rows of these statistics; "" where one can."""
    if mean_norm == 0:
        return "its activations are all zero"
    if not SMALLEST_NORM <= mean_norm <= LARGEST_NORM:
        size = "small" if mean_norm < SMALLEST_NORM else "large"
        return f"its activations are too {size} for products in float32 (mean norm {mean_norm:.2g})"
    if variance.sum() <= EQUAL * np.square(mean).sum():
        return "its rows are all equal"
    return ""


def merge_all(parts: Iterable[HookStatistics], width: int, context: int) -> HookStatistics:
    """Merge in the given order, so that equal parts give equal bits."""
    total = HookStatistics.zero(width, context)
    for part in parts:
        total = total.merge(part)
    return total


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)


def statistics_layout(hooks: Mapping[str, HookStatistics]) -> dict[str, DataSet]:
    """List the data sets for the statistics of several hooks, one group per hook."""
    arrays = {f"{hook}/{name}": array for hook, found in hooks.items() for name, array in found.arrays().items()}
    return {name: DataSet(array.shape, array.dtype, {}) for name, array in arrays.items()}


def store_layout(hooks: Mapping[str, HookStatistics]) -> dict[str, DataSet]:
    """List the data sets of statistics.h5: the statistics of every hook, and its median norm."""
    medians = {f"{hook}/{MEDIAN}": DataSet((1,), np.dtype(np.float64), {}) for hook in hooks}
    return statistics_layout(hooks) | medians


def write_statistics(path: Path, hooks: Mapping[str, HookStatistics], median_norms: Mapping[str, float]) -> None:
    """Write the statistics of several hooks and their median norms, one group per hook."""
    with create_contiguous(path, store_layout(hooks)) as file:
        for hook, found in hooks.items():
            for name, array in found.arrays().items():
                file.write(f"{hook}/{name}", array)
            file.write(f"{hook}/{MEDIAN}", np.array([median_norms[hook]]))
