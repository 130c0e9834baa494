"""TopK (Gao et al. 2024, Scaling and evaluating sparse autoencoders): the k largest of ReLU(pre) in each row.

Loss: mean over rows of ‖x − x̂‖², and AuxK (auxk.py). No penalty: k sets the sparsity.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from train.architectures.auxk import AuxK, DeadLatents
from train.architectures.base import Architecture
from train.architectures.step import Parameters, Step, StepContext


@dataclass(frozen=True, kw_only=True)
class TopK(Architecture):
    k: tuple[int, ...]
    auxk: AuxK | None = None

    def step(self, p: Parameters, x: Float[Tensor, "row d"], context: StepContext) -> Step:
        """Compute loss and gradients on rows `x`."""
        dead = DeadLatents(context.dead, self.collectives) if self.auxk else None
        centred, pre = self.encode(p, x)
        step = self.sparse_step(p, x, centred, self.top_k(pre, self.k))
        return self.auxk.add(self, step, p, centred, pre, dead) if self.auxk and dead else step
