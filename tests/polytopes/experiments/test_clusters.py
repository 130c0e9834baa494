"""The experiment on the embedded model: controls that come out as they must, places that hold, the same bytes twice."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from polytopes.experiments import clusters
from polytopes.reading.subject import Subject
from winnow.config.polytopes import ClusterSettings, PolytopesSettings
from winnow.dictionary import Dictionary, save_dictionary
from winnow.errors import UserError
from winnow.runtime.to_json import to_json

HOOK = "blocks.2.mlp.hook_post"


def settings(**table: Any) -> PolytopesSettings:
    table = {"representations": ["post:2", "code:1-2"], "min_cluster_size": 4, **table}
    return PolytopesSettings(clusters=ClusterSettings(**table))


@pytest.fixture(scope="module")
def measured(embedded: Subject) -> dict:
    save_dictionary_at(embedded)
    return clusters.measure(embedded, settings(method=["hdbscan", "kmeans"]))


def save_dictionary_at(subject: Subject) -> None:
    """A dictionary whose latent i is neuron i where that is above 0."""
    dictionary = Dictionary(torch.eye(512), torch.zeros(512), torch.eye(512), torch.zeros(512), hook=HOOK)
    save_dictionary(dictionary, subject.run.dictionaries / HOOK / "neurons", {}, {})


def test_every_clustering_has_a_table_and_every_row_a_cluster(measured: dict, embedded: Subject):
    names = ["post:2", "post:2/kmeans", "code:1-2", "code:1-2/kmeans"]
    assert list(measured["clusterings"]) == [table["name"] for table in measured["tables"]] == names
    for table in measured["tables"]:
        of_row = measured["clusterings"][table["name"]]
        assert len(of_row) == len(embedded.rows)
        assert table["clusters"] == of_row.max() + 1 > 3
        assert table["noise"] == np.mean(of_row < 0)
        assert (table["noise"] == 0) == (table["method"] == "kmeans")
        assert -0.1 < table["stability"]["ari"] <= 1


def test_the_models_clusters_tell_the_token_and_rows_drawn_anew_do_not(measured: dict):
    for table in measured["tables"]:
        assert table["gain"]["token"]["z"] > 8
        control = table["controls"]["gaussian" if table["representation"] == "post:2" else "permuted"]
        for told in (*control["gain"].values(), control["beyond"]):
            assert told is None or told["z"] is None or abs(told["z"]) < 4
        assert table["controls"]["untrained"]["gain"]["token"]["z"] > 8  # token purity alone is no evidence


def test_small_regions_are_purer_than_random_rows(measured: dict):
    bits = measured["tables"][0]["entropies"]["token"]
    kinds = ["cluster", "ball", "ball_of_member", "random_rows", "neuron", "pca", "nmf", "random_direction"]
    assert list(bits) == kinds
    assert bits["cluster"]["median"] < bits["random_rows"]["median"]
    assert bits["ball_of_member"]["median"] < bits["random_rows"]["median"]
    assert bits["pca"]["count"] == 2 * bits["nmf"]["count"] == 128
    of_two_layers = measured["tables"][2]["entropies"]["token"]
    assert of_two_layers["neuron"]["count"] == 2 * bits["neuron"]["count"] == 1024


def test_latents_of_a_dictionary_at_the_hook_stand_beside_them(measured: dict):
    [found] = measured["tables"][0]["latents"]
    assert found["dictionary"] == f"dictionaries/{HOOK}/neurons"
    assert found["n_latents"] == 512
    neurons = measured["tables"][0]["entropies"]["token"]["neuron"]
    assert 0 < found["entropies"]["token"]["count"] <= 512  # those that are on in as many rows as a cluster has
    assert found["entropies"]["token"]["median"] == pytest.approx(neurons["median"], abs=0.3)
    assert len(measured["tables"][2]["latents"]) == 1


def test_examples_are_places_in_the_text(measured: dict, embedded: Subject):
    examples = measured["tables"][0]["examples"]
    assert 0 < len(examples) <= 20
    assert [one["log10_p"] for one in examples] == sorted(one["log10_p"] for one in examples)
    places = embedded.rows.places
    of_row = measured["clusterings"]["post:2"]
    tokenizer = embedded.model.bridge.tokenizer
    for one in examples[:3]:
        for shown in one["contexts"]:
            row = (places.sequence == int(shown["sequence"])) & (places.position == int(shown["position"]))
            assert of_row[row.numpy()].tolist() == [one["cluster"]]
            token = int(embedded.rows.token[row])
            assert shown["tokens"][shown["at"]] == tokenizer.decode([token])


def test_the_same_bytes_twice(measured: dict, embedded: Subject):
    again = clusters.measure(embedded, settings(representations=["post:2"]))
    assert json.dumps(to_json(again["tables"])) == json.dumps(to_json(measured["tables"][:1]))
    np.testing.assert_array_equal(again["clusterings"]["post:2"], measured["clusterings"]["post:2"])


def test_rows_beyond_the_limit_follow_their_nearest_member(embedded: Subject):
    some = clusters.measure(
        replace(embedded, untrained=False), settings(rows=300, representations=["post:2"], min_samples=1)
    )
    assert some["rows"] == 300
    assert some["tables"][0]["controls"]["untrained"] is None
    chosen = embedded.choose(300, "clusters")
    of_row = some["clusterings"]["post:2"]
    x = embedded.hidden(2).double()
    rest = np.setdiff1d(np.arange(400), chosen.numpy())
    nearest = chosen[torch.cdist(x[rest], x[chosen]).argmin(1)].numpy()
    np.testing.assert_array_equal(of_row[rest], of_row[nearest])
    assert (of_row[rest] >= 0).any()


def test_layers_that_are_not_looked_at_are_refused(embedded: Subject):
    with pytest.raises(UserError, match="'code:2-4': the layers looked at are 0, 1, 2, 3"):
        clusters.measure(embedded, settings(representations=["code:2-4"]))
