"""One pass over batches finds what looking at everything at once would."""

import numpy as np
import pytest
import torch
from torch import Tensor

from analyze.features.best import AFTER, BEFORE, Events, random_keys
from analyze.features.examples import SPREAD, FeatureExamples, spread_out, top_examples
from tests.analyze.planted import directions, tied
from winnow.dictionary import Dictionary

CONTEXT, D_MODEL = 24, 16


class Replay:
    """A model whose activations are given: a token is the number of its row."""

    device = torch.device("cpu")
    d_vocab = 1

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows
        self.calls = 0

    def activations(self, tokens, hooks):
        self.calls += 1
        return dict.fromkeys(hooks, self.rows[tokens])

    def logits(self, tokens, replace=None):
        raise NotImplementedError


def text(sequences: int, seed: int = 0) -> tuple[Replay, Tensor, Tensor]:
    """A model, its tokens, and which of them count: not the first, nor some others."""
    generator = torch.Generator().manual_seed(seed)
    model = Replay(torch.randn(sequences * CONTEXT, D_MODEL, generator=generator))
    kept = torch.rand(sequences, CONTEXT, generator=generator) < 0.8
    kept[:, 0] = False
    return model, torch.arange(sequences * CONTEXT).view(sequences, CONTEXT), kept


def latents_everywhere(model: Replay, dictionary: Dictionary, kept: Tensor) -> np.ndarray:
    """All latents [sequence, context, n_latents], 0 where a position does not count."""
    f = dictionary.encode(model.rows).view(*kept.shape, -1)
    return (f * kept[:, :, None]).numpy()


def find(dictionary: Dictionary, sequences: int = 40, per_batch: int = 7, top: int = 6):
    model, tokens, kept = text(sequences)
    [found] = top_examples(model, tokens, kept, [dictionary], top, per_batch)
    return found, latents_everywhere(model, dictionary, kept), kept


@pytest.fixture(scope="module")
def topk() -> Dictionary:
    decoder = directions(50, D_MODEL)
    return Dictionary(decoder.T.contiguous(), torch.zeros(50), decoder, torch.zeros(D_MODEL), k=3, hook="x")


def test_top_examples_equal_a_naive_search(topk: Dictionary):
    found, f, _ = find(topk)
    for latent in range(topk.n_latents):
        best = f[:, :, latent].max(1)  # at most one of each sequence
        order = np.argsort(-best, kind="stable")
        order = order[best[order] > 0][:6]
        tokens = order * CONTEXT + f[order, :, latent].argmax(1)
        assert found.top.tokens[latent, : len(order)].tolist() == tokens.tolist()
        assert (found.top.tokens[latent, len(order) :] == -1).all()
        np.testing.assert_array_equal(found.top.activations[latent, : len(order)], best[order])
        assert (found.top.activations[latent, len(order) :] == 0).all()


def test_windows_hold_the_latent_around_each_event(topk: Dictionary):
    found, f, _ = find(topk)
    padded = np.pad(f, ((0, 0), (BEFORE, AFTER), (0, 0)))
    for events in (found.top, found.spread):
        for latent, slot in (events.tokens >= 0).nonzero().tolist():
            sequence, place = divmod(int(events.tokens[latent, slot]), CONTEXT)
            window = padded[sequence, place : place + BEFORE + 1 + AFTER, latent]
            np.testing.assert_array_equal(events.windows[latent, slot], window)


def test_counts_means_and_maxima_are_those_of_all_rows(topk: Dictionary):
    found, f, kept = find(topk)
    rows = f[kept.numpy()]
    assert found.rows == len(rows)
    np.testing.assert_array_equal(found.firings, (rows > 0).sum(0))
    np.testing.assert_array_equal(found.maxima, rows.max(0))
    np.testing.assert_allclose(found.means * found.firings, rows.sum(0), rtol=1e-5)


def test_histograms_are_exact(topk: Dictionary):
    found, f, kept = find(topk)
    rows = f[kept.numpy()]
    for latent in range(topk.n_latents):
        values = rows[:, latent][rows[:, latent] > 0]
        edges = np.arange(65) * float(found.widths[latent])
        np.testing.assert_array_equal(found.counts[latent], np.histogram(values, edges)[0])
        if len(values):
            assert edges[-1] / 2 <= values.max() < edges[-1]


@pytest.mark.parametrize("per_batch", [1, 13, 40])
def test_batches_do_not_change_what_is_found(topk: Dictionary, per_batch: int):
    whole, _, _ = find(topk, per_batch=40)
    cut, _, _ = find(topk, per_batch=per_batch)
    assert torch.equal(whole.top.tokens, cut.top.tokens)
    assert torch.equal(whole.spread.tokens, cut.spread.tokens)
    assert torch.equal(whole.counts, cut.counts)
    torch.testing.assert_close(whole.spread_ranks, cut.spread_ranks)


def test_spread_runs_through_the_ranks_one_event_per_sequence():
    dictionary = tied(directions(20, D_MODEL))  # relu: half of the rows fire
    found, f, kept = find(dictionary, sequences=60)
    rows = f[kept.numpy()]
    for latent in range(dictionary.n_latents):
        fired = np.sort(rows[:, latent][rows[:, latent] > 0])
        tokens, values = found.spread.tokens[latent], found.spread.activations[latent].numpy()
        assert len(set((tokens // CONTEXT).tolist())) == SPREAD
        assert (np.diff(values) <= 0).all()
        exact = np.searchsorted(fired, values, side="right") / len(fired)
        np.testing.assert_allclose(found.spread_ranks[latent], exact, atol=0.06)  # within one bin
    # on average over latents, the i-th of ten is at the middle of the i-th tenth
    np.testing.assert_allclose(found.spread_ranks.mean(0), np.arange(0.95, 0, -0.1), atol=0.05)


def test_sampled_sequences_are_drawn_in_proportion_to_their_firings():
    sequences = torch.tensor([0] * 9 + [1])  # of ten firings, nine are in the first sequence
    latents = torch.arange(20_000).repeat_interleave(10)
    tokens = torch.arange(10).repeat(20_000)
    keys = random_keys(latents, tokens).view(20_000, 10)
    assert keys.min() >= 1
    assert keys.max() < 2**31
    winners = keys.argmax(1)
    assert (sequences[winners] == 0).float().mean() == pytest.approx(0.9, abs=4 * (0.09 / 20_000) ** 0.5)
    counts = torch.bincount(winners, minlength=10).double()
    assert ((counts - 2000).square() / 2000).sum() < 27.9  # chi square of 9 degrees of freedom at 0.1 %


def test_a_latent_with_few_firings_shows_each_once():
    windows = torch.zeros(1, 24, BEFORE + 1 + AFTER)
    windows[0, :3, BEFORE] = torch.tensor([2.0, 5.0, 1.0])
    tokens = torch.full((1, 24), -1)
    tokens[0, :3] = torch.tensor([7, 8, 9])
    chosen = spread_out(Events(tokens, windows))
    assert chosen.tokens.tolist() == [[8, 7, 9] + [-1] * 7]
    assert chosen.activations.tolist() == [[5.0, 2.0, 1.0] + [0.0] * 7]


def test_dead_latents_have_no_examples():
    decoder = directions(4, D_MODEL)
    dictionary = Dictionary(decoder.T.contiguous(), torch.full((4,), -1e4), decoder, torch.zeros(D_MODEL), hook="x")
    found, _, _ = find(dictionary, sequences=5)
    assert isinstance(found, FeatureExamples)
    assert (found.top.tokens == -1).all()
    assert (found.spread.tokens == -1).all()
    assert not found.counts.any()
    assert found.firings.tolist() == [0] * 4
    assert found.means.isfinite().all()
    assert found.spread_ranks.isfinite().all()


def test_equal_activations_are_won_by_the_earlier_token():
    model, tokens, kept = text(6)
    model.rows = model.rows[:1].expand(len(model.rows), -1)  # every row is the same
    kept[:] = True
    [found] = top_examples(model, tokens, kept, [tied(directions(8, D_MODEL))], 3, 4)
    for latent in (found.firings > 0).nonzero()[:, 0].tolist():
        assert found.top.tokens[latent].tolist() == [0, CONTEXT, 2 * CONTEXT]


def test_one_pass_of_the_model_serves_every_dictionary(topk: Dictionary):
    model, tokens, kept = text(10)
    other = tied(directions(30, D_MODEL, seed=1))
    both = top_examples(model, tokens, kept, [topk, other], 4, 5)
    assert model.calls == 2
    [alone] = top_examples(model, tokens, kept, [other], 4, 5)
    assert torch.equal(both[1].top.tokens, alone.top.tokens)
