"""ReLU with an L1 penalty (Bricken et al. 2023, Towards monosemanticity; Cunningham et al. 2023).

Loss: mean over rows of ‖x − x̂‖² + λ Σ_j f_j, the decoder's rows having unit norm.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from train.architectures.step import Parameters, Step, dense_step, sparse_step
from train.sparse import active_nonzero

SPARSE_BELOW = 0.03  # density under which gathering beats four dense products


@dataclass(frozen=True, kw_only=True)
class Relu:
    l1_coefficient: float

    def step(self, p: Parameters, x: Float[Tensor, "row d"], warm: float) -> Step:
        """Compute loss and gradients on rows `x`, the penalty at the share `warm` of its full weight."""
        f = torch.addmm(p["b_enc"], x - p["b_dec"], p["W_enc"].T).relu_()  # (row, n)
        penalty = self.l1_coefficient * warm
        if x.device.type == "cpu" and int(f.count_nonzero()) < SPARSE_BELOW * f.numel():
            return sparse_step(p, x, active_nonzero(f), penalty)
        return dense_step(p, x, f, penalty)
