"""Host memory into which a GPU copies what a harvest stores, used again and again.

torch rounds each pinned allocation up to a power of two, so this takes blocks that are one, and lays the rows of all
hooks end to end in them: of a batch, less than a block and a row of each block is left unused. `BATCHES` batches may
be on their way from the device to the disk; whoever has one more waits.
"""

from collections.abc import Mapping, Sequence
from threading import Lock, Semaphore
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from harvest.device_accumulator import CountedRows
from winnow.shards.dtypes import stored_bits

BLOCK_BYTES = 2**24
ALIGN = 16  # bytes; a multiple of every element's size
BATCHES = 4  # one is computed, two wait, one is written


class Piece(NamedTuple):
    """Rows of a data set of a shard, from row `row` of the batch on."""

    name: str
    row: int
    values: np.ndarray


class Landed(NamedTuple):
    """A batch in host memory."""

    rows: int
    pieces: Sequence[Piece]
    first_bad: Mapping[str, int]  # hook -> the row of a value that is not finite in the storage dtype; -1: none
    suspects: Mapping[str, Tensor]  # hook -> float32 [d]: that row before it was cast


class HostBuffers:
    """Blocks of host memory, pinned or not; they are made when first needed and kept."""

    def __init__(self, pinned: bool, batches: int = BATCHES, block_bytes: int = BLOCK_BYTES) -> None:
        self.block_bytes = block_bytes
        self.made = 0
        self._pinned = pinned
        self._free: list[Tensor] = []
        self._lock = Lock()
        self._room = Semaphore(batches)

    def enter(self, timeout: float) -> bool:
        """Wait until one more batch may be on its way; tell whether it may."""
        return self._room.acquire(timeout=timeout)

    def leave(self, blocks: Sequence[Tensor]) -> None:
        """Give the blocks of a batch back; it has been written, or never will be."""
        with self._lock:
            self._free.extend(blocks)
        self._room.release()

    def take(self) -> Tensor:
        """Return a block, uint8 [block_bytes], for a batch that has entered."""
        with self._lock:
            if self._free:
                return self._free.pop()
            self.made += 1
        return torch.empty(self.block_bytes, dtype=torch.uint8, pin_memory=self._pinned)


class Batch:
    """One batch on its way: lays tensors into blocks, starts copying them, and gives them out when they are there.

    It enters before it is counted: make it with room, from `HostBuffers.enter`. On a GPU, copies run in `stream`.
    """

    def __init__(self, buffers: HostBuffers, stream: "torch.cuda.Stream | None") -> None:
        self._buffers = buffers
        self._stream = stream
        self._blocks: list[Tensor] = []
        self._left: Tensor = torch.empty(0, dtype=torch.uint8)  # of the last block
        self._pieces: list[tuple[str, int, Tensor]] = []
        self._done: torch.Event | None = None
        self._rows = 0
        self._bad: Tensor | None = None
        self._suspects: dict[str, Tensor] = {}

    def start(self, counted: Mapping[str, CountedRows]) -> None:
        """Start copying the rows of every hook."""
        self._rows = len(next(iter(counted.values())).norms)
        bad = torch.stack([rows.first_bad for rows in counted.values()])
        if self._stream is None:
            self._lay(counted, bad)
            return
        self._stream.wait_stream(torch.cuda.current_stream(self._stream.device))
        with torch.cuda.stream(self._stream):
            self._lay(counted, bad)
            self._done = self._stream.record_event()

    def arrive(self) -> Landed:
        """Wait until the rows have been copied, and return them; they are valid until `close`."""
        assert self._bad is not None
        if self._done is not None:
            self._done.synchronize()
        first_bad = dict(zip(self._suspects, self._bad.tolist(), strict=True))
        pieces = [Piece(name, row, stored_bits(values)) for name, row, values in self._pieces]
        return Landed(self._rows, pieces, first_bad, self._suspects)

    def close(self) -> None:
        """Give the blocks back."""
        blocks, self._blocks, self._pieces = self._blocks, [], []
        self._buffers.leave(blocks)

    def _lay(self, counted: Mapping[str, CountedRows], bad: Tensor) -> None:
        for hook, rows in counted.items():
            self._lay_rows(f"activations/{hook}", rows.stored)
            self._lay_rows(f"norms/{hook}", rows.norms)
            self._suspects[hook] = self._copy(rows.suspect)
        self._bad = self._copy(bad)

    def _lay_rows(self, name: str, values: Tensor) -> None:
        row_bytes = values[:1].numel() * values.element_size()
        at = 0
        while at < len(values):
            fit = len(self._left) // row_bytes
            if fit == 0:
                self._next(row_bytes)
                continue
            part = values[at : at + fit]
            self._pieces.append((name, at, self._copy(part)))
            at += len(part)

    def _copy(self, values: Tensor) -> Tensor:
        """Start copying a tensor, and return its place."""
        count = values.numel() * values.element_size()
        if count > len(self._left):
            self._next(count)
        into = self._left[:count].view(values.dtype).view(values.shape)
        self._left = self._left[-(-count // ALIGN) * ALIGN :]
        into.copy_(values, non_blocking=True)
        if self._stream is not None:
            values.record_stream(self._stream)
        return into

    def _next(self, least: int) -> None:
        """Begin another block; a row that is longer than a block gets memory of its own."""
        if least > self._buffers.block_bytes:
            self._left = torch.empty(least, dtype=torch.uint8)
            return
        self._left = self._buffers.take()
        self._blocks.append(self._left)
