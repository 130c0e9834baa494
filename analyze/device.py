"""The device on which dictionaries are compared."""

import torch

from winnow.runtime.device import choose_device


def comparing_device(name: str) -> torch.device:
    """Return the GPU that `model.device` names, or else the CPU: comparisons need float64, which MPS lacks."""
    device = choose_device(name)
    return device if device.type == "cuda" else torch.device("cpu")
