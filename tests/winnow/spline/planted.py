"""Layers and networks in float64 whose weights are drawn, always the same."""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from winnow.spline.gates import Gate, find_gate
from winnow.spline.mlp import MLP, Norm
from winnow.spline.network import Network


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def make_mlp(gate: str | Gate, d: int = 7, n: int = 24, d_out: int = 5, gated: bool = False, seed: int = 0) -> MLP:
    return MLP(
        draw(d, n, seed=seed) / d**0.5,
        draw(n, seed=seed + 1) / 2,
        draw(n, d_out, seed=seed + 2),
        draw(d_out, seed=seed + 3),
        find_gate(gate) if isinstance(gate, str) else gate,
        W_value=draw(d, n, seed=seed + 4) if gated else None,
        b_value=draw(n, seed=seed + 5) if gated else None,
    )


def make_norm(kind: str, d: int, bias: float = 0.5, eps: float = 1e-5) -> Norm:
    return Norm("layer" if kind == "layer" else "rms", 1 + draw(d, seed=31) / 4, bias * draw(d, seed=32), eps)


def make_network(gate: str | Gate, widths: tuple[int, ...], bias: float = 0.5, seed: int = 0) -> Network:
    """A network of these widths, its input's and output's included."""
    pairs = list(pairwise(widths))
    weights = tuple(draw(i, o, seed=seed + k) * (2 / i) ** 0.5 for k, (i, o) in enumerate(pairs))
    biases = tuple(bias * draw(o, seed=seed + 100 + k) for k, (_, o) in enumerate(pairs))
    return Network(weights, biases, find_gate(gate) if isinstance(gate, str) else gate)


def bit_changes(codes_at: Callable[[Tensor], Tensor], steps: int = 4000) -> Tensor:
    """Count each neuron's bit changes on a line by dense sampling: [n]."""
    t = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    on = codes_at(t)
    return (on[1:] != on[:-1]).sum(0)
