"""What training needs in memory, looked at before anything is allocated."""

import os
from collections.abc import Iterable

import torch

from train.plan import Planned
from winnow.errors import UserError

COPIES = 4  # of each weight: itself, its gradient, and Adam's two averages


def refuse_too_large(planned: Iterable[Planned], d_model: int, device: torch.device, ranks: int = 1) -> None:
    """Raise `UserError` for a dictionary whose weights and optimiser alone are more than the whole memory.

    ranks: over which the latents of each dictionary are split.
    """
    memory = _memory(device)
    for dictionary in planned:
        n = dictionary.settings.n_latents
        needed = COPIES * 4 * 2 * n * d_model // ranks
        if needed > memory:
            raise UserError(
                f"train.dictionaries: n_latents = {n:,} at {dictionary.hook}, of width {d_model:,}, takes "
                f"{needed / 1e9:,.0f} GB for weights, gradients and Adam's averages, and {_name(device)} has "
                f"{memory / 1e9:,.0f} GB; choose fewer latents"
            )


def _memory(device: torch.device) -> int:
    """Count the bytes of a device's memory."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _name(device: torch.device) -> str:
    return "this machine" if device.type == "cpu" else str(device)
