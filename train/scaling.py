"""How a hook's activations reach the dictionaries: scaled to a mean norm of sqrt(d_model), so that a coefficient means
the same at every hook, or as they are. The scale is folded into the weights before they are saved."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from winnow.errors import UserError
from winnow.store import ActivationStore


class Scaling(NamedTuple):
    """x * scale is what dictionaries are trained on."""

    scale: float
    mean: Tensor  # [d] of the scaled activations


def scaling_of(store: ActivationStore, hook: str, scales: bool = True) -> Scaling:
    """Take scale and mean from the harvest's statistics; a scale of 1 where `scales` is false.

    Raises `UserError` where the activations are zero throughout.
    """
    statistics = store.statistics(hook)
    if statistics.mean_norm == 0:
        raise UserError(f"{store.path}: the activations at {hook} are all zero; choose another hook")
    scale = math.sqrt(store.hooks[hook]) / statistics.mean_norm if scales else 1.0
    return Scaling(scale, torch.from_numpy(statistics.mean * scale).float())
