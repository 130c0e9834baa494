"""Score how much of a known truth a dictionary recovers: directions and firing (Sharkey et al. 2022).

    scores = against_truth(dictionary, alive, toy.directions, rates(toy.settings), toy.rows(0, 10_000))
    scores["mmcs_corrected"], scores["recovered"], scores["firing"]["f1"]["mean"]

The truth is a unit direction for each feature, and rows with known firing features; in trees, the parent of each
feature too. Only alive latents count. The matrix of all cosines is never held.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from analyze.compare.chance import Chance
from analyze.compare.cosines import nearest_cosines
from analyze.compare.decoder_null import beside_chance, decoder_null
from analyze.compare.matching import match
from analyze.compare.presence import recovery_curve
from analyze.evaluation.quality import QUANTILES, quantile
from analyze.truth.firing import Firing, count_firing, firing
from analyze.truth.structure import FOUND, structure
from winnow.dictionary import Dictionary
from winnow.toy.data import ToyRows

RATES = 8  # groups of features by how often they fire


@torch.no_grad()
def against_truth(
    dictionary: Dictionary,
    alive: Bool[Tensor, " n_latents"],
    truth: Float[Tensor, "feature d_model"],
    rates: Float[np.ndarray, " feature"],
    rows: ToyRows,
    parents: Int[np.ndarray, " feature"] | None = None,
) -> dict[str, Any]:
    """Score a dictionary, named as in `metrics.json`.

    `rates`: share of rows on which each feature fires. `parents`: the parent of each feature, -1 for one without; None
    where no feature has one.
    """
    living = torch.nonzero(alive).squeeze(1)
    learned = dictionary.W_dec.detach()[living]
    scores = of_directions(truth, learned)
    partners = nearest_cosines(truth, learned, 1)
    cosines = partners.values[:, 0].double().numpy() if len(living) else np.full(len(truth), np.nan)
    found, of_trees = _nothing(len(truth)), None
    if len(living):
        latents = living[partners.indices[:, 0]]
        counts = count_firing(dictionary, latents, rows, parents)
        found = firing(counts)
        if parents is not None:
            of_trees = structure(truth, dictionary.W_dec.detach(), latents, cosines, parents, counts, found)
    return {
        **scores,
        "size_ratio": dictionary.n_latents / len(truth),
        "firing": {name: quantiles_of(values) for name, values in found._asdict().items()},
        "by_firing_rate": by_rate(rates, {"cosine": cosines, **found._asdict()}),
        "structure": of_trees,
    }


def of_directions(truth: Float[Tensor, "feature d_model"], learned: Float[Tensor, "latent d_model"]) -> dict[str, Any]:
    """Compare true and learned directions both ways, with chance levels; NaN if there are no learned directions."""
    features, d = truth.shape
    to_learned = nearest_cosines(truth, learned, 1).values.flatten().double().numpy()
    to_true = nearest_cosines(learned, truth, 1).values.flatten().double().numpy()
    return {
        **beside_chance(_mean(to_learned), decoder_null(truth, learned), Chance(d, len(learned))),
        "learned": beside_chance(_mean(to_true), decoder_null(learned, truth), Chance(d, features)),
        "matched_mean": match(truth, learned).mean,
        "recovered": recovered(to_learned),
        "recovery": recovery_curve(to_learned),
    }


def recovered(cosines: NDArray[np.float64]) -> float:
    """Compute R(0.9), the share of true features with a learned direction at a cosine above 0.9; 0 without any.

    Unlike a mean cosine it is known without a living latent: none of the true features is found.
    """
    return float((cosines > FOUND).mean()) if len(cosines) else 0.0


def quantiles_of(values: NDArray[np.float64]) -> dict[str, float]:
    """Compute mean and quantiles of the finite values; NaN if there are none."""
    known = values[np.isfinite(values)]
    mean = float(known.mean()) if len(known) else float("nan")
    return {"mean": mean, **{str(q): quantile(known, q) for q in QUANTILES}}


def by_rate(rates: NDArray[np.float64], columns: dict[str, NDArray[np.float64]]) -> list[dict[str, Any]]:
    """Average each column over features of similar rate, in up to eight groups of equal size, the rarest first.

    `from` and `to` are log10 of a group's smallest and largest rate. There are no more groups than different rates.
    """
    order = np.argsort(rates, kind="stable")
    groups = np.array_split(order, min(RATES, len(np.unique(rates))))
    with np.errstate(divide="ignore"):
        logs = np.log10(rates)
    return [
        {
            "from": float(logs[mine[0]]),
            "to": float(logs[mine[-1]]),
            "count": len(mine),
            **{name: quantiles_of(values[mine])["mean"] for name, values in columns.items()},
        }
        for mine in groups
    ]


def _mean(cosines: NDArray[np.float64]) -> float:
    return float(cosines.mean()) if len(cosines) else float("nan")


def _nothing(features: int) -> Firing:
    return Firing(*(np.full(features, np.nan) for _ in Firing._fields))
