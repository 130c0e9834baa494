"""Write one shard in a thread, which publishes it while the next shard is computed.

A queue of a few batches lies between device and disk: the device waits for the disk only when it is full, and
memory stays bounded. On a GPU a separate stream copies the rows into pinned memory.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager, ExitStack
from queue import Full, Queue

import torch
from torch import Tensor

from harvest.write_shard import ShardFile

BATCHES_IN_FLIGHT = 2

Rows = Mapping[str, Tensor]


class BackgroundShard(AbstractContextManager["BackgroundShard"]):
    """A shard that a thread writes. When the block succeeds, the thread finishes the shard in the background.

    It closes `held` once the shard is published, or abandoned because the block failed.
    """

    def __init__(
        self, pool: Executor, opened: AbstractContextManager[ShardFile], held: ExitStack, device: torch.device
    ) -> None:
        self._queue: Queue[Callable[[], Rows] | None] = Queue(BATCHES_IN_FLIGHT)
        self._copy = DeviceToHostCopy(device)
        self._given_up = False
        self._future: Future[None] = pool.submit(self._write, opened, held)

    def append(self, rows: Rows) -> None:
        """Queue the next rows of every hook: tensors [row, width] on the device."""
        self._put(self._copy.start(rows))

    def wait(self) -> None:
        """Wait until the shard is published. Raises the error that ended the thread, if any."""
        self._future.result()

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._given_up = kind is not None
        if not self._future.done():
            self._put(None)

    def _put(self, item: Callable[[], Rows] | None) -> None:
        while True:
            if self._future.done():
                self._future.result()  # raises the error that ended the thread
            try:
                self._queue.put(item, timeout=0.5)
            except Full:
                continue
            return

    def _write(self, opened: AbstractContextManager[ShardFile], held: ExitStack) -> None:
        with held, opened as shard:
            while (rows := self._queue.get()) is not None:
                shard.append(rows())
            if self._given_up:
                raise RuntimeError("the shard is abandoned: its rows ended early")


class DeviceToHostCopy:
    """Copies rows from the device to the host; a GPU goes on computing meanwhile."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def start(self, rows: Rows) -> Callable[[], Rows]:
        """Start the copy, and return a function that waits for it to end and returns the rows."""
        if self._stream is None:
            return lambda: {hook: values.cpu() for hook, values in rows.items()}
        self._stream.wait_stream(torch.cuda.current_stream(self._stream.device))
        arrived = {}
        with torch.cuda.stream(self._stream):
            for hook, values in rows.items():
                arrived[hook] = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
                arrived[hook].copy_(values, non_blocking=True)
                values.record_stream(self._stream)
            done = self._stream.record_event()

        def wait() -> Rows:
            done.synchronize()
            return arrived

        return wait
