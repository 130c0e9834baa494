"""JumpReLU (Rajamanoharan et al. 2024, Jumping ahead): a latent passes where it exceeds its own learned threshold.

f = z · 1[z > θ]. Loss: mean over rows of ‖x − x̂‖² + λ Σ_j 1[z_j > θ_j]. Neither step has a gradient in θ; both get
the paper's straight-through one, with a rectangle of width ε around θ as kernel (equations 11 and 12):
∂f/∂θ = −(θ/ε) · 1[|z − θ| < ε/2], ∂1[z > θ]/∂θ = −(1/ε) · 1[|z − θ| < ε/2].

Activations here have mean norm sqrt(d), so latents are of order one. `bandwidth` is ε, and the θ at the start. Adam
moves θ itself, not its logarithm as in the paper (which it moves too little per step); θ is kept above zero.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from train.architectures import dense_kernels
from train.architectures.base import Architecture, of_entries
from train.architectures.step import Parameters, Step, StepContext
from train.kernels import dispatch, sparse


@dataclass(frozen=True, kw_only=True)
class JumpRelu(Architecture):
    l0_coefficient: tuple[float, ...]
    bandwidth: float

    def add_parameters(self, p: Parameters) -> None:
        p["threshold"] = torch.full_like(p["b_enc"], self.bandwidth)

    def project(self, p: Parameters) -> None:
        p["threshold"].clamp_(min=1e-6)

    def step(self, p: Parameters, x: Float[Tensor, "row d"], context: StepContext) -> Step:
        """Compute loss and gradients on rows `x`."""
        theta, width, b = p["threshold"], self.bandwidth, len(x)
        penalty = self.penalty(self.l0_coefficient, context, x) / b
        centred, pre = self.encode(p, x)
        if dispatch.available(pre):
            step = dense_kernels.dense_step(self, p, x, centred, pre, penalty, width)
        # the entries above their thresholds, and those below within the kernel
        elif (near := self.sparsely(pre, (theta - width / 2).unsqueeze(1))) is None:
            step = self._dense_step(p, x, centred, pre, penalty)
        else:
            step = self._sparse_step(p, x, centred, sparse.where_learners(near, pre), penalty)
        return step._replace(loss=step.loss + penalty * step.active)

    def _sparse_step(
        self, p: Parameters, x: Tensor, centred: Tensor, near: sparse.Active, penalty: Float[Tensor, " learner"]
    ) -> Step:
        theta = p["threshold"]
        z, at = near.values, theta.flatten()[near.latents]

        def g_threshold(g_f: Float[Tensor, " active"]) -> Parameters:
            within = ((z - at).abs() < self.bandwidth / 2) / self.bandwidth
            pushed = within * (at * g_f + of_entries(penalty, near, theta.shape[1]))
            return {"threshold": -sparse.sum_by_latent(near, pushed, theta.numel()).view_as(theta)}

        return self.sparse_step(p, x, centred, near._replace(values=z * (z > at)), more=g_threshold)

    def _dense_step(
        self, p: Parameters, x: Tensor, centred: Tensor, pre: Tensor, penalty: Float[Tensor, " learner"]
    ) -> Step:
        theta = p["threshold"].unsqueeze(1)

        def g_threshold(g_f: Float[Tensor, "learner row n"]) -> Parameters:
            within = ((pre - theta).abs() < self.bandwidth / 2) / self.bandwidth
            pushed = theta * g_f + penalty.view(-1, 1, 1)
            return {"threshold": -(within * pushed).sum(1)}

        return self.dense_step(p, x, centred, pre * (pre > theta), more=g_threshold)

    def folded(self, p: Parameters, scale: float) -> Parameters:
        return super().folded(p, scale) | {"threshold": p["threshold"] / scale}
