"""Measure the FVU of much simpler sparse codes, as baselines for a dictionary's FVU.

    simpler = Simpler(harvested, held_out)          # rows of one hook
    simpler.measure(n_latents=1024, l0=32.0, architecture="topk")

All are fitted on harvested rows and measured on held-out rows, at the dictionary's own L0:

pca        the L0 first principal components
kmeans     the nearest of n_latents centres (L0 = 1)
random     random unit directions behind the dictionary's own encoder rule (topk: the L0 largest positive products
           with the centred row; relu: products minus a threshold; others: products above a threshold; the threshold
           is set to give the L0), and one common gain that minimises the error
untrained  the state before training: the same without threshold, except that topk, batchtopk and matryoshka have their
           L0 from the start; its gain is the one that the dictionary's encoder started with
"""

from functools import cache, cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import embedding_bag

from analyze.compare.cosines import unit
from winnow.config.experiment import TRANSPOSE, EncoderStart
from winnow.encoder_start import encoder_gain, least_squares

ITERATIONS = 6  # of Lloyd's algorithm; afterwards the FVU changes by less than 0.01
FITTED = 4096  # rows to fit thresholds and gains, which are single numbers
CELLS = 2**24  # most [row, latent] entries in memory at a time: 64 MiB
SPARSE_FROM_THE_START = ("topk", "batchtopk", "matryoshka")


class Baselines(NamedTuple):
    """The FVU of each baseline."""

    pca: float
    kmeans: float
    random: float
    untrained: float


class Simpler:
    """Simpler codes of one hook's rows; fits that several dictionaries share are cached."""

    def __init__(self, train: Float[Tensor, "row d"], test: Float[Tensor, "other d"], seed: int = 0) -> None:
        self.train = train
        self.test = test
        self.seed = seed
        self.mean = train.mean(0)
        self.kmeans_fvu = cache(self._kmeans_fvu)

    @torch.no_grad()
    def measure(
        self, n_latents: int, l0: float | int, architecture: str = "topk", encoder_start: EncoderStart = TRANSPOSE
    ) -> Baselines:
        """Compute every baseline's FVU for a dictionary of `n_latents` latents, `l0` of them active per row.

        encoder_start: the dictionary's setting, a multiple of the decoder's transpose.
        """
        directions = unit(torch.randn(n_latents, self.train.shape[1], generator=self._generator()))
        fitted, measured = ((rows - self.mean) for rows in (self.train[:: -(-len(self.train) // FITTED)], self.test))
        active = max(0, min(round(l0), n_latents))
        if architecture == "topk":
            rule = Rule(active=active)
        else:
            rule = Rule(threshold=threshold_for(fitted, directions, l0), shrinks=architecture == "relu")
        start = rule if architecture in SPARSE_FROM_THE_START else Rule(threshold=0.0)
        random = sparse_code(measured, directions, rule)
        untrained = random if start == rule else sparse_code(measured, directions, start)
        gain = least_squares(fitted, sparse_code(fitted, directions, rule))
        return Baselines(
            self.pca(active),
            self.kmeans_fvu(n_latents),
            fvu(self.test, self.mean + gain * random),
            fvu(self.test, self.mean + encoder_gain(encoder_start, directions, fitted) * untrained),
        )

    def pca(self, count: int) -> float:
        """Compute the FVU of keeping the `count` first principal components."""
        return float(self._unexplained[min(count, len(self._unexplained) - 1)])

    @cached_property
    def _unexplained(self) -> Tensor:
        """FVU with no component, with the first, with the first two, …"""
        centred = (self.test - self.mean).double()
        kept = (centred @ components(self.train, centred.shape[1]).T.double()).square().sum(0).cumsum(0)
        left = centred.square().sum() - torch.cat([kept.new_zeros(1), kept])
        return left.clamp_min(0) / (self.test.double() - self.test.double().mean(0)).square().sum()

    def _kmeans_fvu(self, n: int) -> float:
        centres = kmeans(self.train, n, self._generator())
        return fvu(self.test, centres[_nearest(self.test, centres)])

    def _generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed)


class Rule(NamedTuple):
    """Which positive products become latents: the `active` largest of a row, or those above `threshold`."""

    active: int | None = None
    threshold: float = 0.0
    shrinks: bool = False  # whether to subtract the threshold, as a bias does


def fvu(x: Float[Tensor, "row d"], y: Float[Tensor, "row d"]) -> float:
    """Compute the fraction of variance unexplained, in float64."""
    x, y = x.double(), y.double()
    return float((x - y).square().sum() / (x - x.mean(0)).square().sum())


def components(rows: Float[Tensor, "row d"], count: int) -> Float[Tensor, "count d"]:
    """Find the `count` first principal components (all, if the width has fewer)."""
    vectors = torch.linalg.eigh(torch.atleast_2d(torch.cov(rows.double().T))).eigenvectors  # ascending
    return vectors.T.flip(0)[:count].float()


def threshold_for(rows: Float[Tensor, "row d"], directions: Float[Tensor, "n d"], l0: float | int) -> float:
    """Find the threshold (at least 0) that `l0` products per row exceed on average."""
    sample = rows[:: max(1, len(rows) * len(directions) // CELLS)]
    products = (sample @ directions.T).flatten()
    above = max(1, min(round(l0 * len(sample)), len(products)))
    return max(0.0, float(products.kthvalue(len(products) - above + 1).values))


def sparse_code(rows: Float[Tensor, "row d"], directions: Float[Tensor, "n d"], rule: Rule) -> Float[Tensor, "row d"]:
    """Reconstruct rows from the products with the directions that the rule keeps."""
    if rule.active == 0:
        return torch.zeros_like(rows)
    parts = []
    for part in rows.split(max(1, CELLS // len(directions))):
        products = part @ directions.T  # (row, n)
        if rule.active is not None:
            values, latents = products.topk(rule.active, dim=1)
            parts.append(embedding_bag(latents, directions, per_sample_weights=values.relu(), mode="sum"))
        else:
            over = products - rule.threshold
            parts.append((over.relu() if rule.shrinks else products * (over > 0)) @ directions)
    return torch.cat(parts)


def kmeans(rows: Float[Tensor, "row d"], n: int, generator: torch.Generator) -> Float[Tensor, "centre d"]:
    """Find `n` centres by Lloyd's algorithm from random rows; a centre that loses all its rows stays in place.

    With `n` rows or fewer, every row is a centre.
    """
    if n >= len(rows):
        return rows
    centres = rows[torch.randperm(len(rows), generator=generator)[:n]].clone()
    for _ in range(ITERATIONS):
        nearest = _nearest(rows, centres)
        sums = torch.zeros_like(centres).index_add_(0, nearest, rows)
        counts = torch.bincount(nearest, minlength=n)[:, None]
        centres = torch.where(counts > 0, sums / counts.clamp_min(1), centres)
    return centres


def _nearest(rows: Tensor, centres: Tensor) -> Tensor:
    half = centres.square().sum(1) / 2
    return torch.cat([(part @ centres.T - half).argmax(1) for part in rows.split(max(1, CELLS // len(centres)))])
