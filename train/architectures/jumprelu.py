"""JumpReLU (Rajamanoharan et al. 2024, Jumping ahead): a latent passes where it exceeds its own learned threshold.

f = z · 1[z > θ]. Loss: mean over rows of ‖x − x̂‖² + λ Σ_j 1[z_j > θ_j]. Neither step has a gradient in θ; both get
the paper's straight-through one, with a rectangle of width ε around θ as kernel (equations 11 and 12):
∂f/∂θ = −(θ/ε) · 1[|z − θ| < ε/2], ∂1[z > θ]/∂θ = −(1/ε) · 1[|z − θ| < ε/2].

Activations here have mean norm sqrt(d), so latents are of order one; θ starts at, and ε is, `bandwidth`. θ is
descended on itself, not on its logarithm as in the paper (Adam moves a logarithm too little per step), and kept
above zero.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from train import sparse
from train.architectures.base import Architecture, Moment, Parameters, Step, rows_gradient


@dataclass(frozen=True, kw_only=True)
class JumpRelu(Architecture):
    l0_coefficient: float
    bandwidth: float

    def add_parameters(self, p: Parameters) -> None:
        p["threshold"] = torch.full_like(p["b_enc"], self.bandwidth)

    def project(self, p: Parameters) -> None:
        p["threshold"].clamp_(min=1e-6)

    def step(self, p: Parameters, x: Float[Tensor, "row d"], moment: Moment) -> Step:
        """Compute loss and gradients on rows `x`."""
        theta, width, penalty = p["threshold"], self.bandwidth, self.l0_coefficient * moment.warm
        n, b = len(theta), len(x)
        centred, pre = self.encode(p, x)
        # every entry that passes, and those below that lie within the kernel
        near = sparse.where(pre > theta - width / 2, pre)
        z, at = near.values, theta[near.latents]
        passes = z > at
        active = near._replace(values=z * passes)
        error = sparse.decode(active, p["W_dec"]).add_(p["b_dec"]).sub_(x)
        squared_error = error.square().sum()
        gradient = error.mul_(2 / b)
        g_f = sparse.gradient_of_values(near, p["W_dec"], gradient)
        within = ((z - at).abs() < width / 2) / width
        through = g_f * passes
        groups = sparse.by_latent(near, n)
        g_b_enc = sparse.sum_by_latent(near, through, n)
        return Step(
            loss=squared_error / b + penalty * passes.sum() / b,
            squared_error=squared_error,
            active=passes.sum(),
            fired=sparse.fired(active, n),
            gradient=gradient,
            gradients={
                "W_enc": sparse.weight_gradient(groups, through, centred),
                "b_enc": g_b_enc,
                "W_dec": sparse.weight_gradient(groups, active.values, gradient),
                "b_dec": rows_gradient(p, gradient, g_b_enc),
                "threshold": -sparse.sum_by_latent(near, within * (at * g_f + penalty / b), n),
            },
        )

    def folded(self, p: Parameters, scale: float) -> Parameters:
        return super().folded(p, scale) | {"threshold": p["threshold"] / scale}
