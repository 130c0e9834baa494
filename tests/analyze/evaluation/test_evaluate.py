"""A model small enough to know everything about: embedding -> hook -> unembedding."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from analyze.evaluation.evaluate import evaluate, refuse_not_finite
from winnow.dictionary import Dictionary
from winnow.errors import UserError

WIDTH, VOCAB = 6, 9


class Bigram:
    """Logits are the hook's activation times W; the activation is the token's embedding."""

    device = torch.device("cpu")
    d_vocab = VOCAB

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        self.embed = torch.randn(VOCAB, WIDTH, generator=generator)
        self.unembed = torch.randn(WIDTH, VOCAB, generator=generator)

    def activations(self, tokens, hooks):
        return dict.fromkeys(hooks, self.embed[tokens])

    def logits(self, tokens, replace=None):
        x = self.embed[tokens]
        return (replace[1](x) if replace else x) @ self.unembed


@pytest.fixture
def tokens():
    return torch.randint(VOCAB, (10, 8), generator=torch.Generator().manual_seed(1), dtype=torch.int32)


@pytest.fixture
def kept(tokens):
    return (torch.arange(8) >= 1).expand(tokens.shape)


def identity(scale=1.0):
    """Reconstruct x as scale * x: one latent for each direction of each sign."""
    eye = torch.eye(WIDTH)
    both = torch.cat([eye, -eye])
    return Dictionary(both.T.contiguous(), torch.zeros(2 * WIDTH), scale * both, torch.zeros(WIDTH), hook="x")


def ce(logits, tokens):
    return cross_entropy(logits[:, :-1].flatten(0, 1).double(), tokens[:, 1:].flatten().long()).item()


def test_a_perfect_dictionary_recovers_everything(tokens, kept):
    model = Bigram()
    found = evaluate(model, tokens, kept, [identity()], {"x": torch.zeros(WIDTH)})[0]
    assert found.loss is not None
    assert found.loss["recovered"] == pytest.approx(1, abs=1e-5)
    assert found.loss["kl"] == pytest.approx(0, abs=1e-6)
    assert found.quality.fvu == pytest.approx(0, abs=1e-12)
    assert found.quality.l0 == WIDTH
    assert found.quality.rows == 70


def test_losses_equal_those_of_a_model_patched_by_hand(tokens, kept):
    model = Bigram()
    mean = torch.arange(float(WIDTH))
    found = evaluate(model, tokens, kept, [identity(0.3)], {"x": mean})[0].loss
    assert found is not None
    x = model.embed[tokens]

    def patched(values):
        return ce(torch.where(kept[..., None], values, x) @ model.unembed, tokens)

    assert found["clean"] == pytest.approx(ce(x @ model.unembed, tokens), rel=1e-6)
    assert found["patched"] == pytest.approx(patched(0.3 * x), rel=1e-6)
    assert found["zero"] == pytest.approx(patched(torch.zeros_like(x)), rel=1e-6)
    assert found["mean"] == pytest.approx(patched(mean.expand_as(x)), rel=1e-6)


def test_results_do_not_depend_on_the_batch(tokens, kept):
    dictionaries, centres, done = [identity(0.5), identity(0.9)], {"x": torch.zeros(WIDTH)}, []
    whole = evaluate(Bigram(), tokens, kept, dictionaries, centres)
    cut = evaluate(Bigram(), tokens, kept, dictionaries, centres, done.append, sequences_per_batch=3)
    assert done == [3, 3, 3, 1]
    for a, b in zip(whole, cut, strict=True):
        assert a.loss == pytest.approx(b.loss, rel=1e-6)
        assert a.quality.fvu == pytest.approx(b.quality.fvu, rel=1e-9)
    assert whole[0].quality.fvu > whole[1].quality.fvu


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_held_out_values_that_are_no_numbers_are_named_with_their_hook(bad: float):
    rows = {"good": torch.ones(3, 4), "bad": torch.ones(3, 4)}
    refuse_not_finite(rows)
    rows["bad"][1, 2] = bad
    with pytest.raises(UserError, match="bad: the model gives values that are not finite at held-out positions"):
        refuse_not_finite(rows)
