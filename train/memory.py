"""What training needs in memory, looked at before anything is allocated."""

import os
from collections.abc import Iterable, Sequence

import torch

from train.learner import Learner
from train.plan import Planned
from train.settings import DictionarySettings
from train.stack import LAUNCHED_LATENTS
from winnow.errors import UserError

COPIES = 4  # of each weight: itself, its gradient, and Adam's two averages
FLOAT = torch.float32.itemsize
WORKSPACE = {"relu": 3, "jumprelu": 4, "gated": 9}  # float32 arrays of batch x latents that a step holds at once
RANKED = 3  # the same for the architectures that keep the k largest


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


def step_bytes(settings: DictionarySettings, d_model: int, trained: int, latents: int, count: int = 1) -> int:
    """Count the gradients of a step of `count` dictionaries, and its arrays by row and latent.

    trained: values that Adam moves in one of them. latents: of one, or of this rank's slice of it.
    """
    number = 2 if settings.compute_dtype == "bfloat16" else FLOAT
    cast = 2 * latents * d_model * number if number < FLOAT else 0
    arrays = WORKSPACE.get(settings.architecture, RANKED)
    rows = settings.batch_rows * (3 * d_model * FLOAT + (settings.k or 0) * 40)
    return count * (FLOAT * trained + cast + arrays * settings.batch_rows * latents * FLOAT + rows)


def room_for_rows(learners: Sequence[Learner], device: torch.device) -> int:
    """Count the bytes of a GPU that the steps and evaluations of these dictionaries leave; 0 of a CPU."""
    if device.type != "cuda":
        return 0
    free, _ = torch.cuda.mem_get_info(device)
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return free + cached - working_bytes(learners)


def working_bytes(learners: Sequence[Learner]) -> int:
    """Count what the largest stack's step takes on a GPU, and every dictionary once more, which an evaluation holds."""
    steps = []
    for learner in learners:
        n, d = learner.parameters["W_dec"].shape
        trained = sum(average.numel() for average in learner.averages.values())
        settings = learner.planned.settings
        count = max(1, min(len(learners), LAUNCHED_LATENTS // (settings.batch_rows * n)))
        steps.append(step_bytes(settings, d, trained, n, count))
    saved = sum(value.nbytes for learner in learners for value in learner.parameters.values())
    return saved + max(steps)


def _memory(device: torch.device) -> int:
    """Count the bytes of a device's memory."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _name(device: torch.device) -> str:
    return "this machine" if device.type == "cpu" else str(device)
