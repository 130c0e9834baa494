"""Clusters, regions and adversaries on each kind of model: gated MLPs have no affine maps, the rest is there."""

import json

import pytest

from polytopes.experiments import adversaries, clusters, regions
from polytopes.reading.subject import Subject
from tests.models import save_model
from tests.polytopes.miniature import harvested, subject_of
from tests.polytopes.reading.test_subject import FAMILIES
from winnow.config.polytopes import AdversarySettings, ClusterSettings, PolytopesSettings, RegionSettings
from winnow.runtime.to_json import to_json

SETTINGS = PolytopesSettings(
    clusters=ClusterSettings(representations=["post:1", "code:0-2"], min_cluster_size=3, min_samples=1),
    regions=RegionSettings(centres=[1, 2], rows=90),
    adversaries=AdversarySettings(hooks=["blocks.1.hook_resid_pre"], relative_norms=[0.3], rows=1),
)


@pytest.fixture(scope="module", params=FAMILIES)
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    folder = tmp_path_factory.mktemp(request.param)
    return subject_of(harvested(folder, save_model(request.param, folder / "model")))


def test_every_experiment_gives_json(subject: Subject):
    found = {
        module.__name__.rpartition(".")[2]: json.loads(
            json.dumps(to_json(module.measure(subject, SETTINGS)), allow_nan=False)
        )
        for module in (clusters, regions, adversaries)
    }
    assert [table["name"] for table in found["clusters"]["tables"]] == ["post:1", "code:0-2"]
    [table] = found["adversaries"]["tables"]
    assert table["layers"] == [1, 2]
    assert table["kinds"]["adversary"]["kl"]["value"] > table["kinds"]["random"]["kl"]["value"]
    for layer in found["regions"]["layers"]:
        gated = subject.mlp(layer["layer"]).is_gated
        assert (layer["hard_code"] is None) == (layer["curves"]["shared_code"] is None) == gated
        assert len(layer["curves"]["tangent"]) == 2
