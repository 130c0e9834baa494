"""TopK (Gao et al. 2024, Scaling and evaluating sparse autoencoders): the k largest of ReLU(pre) in each row.

Loss: mean over rows of ‖x − x̂‖². No penalty: k sets the sparsity.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from train.architectures.step import Parameters, Step, sparse_step
from train.sparse import active_top_k


@dataclass(frozen=True, kw_only=True)
class TopK:
    k: int

    def step(self, p: Parameters, x: Float[Tensor, "row d"], warm: float) -> Step:
        """Compute loss and gradients on rows `x`; `warm`, the rise of a penalty, has nothing to act on."""
        pre = torch.addmm(p["b_enc"], x - p["b_dec"], p["W_enc"].T)  # (row, n)
        return sparse_step(p, x, active_top_k(pre, self.k))
