"""The maps of neighbouring polytopes on models: a relu network's known answers, and a trained model's numbers."""

from pathlib import Path

import numpy as np
import pytest
import torch

from polytopes.experiments import maps
from polytopes.reading.subject import Subject
from tests.models import save_model
from tests.polytopes.miniature import harvested, subject_of
from winnow.config.polytopes import PolytopesSettings
from winnow.spline.maps import map_of_weights

SETTINGS = PolytopesSettings()


@pytest.fixture(scope="module")
def found(embedded: Subject):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(maps, "EFFECT_ROWS", 6)
        return maps.measure(embedded, SETTINGS)


def test_numbers_are_those_of_explicit_matrices(embedded: Subject, found):
    """ρ of one neuron by the matrices themselves, with the neuron fully off and fully on."""
    layer, neuron = 2, 5
    mlp = embedded.mlp(layer)
    p = mlp.gate.weight(embedded.pre(layer))
    ratios = []
    for row in p:
        norms = []
        for state in (0.0, 1.0):
            changed = row.clone()
            changed[neuron] = state
            norms.append(map_of_weights(mlp, changed).A.norm())
        jump = mlp.W_in[:, neuron].norm() * mlp.W_out[neuron].norm()
        ratios.append(jump / (sum(norms) / 2))
    mean = maps._mean_relative_jumps(maps.kernel(mlp), p, mlp.gate.off)
    assert mean[neuron].item() == pytest.approx(torch.stack(ratios).mean().item(), rel=1e-4)
    entry = found["layers"][layer]
    assert entry["rho"]["mean"] == pytest.approx(mean.mean().item(), rel=1e-6)
    assert 0 < entry["rho"]["min"] <= entry["rho"]["max"] < 2
    assert sum(entry["rho_histogram"]["counts"]) == 512
    assert entry["map_norm"]["median"] == pytest.approx(
        float(np.median([map_of_weights(mlp, row).A.norm() for row in p])), rel=1e-4
    )


def test_a_trained_model_has_the_numbers_of_the_prototype(found):
    sharpness = [entry["sharpness"] for entry in found["layers"]]
    assert sharpness == sorted(sharpness)
    assert sharpness[0] < 0.03
    assert 0.1 < sharpness[3] < 0.35
    layer = found["layers"][2]
    assert 0.05 < layer["rho"]["median"] < 0.2
    assert layer["flips"]["ratio"] > 1
    effects = layer["effects"]
    assert effects["rows"] == 6
    spearman = effects["spearman"]
    assert 0.3 < spearman["low"] <= spearman["of_row"] <= spearman["high"] < 1
    assert 0.5 < spearman["of_mean"] < 0.95
    assert 0 < effects["relative"]["median"] < effects["relative"]["max"]
    scatter = effects["scatter"]
    assert len(scatter["neuron"]) == len(scatter["jump"]) == len(scatter["effect"]) == len(scatter["kappa"]) == 512
    assert [entry["layer"] for entry in found["untrained"]] == [0, 1, 2, 3]
    assert "effects" not in found["untrained"][0]


def test_a_gated_model_has_no_maps_and_says_why(tmp_path: Path):
    subject = subject_of(harvested(tmp_path, save_model("llama", tmp_path / "model")))
    made = maps.measure(subject, SETTINGS)
    assert made["layers"] is made["untrained"] is None
    assert "maps are quadratic given the code" in made["reason"]


def test_of_relu_every_crossing_is_a_full_one(relu: Subject, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(maps, "EFFECT_ROWS", 2)
    for entry in maps.measure(relu, SETTINGS)["layers"]:
        assert entry["sharpness"] == 1
        assert entry["flips"] == entry["hard_flips"]
