"""Write one shard in a thread, which publishes it while the next shard is computed.

A queue of a few batches lies between device and disk: the device waits for the disk only when it is full, and
memory stays bounded. Rows that a GPU counted are cast there already; a separate stream copies them into pinned memory,
and the thread waits for it.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager, ExitStack
from queue import Empty, Full, Queue
from typing import NamedTuple

import torch
from torch import Tensor

from harvest.device_accumulator import DeviceAccumulator, count_rows
from harvest.host_buffers import Batch, HostBuffers
from harvest.write_shard import ShardFile

BATCHES_IN_FLIGHT = 2
WAIT = 0.5  # seconds after which one looks whether the thread has died

Rows = Mapping[str, Tensor]


class Counted(NamedTuple):
    """A batch that waits to be written: its rows are counted, and on their way to the host."""

    batch: Batch

    def write(self, shard: ShardFile) -> None:
        """Write it, in the thread of the shard."""
        shard.append_counted(self.batch.arrive())

    def close(self) -> None:
        """Give back what it holds, whether it was written or not."""
        self.batch.close()


class Uncounted(NamedTuple):
    """A batch that waits to be counted on the CPU and written."""

    rows: Rows

    def write(self, shard: ShardFile) -> None:
        """Count and write it, in the thread of the shard."""
        shard.append({hook: values.cpu() for hook, values in self.rows.items()})

    def close(self) -> None:
        """Do nothing: it holds no buffers."""


class DeviceCounting:
    """Counts the rows of one shard on their device, and copies them into host buffers that all shards share."""

    def __init__(
        self,
        accumulators: Mapping[str, DeviceAccumulator],
        positions: Tensor,
        dtype: str,
        buffers: HostBuffers,
        stream: "torch.cuda.Stream | None",
    ) -> None:
        self.accumulators = accumulators
        self._positions = positions
        self._dtype = dtype
        self._buffers = buffers
        self._stream = stream
        self._seen = 0

    def take(self, rows: Rows, still_good: Callable[[], None]) -> Counted:
        """Count the next rows of every hook, and start copying them; wait for room, calling `still_good` meanwhile."""
        while not self._buffers.enter(WAIT):
            still_good()
        batch = Batch(self._buffers, self._stream)
        count = len(next(iter(rows.values())))
        positions = self._positions[self._seen : self._seen + count]
        self._seen += count
        try:
            batch.start(count_rows(rows, positions, self._dtype, self.accumulators))
        except BaseException:
            batch.close()
            raise
        return Counted(batch)


class BackgroundShard(AbstractContextManager["BackgroundShard"]):
    """A shard that a thread writes. When the block succeeds, the thread finishes the shard in the background.

    It closes `held` once the shard is published, or abandoned because the block failed. counting: counts the rows where
    they are; None: the thread counts them on the CPU.
    """

    def __init__(
        self,
        pool: Executor,
        opened: AbstractContextManager[ShardFile],
        held: ExitStack,
        counting: DeviceCounting | None = None,
    ) -> None:
        self._queue: Queue[Counted | Uncounted | None] = Queue(BATCHES_IN_FLIGHT)
        self._counting = counting
        self._given_up = False
        self._future: Future[None] = pool.submit(self._write, opened, held)

    def append(self, rows: Rows) -> None:
        """Queue the next rows of every hook: tensors [row, width] on the device."""
        waiting = Uncounted(rows) if self._counting is None else self._counting.take(rows, self._raise_if_over)
        try:
            self._put(waiting)
        except BaseException:
            waiting.close()
            raise

    def wait(self) -> None:
        """Wait until the shard is published. Raises the error that ended the thread, if any."""
        self._future.result()

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._given_up = kind is not None
        if not self._future.done():
            self._put(None)

    def _raise_if_over(self) -> None:
        if self._future.done():
            self._future.result()  # raises the error that ended the thread

    def _put(self, item: Counted | Uncounted | None) -> None:
        while True:
            self._raise_if_over()
            try:
                self._queue.put(item, timeout=WAIT)
            except Full:
                continue
            return

    def _write(self, opened: AbstractContextManager[ShardFile], held: ExitStack) -> None:
        with held, opened as shard:
            try:
                while (waiting := self._queue.get()) is not None:
                    try:
                        waiting.write(shard)
                    finally:
                        waiting.close()
            except BaseException:
                self._drop_waiting()  # or another shard would wait for their memory
                raise
            if self._given_up:
                raise RuntimeError("the shard is abandoned: its rows ended early")

    def _drop_waiting(self) -> None:
        while True:
            try:
                waiting = self._queue.get_nowait()
            except Empty:
                return
            if waiting is not None:
                waiting.close()
