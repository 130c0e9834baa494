"""Find what makes latents fire: top examples, a sample over the quantiles, histograms; one pass for all latents.

    from winnow.model.language_model import open_model

    model = open_model(config.model)
    [found] = top_examples(model, tokens, kept, [dictionary])
    found.top.tokens[123], found.top.activations[123]       # latent 123's strongest firings, at most one per sequence
    found.spread.tokens[123], found.spread_ranks[123]       # firings from strong to weak

Memory grows with the latents, by about 8 KiB each, and not with the rows.
"""

from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from analyze.evaluation.evaluate import PatchableModel
from analyze.evaluation.massive import is_massive, without_massive
from analyze.features.best import Batch, Best, Events, activation_keys, best_per_sequence, pack, random_keys
from analyze.features.histogram import FoldingHistogram
from winnow.dictionary import Dictionary

TOP = 16  # strongest examples of each latent
SAMPLE = 24  # random examples, from which `SPREAD` are chosen
SPREAD = 10
DENSE = 2**24  # most rows × n_latents in memory at a time: 64 MiB
SPARSE = 2**22  # how many of those are searched for firings at a time


class FeatureExamples(NamedTuple):
    """Results of one pass, for every latent of a dictionary.

    `spread` holds `SPREAD` of the sampled events at evenly spaced ranks, strongest first; `spread_ranks` is the
    share of the latent's firings that are no stronger, by its histogram.
    """

    rows: int
    firings: Int[Tensor, " n_latents"]
    means: Float[Tensor, " n_latents"]  # over the rows on which it fires; 0 if it never fires
    top: Events
    spread: Events
    spread_ranks: Float[Tensor, "n_latents spread"]
    counts: Int[Tensor, "n_latents bins"]
    widths: Float[Tensor, " n_latents"]  # of the bins, which start at 0

    @property
    def maxima(self) -> Float[Tensor, " n_latents"]:
        return self.top.activations[:, 0]


@torch.no_grad()
def top_examples(
    model: PatchableModel,
    tokens: Int[Tensor, "sequence context"],
    kept: Bool[Tensor, "sequence context"],
    dictionaries: Sequence[Dictionary],
    top: int = TOP,
    sequences_per_batch: int = 32,
    advance: Callable[[int], None] = lambda sequences: None,
    limits: Mapping[str, float] | None = None,
) -> list[FeatureExamples]:
    """Find the examples of every latent of `dictionaries` at the `kept` positions of `tokens`.

    `limits` holds the norms above which a hook's rows are massive; they are left out.
    The model runs once for all of them. The batches change the results only by rounding.
    `advance` is called with the number of sequences done.
    """
    hooks = list(dict.fromkeys(dictionary.hook for dictionary in dictionaries))
    bounds = [(limits or {}).get(d.hook, inf) for d in dictionaries]
    passes = [FeaturePass(d.n_latents, top, model.device, bound) for d, bound in zip(dictionaries, bounds, strict=True)]
    first = 0
    for batch, keep in zip(tokens.split(sequences_per_batch), kept.split(sequences_per_batch), strict=True):
        keep = keep.to(model.device)
        seen = model.activations(batch.to(model.device), hooks)
        for dictionary, found in zip(dictionaries, passes, strict=True):
            found.update(dictionary, seen[dictionary.hook], keep, first)
        first += len(batch)
        advance(len(batch))
    return [found.result() for found in passes]


class FeaturePass:
    """The running results for one dictionary's latents as rows stream by."""

    def __init__(self, n_latents: int, top: int = TOP, device: torch.device | None = None, limit: float = inf) -> None:
        self.rows = 0
        self.limit = limit
        self.sums = torch.zeros(n_latents, dtype=torch.float64, device=device)
        self.histogram = FoldingHistogram(n_latents, device)
        self.top = Best(n_latents, top, device)
        self.sample = Best(n_latents, SAMPLE, device)

    def update(
        self,
        dictionary: Dictionary,
        x: Float[Tensor, "sequence context d_model"],
        kept: Bool[Tensor, "sequence context"],
        first: int,
    ) -> None:
        """Encode the activations of sequences `first`, `first` + 1, …, and add their latents."""
        step = max(1, DENSE // (kept.shape[1] * dictionary.n_latents))
        for start in range(0, len(x), step):
            keep = kept[start : start + step]
            rows = x[start : start + step]
            keep = without_massive(keep, is_massive(rows[keep].float(), self.limit))
            f = dictionary.encode(rows[keep].float())
            self.add(Batch(f, keep, first + start))

    def add(self, batch: Batch) -> None:
        """Add the latents of whole sequences."""
        sequences, n_latents = len(batch.kept), batch.f.shape[1]
        if len(batch.f) == 0:
            return
        self.rows += len(batch.f)
        self.sums += batch.f.sum(0)
        self.histogram.widen(batch.f.amax(0))
        strongest = torch.zeros(sequences, n_latents, dtype=torch.int64, device=batch.f.device)
        drawn = torch.zeros_like(strongest)
        step = max(1, SPARSE // n_latents)
        for f, tokens in zip(batch.f.split(step), batch.tokens.split(step), strict=True):
            where = f.flatten().nonzero()[:, 0]
            values, latents = f.flatten()[where], where % n_latents
            where = tokens[where // n_latents]
            self.histogram.add(latents, values)
            sequence = where // batch.kept.shape[1] - batch.first
            best_per_sequence(pack(activation_keys(values), where), latents, sequence, strongest)
            best_per_sequence(pack(random_keys(latents, where), where), latents, sequence, drawn)
        self.top.update(batch, strongest)
        self.sample.update(batch, drawn)

    def result(self) -> FeatureExamples:
        """Return the results in order, on the CPU."""
        device = self.sums.device
        firings = self.histogram.counts.sum(1)
        spread = spread_out(self.sample.events())
        return FeatureExamples(
            self.rows,
            firings.cpu(),
            (self.sums / firings.clamp_min(1)).float().cpu(),
            self.top.events(),
            spread,
            self.histogram.rank(spread.activations.to(device)).cpu(),
            self.histogram.counts.cpu(),
            self.histogram.widths.cpu(),
        )


def spread_out(sample: Events, count: int = SPREAD) -> Events:
    """Choose `count` of the sampled events at evenly spaced ranks by activation, strongest first (all, if fewer)."""
    order = sample.activations.argsort(dim=1, descending=True)
    present = (sample.tokens >= 0).sum(1, keepdim=True)  # (n_latents, 1)
    step = torch.arange(count, device=order.device)
    evenly = ((step + 0.5) * present / count).long()
    chosen = torch.where(present > count, evenly, step)
    picked = order.gather(1, chosen.clamp_max(order.shape[1] - 1))
    return sample.take(torch.where(chosen < present, picked, -1))
