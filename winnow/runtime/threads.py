"""A pool of threads, each of which computes with a given number of torch's own."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


@contextmanager
def thread_pool(workers: int, torch_threads: int) -> Iterator[ThreadPoolExecutor]:
    """Yield a pool of `workers` threads; the caller's number of torch threads stays what it is."""
    before = torch.get_num_threads()
    # the number is kept per thread by OpenMP, but process-wide by other libraries: put it back
    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(torch_threads,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(before)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute with one thread in the block: bits that do not depend on how many there are."""
    before = torch.get_num_threads()
    if before > 1:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if before > 1:
            torch.set_num_threads(before)


def in_order(pool: Executor, work: Callable[[Item], Result], items: Iterable[Item], ahead: int) -> Iterator[Result]:
    """Yield work(item) of each item, in their order, while at most `ahead` of them are computed or wait."""
    running: deque[Future[Result]] = deque()
    try:
        for item in items:
            running.append(pool.submit(work, item))
            if len(running) == ahead:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        for future in running:
            future.cancel()
