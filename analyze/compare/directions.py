"""Compare two dictionaries of the same activations: what of one is in the other, both ways, beside chance.

    a_to_b, b_to_a = compare(Features.of(a), Features.of(b))
    a_to_b.scores["mmcs"], a_to_b.features.max_cosine  # their mean, and that of every latent

Only alive latents count, but for `mmcs_with_dead`: a latent that never fires sits where it was initialised, and
says nothing of the data.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from analyze.compare.chance import Chance
from analyze.compare.cosines import max_cosines
from analyze.compare.latent_table import NONE, PairFeatures
from analyze.compare.matching import Matching, match, shared_fraction
from analyze.compare.presence import by_firing_rate, recovery_curve, scale_aware
from analyze.compare.regression import Decomposition, decompose, diagnosis, explained_variance
from analyze.evaluation.latents import Latents
from winnow.dictionary import Dictionary

HISTOGRAM_EDGES = np.linspace(-1, 1, 101)
ROWS = 4096  # encoded at a time
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
E = TypeVar("E", bound=Mapping[str, Any])  # an entry of `metrics.json`


class Features(NamedTuple):
    """The directions of one dictionary's latents, which of them are alive, and how often and strongly they fire."""

    decoder: Float[Tensor, "n d"]
    encoder: Float[Tensor, "n d"]
    alive: Bool[Tensor, " n"]
    rates: Float[Tensor, " n"]  # share of the rows they fire on
    scales: Float[Tensor, " n"]  # sqrt(E f^2)

    @classmethod
    def of(cls, dictionary: Dictionary, latents: Latents | None = None, rows: int = 1) -> "Features":
        """Take a dictionary's directions and what was found about its latents over `rows` rows.

        Without `latents`, all count as alive and equal.
        """
        decoder = dictionary.W_dec.detach().float().cpu()
        encoder = dictionary.W_enc.detach().float().cpu().T
        if latents is None:
            one = torch.ones(len(decoder))
            return Features(decoder, encoder, one.bool(), one, one)
        rates, scales = latents.firings / rows, (latents.squares / rows).sqrt().float()
        return Features(decoder, encoder, latents.alive, rates, scales)

    @classmethod
    @torch.no_grad()
    def on(cls, dictionary: Dictionary, x: Float[Tensor, "row d"]) -> "Features":
        """Take a dictionary's directions, and measure its latents on activations `x`."""
        firings, squares = torch.zeros(2, dictionary.n_latents, dtype=torch.float64).unbind(0)
        for rows in x.split(ROWS):
            f = dictionary.encode(rows.to(dictionary.W_enc)).cpu()
            firings += (f > 0).sum(0)
            squares += f.square().sum(0)
        return cls.of(dictionary, Latents("", firings.long(), squares), len(x))

    def living(self) -> "Features":
        """Keep the alive latents only."""
        return Features(*(values[self.alive] for values in self))


class DirectedComparison(NamedTuple):
    """What of one dictionary is in another: scores under the names of `metrics.json`, and latent by latent."""

    scores: dict[str, Any]
    features: PairFeatures


def compare(a: Features, b: Features) -> tuple[DirectedComparison, DirectedComparison]:
    """Compare A with B and B with A."""
    dead_ab, dead_ba = max_cosines(a.decoder, b.decoder)
    of_a, of_b = (one.alive.nonzero()[:, 0].numpy() for one in (a, b))  # numbers of the living
    a, b = a.living(), b.living()
    ab, ba = max_cosines(a.decoder, b.decoder)
    matching = match(a.decoder, b.decoder)
    back = Matching(matching.b, matching.a, matching.cosines)
    explained = decompose(a.decoder, b.decoder), decompose(b.decoder, a.decoder)
    return (
        DirectedComparison(
            _scores(a, b, ab, dead_ab, matching, explained[0]),
            _per_feature(a, (of_a, of_b), ab, matching, explained[0]),
        ),
        DirectedComparison(
            _scores(b, a, ba, dead_ba, back, explained[1]), _per_feature(b, (of_b, of_a), ba, back, explained[1])
        ),
    )


def _per_feature(
    a: Features,
    numbers: tuple[NDArray[np.int64], NDArray[np.int64]],
    maxima: Tensor,
    matching: Matching,
    explained: Decomposition,
) -> PairFeatures:
    """Gather what is known of A's living latents; `numbers` are those of A's living and of B's."""
    own, other = numbers
    n, m = len(own), maxima.double().cpu().numpy()
    p = Chance(a.decoder.shape[1], len(other)).p_value(m)
    partner, cosine = np.full(n, NONE), np.full(n, np.nan)
    real = (matching.a >= 0) & (matching.b >= 0)
    partner[matching.a[real]] = other[matching.b[real]]
    cosine[matching.a[real]] = matching.cosines[real]
    r2 = explained.r2.double().cpu().numpy()
    return PairFeatures(
        latent=own,
        max_cosine=m if len(other) else np.full(n, np.nan),
        # what the regression takes first is the direction with the largest cosine
        nearest=other[explained.indices[:, 0].cpu().numpy()] if len(other) else np.full(n, NONE),
        p=p if len(other) else np.full(n, np.nan),
        firing_rate=a.rates.double().cpu().numpy(),
        r2_1=r2[:, 0],
        r2_4=r2[:, -1],
        participation=explained.participation.double().cpu().numpy(),
        match=partner,
        match_cosine=cosine,
    )


def _scores(
    a: Features, b: Features, maxima: Tensor, with_dead: Tensor, matching: Matching, explained: Decomposition
) -> dict[str, Any]:
    n_a, d = a.decoder.shape
    m = maxima.double().cpu().numpy()
    chance = Chance(d, len(b.decoder))
    mmcs = _mean(m)
    return {
        "mmcs": mmcs,
        "mmcs_with_dead": _mean(with_dead.double().cpu().numpy()),
        "mmcs_null": chance.mean,
        "mmcs_corrected": chance.corrected(mmcs),
        "above_chance": _mean(chance.p_value(m) < 0.01),
        "matched_mean": matching.mean,
        "matched_above_0.9": matching.share_above(0.9),
        "matched_above_0.7": matching.share_above(0.7),
        "shared_fraction": shared_fraction((a.encoder, b.encoder), matching),
        "scale_aware": scale_aware(m, a.scales.double().numpy()),
        "recovery": recovery_curve(m),
        "by_firing_rate": by_firing_rate(m, a.rates.double().numpy()),
        "diagnosis": diagnosis(explained),
        "meta": {
            "explained": explained_variance(a.decoder, explained),
            "random": explained_variance(a.decoder, decompose(a.decoder, random_like(b.decoder))),
        },
        "max_cosines": {
            "edges": HISTOGRAM_EDGES,
            "counts": np.histogram(np.clip(m, -1, 1), HISTOGRAM_EDGES)[0],
            "null": chance.expected_counts(HISTOGRAM_EDGES, n_a),
            "quantiles": {str(q): float(np.quantile(m, q)) if n_a else None for q in QUANTILES},
        },
    }


def random_like(directions: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Draw as many directions uniformly from the sphere: what meta-decomposition is judged against.

    By a seed that no training uses: a dictionary's first directions are drawn likewise, and would be found again.
    """
    return torch.randn(directions.shape, generator=torch.Generator().manual_seed(0x6D657461))


def neighbouring_sizes(entries: Sequence[E]) -> list[tuple[E, E]]:
    """Pair each dictionary with the next larger one of the same hook, architecture, sparsity and seed.

    `entries` are those of `metrics.json`.
    """
    return _neighbours(entries, "seed", "n_latents")


def neighbouring_seeds(entries: Sequence[E]) -> list[tuple[E, E]]:
    """Pair each dictionary with the next seed of the same hook, architecture, sparsity and size."""
    return _neighbours(entries, "n_latents", "seed")


def _neighbours(entries: Sequence[E], shared: str, ladder: str) -> list[tuple[E, E]]:
    """Pair entries that follow one another in `ladder` and are equal in all else; `shared` is part of that."""
    kinds: dict[str, list[E]] = {}
    for entry in entries:
        if entry[ladder] is not None:
            settings = [sorted(entry["sparsity"].items()), sorted((entry.get("options") or {}).items())]
            kinds.setdefault(repr([entry["hook"], entry["architecture"], settings, entry[shared]]), []).append(entry)
    found = []
    for alike in kinds.values():
        # a learning rate may go with the size; it only separates where it is all that does
        separates = len({entry[ladder] for entry in alike}) < len(alike)
        groups: dict[Any, list[E]] = {}
        for entry in alike:
            groups.setdefault(entry.get("learning_rate") if separates else None, []).append(entry)
        for group in groups.values():
            found += pairwise(sorted(group, key=lambda entry: entry[ladder]))
    return found


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
