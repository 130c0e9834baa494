"""A subject's values against the model's own, the twin's, and what its rows hold."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from polytopes.reading.subject import Subject
from tests.models import save_model
from tests.polytopes.miniature import harvested, subject_of
from winnow.errors import UserError

FAMILIES = ("gpt2", "neox", "llama")


@pytest.fixture(scope="module", params=FAMILIES)
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    folder = tmp_path_factory.mktemp(request.param)
    return subject_of(harvested(folder, save_model(request.param, folder / "model")))


def test_rows_are_held_out_ones_first_and_carry_their_labels(subject: Subject):
    rows, places = subject.rows, subject.rows.places
    assert len(rows) == 60
    assert subject.held_out().sum() == 4 * 3  # all of them
    assert sorted(set(places.position.tolist())) == [6, 10, 14]
    text = subject.text(range(40))
    at = places.sequence.long(), places.position.long()
    assert torch.equal(rows.token, text[at])
    assert torch.equal(rows.next, text[at[0], at[1] + 1])
    logits = subject.model.logits(text)
    assert torch.equal(rows.prediction.long(), logits[at].argmax(-1))
    sequences = places.sequence[~subject.held_out()].unique()
    assert len(sequences) == 16
    assert sequences.diff().max() <= 6  # of 36 harvested ones: spread


def test_values_are_the_models_own(subject: Subject):
    text, places = subject.text(range(40)), subject.rows.places
    at = places.sequence.long(), places.position.long()

    def expected(hook: str) -> torch.Tensor:
        return subject.model.activations(text, [hook])[hook][at]

    def compare(found: torch.Tensor, hook: str) -> None:
        torch.testing.assert_close(found, expected(hook), rtol=1e-4, atol=1e-5)

    for layer in subject.layers:
        compare(subject.hook_input(layer), f"blocks.{layer}.mlp.hook_in")
        compare(subject.pre(layer), f"blocks.{layer}.mlp.hook_pre")
        compare(subject.hidden(layer), f"blocks.{layer}.mlp.hook_post")
        compare(subject.output(layer), f"blocks.{layer}.hook_mlp_out")
        compare(subject.values(f"blocks.{layer}.hook_resid_post"), f"blocks.{layer}.hook_resid_post")
        norm = subject.mlp(layer).read(subject.residual(layer))
        torch.testing.assert_close(norm, subject.hook_input(layer), rtol=1e-4, atol=1e-5)
        assert torch.equal(subject.code(layer), subject.pre(layer) > 0)


def test_rows_are_read_again_to_the_bit(subject: Subject, tmp_path: Path):
    again = Subject(**{**vars_of(subject), "_values": {}})
    for layer in subject.layers:
        assert torch.equal(again.hook_input(layer), subject.hook_input(layer))
        assert torch.equal(again.residual(layer), subject.residual(layer))


def vars_of(subject: Subject) -> dict:
    return {name: value for name, value in vars(subject).items() if name in Subject.__dataclass_fields__}


def test_the_twin_has_other_weights_and_the_same_rows(subject: Subject):
    twin = subject.twin
    assert twin is not None
    assert twin.twin is None
    assert twin.rows is subject.rows
    hook = "blocks.1.mlp.hook_in"
    text, places = subject.text(range(40)), subject.rows.places
    seen = {}
    twin.model.run(text, {hook: lambda value: seen.update({hook: value})})
    at = places.sequence.long(), places.position.long()
    torch.testing.assert_close(twin.hook_input(1), seen[hook][at], rtol=1e-4, atol=1e-5)
    assert (twin.hook_input(1) - subject.hook_input(1)).abs().max() > 0.1
    assert (twin.code(1) != subject.code(1)).float().mean() > 0.1
    other = Subject(**{**vars_of(subject), "_values": {}}).twin
    assert other is not None
    assert torch.equal(other.hook_input(1), twin.hook_input(1))  # of the same seed
    assert Subject(**{**vars_of(subject), "untrained": False}).twin is None


def test_harvested_places_are_not_held_out(subject: Subject):
    places = subject.harvested(50, "regions.rows")
    assert len(places) == 50
    assert (places.sequence < subject.first_held_out).all()
    assert (places.sequence.diff() >= 0).all()
    with pytest.raises(UserError, match=r"regions\.rows = 500: the 36 sequences .* hold 108"):
        subject.harvested(500, "regions.rows")


def test_hooks_expand_over_the_layers_looked_at(subject: Subject):
    assert subject.hooks(["blocks.*.hook_resid_post", "blocks.0.hook_resid_pre"], "key") == [
        *(f"blocks.{layer}.hook_resid_post" for layer in range(3)),
        "blocks.0.hook_resid_pre",
    ]
    with pytest.raises(UserError, match=r"polytopes\.scaling\.hooks = blocks\.7\.hook_resid_pre: no module"):
        subject.hooks(["blocks.7.hook_resid_pre"], "polytopes.scaling.hooks")
    with pytest.raises(UserError, match=r"blocks\.0\.hook_resid_mid: the module there reads a copy"):
        subject.hooks(["blocks.0.hook_resid_mid"], "key")


def test_random_numbers_depend_on_the_purpose(subject: Subject):
    draws = [subject.random(*purpose).random() for purpose in (("a",), ("a",), ("b",), ("a", "b"))]
    assert draws[0] == draws[1]
    assert len(set(draws)) == 3
    chosen = subject.choose(10, "a")
    assert len(chosen) == 10
    assert (chosen.diff() > 0).all()


def test_rows_are_stored_as_documented(subject: Subject):
    with h5py.File(subject.run.polytopes / "rows.h5") as file:
        assert set(file) == {"sequence", "position", "token", "next", "prediction", "codes"}
        codes = np.asarray(file["codes"])
    n = subject.rows.neurons
    assert codes.shape == (60, 3, n // 8)
    assert np.array_equal(np.unpackbits(codes[:, 1], axis=-1, count=n), subject.pre(1).numpy() > 0)
