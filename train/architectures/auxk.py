"""AuxK (Gao et al. 2024, appendix A.2): dead latents learn to reconstruct the error of the living ones.

In each row, the k_aux largest of ReLU(pre) among the dead latents reconstruct the error e = x − x̂, which is held
fixed: loss += coefficient · mean over rows of ‖e − ê‖². k_aux is d/2 rounded to a power of two.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from train.architectures.base import Architecture
from train.architectures.step import Parameters, Step
from train.collectives import Collectives
from train.kernels import sparse
from train.kernels.ranking import top_k
from train.kernels.sparse import Active


class DeadLatents:
    """The dead latents of each learner, and their numbers, which the host needs for the shapes of what follows.

    Make it before the encoder's product: a GPU then tells the numbers as soon as it is done with the step before, and
    works on that product while the host, told, goes on.
    """

    def __init__(self, dead: Bool[Tensor, "learner n"], collectives: Collectives) -> None:
        self.dead = dead
        here = dead.sum(1)
        everywhere = collectives.all_reduce(here.clone()) if collectives.ranks > 1 else here
        self.anywhere = everywhere > 0  # [learner], whether any rank has one
        self._counts = sparse.HostCopy(torch.stack([here, everywhere]))

    def counts(self) -> list[int]:
        """Return the number of dead latents of each learner on this rank; none if no rank has any."""
        here, everywhere = self._counts.read()
        return [int(count) for count in here] if any(everywhere) else []

    def latents(self, learner: int, count: int) -> Int[Tensor, " dead"]:
        """List the dead latents of a learner, of which there are `count`, ascending."""
        dead = self.dead[learner]
        if not sparse.asynchronous(dead):
            return dead.nonzero().squeeze(1)
        return dead.to(torch.uint8).sort(descending=True, stable=True).indices[:count]


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
        dead: DeadLatents,
    ) -> Step:
        """Add the auxiliary loss and its gradients to a step; change nothing if no latent is dead."""
        collectives, counts = architecture.collectives, dead.counts()
        if not counts:
            return step
        left_over = step.gradient * (-len(pre[0]) / 2)  # e = x − x̂
        if sparse.asynchronous(pre) and collectives.ranks == 1:
            return self._add_dense(architecture, step, p, centred, pre, left_over, dead, counts)
        e, b, n = pre.shape
        W_dec = p["W_dec"].flatten(0, 1)
        k = k_aux(centred.shape[2])
        active = sparse.join_learners([among(pre[m], dead.latents(m, count), k) for m, count in enumerate(counts)], n)
        if collectives.ranks > 1:  # a stack of one
            chosen = collectives.largest(active.values.view(b, len(active.values) // b), k)
            active = active if chosen is None else sparse.keep(active, chosen.flatten())
        decoded = sparse.exact(sparse.decode(active, W_dec.to(centred.dtype)))
        miss = collectives.all_reduce(decoded.view_as(left_over)).sub_(left_over)
        loss = self.coefficient / b * miss.square().sum((1, 2)) * dead.anywhere
        gradient = miss.mul_(2 * self.coefficient / b).flatten(0, 1)
        through = sparse.gradient_of_values(active, W_dec, gradient) * (active.values > 0)
        groups = sparse.by_latent(active, e * n)
        g_b_enc = sparse.sum_by_latent(active, through, e * n, groups).view(e, n)
        step.gradients["b_enc"] += g_b_enc
        # the encoder subtracts b_dec; ê does not contain it
        step.gradients["b_dec"] -= architecture.through_encoder(p, g_b_enc)
        step = step.plus("W_enc", sparse.weight_gradient(groups, through, centred.flatten(0, 1)))
        step = step.plus("W_dec", sparse.weight_gradient(groups, active.values, gradient.to(centred.dtype)))
        return step._replace(loss=step.loss + loss)

    def _add_dense(
        self,
        architecture: Architecture,
        step: Step,
        p: Parameters,
        centred: Float[Tensor, "learner row d"],
        pre: Float[Tensor, "learner row n"],
        left_over: Float[Tensor, "learner row d"],
        dead: DeadLatents,
        counts: Sequence[int],
    ) -> Step:
        """Do the same by products of rows x dead latents, which a GPU computes faster than it gathers."""
        b, k = pre.shape[1], k_aux(centred.shape[2])
        losses, more = torch.zeros_like(step.loss), {name: torch.zeros_like(p[name]) for name in ("W_enc", "W_dec")}
        for m, count in enumerate(counts):
            if not count:
                continue
            latents = dead.latents(m, count)
            f = pre[m, :, latents].relu_()
            if count > k:
                values, at = top_k(f, k)
                f = torch.zeros_like(f).scatter_(1, at, values.to(f.dtype))
            W_dec = p["W_dec"][m, latents]
            miss = sparse.exact(architecture.product(f[None], W_dec[None])[0]) - left_over[m]
            losses[m] = self.coefficient / b * miss.square().sum()
            gradient = architecture.lowered(miss.mul_(2 * self.coefficient / b))
            through = architecture.product(gradient[None], W_dec.mT[None])[0] * (f > 0)
            g_b_enc = through.sum(0, dtype=miss.dtype)
            step.gradients["b_enc"][m].index_add_(0, latents, g_b_enc)
            step.gradients["b_dec"][m] -= g_b_enc @ p["W_enc"][m, latents]  # the encoder subtracts b_dec
            more["W_enc"][m, latents] = sparse.exact(architecture.product(through.T[None], centred[m, None])[0])
            more["W_dec"][m, latents] = sparse.exact(architecture.product(f.T[None], gradient[None])[0])
        for name, gradients in more.items():
            step = step.plus(name, gradients.flatten(0, 1))
        return step._replace(loss=step.loss + losses)


def among(pre: Float[Tensor, "row n"], latents: Int[Tensor, " dead"], k: int) -> Active:
    """Keep the k largest of ReLU(pre) among these latents in each row; none if there are none."""
    if not len(latents):
        nothing = sparse.exact(pre[:0, 0])
        return Active(torch.zeros(len(pre) + 1, dtype=torch.int64, device=pre.device), latents, nothing)
    found = sparse.active_top_k(pre[:, latents].unsqueeze(0), [min(k, len(latents))])
    return found._replace(latents=latents[found.latents])


def k_aux(d_model: int) -> int:
    """Round half the width to a power of two."""
    return 2 ** round(math.log2(max(1, d_model / 2)))
