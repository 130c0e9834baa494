"""AuxK (Gao et al. 2024, appendix A.2): dead latents learn to reconstruct the error of the living ones.

In each row, the k_aux largest of ReLU(pre) among the dead latents reconstruct the error e = x − x̂, which is held
fixed: loss += coefficient · mean over rows of ‖e − ê‖². k_aux is d/2 rounded to a power of two.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from train.architectures.base import Architecture, Parameters, Step, StepContext
from train.kernels import sparse
from train.kernels.sparse import Active


@dataclass(frozen=True, kw_only=True)
class AuxK:
    coefficient: float

    def add(
        self,
        architecture: Architecture,
        step: Step,
        p: Parameters,
        centred: Float[Tensor, "learner row d"],
        pre: Float[Tensor, "learner row n"],
        context: StepContext,
    ) -> Step:
        """Add the auxiliary loss and its gradients to a step; change nothing if no latent is dead.

        Asking a GPU whether one is dead would make the host wait, so there the last answer counts (context.any_dead).
        """
        collectives, dead = architecture.collectives, context.dead
        any_dead = collectives.all_reduce(dead.any(1).int()) > 0
        if not (context.any_dead if sparse.asynchronous(pre) else any_dead.any()):
            return step
        e, b, n = pre.shape
        W_dec = p["W_dec"].flatten(0, 1)
        k = k_aux(centred.shape[2])
        if sparse.asynchronous(pre):
            living = ~dead.unsqueeze(1)
            active = sparse.active_top_k(pre.masked_fill(living, -torch.inf), [min(k, n)] * e)
        else:
            active = sparse.join_learners([among(*each, k) for each in zip(pre, dead, strict=True)], n)
        if collectives.ranks > 1:  # a stack of one
            chosen = collectives.largest(active.values.view(b, len(active.values) // b), k)
            active = active if chosen is None else sparse.keep(active, chosen.flatten())
        left_over = step.gradient * (-b / 2)  # e = x − x̂
        decoded = sparse.exact(sparse.decode(active, W_dec.to(centred.dtype)))
        miss = collectives.all_reduce(decoded.view_as(left_over)).sub_(left_over)
        loss = self.coefficient / b * miss.square().sum((1, 2)) * any_dead
        gradient = miss.mul_(2 * self.coefficient / b).flatten(0, 1)
        through = sparse.gradient_of_values(active, W_dec, gradient) * (active.values > 0)
        groups = sparse.by_latent(active, e * n)
        g_b_enc = sparse.sum_by_latent(active, through, e * n, groups).view(e, n)
        g = step.gradients
        g["W_enc"] += sparse.weight_gradient(groups, through, centred.flatten(0, 1)).view_as(p["W_enc"])
        g["b_enc"] += g_b_enc
        g["W_dec"] += sparse.weight_gradient(groups, active.values, gradient.to(centred.dtype)).view_as(p["W_dec"])
        # the encoder subtracts b_dec; ê does not contain it
        g["b_dec"] -= architecture.through_encoder(p, g_b_enc)
        return step._replace(loss=step.loss + loss)


def among(pre: Float[Tensor, "row n"], dead: Bool[Tensor, " n"], k: int) -> Active:
    """Keep the k largest of ReLU(pre) among the dead latents in each row; none if none is dead."""
    latents = dead.nonzero().squeeze(1)
    if not len(latents):
        nothing = sparse.exact(pre[:0, 0])
        return Active(torch.zeros(len(pre) + 1, dtype=torch.int64, device=pre.device), latents, nothing)
    found = sparse.active_top_k(pre[:, latents].unsqueeze(0), [min(k, len(latents))])
    return found._replace(latents=latents[found.latents])


def k_aux(d_model: int) -> int:
    """Round half the width to a power of two."""
    return 2 ** round(math.log2(max(1, d_model / 2)))
