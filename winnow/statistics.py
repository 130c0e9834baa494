"""The distribution of activations, accumulated in one pass and mergeable over shards.

Per dimension: mean and central moments up to the fourth (float64; the pairwise merge of Chan, Golub and
LeVeque 1979, extended to higher moments by Pebay 2008) and a histogram of signed magnitudes. Per position:
rows and the sum of norms. Per hook: a histogram of norms.

A histogram's bin is the sign, the exponent and the first two bits of the mantissa of a float32: four bins
an octave, found by a shift instead of a logarithm. Magnitudes outside 2^-20 … 2^20 count in the outermost
bins, and zeros (below 2^-127) in one of their own.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from winnow.contiguous import DataSet, create_contiguous

LOWEST = -20  # exponents of two that the histogram resolves
HIGHEST = 20
PER_OCTAVE = 4
CODE_SHIFT = 21  # of a float32's bits, from the top sign, 8 of exponent and mantissa, leaves 2 of the mantissa
BLOCK_ROWS = 256  # a block and its square stay in the cache
MAGNITUDES = (HIGHEST - LOWEST) * PER_OCTAVE
BINS = 2 * MAGNITUDES + 1  # negative ones from the largest down, zero, positive ones


def bin_edges() -> np.ndarray:
    """Compute the edges [BINS + 1] of the signed bins; zero's own bin lies between the two smallest magnitudes."""
    octaves = 2.0 ** np.arange(LOWEST, HIGHEST)[:, None] * (1 + np.arange(PER_OCTAVE) / PER_OCTAVE)
    positive = np.append(octaves.ravel(), 2.0**HIGHEST)
    return np.concatenate([-positive[::-1], positive])


class HookStatistics(NamedTuple):
    """What is known of one hook's activations; all arrays are float64 or int64 and on the CPU."""

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

    @classmethod
    def of(cls, x: Float[Tensor, "row d"], positions: Tensor, context: int) -> "HookStatistics":
        """Measure rows `x`, the i-th of which stood at position `positions[i]` of its sequence."""
        accumulator = Accumulator(x.shape[1], context)
        accumulator.add(x, positions)
        return accumulator.result()

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
        """Name the fields as arrays of at least one dimension, as they are stored."""
        return {name: np.atleast_1d(np.asarray(value)) for name, value in zip(self._fields, self, strict=True)}

    @classmethod
    def read(cls, group: Any) -> "HookStatistics":
        """Load what was stored as `arrays` in an HDF5 group."""
        return cls(int(group["rows"][0]), *(np.asarray(group[name]) for name in cls._fields[1:]))


class Accumulator:
    """Measures rows as they come.

    Powers are summed in float32 about the mean of the first rows, in blocks that stay in the cache, and the
    blocks' sums in float64: a tenth of the time of float64 throughout, and equal to it to 1e-5. Between two calls
    nothing in `scratch` is needed, so several hooks may share one.
    """

    def __init__(self, width: int, context: int, scratch: "Scratch | None" = None) -> None:
        self.width = width
        self.context = context
        self._scratch = scratch or Scratch.of(width)
        self._rows = 0
        self._centre: Tensor | None = None
        self._powers = torch.zeros(4, width, dtype=torch.float64)
        self._histogram = np.zeros(width * BINS, np.int64)
        self._first_bins = np.arange(width) * BINS
        self._norms = np.zeros(BINS, np.int64)
        self._norm_sum = torch.zeros(context, dtype=torch.float64)
        self._position_rows = torch.zeros(context, dtype=torch.int64)

    def add(self, x: Float[Tensor, "row d"], positions: Tensor) -> None:
        """Take rows on the CPU, the i-th of which stood at position `positions[i]` of its sequence."""
        if not len(x):
            return
        if self._centre is None:
            self._centre = x.float().mean(0)
        norms = torch.empty(len(x))
        for block, into in zip(x.split(BLOCK_ROWS), norms.split(BLOCK_ROWS), strict=True):
            f, c, c2 = (flat[: block.numel()].view(block.shape) for flat in self._scratch.values)  # (row, d) each
            values = f.copy_(block)
            torch.linalg.vector_norm(values, dim=1, out=into)
            torch.sub(values, self._centre, out=c)
            torch.mul(c, c, out=c2)
            self._powers += torch.stack([c.sum(0), c2.sum(0), c.mul_(c2).sum(0), c2.mul_(c2).sum(0)])
            bins = self._scratch.bins_of(values)
            bins += self._first_bins
            self._histogram += np.bincount(bins.ravel(), minlength=len(self._histogram))
        self._norms += np.bincount(_bins(norms), minlength=BINS)
        where = positions.long()
        self._norm_sum += torch.bincount(where, norms.double(), minlength=self.context)
        self._position_rows += torch.bincount(where, minlength=self.context)
        self._rows += len(x)

    def result(self) -> HookStatistics:
        """Measure all rows taken so far."""
        if self._centre is None:
            return HookStatistics.zero(self.width, self.context)
        n = self._rows
        s1, s2, s3, s4 = (self._powers / n).numpy()  # about the centre; from here on about the mean
        return HookStatistics(
            n,
            self._centre.double().numpy() + s1,
            n * (s2 - s1**2),
            n * (s3 - 3 * s1 * s2 + 2 * s1**3),
            n * (s4 - 4 * s1 * s3 + 6 * s1**2 * s2 - 3 * s1**4),
            self._histogram.reshape(self.width, BINS),
            np.append(self._norms[MAGNITUDES] + self._norms[MAGNITUDES + 1], self._norms[MAGNITUDES + 2 :]),
            self._norm_sum.numpy(),
            self._position_rows.numpy(),
        )


class Scratch(NamedTuple):
    """Memory that an `Accumulator` works in: fresh memory for every block would cost five times the arithmetic."""

    values: Tensor  # float32 [3, value]
    codes: np.ndarray  # uint32 [value]
    bins: np.ndarray  # int64 [value]

    @classmethod
    def of(cls, width: int) -> "Scratch":
        """Allocate what rows this wide, or narrower, need."""
        count = BLOCK_ROWS * width
        return cls(torch.empty(3, count), np.empty(count, np.uint32), np.empty(count, np.int64))

    def bins_of(self, x: Tensor) -> np.ndarray:
        """Number the bin of each value of a float32 tensor [row, d], in `bins`."""
        codes, bins = (flat[: x.numel()].reshape(x.shape) for flat in (self.codes, self.bins))
        np.right_shift(x.view(torch.uint32).numpy(), CODE_SHIFT, out=codes)
        return np.take(_BIN_OF_CODE, codes, out=bins, mode="clip")  # other modes would make a copy


def merge_all(parts: Iterable[HookStatistics], width: int, context: int) -> HookStatistics:
    """Merge in the order given, so that equal parts give equal bits."""
    total = HookStatistics.zero(width, context)
    for part in parts:
        total = total.merge(part)
    return total


def _bins(x: Tensor) -> np.ndarray:
    """Number the bin of each value of a float32 tensor, as int64 of its shape."""
    return _BIN_OF_CODE[x.contiguous().view(torch.uint32).numpy() >> CODE_SHIFT]


def _bin_of_code() -> np.ndarray:
    code = np.arange(2048)
    magnitude = np.clip((code & 1023) - (127 + LOWEST) * PER_OCTAVE, 0, MAGNITUDES - 1) + 1
    signed = np.where(code >= 1024, -magnitude, magnitude)
    return np.where(code & 1023 == 0, 0, signed) + MAGNITUDES


_BIN_OF_CODE = _bin_of_code()


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)


def statistics_layout(hooks: Mapping[str, HookStatistics]) -> dict[str, DataSet]:
    """Name the data sets that hold the statistics of several hooks, a group for each."""
    arrays = {f"{hook}/{name}": array for hook, found in hooks.items() for name, array in found.arrays().items()}
    return {name: DataSet(array.shape, array.dtype, {}) for name, array in arrays.items()}


def write_statistics(path: Path, hooks: Mapping[str, HookStatistics]) -> None:
    """Write the statistics of several hooks, a group for each."""
    with create_contiguous(path, statistics_layout(hooks)) as file:
        for hook, found in hooks.items():
            for name, array in found.arrays().items():
                file.write(f"{hook}/{name}", array)
