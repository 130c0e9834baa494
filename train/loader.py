"""Rows of a store in shuffled order: a pure function of (seed, epoch), read block by block.

Blocks of a few contiguous rows are shuffled across all shards. A window is as many blocks as its memory holds, read in
the order of the files. The windows form one stream, epoch after epoch, from which batches are cut. While one window is
used, a thread reads the next, so two are in memory, in the dtype they are stored in.

Within a window the rows of a block, which belong to one sequence, are kept far apart: the window is used in as many
segments as a block has rows, and each segment takes one row of every block. So a batch holds as many rows of one
sequence as if it were drawn from the whole store, although the window is a small part of it; a plain shuffle of the
window would bring rows of one sequence together. If one window holds everything, its rows are simply shuffled.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from winnow.massive.kept import KeptRows
from winnow.shards.contiguous import ReadMany
from winnow.shards.dtypes import TORCH
from winnow.store import ActivationStore

BLOCK_ROWS = 8  # a disk that answers 20,000 reads a second gives 160,000 rows
READERS = 8  # threads that read at once


class Visit(NamedTuple):
    """The use of a window in an epoch."""

    epoch: int
    window: int
    used: int  # of its rows, when the stream starts there


class Order(NamedTuple):
    """Everything that the order of `rows` rows depends on."""

    rows: int
    block_rows: int
    blocks_per_window: int
    seed: int

    @property
    def windows(self) -> int:
        """Windows in an epoch."""
        return -(-self.blocks // self.blocks_per_window)

    @property
    def blocks(self) -> int:
        return -(-self.rows // self.block_rows)

    def blocks_of(self, epoch: int, window: int) -> np.ndarray:
        """List the blocks of a window, ascending; windows differ by at most one block."""
        first, stop = (number * self.blocks // self.windows for number in (window, window + 1))
        return np.sort(_shuffled(self.blocks, self.seed, epoch)[first:stop])

    def counts(self, blocks: np.ndarray) -> np.ndarray:
        """Count the rows of each block; the last block of all may be short."""
        return np.minimum((blocks + 1) * self.block_rows, self.rows) - blocks * self.block_rows

    def size(self, blocks: np.ndarray) -> int:
        """Count the rows of blocks."""
        return int(self.counts(blocks).sum())

    @property
    def window_rows(self) -> int:
        """The rows of the largest window."""
        return min(self.rows, -(-self.blocks // self.windows) * self.block_rows)

    def visits(self, start: int) -> Iterator[Visit]:
        """Yield without end the windows from row `start` of the stream on."""
        epoch, used = divmod(start, self.rows)
        number = 0
        while used >= (size := self.size(self.blocks_of(epoch, number))):
            used -= size
            number += 1
        while True:
            yield Visit(epoch, number, used)
            used, number = 0, number + 1
            if number == self.windows:
                epoch, number = epoch + 1, 0

    def places(self, epoch: int, window: int, blocks: np.ndarray) -> np.ndarray:
        """Shuffle the rows within a window: return their places in the order of use."""
        # window + 1: numpy takes [seed, epoch, 0] for [seed, epoch]
        random = np.random.default_rng([self.seed, epoch, window + 1])
        size = self.size(blocks)
        if self.windows == 1:
            return random.permutation(size)
        # A block has about the same position in every segment, so its rows are half a segment or more apart.
        part = random.random(len(blocks), dtype=np.float32)
        segments = np.argsort(part + random.random((self.block_rows, len(blocks)), dtype=np.float32) / 2, axis=1)
        rows = np.argsort(random.random((self.block_rows, len(blocks)), dtype=np.float32), axis=0)
        places = (segments * self.block_rows + np.take_along_axis(rows, segments, axis=1)).ravel()
        return places[places < size]  # only the last block of all, the last of its window, may be short


@lru_cache(maxsize=2)
def _shuffled(blocks: int, seed: int, epoch: int) -> np.ndarray:
    """Shuffle the block numbers; the orders of this epoch and the next are cached, 8 bytes a block."""
    return np.random.default_rng([seed, epoch]).permutation(blocks)


class Window(NamedTuple):
    rows: Tensor  # [row, d], in the order of the files
    places: Tensor  # int64 [row]: the order in which they are used


class Loader:
    """The stream of one hook's rows, the first `rows` of the store. Memory: two windows of `window_bytes`.

    Given `kept`, the stream is that of a store without the rows that it leaves out.
    """

    def __init__(
        self,
        store: ActivationStore,
        hook: str,
        seed: int,
        window_bytes: int,
        rows: int | None = None,
        kept: KeptRows | None = None,
    ) -> None:
        self.store = store
        self.kept = kept
        self.hook = hook
        self.width = store.hooks[hook]
        self.dtype = TORCH[store.manifest["storage_dtype"]]
        self.row_bytes = self.width * self.dtype.itemsize
        per_window = max(1, window_bytes // (self.row_bytes * BLOCK_ROWS))
        self.order = Order(rows or (store if kept is None else kept).rows, BLOCK_ROWS, per_window, seed)

    def batches(self, start: int, stop: int, batch_rows: int) -> Iterator[Shaped[Tensor, "row d"]]:
        """Yield rows [start, stop) of the stream in batches; the last one may be short."""
        return cut_batches(self._windows(start), start, stop, batch_rows)

    def spread(self, rows: int) -> Shaped[Tensor, "row d"]:
        """Read about `rows` rows, or all, from all over the store, in random order; the same at every call."""
        kept = np.sort(_shuffled(self.order.blocks, self.order.seed, 0)[: -(-rows // self.order.block_rows)])
        found = self._rows_of(kept)
        return found[torch.from_numpy(np.random.default_rng(self.order.seed).permutation(len(found)))]

    def _windows(self, start: int) -> Iterator[tuple[Window, int]]:
        """Yield the windows from row `start` of the stream, each with how many of its rows are already used."""
        visits = self.order.visits(start)
        visit = next(visits)
        with ThreadPoolExecutor(1) as reader:
            coming = reader.submit(self._read, visit, None)
            while True:
                window, used = coming.result(), visit.used
                visit = next(visits)
                coming = reader.submit(self._read, visit, window if self.order.windows == 1 else None)
                yield window, used

    def _read(self, visit: Visit, same: Window | None) -> Window:
        """Read a window; `same`, if given, already holds its rows, in another order."""
        blocks = self.order.blocks_of(visit.epoch, visit.window)
        places = torch.from_numpy(self.order.places(visit.epoch, visit.window, blocks))
        if same is not None:
            return same._replace(places=places)
        return Window(self._rows_of(blocks), places)

    def _rows_of(self, blocks: np.ndarray) -> Tensor:
        rows = torch.empty(self.order.size(blocks), self.width, dtype=self.dtype)
        self.read_into(rows, blocks)
        return rows

    def read_into(self, rows: Shaped[Tensor, "row d"], blocks: np.ndarray, read_many: ReadMany | None = None) -> None:
        """Read blocks, ascending, into as many rows of host memory as they have, in the dtype they are stored in.

        read_many: makes a thread's reads of a file in one call.
        """
        starts, counts = _joined(blocks * self.order.block_rows, self.order.counts(blocks))
        if self.kept is not None:
            starts, counts = self.kept.runs(starts, counts)
        begins = np.cumsum(counts) - counts

        def read(part: np.ndarray) -> None:
            place = slice(begins[part[0]], begins[part[-1]] + counts[part[-1]])
            self.store.read_runs_into(rows[place], self.hook, starts[part], counts[part], read_many)

        with ThreadPoolExecutor(READERS) as readers:
            list(readers.map(read, np.array_split(np.arange(len(starts)), min(READERS, len(starts)))))


def cut_batches(
    windows: Iterator[tuple[Window, int]], start: int, stop: int, batch_rows: int
) -> Iterator[Shaped[Tensor, "row d"]]:
    """Yield the rows [start, stop) of a stream of windows in batches; the last one may be short.

    windows: from row `start` on, each with how many of its rows are used before it. The rows are gathered on the
    device of the windows.
    """
    at = start
    pieces: list[Tensor] = []
    missing = min(batch_rows, stop - at)
    while at < stop:
        window, used = next(windows)
        while used < len(window.places) and at < stop:
            take = window.places[used : used + missing]
            pieces.append(window.rows.index_select(0, take))
            used += len(take)
            missing -= len(take)
            if missing == 0:
                batch = pieces[0] if len(pieces) == 1 else torch.cat(pieces)
                yield batch
                at += len(batch)
                pieces, missing = [], min(batch_rows, stop - at)


def _joined(starts: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Join runs of rows that are adjacent in the store."""
    first = np.flatnonzero(np.concatenate([[True], starts[1:] != starts[:-1] + counts[:-1]]))
    return starts[first], np.add.reduceat(counts, first)
