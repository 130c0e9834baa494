"""Accumulate the statistics of `winnow.shards.statistics` batch by batch.

    accumulator = Accumulator(width, context)
    accumulator.add(x, positions)        # [row, width] on the CPU, batch after batch
    accumulator.result()                 # HookStatistics of all rows

Every harvested value passes through the loops, so numba compiles them: they take a third of the time of torch's sums
and numpy's `bincount` and, unlike `bincount`, release Python's lock for other threads.
"""

from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from winnow.runtime.jit import compiled
from winnow.shards.statistics import BINS, LOWEST, MAGNITUDES, PER_OCTAVE, HookStatistics

BLOCK_VALUES = 2**18  # a block fits the cache while it is converted, summed and counted
# The bin of a float32 follows from its sign, exponent and first two bits of the mantissa: a shift finds it, without a
# logarithm.
CODE_SHIFT = 21
CODES = 2**11
# Dimensions that are counted before the next: the bins that their values fall into fit the first cache. 0.8 ns a value
# at widths 768 and 3072, where whole rows take 1.3 and 1.5.
COLUMNS = 128
COUNTED_AT_MOST = 2**16 - 1  # rows that the uint16 counts can take


class Accumulator:
    """Accumulates the statistics of one hook.

    It sums powers in float64, about the mean of the first batch. One thread at a time may use it.
    """

    def __init__(self, width: int, context: int) -> None:
        self.width = width
        self.context = context
        self._rows = 0
        self._centre: np.ndarray | None = None
        self._powers = np.zeros((4, width))
        self._histogram = np.zeros(width * BINS, np.int64)
        # counts not yet in the histogram: uint16, so that they fit the cache
        self._recent = np.zeros(width * BINS, np.uint16)
        self._recent_rows = 0
        self._norms = np.zeros(BINS, np.int64)
        self._norm_sum = torch.zeros(context, dtype=torch.float64)
        self._position_rows = torch.zeros(context, dtype=torch.int64)

    def add(self, x: Float[Tensor, "row d"], positions: Tensor, scratch: Tensor | None = None) -> Float[Tensor, " row"]:
        """Add rows on the CPU, and return their norms; row i stood at position `positions[i]` of its sequence.

        scratch: from `new_scratch`, for use during the call; the accumulators of a thread may share one.
        """
        if not len(x):
            return torch.empty(0)
        if self._centre is None:
            centre = x.float().mean(0).double()
            if not bool(centre.isfinite().all()):  # float32 holds the values, and not their sum
                centre = x.double().mean(0)
            self._centre = centre.numpy()
        norms = torch.empty(len(x))
        ready = x.dtype == torch.float32 and x.is_contiguous()
        size = block_rows(self.width)
        if scratch is None and not ready:
            scratch = new_scratch(self.width)
        for block, into in zip(x.split(size), norms.split(size), strict=True):
            if self._recent_rows + len(block) > COUNTED_AT_MOST:
                self._count_recent()
            # (row, d)
            values = block if scratch is None or ready else scratch[: block.numel()].view(block.shape).copy_(block)
            _sum_powers(values.numpy(), self._centre, self._powers, into.numpy())
            _count(_bits(values), _BIN_OF_CODE, self._recent)
            self._recent_rows += len(block)
        self._count_norms(norms, positions)
        self._rows += len(x)
        return norms

    def take(
        self, rows: int, centre: np.ndarray, powers: np.ndarray, histogram: np.ndarray, norms: Tensor, positions: Tensor
    ) -> None:
        """Take what `harvest.device_accumulator` counted of these rows, the first: `add` must not have been called.

        centre: float64 [d]. powers: the sums [4, d] of the powers 1 to 4 about it. histogram: int64 [d * BINS]. norms,
        positions: [row] on the CPU.
        """
        assert self._centre is None
        self._rows, self._centre, self._powers, self._histogram = rows, centre, powers, histogram
        self._count_norms(norms, positions)

    def _count_norms(self, norms: Tensor, positions: Tensor) -> None:
        _count(_bits(norms[:, None]), _BIN_OF_CODE, self._norms)
        where = positions.long()
        self._norm_sum += torch.bincount(where, norms.double(), minlength=self.context)
        self._position_rows += torch.bincount(where, minlength=self.context)

    def result(self) -> HookStatistics:
        """Return the statistics of all rows added so far."""
        if self._centre is None:
            return HookStatistics.zero(self.width, self.context)
        self._count_recent()
        n = self._rows
        s1, s2, s3, s4 = self._powers / n  # moments about the centre; the result has them about the mean
        return HookStatistics(
            n,
            self._centre + s1,
            n * (s2 - s1**2),
            n * (s3 - 3 * s1 * s2 + 2 * s1**3),
            n * (s4 - 4 * s1 * s3 + 6 * s1**2 * s2 - 3 * s1**4),
            self._histogram.reshape(self.width, BINS),
            np.append(self._norms[MAGNITUDES] + self._norms[MAGNITUDES + 1], self._norms[MAGNITUDES + 2 :]),
            self._norm_sum.numpy(),
            self._position_rows.numpy(),
        )

    def _count_recent(self) -> None:
        self._histogram += self._recent
        self._recent[:] = 0
        self._recent_rows = 0


def block_rows(width: int) -> int:
    """Return the number of rows of this width in a block."""
    return min(max(1, BLOCK_VALUES // width), COUNTED_AT_MOST)


def new_scratch(width: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Allocate a buffer for a block of rows of this width or less."""
    return torch.empty(max(BLOCK_VALUES, width), dtype=dtype)


def statistics_of(x: Float[Tensor, "row d"], positions: Tensor, context: int) -> HookStatistics:
    """Return the statistics of rows `x`; row i stood at position `positions[i]` of its sequence."""
    accumulator = Accumulator(x.shape[1], context)
    accumulator.add(x, positions)
    return accumulator.result()


def bin_of_code() -> np.ndarray:
    """Return the bin [CODES] of each code: of the bits of a float32, shifted right by `CODE_SHIFT`."""
    code = np.arange(CODES)
    half = CODES // 2  # codes of negative numbers come second
    magnitude = np.clip((code % half) - (127 + LOWEST) * PER_OCTAVE, 0, MAGNITUDES - 1) + 1
    signed = np.where(code >= half, -magnitude, magnitude)
    return (np.where(code % half == 0, 0, signed) + MAGNITUDES).astype(np.uint64)


_BIN_OF_CODE = bin_of_code()


def _bits(x: Tensor) -> np.ndarray:
    return x.view(torch.uint32).numpy()


# The loops take a row out before looping over its values, and use unsigned indices: each makes numba's code several
# times faster than values[row, i] and signed indices, which it wraps around.
@compiled(nogil=True, fastmath={"reassoc", "contract"})  # lets the compiler vectorise the sums
@no_type_check
def _sum_powers(values, centre, powers, norms):
    """Add the powers 1 to 4 of float32 `values` [row, d] minus `centre`, float64 [d], to `powers`, float64 [4, d].

    Writes the norms of the rows, not centred, to `norms`, float32 [row].
    """
    first, second, third, fourth = powers[0], powers[1], powers[2], powers[3]
    for number in range(len(values)):
        row = values[number]
        square = 0.0
        for i in range(len(row)):
            value = np.float64(row[i])
            square += value * value
            x = value - centre[i]
            x2 = x * x
            first[i] += x
            second[i] += x2
            third[i] += x2 * x
            fourth[i] += x2 * x2
        norms[number] = np.sqrt(square)


@compiled(nogil=True)
@no_type_check
def _count(bits, bin_of_code, histogram):
    """Count values, given as the bits of float32 in uint32 [row, d], in `histogram` [d * BINS]."""
    shift, bins = np.uint32(CODE_SHIFT), np.uint64(BINS)
    dimensions = bits.shape[1]
    for start in range(0, dimensions, COLUMNS):
        stop = min(dimensions, start + COLUMNS)
        for number in range(len(bits)):
            row, first = bits[number][start:stop], np.uint64(start) * bins
            for i in range(len(row)):
                histogram[first + bin_of_code[row[i] >> shift]] += 1
                first += bins
