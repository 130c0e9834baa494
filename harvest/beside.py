"""Send what is written to the disk in a thread beside the one that computes or hashes it.

Left alone, the system may keep gigabytes in memory, and the sync at a shard's end then takes as long as all of its
writing. What has reached the disk early costs nothing at the end.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, wait
from contextlib import AbstractContextManager, contextmanager

FLUSH_BYTES = 2**28


class Flusher(AbstractContextManager["Flusher"]):
    """Flushes a file in a thread of `pool` whenever `FLUSH_BYTES` more are written; without a pool, never.

    One flush runs at a time, and the block ends when it has ended. Its error is raised by the next call or the end.
    """

    def __init__(self, flush: Callable[[], None], pool: Executor | None) -> None:
        self._flush = flush
        self._pool = pool
        self._bytes = 0
        self._running: Future[None] | None = None

    def wrote(self, count: int) -> None:
        """Count bytes that were written."""
        self._bytes += count
        if self._pool is None or self._bytes < FLUSH_BYTES:
            return
        if self._running is not None:
            if not self._running.done():
                return
            self._running.result()
        self._bytes = 0
        self._running = self._pool.submit(self._flush)

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if self._running is None:
            return
        if kind is None:
            self._running.result()
        else:
            wait([self._running])


@contextmanager
def beside(pool: Executor | None, work: Callable[[], None]) -> Iterator[None]:
    """Do `work` in a thread of `pool` while the block runs, and end with both; without a pool, leave it undone."""
    running = None if pool is None else pool.submit(work)
    try:
        yield
    finally:
        if running is not None:
            wait([running])
    if running is not None:
        running.result()
