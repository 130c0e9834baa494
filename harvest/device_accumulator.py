"""Count, cast and check rows on the device that computed them, by plain operations of torch.

A GPU does so in a tenth of a nanosecond a value, where a core takes two; and what then crosses the bus is what is
stored. Results are the same bits each time: sums are reductions over fixed blocks, counts are integers. They equal
those of `harvest.accumulate` to rounding. Nothing here waits for the device but `result`.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from harvest.accumulate import CODE_SHIFT, CODES, Accumulator, bin_of_code
from winnow.shards.dtypes import TORCH
from winnow.shards.statistics import BINS, HookStatistics

# Of a block: a value takes some 40 bytes of the device's memory while it is summed and counted, in float64 and int64.
# Smaller blocks would take the host longer to launch than a GPU to compute.
BLOCK_VALUES = 2**22


class DeviceAccumulator:
    """Accumulates the statistics of one hook on the device of its rows, as `Accumulator` does on the CPU.

    It sums powers in float64, about the mean of the first batch. The norms of all rows stay on the device, 4 bytes a
    row, until `result`.
    """

    def __init__(self, width: int, context: int, device: torch.device) -> None:
        self.width = width
        self.context = context
        self._rows = 0
        self._centre: Tensor | None = None
        self._powers = torch.zeros(4, width, dtype=torch.float64, device=device)
        self._histogram = torch.zeros(width * BINS, dtype=torch.int64, device=device)
        self._bins = torch.from_numpy(bin_of_code().astype(np.int64)).to(device)
        self._first_bin = torch.arange(width, device=device) * BINS  # of each dimension
        self._one = torch.ones(1, dtype=torch.int64, device=device)
        self._counted: torch.Event | None = None  # after the last of the work, on a GPU
        self._norms: list[Tensor] = []
        self._positions: list[Tensor] = []

    def add(self, x: Float[Tensor, "row d"], positions: Tensor) -> Float[Tensor, " row"]:
        """Add rows on the device, and return their norms there; `positions`, on the CPU, as for `Accumulator`."""
        if not len(x):
            return torch.empty(0, device=x.device)
        blocks = x.split(block_rows(self.width))
        if self._centre is None:
            self._centre = torch.stack([block.sum(0, dtype=torch.float64) for block in blocks]).sum(0) / len(x)
        norms = torch.empty(len(x), device=x.device)
        at = 0
        for block in blocks:
            norms[at : at + len(block)] = self._add_block(block, self._centre)
            at += len(block)
        self._rows += len(x)
        self._norms.append(norms)
        self._positions.append(positions)
        if x.device.type == "cuda":
            self._counted = torch.cuda.current_stream(x.device).record_event()
        return norms

    def _add_block(self, block: Tensor, centre: Tensor) -> Tensor:
        values = block.float()  # (row, d)
        code = (values.view(torch.int32) >> CODE_SHIFT) & (CODES - 1)
        places = self._bins[code].add_(self._first_bin).flatten()
        self._histogram.scatter_add_(0, places, self._one.expand(len(places)))  # of integers: in any order the same
        del code, places
        exact = values.double()
        norms = exact.square().sum(1).sqrt_()
        x = exact.sub_(centre)
        squares = x.square()
        sums = [x.sum(0), squares.sum(0), x.mul_(squares).sum(0), squares.square_().sum(0)]
        self._powers += torch.stack(sums)
        return norms

    def result(self) -> HookStatistics:
        """Wait until they are counted, and return the statistics of all rows added so far."""
        into = Accumulator(self.width, self.context)
        if self._centre is not None:
            with self._beside():
                centre, powers, histogram = (x.cpu().numpy() for x in (self._centre, self._powers, self._histogram))
                norms = torch.cat(self._norms).cpu()
            into.take(self._rows, centre, powers, histogram, norms, torch.cat(self._positions))
        return into.result()

    def _beside(self) -> AbstractContextManager[object]:
        """Give a stream that waits for the counting and for nothing else, such as the next shard's rows."""
        if self._counted is None:
            return nullcontext()
        stream = torch.cuda.Stream(self._histogram.device, priority=-1)  # never one that copies rows
        stream.wait_event(self._counted)
        return torch.cuda.stream(stream)


class CountedRows(NamedTuple):
    """The rows of one hook, ready for the disk; on the device that counted them."""

    stored: Tensor  # [row, d] in the storage dtype
    norms: Tensor  # float32 [row]
    first_bad: Tensor  # int64 []: the first row with a value that is not finite in the storage dtype; -1: none
    suspect: Tensor  # float32 [d]: that row before it was cast, else the first


def block_rows(width: int) -> int:
    """Return the number of rows of this width in a block."""
    return max(1, BLOCK_VALUES // width)


def count_rows(
    rows: Mapping[str, Tensor], positions: Tensor, dtype: str, accumulators: Mapping[str, DeviceAccumulator]
) -> dict[str, CountedRows]:
    """Cast, check and count the next rows [row, d] of every hook where they are."""
    return {hook: _counted(values, positions, TORCH[dtype], accumulators[hook]) for hook, values in rows.items()}


def _counted(values: Tensor, positions: Tensor, dtype: torch.dtype, accumulator: DeviceAccumulator) -> CountedRows:
    if not len(values):
        none = torch.full((), -1, device=values.device)
        return CountedRows(
            values.to(dtype), values[:, :0].sum(1).float(), none, values.new_zeros(values.shape[1]).float()
        )
    stored = values.to(dtype).contiguous()
    finite = torch.cat([block.isfinite().all(1) for block in stored.split(block_rows(values.shape[1]))])
    first, bad = finite.to(torch.uint8).min(0).indices, ~finite.all()
    suspect = values.index_select(0, first[None])[0].float()
    return CountedRows(stored, accumulator.add(values, positions), torch.where(bad, first, -1), suspect)
