"""Matryoshka (Bussmann et al. 2025, Learning multi-level features): BatchTopK whose first latents also do alone.

Prefixes of the latents are nested dictionaries: the first n/16, n/8, n/4, n/2 and all. Loss: mean over rows of the sum
over prefixes of ‖x − x̂ₘ‖², where x̂ₘ is prefix m's reconstruction, and AuxK on the whole. Metrics are the whole's.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from train.architectures.auxk import DeadLatents
from train.architectures.batchtopk import BatchTopK
from train.architectures.step import Parameters, Step, StepContext
from train.kernels import sparse


@dataclass(frozen=True, kw_only=True)
class Matryoshka(BatchTopK):
    def prefixes(self, n_latents: int) -> list[int]:
        """List how many of this process's `n_latents` latents each nested dictionary has, the whole last."""
        everywhere, before = n_latents * self.collectives.ranks, n_latents * self.collectives.rank
        sizes = [max(1, everywhere // 2**i) for i in (4, 3, 2, 1, 0)]
        return [min(max(size - before, 0), n_latents) for size in sizes]

    def step(self, p: Parameters, x: Float[Tensor, "row d"], context: StepContext) -> Step:
        """Compute loss and gradients on rows `x`, and let the threshold follow the batch."""
        (e, n), b = p["b_enc"].shape, len(x)
        dead = DeadLatents(context.dead, self.collectives) if self.auxk else None
        centred, pre = self.encode(p, x)
        active = self.largest(pre, [k * b for k in self.k])
        self.follow(p, active)

        # split each row into bands: a band is the latents that a prefix adds to the previous one
        W_dec, bands = p["W_dec"].flatten(0, 1), len(self.prefixes(n))
        banded = sparse.split_rows(active, self.prefixes(n), n)
        parts = self.collectives.all_reduce(sparse.exact(sparse.decode(banded, self.lowered(W_dec)))).view(
            e, b, bands, -1
        )
        parts[:, :, 0] += p["b_dec"].unsqueeze(1)
        errors = parts.cumsum(2).sub_(x.unsqueeze(1))  # (learner, row, band, d)
        loss = errors.square().sum((1, 3))  # (learner, band)

        # a latent acts on every prefix that holds it: gradients add up from the whole to the smallest
        gradients = errors.mul_(2 / b).flip(2).cumsum(2).flip(2)
        rows = gradients.flatten(0, 2)
        through = sparse.gradient_of_values(banded, W_dec, rows) * (active.values > 0)
        groups = sparse.by_latent(banded, e * n)  # by latent, the entries are those of `active`, in the same order
        g_b_enc = sparse.sum_by_latent(active, through, e * n, groups).view(e, n)
        firings = sparse.sum_by_latent(active, (active.values > 0).int(), e * n).view(e, n)
        encoder_groups = groups._replace(rows=groups.rows // bands)
        step = Step(
            loss=loss.sum(1) / b,
            squared_error=loss[:, -1],
            active=self.collectives.all_reduce(firings.sum(1)),
            fired=firings > 0,
            gradient=errors[:, :, -1].contiguous(),
            gradients={"b_enc": g_b_enc, "b_dec": self.rows_gradient(p, gradients[:, :, 0], g_b_enc)},
            lists={
                "W_enc": sparse.listed(encoder_groups, through, centred.flatten(0, 1)),
                "W_dec": sparse.listed(groups, active.values, self.lowered(rows)),
            },
        ).finished()
        return self.auxk.add(self, step, p, centred, pre, dead) if self.auxk and dead else step
