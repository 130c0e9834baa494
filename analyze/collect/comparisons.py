"""Every comparison of two dictionaries of a run: neighbouring sizes, and neighbouring seeds as the ceiling.

Two dictionaries of one size that differ in their seed alone share as much as dictionaries of these data can: a
score across sizes is read between its chance level and that ceiling.
"""

from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from torch import Tensor

from analyze.activations.spectrum import covariance
from analyze.compare.covariance_null import root_of
from analyze.compare.directions import DirectedComparison, Features, compare
from analyze.compare.families import relate, summarise_families
from analyze.compare.latent_table import file_of, has_features, write_features_of_pair
from analyze.compare.rows import compare_on_rows
from analyze.compare.subspaces import subspaces
from analyze.dictionary.convergence import both_converged
from analyze.dictionary.snapshots import Stages, agreement_by_rows
from analyze.evaluation.latents import Latents
from analyze.evaluation.rows import EvaluationRows
from analyze.evaluation.sample import store_sample
from analyze.ladders import neighbouring_seeds, neighbouring_sizes
from winnow.dictionary import Dictionary
from winnow.store import ActivationStore

Entries = list[dict[str, Any]]
CEILING = ("mmcs", "mmcs_corrected", "matched_mean", "shared_fraction")


class Comparisons:
    """Compare dictionaries, by path, taking over what `known` holds, and write each pair's table into `folder`."""

    def __init__(
        self,
        held_out: EvaluationRows,
        stages: Stages,
        store: ActivationStore,
        dictionaries: Mapping[str, Dictionary],
        latents: Mapping[str, Latents],
        known: Mapping[tuple[str, str], dict[str, Any]],
        known_families: Mapping[tuple[str, str], dict[str, Any]],
        folder: Path,
    ) -> None:
        self.held_out = held_out
        self.stages = stages
        self.store = store
        self.dictionaries = dictionaries
        self.latents = latents
        self.known = {ends: score for ends, score in known.items() if has_features(score, folder)}
        self.folder = folder
        self.known_families = dict(known_families)
        self._seed = held_out.config.seed
        self._roots: dict[str, Tensor] = {}

    def sizes(self, entries: Entries, ceilings: Entries) -> Entries:
        """Compare neighbouring sizes, both ways, each with the ceiling of either side."""
        return [score for a, b in neighbouring_sizes(entries) for score in self.of_pair(a, b, ceilings)]

    def seeds(self, entries: Entries) -> Entries:
        """Compare neighbouring seeds of one size, both ways."""
        return [score for a, b in neighbouring_seeds(entries) for score in self.of_pair(a, b)]

    def of_pair(self, a: dict[str, Any], b: dict[str, Any], ceilings: Entries | None = None) -> Entries:
        """Compare two dictionaries, given by their entries, both ways, each way with the ceiling of either side."""
        scores = [{**score, "converged": both_converged(a, b)} for score in self._both_ways(a["path"], b["path"])]
        if ceilings is None:
            return scores
        return [{**s, "ceiling": {end: ceiling(ceilings, s[end]) for end in ("from", "to")}} for s in scores]

    def families(self, entries: Entries) -> Entries:
        """Follow features from each size to the next."""
        return [self._family(a["path"], b["path"]) for a, b in neighbouring_sizes(entries)]

    def _family(self, small: str, large: str) -> dict[str, Any]:
        if (small, large) not in self.known_families:
            a, b = self.dictionaries[small], self.dictionaries[large]
            found = relate(a, b, self._alive(small, large), self.held_out.sample(a.hook))
            self.known_families[small, large] = summarise_families(found, small, large)
        return self.known_families[small, large]

    def _both_ways(self, a: str, b: str) -> Entries:
        if (a, b) in self.known and (b, a) in self.known:
            return [self.known[a, b], self.known[b, a]]
        first, second = self.dictionaries[a], self.dictionaries[b]
        alive, rows = self._alive(a, b), self.held_out.sample(first.hook)
        forth, back = compare(self._features(a), self._features(b))
        found = compare_on_rows(first, second, alive, rows, self._root(first.hook), self._seed)
        self.known_families[a, b] = summarise_families(found.relations, a, b)  # found on the way
        shared = {"subspaces": subspaces(first, second, alive, rows, self._seed)}
        early = [{"snapshots": stages} for stages in self._agreement(first, second)]
        return [
            {"from": a, "to": b, **self._published(a, b, forth), **found.forth, **shared, **early[0]},
            {"from": b, "to": a, **self._published(b, a, back), **found.back, **shared, **early[1]},
        ]

    def _agreement(self, a: Dictionary, b: Dictionary) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        """Compare two sizes at equal rows of their trainings, both ways; None where no snapshots were kept."""
        found = agreement_by_rows(self.stages, a, b) if a.n_latents != b.n_latents else None
        if found is None:
            return None, None
        return {key: found[key] for key in ("rows", "mmcs_corrected")}, {
            "rows": found["rows"],
            "mmcs_corrected": found["back"],
        }

    def _published(self, a: str, b: str, compared: DirectedComparison) -> dict[str, Any]:
        """Write what is known of each latent, and give the scores with the name of that file."""
        name = file_of((a, b), (self.latents[a].input, self.latents[b].input))
        write_features_of_pair(compared.features, self.folder / name)
        return {"features_csv": name, **compared.scores}

    def _alive(self, a: str, b: str) -> tuple[Tensor, Tensor]:
        return self.latents[a].alive, self.latents[b].alive

    def _features(self, path: str) -> Features:
        return Features.of(self.dictionaries[path], self.latents[path], self.held_out.rows)

    def _root(self, hook: str) -> Tensor:
        if hook not in self._roots:
            self._roots[hook] = root_of(covariance(store_sample(self.store, hook)))
        return self._roots[hook]


def ceiling(ceilings: Entries, path: str) -> dict[str, float] | None:
    """Average the scores of a dictionary with its own kind of other seeds; None where there is no other seed."""
    own = [score for score in ceilings if score["from"] == path]
    known = {name: [score[name] for score in own if score[name] is not None] for name in CEILING}
    return {name: fmean(values) for name, values in known.items() if values} if own else None
