"""Compare the directions of two dictionaries of the same activations, both ways, with chance levels.

    a_to_b, b_to_a = compare(Features.of(a), Features.of(b))
    a_to_b.scores["mmcs"], a_to_b.features.max_cosine  # the mean, and the value for every latent

Only alive latents count, except in `mmcs_with_dead`: a latent that never fires stays near its initialisation and
carries no information about the data. Where a side has no alive latent there is nothing to compare: every score is NaN
or None.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from analyze.compare.chance import Chance
from analyze.compare.cosines import max_cosines
from analyze.compare.decoder_null import DecoderNull, beside_chance, decoder_null
from analyze.compare.latent_table import NONE, PairFeatures
from analyze.compare.matching import Matching, match, shared_fraction
from analyze.compare.presence import by_firing_rate, recovery_curve, scale_aware
from analyze.compare.regression import Decomposition, decompose, diagnosis, explained_variance
from analyze.evaluation.latents import Latents
from winnow.dictionary import Dictionary

HISTOGRAM_EDGES = np.linspace(-1, 1, 101)
ROWS = 4096  # rows encoded at a time
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
SURE = 0.01  # p below which a latent is above chance


class Features(NamedTuple):
    """The directions of one dictionary's latents, which of them are alive, and how often and strongly they fire."""

    decoder: Float[Tensor, "n d"]
    encoder: Float[Tensor, "n d"]
    alive: Bool[Tensor, " n"]
    rates: Float[Tensor, " n"]  # share of rows on which each latent fires
    scales: Float[Tensor, " n"]  # sqrt(E f^2)

    @classmethod
    def of(
        cls, dictionary: Dictionary, latents: Latents | None = None, device: torch.device | str = "cpu"
    ) -> "Features":
        """Take a dictionary's directions, on the device that is to compare them, and the statistics of its latents.

        Without `latents`, all latents count as alive, with rate and scale 1.
        """
        decoder = dictionary.W_dec.detach().float().to(device)
        encoder = dictionary.W_enc.detach().float().to(device).T
        if latents is None:
            one = torch.ones(len(decoder))  # on the CPU, as all that is known of latents
            return Features(decoder, encoder, one.bool(), one, one)
        rates, scales = latents.firings / latents.rows, (latents.squares / latents.rows).sqrt().float()
        return Features(decoder, encoder, latents.alive, rates, scales)

    @classmethod
    @torch.no_grad()
    def on(cls, dictionary: Dictionary, x: Float[Tensor, "row d"]) -> "Features":
        """Take a dictionary's directions and measure its latents on activations `x`."""
        firings, squares = torch.zeros(2, dictionary.n_latents, dtype=torch.float64).unbind(0)
        for rows in x.split(ROWS):
            f = dictionary.encode(rows.to(dictionary.W_enc)).cpu()
            firings += (f > 0).sum(0)
            squares += f.square().sum(0)
        return cls.of(dictionary, Latents("", firings.long(), squares, len(x)))

    def living(self) -> "Features":
        """Keep the alive latents only."""
        return Features(*(values[self.alive] for values in self))


class DirectedComparison(NamedTuple):
    """How well another dictionary contains this one: scores named as in `metrics.json`, and values per latent."""

    scores: dict[str, Any]
    features: PairFeatures


def compare(a: Features, b: Features) -> tuple[DirectedComparison, DirectedComparison]:
    """Compare A with B and B with A."""
    dead_ab, dead_ba = max_cosines(a.decoder, b.decoder)
    of_a, of_b = (one.alive.nonzero()[:, 0].numpy() for one in (a, b))  # indices of the alive latents
    a, b = a.living(), b.living()
    ab, ba = max_cosines(a.decoder, b.decoder)
    matching = match(a.decoder, b.decoder)
    back = Matching(matching.b, matching.a, matching.cosines)
    explained = Explained.of(a, b), Explained.of(b, a)
    nulls = decoder_null(a.decoder, b.decoder), decoder_null(b.decoder, a.decoder)
    return (
        DirectedComparison(
            _scores(a, b, ab, dead_ab, nulls[0], matching, explained[0]),
            _per_feature(a, (of_a, of_b), ab, nulls[0], matching, explained[0]),
        ),
        DirectedComparison(
            _scores(b, a, ba, dead_ba, nulls[1], back, explained[1]),
            _per_feature(b, (of_b, of_a), ba, nulls[1], back, explained[1]),
        ),
    )


class Explained(NamedTuple):
    """What a few directions of B explain of A's, and what as many random directions explain in their place."""

    found: Decomposition
    by_chance: Decomposition

    @classmethod
    def of(cls, a: Features, b: Features) -> "Explained":
        """Explain A's directions by B's, and by a random dictionary of B's size."""
        return Explained(decompose(a.decoder, b.decoder), decompose(a.decoder, random_like(b.decoder)))


def _per_feature(
    a: Features,
    numbers: tuple[NDArray[np.int64], NDArray[np.int64]],
    maxima: Tensor,
    null: DecoderNull,
    matching: Matching,
    explained: Explained,
) -> PairFeatures:
    """Gather the values of A's alive latents; `numbers` are the indices of the alive latents in A and in B."""
    own, other = numbers
    n, m, nobody = len(own), maxima.double().cpu().numpy(), np.full(len(own), np.nan)
    partner, cosine = np.full(n, NONE), np.full(n, np.nan)
    real = (matching.a >= 0) & (matching.b >= 0)
    partner[matching.a[real]] = other[matching.b[real]]
    cosine[matching.a[real]] = matching.cosines[real]
    r2, random = (one.r2.double().cpu().numpy() for one in explained)
    return PairFeatures(
        latent=own,
        max_cosine=m,
        # the regression's first direction is the one with the largest cosine
        nearest=other[explained.found.indices[:, 0].cpu().numpy()] if len(other) else np.full(n, NONE),
        p=null.p_value(m),
        firing_rate=a.rates.double().cpu().numpy(),
        r2_1=r2[:, 0] if len(other) else nobody,
        r2_4=r2[:, -1] if len(other) else nobody,
        r2_1_random=random[:, 0] if len(other) else nobody,
        r2_4_random=random[:, -1] if len(other) else nobody,
        participation=explained.found.participation.double().cpu().numpy() if len(other) else nobody,
        match=partner,
        match_cosine=cosine,
    )


def _scores(
    a: Features,
    b: Features,
    maxima: Tensor,
    with_dead: Tensor,
    null: DecoderNull,
    matching: Matching,
    explained: Explained,
) -> dict[str, Any]:
    n_a, d = a.decoder.shape
    n_b = len(b.decoder)
    m = maxima.double().cpu().numpy()
    both = bool(n_a and n_b)
    return {
        **beside_chance(_mean(m), null, Chance(d, n_b)),
        "mmcs_with_dead": _mean(with_dead.double().cpu().numpy()),
        "above_chance": _mean(null.p_value(m) < SURE) if both else None,
        "matched_mean": matching.mean,
        "matched_above_0.9": matching.share_above(0.9),
        "matched_above_0.7": matching.share_above(0.7),
        "shared_fraction": shared_fraction((a.encoder, b.encoder), matching),
        "scale_aware": scale_aware(m, a.scales.double().numpy()),
        "recovery": recovery_curve(m),
        "by_firing_rate": by_firing_rate(m, a.rates.double().numpy()) if both else None,
        "diagnosis": diagnosis(*explained) if both else None,
        "meta": _meta(a, explained) if both else None,
        "max_cosines": _distribution(m, null) if both else None,
    }


def _meta(a: Features, explained: Explained) -> dict[str, float]:
    return {
        "explained": explained_variance(a.decoder, explained.found),
        "random": explained_variance(a.decoder, explained.by_chance),
    }


def _distribution(m: NDArray[np.float64], null: DecoderNull) -> dict[str, Any]:
    return {
        "edges": HISTOGRAM_EDGES,
        "counts": np.histogram(np.clip(m, -1, 1), HISTOGRAM_EDGES)[0],
        "null": null.expected_counts(HISTOGRAM_EDGES, len(m)),
        "quantiles": {str(q): float(np.quantile(m, q)) for q in QUANTILES},
    }


def random_like(directions: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Draw as many directions uniformly from the sphere: the baseline of diagnosis and meta-decomposition.

    The seed is one that no training uses: a dictionary's initial directions are drawn the same way, so with a shared
    seed the baseline would contain them.
    """
    return torch.randn(directions.shape, generator=torch.Generator().manual_seed(0x6D657461)).to(directions.device)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
