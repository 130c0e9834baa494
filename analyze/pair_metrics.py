"""Every comparison of two dictionaries of a run: neighbouring sizes, and neighbouring seeds as the ceiling.

Two dictionaries of one size that differ in their seed alone share as much as dictionaries of these data can: a
score across sizes is read between its chance level and that ceiling.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from analyze.families import relate, summary
from analyze.held_out import HeldOut
from analyze.latents import Latents
from analyze.pair_rows import compare_on_rows
from analyze.pairs import Features, compare, neighbouring_seeds, neighbouring_sizes
from analyze.spectrum import covariance
from analyze.store_sample import store_sample
from winnow.dictionary import Dictionary
from winnow.store import ActivationStore

Entries = list[dict[str, Any]]


class Comparisons:
    """Compare dictionaries, by path, taking over what `known` holds."""

    def __init__(
        self,
        held_out: HeldOut,
        store: ActivationStore,
        dictionaries: Mapping[str, Dictionary],
        latents: Mapping[str, Latents],
        known: Mapping[tuple[str, str], dict[str, Any]],
        known_families: Mapping[tuple[str, str], dict[str, Any]],
    ) -> None:
        self.held_out = held_out
        self.store = store
        self.dictionaries = dictionaries
        self.latents = latents
        self.known = known
        self.known_families = known_families
        self._covariances: dict[str, Tensor] = {}

    def sizes(self, entries: Entries) -> Entries:
        """Compare neighbouring sizes, both ways."""
        return [score for a, b in neighbouring_sizes(entries) for score in self._both_ways(a["path"], b["path"])]

    def seeds(self, entries: Entries) -> Entries:
        """Compare neighbouring seeds of one size, both ways."""
        return [score for a, b in neighbouring_seeds(entries) for score in self._both_ways(a["path"], b["path"])]

    def families(self, entries: Entries) -> Entries:
        """Follow features from each size to the next."""
        return [self._family(a["path"], b["path"]) for a, b in neighbouring_sizes(entries)]

    def _family(self, small: str, large: str) -> dict[str, Any]:
        if (small, large) in self.known_families:
            return self.known_families[small, large]
        a, b = self.dictionaries[small], self.dictionaries[large]
        alive = (self.latents[small].alive, self.latents[large].alive)
        return summary(relate(a, b, alive, self.held_out.sample(a.hook)), small, large)

    def _both_ways(self, a: str, b: str) -> Entries:
        if (a, b) in self.known and (b, a) in self.known:
            return [self.known[a, b], self.known[b, a]]
        forth, back = compare(self._features(a), self._features(b))
        return [
            {"from": a, "to": b, **forth, **self._on_rows(a, b)},
            {"from": b, "to": a, **back, **self._on_rows(b, a)},
        ]

    def _features(self, path: str) -> Features:
        return Features.of(self.dictionaries[path], self.latents[path], self.held_out.rows)

    def _on_rows(self, a: str, b: str) -> dict[str, Any]:
        first, second = self.dictionaries[a], self.dictionaries[b]
        alive = (self.latents[a].alive, self.latents[b].alive)
        rows = self.held_out.sample(first.hook)
        return compare_on_rows(first, second, alive, rows, self._covariance(first.hook), self.held_out.config.seed)

    def _covariance(self, hook: str) -> Tensor:
        if hook not in self._covariances:
            self._covariances[hook] = covariance(store_sample(self.store, hook))
        return self._covariances[hook]
