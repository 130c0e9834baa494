"""Write one shard in a thread: rows are handed over as they come, and publishing goes on behind the next shard.

The device never waits for the disk, nor the disk for the device, but for a bounded number of batches in
between. On a GPU the rows leave by a stream of their own into pinned memory.
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
    """A shard that a thread writes. When the block succeeds, the shard is finished behind the caller's back.

    `held` is closed once the shard is published, or given up because the block failed.
    """

    def __init__(
        self, pool: Executor, opened: AbstractContextManager[ShardFile], held: ExitStack, device: torch.device
    ) -> None:
        self._queue: Queue[Callable[[], Rows] | None] = Queue(BATCHES_IN_FLIGHT)
        self._departure = DeviceToHostCopy(device)
        self._given_up = False
        self._future: Future[None] = pool.submit(self._write, opened, held)

    def append(self, rows: Rows) -> None:
        """Hand over the next rows of every hook: tensors [row, width] on the device."""
        self._put(self._departure.start(rows))

    def wait(self) -> None:
        """Wait until the shard is published; raises what went wrong."""
        self._future.result()

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._given_up = kind is not None
        if not self._future.done():
            self._put(None)

    def _put(self, item: Callable[[], Rows] | None) -> None:
        while True:
            if self._future.done():
                self._future.result()  # raises what ended the thread
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
                raise RuntimeError("the shard is given up: its rows ended early")


class DeviceToHostCopy:
    """Brings rows from the device to the host; on a GPU without holding up its computation."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def start(self, rows: Rows) -> Callable[[], Rows]:
        """Start the copy; the result, called by the thread that needs the rows, waits until they are there."""
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
