"""How fast the machine is that a plan is made for: assumptions, printed with every plan.

Peak rates are those of the vendor's data sheet (H100 SXM, dense products, no TF32, which torch leaves off); the rest is
cautious round numbers. What a plan says of time is as good as these: no GPU has been at hand to check them.
"""

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch

from winnow.config.experiment import DType


class Machine(NamedTuple):
    """What times are computed from."""

    name: str
    flops: Mapping[DType, float]  # products, a second, at best
    share: float  # of that which is achieved, and of the memory's rate
    memory_rate: float  # bytes a second of the device's memory, at best
    move_rate: float  # bytes a second of rows that are gathered in the host's memory and moved to the device
    disk_rate: float  # bytes a second, written or read
    disk_reads: float  # blocks of rows a second, read in random order
    seconds_per_step: float  # of Python, for each stack's step
    seconds_per_value: float  # of the thread that writes a shard: cast, counted, copied, hashed
    on_gpu: bool


H100 = Machine(
    name="one H100 (SXM, 80 GB)",
    flops={"float32": 67e12, "bfloat16": 989e12, "float16": 989e12},
    share=0.5,
    memory_rate=3.35e12,
    move_rate=5e9,
    disk_rate=2e9,
    disk_reads=100_000,
    seconds_per_step=1e-3,
    seconds_per_value=5e-9,
    on_gpu=True,
)


def machine_for(device: str) -> Machine:
    """Give the machine of a plan: this one where the settings ask for its CPU, one with a GPU otherwise."""
    return this_cpu() if device == "cpu" else H100


def this_cpu() -> Machine:
    """Measure this machine's cores, in half a second; of its disk, what is assumed of the other's."""
    flops: dict[DType, float] = {"float32": _product_rate(torch.float32), "bfloat16": _product_rate(torch.bfloat16)}
    flops["float16"] = flops["float32"]  # few CPUs have products of it
    block = torch.ones(2**24)
    into = torch.empty_like(block)
    copied = 2 * 4 * len(block) / _fastest(lambda: into.copy_(block))
    return H100._replace(
        name=f"this CPU, {torch.get_num_threads()} threads",
        flops=flops,
        share=0.8,
        memory_rate=copied,
        move_rate=copied,
        on_gpu=False,
    )


def _product_rate(dtype: torch.dtype, size: int = 1024) -> float:
    a = torch.ones(size, size, dtype=dtype)
    return 2 * size**3 / _fastest(lambda: a @ a)


def _fastest(work: Callable[[], object], times: int = 5) -> float:
    """Time `work` so many times, and give the shortest in seconds: what else runs can only make it longer."""
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)
