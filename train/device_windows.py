"""The stream of a loader's rows, held and gathered on a GPU.

Each window is sent once, from pinned memory, while the window before it is used; its batches are gathered there. The
order of rows is the loader's. The device holds two windows, or the one that holds everything; the host holds pieces of
a window, on their way from the disk.
"""

import itertools
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from train.link import BUFFERS, Event, Link, Sent, send_ahead
from train.loader import BLOCK_ROWS, Loader, Visit, Window, cut_batches

PIECE_BYTES = 64 * 2**20  # of a window that are read and sent at a time
PLACE = torch.int64


def device_bytes(loader: Loader) -> int:
    """Count the bytes of the windows that a device holds, and of the orders in which their rows are used."""
    rows = loader.order.window_rows
    return min(2, loader.order.windows) * rows * loader.row_bytes + 2 * rows * PLACE.itemsize


def batches_on(
    loader: Loader, link: Link | None, room: int, start: int, stop: int, batch_rows: int
) -> Iterator[Shaped[Tensor, "row d"]]:
    """Yield rows [start, stop) of a loader's stream in batches, on the device that `link` leads to.

    room: bytes that the device has left. Where its windows do not fit, rows are gathered in host memory, and the order
    of rows is still the same: it depends on the size of a window.
    """
    if link is None:
        return loader.batches(start, stop, batch_rows)
    needed = device_bytes(loader)
    if needed <= room:
        return DeviceWindows(loader, link).batches(start, stop, batch_rows)
    print(
        f"{loader.hook}: the GPU has {max(0, room) / 1e9:.2g} GB left, and its windows of rows take {needed / 1e9:.2g} "
        "GB; rows are gathered in host memory, which is slower; in a new run, choose a smaller train.window_mib",
        file=sys.stderr,
    )
    return send_ahead(loader.batches(start, stop, batch_rows), link)


class DeviceWindows:
    """A loader's stream on a device."""

    def __init__(self, loader: Loader, link: Link, piece_bytes: int = PIECE_BYTES) -> None:
        self.loader = loader
        self.link = link
        self.piece_blocks = max(1, piece_bytes // (loader.row_bytes * BLOCK_ROWS))

    def batches(self, start: int, stop: int, batch_rows: int) -> Iterator[Shaped[Tensor, "row d"]]:
        """Yield rows [start, stop) of the stream in batches, on the device; the last one may be short."""
        return cut_batches(self._windows(start), start, stop, batch_rows)

    def _windows(self, start: int) -> Iterator[tuple[Window, int]]:
        """Yield the windows from row `start` of the stream, each with how many of its rows are already used."""
        windows = _Windows(self.loader, self.link, self.piece_blocks)
        visits = self.loader.order.visits(start)
        visit = next(visits)
        with ThreadPoolExecutor(1) as reader:
            coming = reader.submit(windows.send, visit, 0, None)
            for turn in itertools.count(1):
                rows, places = coming.result()
                window, used = Window(self.link.receive(rows), self.link.receive(places)), visit.used
                visit = next(visits)
                # the next takes the memory of the last, from which all batches that there are were gathered by now
                coming = reader.submit(windows.send, visit, turn % 2, self.link.reached())
                yield window, used


class _Windows:
    """Two windows of a device, and the pinned memory by which they are filled, one after the other."""

    def __init__(self, loader: Loader, link: Link, piece_blocks: int) -> None:
        from train.reads import read_many  # loads numba

        self.loader, self.link, self.read_many = loader, link, read_many
        order = loader.order
        self.blocks = min(piece_blocks, -(-order.blocks // order.windows))
        shape = (order.window_rows, loader.width)
        self.rows = [link.empty(shape, loader.dtype) for _ in range(min(2, order.windows))]
        self.places = [link.empty(shape[:1], PLACE) for _ in range(2)]
        piece = (min(shape[0], self.blocks * BLOCK_ROWS), loader.width)
        self.pieces = [link.pinned(piece, loader.dtype) for _ in range(BUFFERS)]
        self.pinned_places = link.pinned(shape[:1], PLACE)
        self.on_the_way: list[Event | None] = [None] * BUFFERS  # from each piece
        self.order_on_the_way: Event | None = None
        self.all_sent: Sent | None = None  # of a store that one window holds

    def send(self, visit: Visit, turn: int, after: Event | None) -> tuple[Sent, Sent]:
        """Read a window's rows and send them, and their order, to the memory whose turn it is.

        after: the point at which the device has used what was there. Only the thread that reads waits in here.
        """
        order = self.loader.order
        blocks = order.blocks_of(visit.epoch, visit.window)
        rows = self._rows(blocks, turn, after) if self.all_sent is None else self.all_sent
        if order.windows == 1:
            self.all_sent = rows
        places = order.places(visit.epoch, visit.window, blocks)
        if self.order_on_the_way is not None:
            self.order_on_the_way.synchronize()
        pinned = self.pinned_places[: len(places)].copy_(torch.from_numpy(places))
        sent = self.link.send(pinned, self.places[turn][: len(places)], after)
        self.order_on_the_way = sent.done
        return rows, sent

    def _rows(self, blocks: np.ndarray, turn: int, after: Event | None) -> Sent:
        whole = self.rows[turn][: self.loader.order.size(blocks)]
        sent, at = None, 0
        for number, some in enumerate(np.array_split(blocks, -(-len(blocks) // self.blocks))):
            buffer = number % BUFFERS
            before = self.on_the_way[buffer]
            if before is not None:
                before.synchronize()
            piece = self.pieces[buffer][: self.loader.order.size(some)]
            self.loader.read_into(piece, some, self.read_many)
            sent = self.link.send(piece, whole[at : at + len(piece)], after)
            self.on_the_way[buffer] = sent.done
            at += len(piece)
        assert sent is not None
        return Sent(whole, sent.done)
