"""The experiment `clusters`: do groups of near rows mean something, and more than what could be had for nothing?

Beside each clustering stand its stability, balls and directions to compare purity with, the same clustering of the
untrained twin's rows, and of rows that have lost what clusters are made of.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polytopes.clustering import contexts
from polytopes.clustering.grouping import assign, hdbscan, kmeans
from polytopes.clustering.meaning import beyond, gain
from polytopes.clustering.purity import Purity, median_size
from polytopes.clustering.representations import Representation, gaussian_rows, permuted_columns, representations
from polytopes.clustering.stability import Stability, agreement, stability_of_draws
from polytopes.reading.rows import LABELS
from polytopes.reading.subject import Subject
from winnow.config.polytopes import ClusterSettings, PolytopesSettings
from winnow.model.token_texts import token_texts


def measure(subject: Subject, settings: PolytopesSettings) -> dict[str, Any]:
    """Cluster the rows by each representation and method, and say what the clusters mean.

    rows: how many were clustered. clusterings: by name (`post:2`; by k-means `post:2/kmeans`), the cluster of every
    row, −1 for none, which goes into `rows.h5`, named in `files`. tables: for each clustering
      name, representation, layers, method;
      clusters, noise (share of rows), median_size;
      gain: for token, next and prediction {entropy, permuted (bits), gain, z}; beyond: the same of the prediction
        beyond the token; null where no row is in a cluster;
      stability: {ari, share};
      entropies: for each label, bits by kind (cluster, ball, ball_of_member, neuron, pca, nmf, random_direction,
        random_rows): {median, low, high (quartiles), count}; null without clusters;
      latents: of each dictionary at the layers' mlp.hook_post: {dictionary, n_latents, entropies by label};
      controls: of untrained, and gaussian or permuted rows, clusters, noise, median_size, gain and beyond;
      examples: the clusters of the lowest p: {cluster, rows, label, text, share, log10_p, contexts: {sequence,
        position, tokens, at}}.
    """
    wanted = representations(settings.clusters.representations, subject.layers)
    chosen = subject.choose(settings.clusters.rows, "clusters")
    labels = {name: subject.rows.label(name)[chosen].numpy().astype(np.int64) for name in LABELS}
    purity = Purity(subject, chosen, labels)
    texts = token_texts(subject.model.bridge.tokenizer)
    clusterings: dict[str, np.ndarray] = {}
    tables = []
    for representation in wanted:
        one = _One(purity, settings.clusters, representation, texts)
        for method in settings.clusters.method:
            name = representation.name + ("" if method == "hdbscan" else f"/{method}")
            cluster = one.group(one.x, method)
            clusterings[name] = one.of_every_row(cluster)
            tables.append(one.table(name, method, cluster))
    return {"rows": len(chosen), "clusterings": clusterings, "tables": tables}


class _One:
    """One representation of the rows that are clustered."""

    def __init__(
        self, purity: Purity, settings: ClusterSettings, representation: Representation, texts: list[str]
    ) -> None:
        self.purity = purity
        self.subject = purity.subject
        self.chosen = purity.chosen
        self.labels = purity.labels
        self.settings = settings
        self.representation = representation
        self.texts = texts
        self.x = self.read(self.subject)[self.chosen]
        self.distances = representation.distances(self.x)

    def read(self, subject: Subject) -> Tensor:
        """Read a model's values at every row; codes as numbers 0 and 1."""
        layers = self.representation.layers
        if self.representation.kind == "post":
            return subject.hidden(layers[0])
        return torch.cat([subject.code(layer) for layer in layers], 1).float()

    def random(self, *purpose: str) -> np.random.Generator:
        return self.subject.random("clusters", self.representation.name, *purpose)

    def seed(self, *purpose: str) -> int:
        return int(self.random(*purpose).integers(2**31))

    def group(self, x: Tensor, method: str) -> np.ndarray:
        """Cluster rows."""
        if method == "kmeans":
            return kmeans(x, self.seed("kmeans"))
        return self.group_by(self.distances if x is self.x else self.representation.distances(x))

    def group_by(self, distances: Tensor) -> np.ndarray:
        return hdbscan(distances, self.settings.min_cluster_size, self.settings.min_samples)

    def of_every_row(self, cluster: np.ndarray) -> np.ndarray:
        """Give rows that were not clustered the cluster of their nearest member."""
        rows = len(self.subject.rows)
        if len(cluster) == rows:
            return cluster
        found = np.empty(rows, dtype=np.int64)
        found[self.chosen.numpy()] = cluster
        rest = np.setdiff1d(np.arange(rows), self.chosen.numpy())
        found[rest] = assign(self.representation, self.read(self.subject)[torch.from_numpy(rest)], self.x, cluster)
        return found

    def table(self, name: str, method: str, cluster: np.ndarray) -> dict[str, Any]:
        """Give everything that is said of one clustering."""
        return {
            "name": name,
            "representation": self.representation.name,
            "layers": list(self.representation.layers),
            "method": method,
            **self.describe(cluster),
            "stability": self.stability(method, cluster)._asdict(),
            "entropies": self.purity.entropies(self.representation, self.distances, cluster, self.random("sets")),
            "latents": self.purity.latents(self.representation, cluster),
            "controls": self.controls(method),
            "examples": list(self.examples(cluster)),
        }

    def describe(self, cluster: np.ndarray) -> dict[str, Any]:
        """Say how many clusters there are, and what they say of the labels."""
        told = {label: gain(cluster, self.labels[label], self.seed("gain", label)) for label in LABELS}
        past = beyond(cluster, self.labels["prediction"], self.labels["token"], self.seed("beyond"))
        return {
            "clusters": int(cluster.max(initial=-1)) + 1,
            "noise": float((cluster < 0).mean()),
            "median_size": median_size(cluster),
            "gain": {label: None if one is None else one._asdict() for label, one in told.items()},
            "beyond": None if past is None else past._asdict(),
        }

    def stability(self, method: str, cluster: np.ndarray) -> Stability:
        """Compare with the clustering of other rows, or from another start."""
        if method == "kmeans":
            return agreement(cluster, kmeans(self.x, self.seed("another start")))

        def cluster_rows(drawn: np.ndarray) -> np.ndarray:
            part = torch.from_numpy(drawn)
            return self.group_by(self.distances[part][:, part])

        return stability_of_draws(cluster_rows, len(self.x), self.seed("stability"))

    def controls(self, method: str) -> dict[str, Any]:
        """Cluster the untrained twin's rows, and rows drawn anew, with the labels of the model's own."""
        found: dict[str, Any] = {"untrained": None}
        if self.subject.twin is not None:
            found["untrained"] = self.describe(self.group(self.read(self.subject.twin)[self.chosen], method))
        if self.representation.kind == "post":
            kind, drawn = "gaussian", gaussian_rows(self.x, self.seed("gaussian"))
        else:
            kind, drawn = "permuted", permuted_columns(self.x, self.seed("permuted"))
        return found | {kind: self.describe(self.group(drawn, method))}

    def examples(self, cluster: np.ndarray) -> Iterator[dict[str, Any]]:
        """Show the clusters that say most about the prediction."""
        places = self.subject.rows.places
        sequence, position = places.sequence[self.chosen].numpy(), places.position[self.chosen].numpy()
        random = self.random("contexts")
        for told in contexts.telling_clusters(cluster, self.labels["prediction"]):
            shown = contexts.choose_contexts(np.flatnonzero(cluster == told.cluster), sequence, random)
            where = [{"sequence": sequence[row], "position": position[row]} for row in shown]
            around = [
                contexts.context(tokens, int(position[row]), self.texts)
                for row, tokens in zip(shown, self.subject.text(sequence[shown]).numpy(), strict=True)
            ]
            both = [{**place, **text} for place, text in zip(where, around, strict=True)]
            yield {**told._asdict(), "text": self.texts[told.label], "contexts": both}
