"""BatchTopK (Bussmann et al. 2024): the B·k largest of ReLU(pre) in the whole batch, so rows share their k.

Loss: mean over rows of ‖x − x̂‖², and AuxK. Once trained, a latent fires above one threshold: the mean of the smallest
value that a batch kept. In training it is a running mean, which lags behind the weights: after short trainings it let
a tenth fewer latents through than k. So it is estimated again once the weights stand still.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from train.architectures.auxk import AuxK, DeadLatents
from train.architectures.base import Architecture
from train.architectures.step import Parameters, Step, StepContext
from train.kernels.sparse import Active

THRESHOLD_RATE = 0.01


@dataclass(frozen=True, kw_only=True)
class BatchTopK(Architecture):
    k: tuple[int, ...]
    auxk: AuxK | None = None
    buffers: ClassVar[tuple[str, ...]] = ("threshold", "batches")

    def add_parameters(self, p: Parameters) -> None:
        p["threshold"] = p["b_enc"].new_zeros(())
        p["batches"] = p["b_enc"].new_zeros(())

    def step(self, p: Parameters, x: Float[Tensor, "row d"], context: StepContext) -> Step:
        """Compute loss and gradients on rows `x`, and let the threshold follow the batch."""
        dead = DeadLatents(context.dead, self.collectives) if self.auxk else None
        centred, pre = self.encode(p, x)
        active = self.largest(pre, [k * len(x) for k in self.k])
        self.follow(p, active)
        step = self.sparse_step(p, x, centred, active)
        return self.auxk.add(self, step, p, centred, pre, dead) if self.auxk and dead else step

    def follow_rows(self, p: Parameters, x: Float[Tensor, "row d"]) -> None:
        """Let the threshold follow a batch, the weights standing still."""
        _, pre = self.encode(p, x)
        self.follow(p, self.largest(pre, [k * len(x) for k in self.k]))

    def follow(self, p: Parameters, active: Active) -> None:
        """Move thresholds towards the batch's smallest value above zero; over the first batches, take its mean."""
        learners, n = p["b_enc"].shape
        positive = torch.where(active.values > 0, active.values, torch.inf)
        smallest = positive.new_full((learners,), torch.inf)
        smallest = self.collectives.smallest(smallest.scatter_reduce_(0, active.latents // n, positive, "amin"))
        rate = (1 / p["batches"].add_(1)).clamp(min=THRESHOLD_RATE)
        p["threshold"].add_(rate * torch.where(smallest.isfinite(), smallest - p["threshold"], 0))

    def folded(self, p: Parameters, scale: float) -> Parameters:
        return super().folded(p, scale) | {"threshold": (p["threshold"] / scale).expand(len(p["b_enc"])).clone()}
