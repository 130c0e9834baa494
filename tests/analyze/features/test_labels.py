"""A run opened by its folder, and labels that equal what is found by looking at every firing."""

from collections import Counter

import pytest
import torch

from analyze.evaluation.text import HeldOutText
from analyze.features.labels import Label, label_latents, visible
from analyze.features.logits import Readout
from tests.analyze.miniature import HOOK
from tests.experiments import ROOT
from winnow.dictionary import load_dictionaries
from winnow.errors import UserError
from winnow.model.token_texts import token_texts
from winnow.tokens import open_tokens


@pytest.fixture
def held_out(experiment, monkeypatch, opened):
    monkeypatch.setattr("analyze.evaluation.text.open_model", opened)
    return HeldOutText.open(ROOT / experiment.run)


def test_a_run_opened_by_its_folder_is_that_of_its_configuration(held_out, experiment):
    other = HeldOutText(experiment, open_tokens(ROOT / experiment.run / "tokens.h5"))
    assert held_out.config.run == experiment.run
    assert torch.equal(held_out.tokens, other.tokens)
    assert torch.equal(held_out.kept, other.kept)
    assert held_out.rows == other.rows > 0


def test_a_folder_that_is_no_run_is_refused_by_name(tmp_path):
    with pytest.raises(UserError, match=r"nowhere/config\.toml: no such configuration file"):
        HeldOutText.open(tmp_path / "nowhere")


def test_labels_equal_what_every_firing_says(held_out, experiment):
    dictionaries = load_dictionaries(ROOT / experiment.run)
    texts = token_texts(held_out.model.bridge.tokenizer)
    x = held_out.model.activations(held_out.tokens, [HOOK])[HOOK]
    effects = Readout.of(held_out.model, HOOK, held_out.tokens)
    for dictionary, labels in zip(dictionaries, label_latents(held_out, dictionaries), strict=True):
        f = dictionary.encode(x) * held_out.kept[:, :, None]
        up = effects.logits(dictionary.W_dec)[:, : len(texts)].topk(3).indices
        assert len(labels) == dictionary.n_latents
        for latent, label in enumerate(labels):
            peaks, where = f[:, :, latent].max(1)  # one of each sequence; there are fewer sequences than are looked at
            tokens = held_out.tokens.gather(1, where[:, None])[:, 0][peaks > 0]
            counts = Counter(texts[token] for token in tokens.tolist())
            named = {text: count for text, count in counts.items() if count >= 0.25 * len(tokens)}
            assert set(label.fires_on) <= set(named)
            assert len(label.fires_on) == min(2, len(named))
            left = [count for text, count in named.items() if text not in label.fires_on]
            assert max(left, default=0) <= min((named[text] for text in label.fires_on), default=0)
            assert label.promotes == tuple(texts[token] for token in up[latent])
            assert label.rate == pytest.approx(int((f[:, :, latent] > 0).sum()) / held_out.rows)


def test_a_label_shows_spaces_and_line_ends():
    assert visible(" of\n\t") == "·of↵⇥"
    assert str(Label((" of", "of"), (" array",), 0.01)) == "·of of → ·array"
    assert str(Label((), (" array",), 0.5)) == "various → ·array"
    assert str(Label((" of",), (), 0.01)) == "·of"  # no path to the logits
