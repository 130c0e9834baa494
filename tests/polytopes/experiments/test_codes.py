"""The softness of codes and the hardening curve: known answers, and what must be the same as the model itself."""

from math import inf

import pytest
import torch
from torch.nn.functional import cross_entropy

from polytopes.experiments import codes
from polytopes.interventions import hardened
from polytopes.quantiles import quantiles
from polytopes.reading.subject import Subject
from tests.models import save_model
from tests.polytopes.miniature import harvested, subject_of
from tests.polytopes.reading.test_subject import FAMILIES
from winnow.config.polytopes import PolytopesSettings
from winnow.model.mlp import residual_hook

SETTINGS = PolytopesSettings()


@pytest.fixture(scope="module", params=FAMILIES)
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    folder = tmp_path_factory.mktemp(request.param)
    return subject_of(harvested(folder, save_model(request.param, folder / "model")))


def text(subject: Subject):
    return subject.text(range(36, 40))


def test_the_gate_itself_changes_nothing(subject: Subject):
    """π(1·h) is the model: also of a gated layer, whose second factor must be its own."""
    clean = subject.model.logits(text(subject))
    same = subject.model.run(text(subject), hardened.hardened(subject, subject.layers, 1.0))
    torch.testing.assert_close(same, clean, rtol=1e-4, atol=1e-5)
    hard = subject.model.run(text(subject), hardened.hardened(subject, subject.layers, inf))
    assert (hard - clean).abs().max() > 1e-3


def test_the_hard_layer_is_the_layer_with_its_bits(subject: Subject):
    """One layer made hard by hand: its post-activations with 1[h>0] in place of π."""
    layer, model = 1, subject.model
    mlp = subject.mlp(layer)
    seen = {}
    names = [residual_hook(model, layer), f"blocks.{layer}.hook_mlp_out"]
    watched = {name: (lambda value, name=name: seen.update({name: value})) for name in names}
    model.run(text(subject), {**hardened.hardened(subject, (layer,), inf), **watched})
    u = mlp.read(seen[names[0]])
    h = mlp.pre(u)
    active = h.clamp(min=0) * (mlp.value(u) if mlp.is_gated else 1)
    torch.testing.assert_close(seen[names[1]], active @ mlp.W_out + mlp.b_out, rtol=1e-4, atol=1e-5)


def test_relu_has_no_bits_and_cannot_be_made_harder(relu: Subject):
    found = codes.measure(relu, SETTINGS)
    for entry in found["layers"]:
        assert entry["bits"] == 0
        assert entry["undecided"] == 0
        assert entry["hard_fvu"] == 0
        assert entry["histogram"][0] + entry["histogram"][-1] == pytest.approx(1)
    assert all(abs(point["added"]) < 1e-6 for point in found["loss"]["curve"])
    assert all(abs(point["added"]) < 1e-6 for point in found["loss"]["hard_layers"])


def test_losses_are_the_models(subject: Subject):
    found = codes.measure(subject, SETTINGS)
    logits = subject.model.logits(text(subject))[:, :-1]
    expected = cross_entropy(logits.flatten(0, 1), text(subject)[:, 1:].flatten().long()).item()
    loss = found["loss"]
    assert loss["clean"] == pytest.approx(expected, rel=1e-5)
    assert (loss["sequences"], loss["tokens"]) == (4, 4 * 15)
    assert loss["sharpness"] == [0.5, 1.0, 2.0, 4.0, 8.0, None]
    assert loss["curve"][1] == {"added": 0.0, "error": 0.0}
    assert [entry["layer"] for entry in loss["hard_layers"]] == [0, 1, 2]
    for entry, other in zip(found["layers"], found["untrained"], strict=True):
        assert 0 < entry["bits"] < 1
        assert entry["bits"] != other["bits"]
        assert (entry["hard_fvu"] is None) == subject.mlp(0).is_gated
        assert 0 <= entry["on_rate"]["min"] <= entry["on_rate"]["median"] <= entry["on_rate"]["max"] <= 1


def test_the_curve_has_its_minimum_at_the_models_own_gate(embedded: Subject, monkeypatch: pytest.MonkeyPatch):
    """A trained model is worse with softer gates and with harder ones; the prototype's numbers, roughly."""
    monkeypatch.setattr(codes, "SEQUENCES", 8)
    found = codes.measure(embedded, SETTINGS)
    added = [point["added"] for point in found["loss"]["curve"]]
    assert min(added) == added[1] == 0
    assert added[2] < added[3] < added[4] < added[5]
    assert found["layers"][0]["bits"] == pytest.approx(0.76, abs=0.05)
    assert found["layers"][2]["hard_fvu"] == pytest.approx(0.057, abs=0.02)


def test_quantiles_leave_out_what_is_not_finite():
    found = quantiles(torch.tensor([float("nan"), *range(101), float("inf")]))
    assert (found["min"], found["q05"], found["median"], found["q95"], found["max"]) == (0, 5, 50, 95, 100)
    assert found["mean"] == 50
    assert set(quantiles(torch.zeros(0)).values()) == {None}
