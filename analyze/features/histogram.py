"""Build exact histograms of activations, one per latent, in one pass without knowing their range.

Every latent has `BINS` equal bins from 0 to a power of two above its largest activation. When a larger activation
comes, the range doubles and neighbouring bins are merged in pairs. The wider bins' edges are edges of the narrower
ones, so the counts stay exact and do not depend on the order of the rows.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

BINS = 64
LOWEST, HIGHEST = -100, 127  # exponents of ranges: of an empty histogram, of the widest in float32


class FoldingHistogram:
    """Counts of the positive activations of each latent."""

    def __init__(self, n_latents: int, device: torch.device | None = None) -> None:
        self.counts: Int[Tensor, "n_latents bins"] = torch.zeros(n_latents, BINS, dtype=torch.int32, device=device)
        self.exponents: Int[Tensor, " n_latents"] = torch.full((n_latents,), LOWEST, device=device)

    @property
    def ranges(self) -> Float[Tensor, " n_latents"]:
        """The upper end of each latent's last bin."""
        return (self.exponents + 127 << 23).int().view(torch.float32)  # 2^e from its bits: exact, while pow may round

    @property
    def widths(self) -> Float[Tensor, " n_latents"]:
        """The width of each latent's bins."""
        return self.ranges / BINS

    def widen(self, largest: Float[Tensor, " n_latents"]) -> None:
        """Widen the ranges to include activations up to `largest`."""
        needed = torch.frexp(largest).exponent.long()  # 2^(e-1) <= largest < 2^e
        needed = torch.where(largest > 0, needed, LOWEST).clamp_max(HIGHEST).maximum(self.exponents)
        short = (needed > self.exponents).nonzero()[:, 0]
        counts, steps = self.counts[short], (needed - self.exponents)[short]
        old = torch.arange(BINS, device=counts.device) >> steps.clamp_max(BINS.bit_length())[:, None]
        self.counts[short] = torch.zeros_like(counts).scatter_add_(1, old, counts)
        self.exponents = needed

    def add(self, latents: Int[Tensor, " event"], values: Float[Tensor, " event"]) -> None:
        """Count activations within the ranges."""
        bins = (values / self.widths[latents]).long().clamp_max(BINS - 1)
        one = torch.ones((), dtype=torch.int32, device=values.device).expand(len(values))
        self.counts.view(-1).scatter_add_(0, latents * BINS + bins, one)

    def rank(self, values: Float[Tensor, "n_latents k"]) -> Float[Tensor, "n_latents k"]:
        """Compute the share of each latent's firings that are no larger, assuming uniform values within bins."""
        place = (values / self.widths[:, None]).clamp(0, BINS)
        bins = place.long().clamp_max(BINS - 1)
        below = self.counts.cumsum(1) - self.counts
        at_or_below = below.gather(1, bins) + self.counts.gather(1, bins) * (place - bins)
        return at_or_below / self.counts.sum(1, keepdim=True).clamp_min(1)
