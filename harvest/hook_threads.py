"""Do the same work for each hook of a batch, several hooks at once.

A thread has a scratch of its own, so memory grows with the threads and not with the hooks. One call works on a hook at
a time and returns when all are done: what belongs to a hook is never used by two threads at once, and its batches come
in order. Results are those of one thread to the bit.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, wait
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Generic, TypeVar

import torch

from winnow.runtime.threads import thread_pool

Scratch = TypeVar("Scratch")
Item = TypeVar("Item")

MOST = 16  # threads; more would only wait for the disk
FEW = 2  # so many hooks take one thread: the model needs the other cores


class HookThreads(Generic[Scratch]):
    """Threads that take the hooks of a batch, each with a scratch of its own; without a pool, the caller's thread."""

    def __init__(self, make_scratch: Callable[[], Scratch], threads: int = 1, pool: Executor | None = None) -> None:
        self._pool = pool
        self._free: SimpleQueue[Scratch] = SimpleQueue()
        for _ in range(threads):
            self._free.put(make_scratch())

    def each(self, items: Iterable[Item], work: Callable[[Item, Scratch], None]) -> None:
        """Call `work` with each item and a scratch, and return when all calls have ended.

        Raises the error of the first item that failed, in the order of the items.
        """
        if self._pool is None:
            for item in items:
                self._with_scratch(item, work)
            return
        running = [self._pool.submit(self._with_scratch, item, work) for item in items]
        wait(running)  # an error must not close the file under the other threads
        for future in running:
            future.result()

    def _with_scratch(self, item: Item, work: Callable[[Item, Scratch], None]) -> None:
        scratch = self._free.get()
        try:
            work(item, scratch)
        finally:
            self._free.put(scratch)


def threads_for(hooks: int) -> int:
    """Return how many threads count so many hooks."""
    return 1 if hooks <= FEW else min(torch.get_num_threads(), hooks, MOST)


@contextmanager
def hook_threads(hooks: int, make_scratch: Callable[[], Scratch]) -> Iterator[HookThreads[Scratch] | None]:
    """Yield threads for so many hooks: as many as torch may use, at most one a hook and `MOST`.

    None where one thread is best: the caller's own.
    """
    threads = threads_for(hooks)
    if threads == 1:
        yield None
        return
    with thread_pool(threads, torch_threads=1) as pool:
        yield HookThreads(make_scratch, threads, pool)
