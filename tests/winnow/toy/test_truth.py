"""The truth as a dictionary: it opens like any other, says what it is, and reads the codes as it claims."""

from pathlib import Path

import pytest
import torch

import winnow
from winnow.config.toy import ToySettings
from winnow.toy.data import ToyData
from winnow.toy.truth import open_truth

TOY = ToySettings(d_model=32, n_features=64, active=2.0, common=0.0)


def test_truth_opens_like_any_dictionary_and_says_what_it_is(tmp_path: Path) -> None:
    made = open_truth(TOY, tmp_path / "run" / "truth")
    found = winnow.load_dictionary(tmp_path / "run" / "truth")
    assert torch.equal(found.W_dec, ToyData(TOY).directions)
    assert torch.equal(found.W_dec, made.W_dec)
    assert found.hook == "toy"
    assert found.provenance["truth"] is True
    assert ToySettings(**found.provenance["toy"]) == TOY
    assert winnow.load_dictionaries(tmp_path / "run") == []


def test_truth_is_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_truth(TOY, tmp_path / "truth")
    monkeypatch.setattr("winnow.toy.truth.truth_dictionary", lambda _: pytest.fail("computed again"))
    open_truth(TOY, tmp_path / "truth")


@pytest.mark.parametrize("magnitude", ["uniform", "constant"])
def test_its_encoder_rarely_raises_a_false_alarm(magnitude: str, tmp_path: Path) -> None:
    toy = ToySettings(**{**TOY.model_dump(), "magnitude": magnitude})
    truth, rows = open_truth(toy, tmp_path / "truth"), ToyData(toy).rows(0, 4096)
    fires, fired = truth.encode(rows.activations) > 0, rows.codes(toy.n_features) > 0
    assert (fires & ~fired).sum() / (~fired).sum() < 0.01  # interference is not quite normal
    assert (fires & fired).sum() / fired.sum() > (0.25 if magnitude == "uniform" else 0.6)
    if magnitude == "uniform":
        assert truth.threshold is not None
        strong = rows.codes(toy.n_features) > 2 * truth.threshold  # by three standard deviations of the reading
        assert (fires & strong).sum() / strong.sum() > 0.95
