"""Choose the device of a stage: the one that the settings name, or the best available."""

import torch

from winnow.errors import UserError
from winnow.runtime.ranks import Ranks

ALONE = Ranks()


def choose_device(name: str, ranks: Ranks = ALONE, mps: bool = True) -> torch.device:
    """Turn `model.device` into a device, and make it current; without a GPU number, each rank gets its own GPU.

    `auto` is a GPU if there is one, else MPS unless `mps` is False, else the CPU.
    Raises `UserError` if the named device does not exist.
    """
    cuda, metal = torch.cuda.is_available(), torch.backends.mps.is_available()
    if name == "auto":
        name = "cuda" if cuda else "mps" if metal and mps else "cpu"
    device = torch.device(name)
    if not is_there(device):
        raise UserError(f"model.device = {name}: there is no such device here; set it to auto or cpu")
    if device.type == "cuda" and device.index is None and ranks.total > 1:
        device = torch.device("cuda", ranks.local % torch.cuda.device_count())
    if device.index is not None:  # kernels are launched on the current GPU, which is cuda:0 unless it is set
        torch.cuda.set_device(device)
    return device


def to_device(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy a CPU tensor to a device; to a GPU from pinned memory, so that the host need not wait for its work."""
    if device.type != "cuda":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)


def is_there(device: torch.device) -> bool:
    """Tell whether this machine has a device."""
    if device.type == "cuda":
        return torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()
    return device.type == "cpu" or (device.type == "mps" and torch.backends.mps.is_available())


def device_named(what: str, given: torch.device | str) -> torch.device:
    """Return the device that a caller names. Raises `UserError`, which begins with `what`, where there is none."""
    try:
        device = torch.device(given)
    except (RuntimeError, TypeError, ValueError):
        device = None
    if device is None or not is_there(device):
        raise UserError(f"{what}: expected a device of this machine, such as cpu or cuda:0, found {given!r:.60}")
    return device
