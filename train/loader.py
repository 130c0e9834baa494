"""Rows of a store in shuffled order: a pure function of (seed, epoch), read sequentially.

Blocks of contiguous rows (1 MiB each) are put in random order across all shards; so many as fit in the memory for
one window are read, in the order of the files, and their rows are shuffled. Windows follow one another in one
stream, epoch after epoch, from which batches are cut. While a window is used, a thread reads the next: two are
held in memory, in the dtype they are stored in.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from winnow.dtypes import TORCH
from winnow.store import ActivationStore

BLOCK_BYTES = 2**20


class Order(NamedTuple):
    """The order of `rows` rows: everything it depends on."""

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
        """List the blocks of a window, ascending."""
        shuffled = np.random.default_rng([self.seed, epoch]).permutation(self.blocks)
        return np.sort(shuffled[window * self.blocks_per_window :][: self.blocks_per_window])

    def size(self, blocks: np.ndarray) -> int:
        """Count the rows of blocks; the last block of all may be short."""
        return int(np.minimum((blocks + 1) * self.block_rows, self.rows).sum() - (blocks * self.block_rows).sum())

    def places(self, epoch: int, window: int, size: int) -> np.ndarray:
        """Shuffle the rows within a window."""
        # window + 1: numpy takes [seed, epoch, 0] for [seed, epoch]
        return np.random.default_rng([self.seed, epoch, window + 1]).permutation(size)


class Window(NamedTuple):
    blocks: tuple[int, ...]
    rows: Tensor  # [row, d], in the order of the files
    places: Tensor  # int64 [row]: the order in which they are used


class Loader:
    """The stream of one hook's rows, of the first `rows` in the store. Memory: two windows of `window_bytes`."""

    def __init__(
        self, store: ActivationStore, hook: str, seed: int, window_bytes: int, rows: int | None = None
    ) -> None:
        self.store = store
        self.hook = hook
        width = store.hooks[hook]
        self.dtype = TORCH[store.manifest["storage_dtype"]]
        row_bytes = width * self.dtype.itemsize
        block_rows = max(1, min(BLOCK_BYTES, window_bytes) // row_bytes)
        self.order = Order(rows or store.rows, block_rows, max(1, window_bytes // (row_bytes * block_rows)), seed)

    def batches(self, start: int, stop: int, batch_rows: int) -> Iterator[Shaped[Tensor, "row d"]]:
        """Yield rows [start, stop) of the stream in batches; the last one may be short."""
        at = start
        pieces: list[Tensor] = []
        missing = min(batch_rows, stop - at)
        windows = self._windows(start)
        while at < stop:
            window, used = next(windows)
            while used < len(window.places) and at < stop:
                take = window.places[used : used + missing]
                pieces.append(window.rows[take])
                used += len(take)
                missing -= len(take)
                if missing == 0:
                    batch = pieces[0] if len(pieces) == 1 else torch.cat(pieces)
                    yield batch
                    at += len(batch)
                    pieces, missing = [], min(batch_rows, stop - at)

    def _windows(self, start: int) -> Iterator[tuple[Window, int]]:
        """Yield the windows from row `start` of the stream on, and how many rows of each are used up already."""
        epoch, skip = divmod(start, self.order.rows)
        number = 0
        while skip >= (size := self.order.size(self.order.blocks_of(epoch, number))):
            skip -= size
            number += 1
        with ThreadPoolExecutor(1) as reader:
            coming = reader.submit(self._read, epoch, number, None)
            while True:
                window = coming.result()
                number += 1
                if number == self.order.windows:
                    epoch, number = epoch + 1, 0
                coming = reader.submit(self._read, epoch, number, window if self.order.windows == 1 else None)
                yield window, skip
                skip = 0

    def _read(self, epoch: int, number: int, same: Window | None) -> Window:
        """Read a window; `same` holds its rows already, in another order."""
        blocks = self.order.blocks_of(epoch, number)
        size = self.order.size(blocks)
        places = torch.from_numpy(self.order.places(epoch, number, size))
        if same is not None:
            return same._replace(places=places)
        rows = torch.empty(size, self.store.hooks[self.hook], dtype=self.dtype)
        filled = 0
        for block in blocks.tolist():
            first = block * self.order.block_rows
            count = min(self.order.block_rows, self.order.rows - first)
            self.store.read_into(rows[filled : filled + count], self.hook, first)
            filled += count
        return Window(tuple(blocks.tolist()), rows, places)
