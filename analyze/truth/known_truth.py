"""Describe the known truth of a toy-data run, and score how well each dictionary recovers it."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from analyze.activations.toy_assumptions import assumptions
from analyze.compare.chance import Chance
from analyze.dictionary.snapshots import Stages
from analyze.evaluation.quality import QUANTILES, quantile
from analyze.evaluation.toy import ToyHeldOut
from analyze.truth.hedging import companions, hedging
from analyze.truth.learning import learning
from analyze.truth.scores import against_truth
from winnow.dictionary import Dictionary
from winnow.runtime.run import Run
from winnow.toy.codes import rates
from winnow.toy.data import ToyRows
from winnow.toy.regime import Regime, regime
from winnow.toy.trees import parents

IN_PAIRS = 0.05  # least share of features in opposite pairs that looks `antipodal`: 0 for random directions
APART = 0.75  # mean largest cosine, over its chance level, below which directions look `learned`: 0.3 to 0.45
ALIKE = 1.1  # the same ratio, from 1 / ALIKE to ALIKE, looks like a `sphere`: 1.00 to 1.01
CODES = 4096  # rows whose true codes are described


class KnownTruth:
    """The truth behind toy evaluation rows; `stages` are the stages of the run's dictionaries."""

    def __init__(self, held_out: ToyHeldOut, stages: Stages) -> None:
        self.held_out = held_out
        self.stages = stages
        self.directions = held_out.toy.directions
        self.rates = rates(held_out.settings)
        self.parents = parents(held_out.settings) if held_out.settings.roots else None

    @cached_property
    def rows(self) -> ToyRows:
        """All evaluation rows, with their codes."""
        return self.held_out.true_rows()

    @cached_property
    def _companions(self) -> Float[Tensor, "feature d_model"]:
        return companions(self.directions, self.rows)

    def scores(self, dictionary: Dictionary, alive: Bool[Tensor, " n_latents"]) -> dict[str, Any]:
        """Score a dictionary, named as in `metrics.json`, at the end and at its snapshots."""
        return {
            **against_truth(dictionary, alive, self.directions, self.rates, self.rows, self.parents),
            "hedging": hedging(dictionary, alive, self.directions, self._companions)._asdict(),
            **learning(self.directions, self.stages, dictionary),
        }

    def describe(self) -> dict[str, Any]:
        """Describe the truth: its settings, the geometry of its directions, its firing rates."""
        features, d = self.directions.shape
        found = regime(self.directions)
        codes = self.held_out.true_rows(0, CODES).codes(features)
        return {
            "path": Run(Path(self.held_out.config.run)).truth.name,
            "settings": self.held_out.settings.of_the_rows(),
            "features": features,
            "d_model": d,
            "features_per_dimension": features / d,
            "regime": {
                "name": found.name,
                "looks_like": looks_like(found, features, d),
                "dimensionality": _spread(found.dimensionality.double().numpy()),
                "dimensionality_random": d / (d + features - 1),
                "antipodal_share": found.antipodal_share,
                "mean_max_cosine": found.mean_max_cosine,
                "mean_max_cosine_random": Chance(d, features - 1).mean,
                "mean_max_abs_cosine": found.mean_max_abs_cosine,
            },
            "firing_rates": _spread(self.rates),
            "trees": self._trees(),
            "codes": assumptions(codes, np.random.default_rng(0)),
        }

    def _trees(self) -> dict[str, Any] | None:
        """Describe the trees of features; None where there are none."""
        settings, forest = self.held_out.settings, self.held_out.settings.forest
        if not settings.roots:
            return None
        return {
            "roots": forest.roots,
            "parents": forest.parents,
            "children": forest.size - forest.roots,
            "siblings": settings.siblings,
            "rows_with_child": float(self.rates[forest.roots : forest.size].sum() / self.rates[: forest.parents].sum()),
        }


def looks_like(found: Regime, features: int, d_model: int) -> str | None:
    """Name the construction that the directions resemble: sphere, learned or antipodal; None if none fits.

    Opposite pairs do not occur at random. Learned directions repel one another: a feature's largest cosine with
    another is on average a third of the random value, while its most negative one is as large as at random.
    """
    if found.antipodal_share >= IN_PAIRS:
        return "antipodal"
    by_chance = Chance(d_model, features - 1).mean
    if by_chance <= 0:  # of a single other direction
        return None
    ratio = found.mean_max_cosine / by_chance
    return "learned" if ratio < APART else "sphere" if 1 / ALIKE <= ratio <= ALIKE else None


def _spread(values: np.ndarray) -> dict[str, float]:
    return {"mean": float(values.mean()), **{str(q): quantile(values, q) for q in QUANTILES}}
