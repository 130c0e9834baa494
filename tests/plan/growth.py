"""Measure by how much a process grows over its size before a stage, in a process of its own.

python -m tests.plan.growth harvest|train CONFIG [--key value …]    prints bytes
"""

import sys
from importlib import import_module
from pathlib import Path

import torch

import train.sweep  # noqa: F401
from harvest.stage import harvest as run_harvest
from tests.experiments import load
from tests.forked import LOADED
from train.stage import train as run_train


def resident(key: str) -> int:
    """Read VmRSS, what is resident now, or VmHWM, the most that has been."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(key))


if __name__ == "__main__":
    stage, path, *arguments = sys.argv[1:]
    config = load(Path(path), *arguments)
    for name in LOADED:  # what a stage imports late is not what its data take
        import_module(name)
    torch.mm(torch.ones(512, 512), torch.ones(512, 512))  # the libraries' own buffers
    Path("/proc/self/clear_refs").write_text("5")  # the most begins anew
    before = resident("VmRSS")
    {"harvest": run_harvest, "train": run_train}[stage](config)
    print(resident("VmHWM") - before)
