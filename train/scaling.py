"""How a hook's activations reach the dictionaries: scaled to a mean norm of sqrt(d_model), so that a coefficient means
the same at every hook. The scale is folded into the weights before they are saved."""

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


def scaling_of(store: ActivationStore, hook: str) -> Scaling:
    """Take scale and mean from the harvest's statistics.

    Raises `UserError` where the activations are zero throughout.
    """
    statistics = store.statistics(hook)
    if statistics.mean_norm == 0:
        raise UserError(f"{store.path}: the activations at {hook} are all zero; choose another hook")
    scale = math.sqrt(store.hooks[hook]) / statistics.mean_norm
    return Scaling(scale, torch.from_numpy(statistics.mean * scale).float())
