"""How pure in labels clusters are, beside sets of as many rows that something simpler picks out."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from polytopes.clustering import directions
from polytopes.clustering.meaning import group_entropies, set_entropies
from polytopes.clustering.representations import Representation
from polytopes.reading.subject import Subject
from winnow.dictionary import load_dictionary
from winnow.runtime.run import finished_dictionaries

Labels = Mapping[str, Int[np.ndarray, " row"]]


class Purity:
    """Compares clusters of the same rows of a subject; what does not depend on the clusters is computed once."""

    def __init__(self, subject: Subject, chosen: Int[Tensor, " chosen"], labels: Labels) -> None:
        self.subject = subject
        self.chosen = chosen
        self.labels = labels
        self._projected: dict[int, dict[str, Tensor]] = {}

    def entropies(
        self,
        representation: Representation,
        distances: Float[Tensor, "row row"],
        cluster: Int[np.ndarray, " row"],
        random: np.random.Generator,
    ) -> dict[str, Any] | None:
        """Give quartiles of the entropies of each label, in bits, by kind of set; None without clusters."""
        m = median_size(cluster)
        if m is None:
            return None
        sets = self._sets(representation.layers, distances, cluster, m, random)
        inside = cluster >= 0
        found = {}
        for name, label in self.labels.items():
            by_kind = {"cluster": group_entropies(cluster[inside], label[inside])}
            by_kind |= {kind: set_entropies(rows, label) for kind, rows in sets.items()}
            found[name] = {kind: _spread(entropies) for kind, entropies in by_kind.items()}
        return found

    def _sets(
        self,
        layers: tuple[int, ...],
        distances: Tensor,
        cluster: np.ndarray,
        m: int,
        random: np.random.Generator,
    ) -> dict[str, np.ndarray]:
        rows = len(cluster)
        seeds = random.integers(2**31, size=2)
        members = np.array([random.choice(np.flatnonzero(cluster == c)) for c in range(int(cluster.max()) + 1)])
        found = {
            "ball": directions.balls(distances, directions.some_rows(rows, int(seeds[0])), m),
            "ball_of_member": directions.balls(distances, members, m),
            "random_rows": directions.random_sets(rows, m, int(seeds[1])),
        }
        scores = [{"neuron": self._hidden(layer), **self._projections(layer)} for layer in layers]
        for kind in scores[0]:
            found[kind] = np.concatenate([directions.top_rows(of_layer[kind], m) for of_layer in scores])
        return found

    def _hidden(self, layer: int) -> Tensor:
        return self.subject.hidden(layer)[self.chosen]

    def _projections(self, layer: int) -> dict[str, Tensor]:
        if layer not in self._projected:
            hidden = self._hidden(layer)
            seed = int(self.subject.random("directions", str(layer)).integers(2**31))
            self._projected[layer] = {
                "pca": directions.pca_scores(hidden),
                "nmf": directions.nmf_scores(hidden, seed, signed=self.subject.mlp(layer).is_gated),
                "random_direction": directions.random_scores(hidden, seed),
            }
        return self._projected[layer]

    def latents(self, representation: Representation, cluster: Int[np.ndarray, " row"]) -> list[dict[str, Any]]:
        """Give the same of every finished dictionary at the layers' `mlp.hook_post`, over latents that fire enough."""
        m = median_size(cluster)
        if m is None:
            return []
        by_hook = {f"blocks.{layer}.mlp.hook_post": layer for layer in representation.layers}
        found = []
        for path in finished_dictionaries(self.subject.run.path):
            layer = by_hook.get(path.parent.name)
            if layer is None:
                continue
            with torch.no_grad():
                latents = load_dictionary(path).encode(self._hidden(layer))
            sets = directions.firing_rows(latents, m)
            found.append(
                {
                    "dictionary": str(path.relative_to(self.subject.run.path)),
                    "n_latents": latents.shape[1],
                    "entropies": {name: _spread(set_entropies(sets, label)) for name, label in self.labels.items()},
                }
            )
        return found


def median_size(cluster: Int[np.ndarray, " row"]) -> int | None:
    """Give the median number of rows of a cluster, None without clusters."""
    sizes = np.bincount(cluster[cluster >= 0])
    return int(np.median(sizes)) if len(sizes) else None


def _spread(entropies: np.ndarray) -> dict[str, Any]:
    """The quartiles of some entropies, and how many they are."""
    if not len(entropies):
        return {"median": None, "low": None, "high": None, "count": 0}
    low, median, high = np.quantile(entropies, (0.25, 0.5, 0.75))
    return {"median": float(median), "low": float(low), "high": float(high), "count": len(entropies)}
