"""Train several dictionaries at once on the CPU's cores.

One dictionary per core, with one thread each, is faster than all cores on one dictionary after the other: small steps
spend their time on starting and joining threads (12 dictionaries of 256 to 1024 latents at d = 128 on two busy cores:
an order of magnitude). Either way, a dictionary's numbers do not depend on the others.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeVar, runtime_checkable

import torch

from winnow.runtime.threads import thread_pool

Item = TypeVar("Item")


@runtime_checkable
class ParallelMap(Protocol):
    """Calls a function on every item."""

    def __call__(self, act: Callable[[Item], None], some: Sequence[Item], /) -> None: ...


@contextmanager
def parallel_map(items: int, device: torch.device) -> Iterator[ParallelMap]:
    """Yield `in_parallel(act, some)`, which calls `act` on each of `some`, several at a time where that is faster.

    items: how many there are in all; if there are fewer than cores, each gets its share of the cores.
    """
    cores = torch.get_num_threads()
    at_once = min(items, cores)
    if device.type != "cpu" or at_once < 2:
        yield _one_by_one
        return
    with thread_pool(at_once, cores // at_once) as pool:

        def in_parallel(act: Callable[[Item], None], some: Sequence[Item]) -> None:
            for future in [pool.submit(act, item) for item in some]:
                future.result()

        yield in_parallel


def _one_by_one(act: Callable[[Item], None], some: Sequence[Item]) -> None:
    for item in some:
        act(item)
