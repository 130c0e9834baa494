"""Say which device a stage computes on, and where it lacks the instructions for what is asked of it.

announce("harvest", device, {"model.dtype": "bfloat16"})      # harvest: computes on NVIDIA H100 80GB HBM3
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import torch

CPU_INFO = Path("/proc/cpuinfo")
BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}  # as Linux lists them; the last on ARM


def announce(stage: str, device: torch.device, dtypes: Mapping[str, str]) -> None:
    """Print the device of a stage as its first line; warn on stderr if one of `dtypes` (setting -> dtype) is slow."""
    print(f"{stage}: computes on {device_kind(device)}", flush=True)
    asked = [setting for setting, dtype in dtypes.items() if dtype == "bfloat16"]
    if asked and device.type == "cpu" and lacks_bfloat16():
        print(
            f"{stage}: {' and '.join(asked)} = bfloat16: this CPU has no instructions for it and will be many times "
            "slower than with float32",
            file=sys.stderr,
        )


def device_kind(device: torch.device) -> str:
    """Return the kind of a device: the name of a GPU, else `cpu` or `mps`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def lacks_bfloat16() -> bool:
    """Tell whether this CPU is known to have no instructions for products in bfloat16."""
    try:
        lines = CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False  # not Linux
    listed = [set(line.partition(":")[2].split()) for line in lines if line.lower().startswith(("flags", "features"))]
    return bool(listed) and not listed[0] & BFLOAT16
