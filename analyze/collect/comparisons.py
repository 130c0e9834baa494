"""Every comparison of two dictionaries of a run: neighbouring sizes, and neighbouring seeds as the ceiling.

Two dictionaries of one size that differ in their seed alone share as much as dictionaries of these data can: read a
score across sizes between its chance level and that ceiling.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from analyze.compare.directions import DirectedComparison, Features, compare
from analyze.compare.families import relate, summarise_families
from analyze.compare.latent_table import file_of, has_features, write_features_of_pair
from analyze.compare.rows import compare_on_rows
from analyze.compare.stitching import Rescaled
from analyze.compare.subspaces import subspaces
from analyze.device import comparing_device
from analyze.dictionary.snapshots import Stages, agreement_by_rows
from analyze.evaluation.latents import Latents
from analyze.evaluation.rows import EvaluationRows
from analyze.ladders import neighbouring_seeds, neighbouring_sizes
from analyze.schema.comparisons import Family, Pair
from analyze.schema.dictionaries import Dictionary as Entry
from analyze.schema.record import read_record
from winnow.dictionary import Dictionary
from winnow.runtime.to_json import to_json

Entries = Sequence[Entry]


class Comparisons:
    """Compare dictionaries, by path, taking over what `known` holds, and write each pair's table into `folder`."""

    def __init__(
        self,
        held_out: EvaluationRows,
        stages: Stages,
        dictionaries: Mapping[str, Dictionary],
        latents: Mapping[str, Latents],
        known: Mapping[tuple[str, str], Pair],
        known_families: Mapping[tuple[str, str], Family],
        folder: Path,
    ) -> None:
        self.held_out = held_out
        self.device = comparing_device(held_out.config.model.device)
        self.stages = stages
        self.dictionaries = dictionaries
        self.latents = latents
        self.known = {ends: score for ends, score in known.items() if has_features(score, folder)}
        self.folder = folder
        self.known_families = dict(known_families)
        self._seed = held_out.config.seed
        self._rescaled: dict[str, Rescaled] = {}

    def sizes(self, entries: Entries) -> list[Pair]:
        """Compare neighbouring sizes, both ways."""
        return [score for a, b in neighbouring_sizes(entries) for score in self.of_pair(a, b)]

    def seeds(self, entries: Entries) -> list[Pair]:
        """Compare neighbouring seeds of one size, both ways."""
        return [score for a, b in neighbouring_seeds(entries) for score in self.of_pair(a, b)]

    def of_pair(self, a: Entry, b: Entry) -> list[Pair]:
        """Compare two dictionaries, given by their entries, both ways."""
        return self._both_ways(a.path, b.path)

    def directions(self, a: Entry, b: Entry) -> DirectedComparison:
        """Look up the directions of one dictionary in another, and nothing else."""
        return compare(self._features(a.path), self._features(b.path))[0]

    def families(self, entries: Entries) -> list[Family]:
        """Follow features from each size to the next."""
        return [self._family(a.path, b.path) for a, b in neighbouring_sizes(entries)]

    def _family(self, small: str, large: str) -> Family:
        if (small, large) not in self.known_families:
            a, b = self.dictionaries[small], self.dictionaries[large]
            found = relate(a, b, self._alive(small, large), self.held_out.sample(a.hook))
            self.known_families[small, large] = _family(summarise_families(found, small, large))
        return self.known_families[small, large]

    def _both_ways(self, a: str, b: str) -> list[Pair]:
        if (a, b) in self.known and (b, a) in self.known:
            return [self.known[a, b], self.known[b, a]]
        first, second = self.dictionaries[a], self.dictionaries[b]
        alive, rows = self._alive(a, b), self.held_out.sample(first.hook)
        forth, back = compare(self._features(a), self._features(b))
        rescaled = self._at_its_gains(a), self._at_its_gains(b)
        found = compare_on_rows(first, second, alive, rows, rescaled)
        self.known_families[a, b] = _family(summarise_families(found.relations, a, b))  # found on the way
        shared = {"subspaces": subspaces(first, second, alive, rows, self._seed)}
        early = [{"snapshots": stages} for stages in self._agreement(first, second)]
        return [
            _pair({"from": a, "to": b, **self._published(a, b, forth), **found.forth, **shared, **early[0]}),
            _pair({"from": b, "to": a, **self._published(b, a, back), **found.back, **shared, **early[1]}),
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
        return Features.of(self.dictionaries[path], self.latents[path], self.device)

    def _at_its_gains(self, path: str) -> Rescaled:
        """Refit a dictionary once for all its comparisons."""
        if path not in self._rescaled:
            dictionary = self.dictionaries[path]
            rows = self.held_out.sample(dictionary.hook)
            self._rescaled[path] = Rescaled.of(dictionary, self.latents[path].alive, rows)
        return self._rescaled[path]


def _pair(found: dict[str, Any]) -> Pair:
    """Read a comparison by the schema, rounded as the file is."""
    return read_record(Pair, to_json(found), f"pair {found['from']}")


def _family(found: dict[str, Any]) -> Family:
    return read_record(Family, to_json(found), f"family {found['from']}")
