"""Gated (Rajamanoharan et al. 2024, Improving dictionary learning with gated sparse autoencoders).

π = (x − b_dec) W_enc + b_enc decides which latents fire, m = exp(r_mag) · (x − b_dec) W_enc + b_mag how strongly:
f = 1[π > 0] · ReLU(m). Loss (equation 8), averaged over rows: ‖x − x̂(f)‖² + λ Σ ReLU(π) + ‖x − x̂'(ReLU(π))‖², where
x̂' decodes with a decoder that is held fixed.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from train import sparse
from train.architectures.base import Architecture, Moment, Parameters, Step, rows_gradient


@dataclass(frozen=True, kw_only=True)
class Gated(Architecture):
    l1_coefficient: float

    def add_parameters(self, p: Parameters) -> None:
        p["r_mag"] = torch.zeros_like(p["b_enc"])
        p["b_mag"] = torch.zeros_like(p["b_enc"])

    def step(self, p: Parameters, x: Float[Tensor, "row d"], moment: Moment) -> Step:
        """Compute loss and gradients on rows `x`; all of it lives where π > 0."""
        n, b = len(p["b_enc"]), len(x)
        penalty = self.l1_coefficient * moment.warm
        centred, pre = self.encode(p, x)
        gate = sparse.where(pre > 0, pre)  # values: ReLU(π)
        stretch = p["r_mag"].exp()[gate.latents]
        shared = gate.values - p["b_enc"][gate.latents]  # (x − b_dec) W_enc
        magnitude = stretch * shared + p["b_mag"][gate.latents]
        active = gate._replace(values=magnitude.relu())

        error = sparse.decode(active, p["W_dec"]).add_(p["b_dec"]).sub_(x)
        gate_error = sparse.decode(gate, p["W_dec"]).add_(p["b_dec"]).sub_(x)
        squared_error, gate_squared_error = error.square().sum(), gate_error.square().sum()
        gradient, gate_gradient = error.mul_(2 / b), gate_error.mul_(2 / b)
        g_mag = sparse.gradient_of_values(active, p["W_dec"], gradient) * (magnitude > 0)
        g_gate = sparse.gradient_of_values(gate, p["W_dec"], gate_gradient).add_(penalty / b)
        through = stretch * g_mag + g_gate  # of (x − b_dec) W_enc

        groups = sparse.by_latent(gate, n)
        return Step(
            loss=(squared_error + gate_squared_error + penalty * gate.values.sum()) / b,
            squared_error=squared_error,
            active=(active.values > 0).sum(),
            fired=sparse.fired(active, n),
            gradient=gradient,
            gradients={
                "W_enc": sparse.weight_gradient(groups, through, centred),
                "b_enc": sparse.sum_by_latent(gate, g_gate, n),
                "b_mag": sparse.sum_by_latent(gate, g_mag, n),
                "r_mag": sparse.sum_by_latent(gate, g_mag * shared * stretch, n),
                "W_dec": sparse.weight_gradient(groups, active.values, gradient),
                "b_dec": rows_gradient(p, gradient, sparse.sum_by_latent(gate, through, n)),
            },
        )

    def folded(self, p: Parameters, scale: float) -> Parameters:
        return super().folded(p, scale) | {"r_mag": p["r_mag"].clone(), "b_mag": p["b_mag"] / scale}
