"""Gated (Rajamanoharan et al. 2024, Improving dictionary learning with gated sparse autoencoders).

π = (x − b_dec) W_enc + b_enc decides which latents fire, m = exp(r_mag) · (x − b_dec) W_enc + b_mag how strongly:
f = 1[π > 0] · ReLU(m). Loss (equation 8), averaged over rows: ‖x − x̂(f)‖² + λ Σ ReLU(π) + ‖x − x̂'(ReLU(π))‖², where
x̂' decodes with the decoder held fixed.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from train.architectures.base import Architecture, count_learners, of_entries, zero_where_zero
from train.architectures.step import Parameters, Step, StepContext
from train.kernels import sparse


@dataclass(frozen=True, kw_only=True)
class Gated(Architecture):
    l1_coefficient: tuple[float, ...]

    def add_parameters(self, p: Parameters) -> None:
        p["r_mag"] = torch.zeros_like(p["b_enc"])
        p["b_mag"] = torch.zeros_like(p["b_enc"])

    def step(self, p: Parameters, x: Float[Tensor, "row d"], context: StepContext) -> Step:
        """Compute loss and gradients on rows `x`."""
        penalty = self.penalty(self.l1_coefficient, context, x) / len(x)
        centred, pre = self.encode(p, x)
        passes = self.sparsely(pre, 0.0)
        if passes is None:
            return self._dense_step(p, x, centred, pre, penalty)
        return self._sparse_step(p, x, centred, sparse.where_learners(passes, pre), penalty)

    def _sparse_step(
        self, p: Parameters, x: Tensor, centred: Tensor, gate: sparse.Active, penalty: Float[Tensor, " learner"]
    ) -> Step:
        (e, n), b = p["b_enc"].shape, len(x)
        W_dec = p["W_dec"].flatten(0, 1)
        stretch = p["r_mag"].exp().flatten()[gate.latents]
        shared = gate.values - p["b_enc"].flatten()[gate.latents]  # (x − b_dec) W_enc
        magnitude = stretch * shared + p["b_mag"].flatten()[gate.latents]
        active = gate._replace(values=magnitude.relu())

        error, gate_error = self.error(p, x, active), self.error(p, x, gate)
        squared_error, gate_squared_error = error.square().sum((1, 2)), gate_error.square().sum((1, 2))
        gradient, gate_gradient = error.mul_(2 / b), gate_error.mul_(2 / b)
        rows = gradient.flatten(0, 1)
        g_mag = sparse.gradient_of_values(active, W_dec, rows) * (magnitude > 0)
        g_gate = sparse.gradient_of_values(gate, W_dec, gate_gradient.flatten(0, 1)) + of_entries(penalty, gate, n)
        through = stretch * g_mag + g_gate  # of (x − b_dec) W_enc

        groups = sparse.by_latent(gate, e * n)

        def by_latent(values: Tensor) -> Tensor:
            return sparse.sum_by_latent(gate, values, e * n, groups).view(e, n)

        firings = by_latent((active.values > 0).int())
        return Step(
            loss=(squared_error + gate_squared_error) / b
            + penalty * self.collectives.all_reduce(by_latent(gate.values).sum(1)),
            squared_error=squared_error,
            active=self.collectives.all_reduce(firings.sum(1)),
            fired=firings > 0,
            gradient=gradient,
            gradients={
                "W_enc": sparse.weight_gradient(groups, through, centred.flatten(0, 1)).view_as(p["W_enc"]),
                "b_enc": by_latent(g_gate),
                "b_mag": by_latent(g_mag),
                "r_mag": by_latent(g_mag * shared * stretch),
                "W_dec": sparse.weight_gradient(groups, active.values, self.lowered(rows)).view_as(p["W_dec"]),
                "b_dec": self.rows_gradient(p, gradient, by_latent(through)),
            },
        )

    def _dense_step(
        self, p: Parameters, x: Tensor, centred: Tensor, pre: Tensor, penalty: Float[Tensor, " learner"]
    ) -> Step:
        b = len(x)
        stretch = p["r_mag"].exp().unsqueeze(1)
        shared = pre - p["b_enc"].unsqueeze(1)  # (x − b_dec) W_enc
        gate = pre.relu()
        f = (stretch * shared + p["b_mag"].unsqueeze(1)).relu_().mul_(pre > 0)

        error, gate_error = self.dense_error(p, x, f), self.dense_error(p, x, gate)
        squared_error, gate_squared_error = error.square().sum((1, 2)), gate_error.square().sum((1, 2))
        gradient, gate_gradient = error.mul_(2 / b), gate_error.mul_(2 / b)
        g_mag = sparse.exact(self.product(gradient, p["W_dec"].mT))  # (learner, row, n)
        g_gate = sparse.exact(self.product(gate_gradient, p["W_dec"].mT))
        g_gate.add_(penalty.view(-1, 1, 1))
        zero_where_zero(g_mag, f)
        zero_where_zero(g_gate, sparse.exact(gate))
        through = stretch * g_mag + g_gate
        return Step(
            loss=(squared_error + gate_squared_error) / b
            + penalty * self.collectives.all_reduce(gate.sum((1, 2), dtype=x.dtype)),
            squared_error=squared_error,
            active=self.collectives.all_reduce(count_learners(f > 0)),
            fired=f.amax(1) > 0,
            gradient=gradient,
            gradients={
                "W_enc": sparse.exact(self.product(through.mT, centred)),
                "b_enc": g_gate.sum(1),
                "b_mag": g_mag.sum(1),
                "r_mag": (g_mag * shared).sum(1) * stretch.squeeze(1),
                "W_dec": sparse.exact(self.product(f.mT, gradient)),
                "b_dec": self.rows_gradient(p, gradient, through.sum(1)),
            },
        )

    def folded(self, p: Parameters, scale: float) -> Parameters:
        return super().folded(p, scale) | {"r_mag": p["r_mag"].clone(), "b_mag": p["b_mag"] / scale}
