"""AuxK (Gao et al. 2024, appendix A.2): latents that have died learn to explain what the living leave over.

Of the dead latents, the k_aux largest of ReLU(pre) in each row reconstruct the error e = x − x̂, which is held fixed:
loss += coefficient · mean over rows of ‖e − ê‖². k_aux is d/2 rounded to a power of two.
"""

import math
from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from train import sparse
from train.architectures.base import Parameters, Step


@dataclass(frozen=True, kw_only=True)
class AuxK:
    coefficient: float

    def add(
        self,
        step: Step,
        p: Parameters,
        centred: Float[Tensor, "row d"],
        pre: Float[Tensor, "row n"],
        dead: Bool[Tensor, " n"],
    ) -> Step:
        """Add the auxiliary loss and its gradients to a step; nothing where no latent is dead."""
        latents = dead.nonzero().squeeze(1)
        if not len(latents):
            return step
        b, n = centred.shape[0], len(dead)
        candidates = pre[:, latents]  # (row, dead)
        found = sparse.active_top_k(candidates, min(k_aux(centred.shape[1]), len(latents)))
        active = found._replace(latents=latents[found.latents])
        left_over = step.gradient * (-b / 2)  # e = x − x̂
        miss = sparse.decode(active, p["W_dec"]).sub_(left_over)
        loss = self.coefficient * miss.square().sum() / b
        gradient = miss.mul_(2 * self.coefficient / b)
        through = sparse.gradient_of_values(active, p["W_dec"], gradient) * (active.values > 0)
        groups = sparse.by_latent(active, n)
        g_b_enc = sparse.sum_by_latent(active, through, n)
        g = step.gradients
        g["W_enc"] += sparse.weight_gradient(groups, through, centred)
        g["b_enc"] += g_b_enc
        g["W_dec"] += sparse.weight_gradient(groups, active.values, gradient)
        g["b_dec"] -= g_b_enc @ p["W_enc"]  # the encoder subtracts it; of ê it is no part
        return step._replace(loss=step.loss + loss)


def k_aux(d_model: int) -> int:
    """Round half the width to a power of two."""
    return 2 ** round(math.log2(max(1, d_model / 2)))
