"""Every experiment on each kind of model: gated MLPs, parallel blocks; results are JSON, the same each time."""

import json
from types import ModuleType

import pytest

from polytopes.experiments import codes, density, maps, radius, scaling
from polytopes.lines import through
from polytopes.reading.subject import Subject
from tests.models import save_model
from tests.polytopes.miniature import harvested, subject_of
from tests.polytopes.reading.test_subject import FAMILIES
from winnow.config.polytopes import DensitySettings, PolytopesSettings, ScalingSettings
from winnow.runtime.to_json import to_json

SETTINGS = PolytopesSettings(
    scaling=ScalingSettings(rows=2, octaves=1), density=DensitySettings(labels=["token"], pairs=40)
)


def name_of(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


@pytest.fixture(scope="module", params=FAMILIES)
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    folder = tmp_path_factory.mktemp(request.param)
    return subject_of(harvested(folder, save_model(request.param, folder / "model")))


@pytest.mark.parametrize(
    "module", [codes, maps, scaling, density, radius], ids=lambda module: module.__name__.rpartition(".")[2]
)
def test_an_experiment_gives_the_same_json_twice(subject: Subject, module, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(maps, "EFFECT_ROWS", 2)
    monkeypatch.setattr(through, "LINES", 2)
    first, second = (json.dumps(to_json(module.measure(subject, SETTINGS)), allow_nan=False) for _ in range(2))
    assert first == second
    found = json.loads(first)
    if module is maps and subject.mlp(0).is_gated:
        assert found["layers"] is None
    else:
        layers = found.get("layers") or found.get("hooks") or found["labels"][0]["layers"]
        assert {entry["layer"] for entry in layers} == {0, 1, 2}
