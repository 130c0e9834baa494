"""A subject without a model: planted rows, labels and layers, for experiments that ask for nothing else."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from polytopes.reading.places import Places
from polytopes.reading.rows import Rows
from polytopes.reading.subject import Subject
from winnow.spline.codes import pack
from winnow.spline.gates import find_gate
from winnow.spline.mlp import MLP


def layer_of(normals: Tensor, offsets: Tensor, gate: str = "relu") -> MLP:
    """A layer whose boundaries are normals·x = offsets, [n, d] and [n]."""
    n, d = normals.shape
    return MLP(normals.T, -offsets, torch.ones(n, d) / n, torch.zeros(d), find_gate(gate))


class Planted(Subject):
    """Rows x of one layer, each in a sequence of its own."""

    planted: tuple[Tensor, MLP]

    def __init__(self, x: Tensor, labels: Tensor, mlp: MLP) -> None:
        number = torch.arange(len(x)).int()
        codes = pack(mlp.pre(x) > 0)[:, None]
        rows = Rows(Places(number, number), number, labels.int(), labels.int(), codes, (0,), mlp.n)
        fields: dict[str, Any] = {"rows": rows, "layers": (0,), "seed": 0, "untrained": False, "is_twin": False}
        for name, value in {**fields, "planted": (x, mlp)}.items():
            object.__setattr__(self, name, value)

    def mlp(self, layer: int) -> MLP:
        return self.planted[1]

    def hook_input(self, layer: int) -> Tensor:
        return self.planted[0]


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)
