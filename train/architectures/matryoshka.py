"""Matryoshka (Bussmann et al. 2025, Learning multi-level features): BatchTopK whose first latents must do alone.

Latents fall into nested prefixes, here the first n/16, n/8, n/4, n/2 and all. Loss: mean over rows of the sum over
prefixes of ‖x − x̂ₘ‖², x̂ₘ being what prefix m reconstructs, and AuxK on the whole. The metrics are the whole's.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from train import sparse
from train.architectures.base import Moment, Parameters, Step, rows_gradient
from train.architectures.batchtopk import BatchTopK


@dataclass(frozen=True, kw_only=True)
class Matryoshka(BatchTopK):
    def prefixes(self, n_latents: int) -> list[int]:
        """List the sizes of the nested dictionaries, the whole last."""
        return [max(1, n_latents // 2**i) for i in (4, 3, 2, 1, 0)]

    def step(self, p: Parameters, x: Float[Tensor, "row d"], moment: Moment) -> Step:
        """Compute loss and gradients on rows `x`, and let the threshold follow the batch."""
        n, b = len(p["b_enc"]), len(x)
        centred, pre = self.encode(p, x)
        active = sparse.active_largest(pre, self.k * b)
        self.follow(p, active)

        bands = []  # of latents: those that a prefix adds to the one before
        errors = []
        reconstruction = p["b_dec"].expand_as(x)
        start = 0
        for stop in self.prefixes(n):
            chosen = (active.latents >= start) & (active.latents < stop)
            bands.append((chosen, sparse.keep(active, chosen)))
            reconstruction = reconstruction + sparse.decode(bands[-1][1], p["W_dec"])
            errors.append(reconstruction - x)
            start = stop
        loss = torch.stack([error.square().sum() for error in errors])

        # a latent acts on every prefix that holds it: gradients add up from the whole to the smallest
        through = torch.zeros_like(active.values)
        g_W_dec = torch.zeros_like(p["W_dec"])
        gradient = torch.zeros_like(x)
        for error, (chosen, band) in zip(reversed(errors), reversed(bands), strict=True):
            gradient = gradient + error * (2 / b)
            through[chosen] = sparse.gradient_of_values(band, p["W_dec"], gradient)
            g_W_dec += sparse.weight_gradient(sparse.by_latent(band, n), band.values, gradient)
        through.mul_(active.values > 0)
        g_b_enc = sparse.sum_by_latent(active, through, n)
        step = Step(
            loss=loss.sum() / b,
            squared_error=loss[-1],
            active=(active.values > 0).sum(),
            fired=sparse.fired(active, n),
            gradient=errors[-1] * (2 / b),
            gradients={
                "W_enc": sparse.weight_gradient(sparse.by_latent(active, n), through, centred),
                "b_enc": g_b_enc,
                "W_dec": g_W_dec,
                "b_dec": rows_gradient(p, gradient, g_b_enc),
            },
        )
        return self.auxk.add(step, p, centred, pre, moment.dead) if self.auxk else step
