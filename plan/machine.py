"""The speed of the machine that a plan is for: assumptions, printed with every plan.

Peak rates are those of the vendor's data sheet (H100 SXM, dense products; float32 without TF32, which torch leaves
off). The share of them, a step's Python and the counting are as measured on an H200 (docs/results/gpu.md), whose
memory is 1.4 times as fast; disk and bus are cautious round numbers.
"""

from collections.abc import Mapping
from timeit import repeat
from typing import NamedTuple

import torch


class Machine(NamedTuple):
    """The rates from which times are computed."""

    name: str
    flops: Mapping[str, float]  # peak operations a second in products
    share: float  # of `flops` and of `memory_rate` that is achieved
    memory_rate: float  # peak bytes a second of the device's memory
    move_rate: float  # bytes a second of rows sent to the device or, on a CPU, gathered in memory
    disk_rate: float  # bytes a second, read, or written by a program that does nothing else
    written_share: float  # of `disk_rate` that a harvest reaches
    disk_reads: float  # blocks of rows a second, read in random order
    seconds_per_step: float  # of Python, for one step of a stack
    seconds_per_value: float  # of the device, to cast, check and count a value: of one core, or of the GPU
    hash_rate: float  # bytes a second of a core
    on_gpu: bool
    gpu_memory: int  # bytes; 0 on a CPU


H100 = Machine(
    name="one H100 (SXM, 80 GB)",
    flops={"float32": 67e12, "tf32": 495e12, "bfloat16": 989e12, "float16": 989e12},
    share=0.7,
    memory_rate=3.35e12,
    move_rate=50e9,
    disk_rate=2e9,
    written_share=0.6,
    disk_reads=100_000,
    seconds_per_step=2e-3,
    seconds_per_value=2e-10,
    hash_rate=1.3e9,
    on_gpu=True,
    gpu_memory=80_000_000_000,
)


def machine_for(device: str) -> Machine:
    """Return the machine of a plan: this one if the settings ask for the CPU, else one with a GPU."""
    return this_cpu() if device == "cpu" else H100


def this_cpu() -> Machine:
    """Measure this machine's cores, in half a second; assume the same disk as for the GPU's machine."""
    flops = {"float32": _product_rate(torch.float32), "bfloat16": _product_rate(torch.bfloat16)}
    flops["float16"] = flops["tf32"] = flops["float32"]  # few CPUs have float16 products, and none has tf32
    block = torch.ones(2**24)
    into = torch.empty_like(block)
    copied = 2 * 4 * len(block) / min(repeat(lambda: into.copy_(block), number=1))
    return H100._replace(
        name=f"this CPU, {torch.get_num_threads()} threads",
        flops=flops,
        share=0.8,
        memory_rate=copied,
        move_rate=copied,
        seconds_per_step=1e-3,
        seconds_per_value=4e-9,
        on_gpu=False,
        gpu_memory=0,
    )


def _product_rate(dtype: torch.dtype, size: int = 1024) -> float:
    a = torch.ones(size, size, dtype=dtype)
    return 2 * size**3 / min(repeat(lambda: a @ a, number=1))
