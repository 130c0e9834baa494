"""A pool of threads, each of which computes with a given number of torch's own."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch


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
