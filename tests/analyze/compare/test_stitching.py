import math

import numpy as np
import pytest
import torch

from analyze.compare import gains
from analyze.compare.gains import Refit
from analyze.compare.stitching import ITSELF, Rescaled, auc, insert, shrinkage
from tests.analyze.planted import directions, orthogonal, sparse_rows, tied
from winnow.dictionary import Dictionary


def at_gains(dictionary, rows, alive=None):
    return Rescaled.of(dictionary, torch.ones(dictionary.n_latents).bool() if alive is None else alive, rows)


def changes(latents_of, into, rows, **kwargs):
    refits = at_gains(latents_of, rows).refits, at_gains(into, rows).refits
    return insert(latents_of, into, rows, refits, **kwargs)


def as_it_is(dictionary):
    one = Refit(torch.ones(dictionary.n_latents).double(), torch.ones(dictionary.n_latents).bool(), dictionary.b_dec)
    return one, one


def overlapping(kind, n=48):
    """A dictionary of more directions than dimensions, which overlap: shrunken by a penalty, or topk."""
    decoder = directions(n)
    if kind == "relu":
        dictionary = tied(decoder, gain=0.3)
        dictionary.b_enc.data -= 0.1
        return dictionary
    return Dictionary(decoder.T.contiguous(), torch.zeros(n), decoder, torch.zeros(32), architecture="topk", k=3)


def test_planted_novel_latents_are_told_from_reconstructing_ones():
    features = orthogonal(10)
    small, large = tied(features[:6]), tied(features)
    assert (changes(large, small, sparse_rows(features)) < 0).tolist() == [False] * 6 + [True] * 4


def test_a_shrunken_dictionary_is_novel_to_itself_only_where_its_gains_are_left_out():
    dictionary, rows = overlapping("relu"), sparse_rows(directions(48), 4000, rate=0.04)
    as_they_are = insert(dictionary, dictionary, rows, (as_it_is(dictionary), as_it_is(dictionary)))
    assert (as_they_are < 0).double().mean() > 0.9
    assert at_gains(dictionary, rows).novel_to_itself == 0


def test_a_topk_dictionary_is_not_novel_to_itself():
    dictionary, rows = overlapping("topk"), sparse_rows(directions(48), 4000, rate=0.04)
    assert at_gains(dictionary, rows).novel_to_itself == 0


def test_gains_that_were_not_found_show_as_novelty_to_itself(monkeypatch):
    monkeypatch.setattr(gains, "STEPS", 0)
    dictionary, rows = overlapping("relu"), sparse_rows(directions(48), 4000, rate=0.04)
    assert at_gains(dictionary, rows).novel_to_itself > 10 * ITSELF


def test_a_latent_that_a_shrunken_dictionary_lacks_is_novel_and_its_own_are_not():
    features, lacking = directions(48), 5
    rows = sparse_rows(features, 4000, rate=0.04)
    whole = overlapping("relu")
    kept = torch.arange(48) != lacking
    part = Dictionary(whole.W_enc[:, kept], whole.b_enc[kept], whole.W_dec[kept], whole.b_dec)
    found = changes(whole, part, rows)
    assert (found < 0).nonzero()[:, 0].tolist() == [lacking]
    as_they_are = insert(whole, part, rows, (as_it_is(whole), as_it_is(part)))
    assert (as_they_are < 0).double().mean() > 0.9


def test_the_scale_of_latents_on_either_side_changes_nothing():
    a, b = overlapping("relu"), overlapping("relu", 40)
    rows = sparse_rows(directions(60, seed=2), 1000)
    expected = changes(a, b, rows)
    factors = torch.linspace(0.2, 3, 48)
    for dictionary in (a, b):
        for values in (dictionary.W_enc, dictionary.b_enc):
            values.data *= factors[: dictionary.n_latents]  # smaller and larger values, equal directions
    torch.testing.assert_close(changes(a, b, rows), expected, rtol=0.01, atol=2e-4)


def test_the_order_of_latents_changes_nothing():
    a, b = overlapping("relu"), overlapping("relu", 40)
    rows = sparse_rows(directions(60, seed=2), 1000)
    expected = changes(a, b, rows)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    mixed = Dictionary(b.W_enc[:, order], b.b_enc[order], b.W_dec[order], b.b_dec)
    torch.testing.assert_close(changes(a, mixed, rows), expected, rtol=0.01, atol=2e-4)
    torch.testing.assert_close(changes(mixed, a, rows), changes(b, a, rows)[order], rtol=0.01, atol=2e-4)


def test_change_equals_inserting_by_hand_at_the_gains_of_the_other_half():
    small, large = tied(directions(10)), tied(2 * directions(15, seed=1))
    rows = sparse_rows(directions(30, seed=2), 200)
    found = changes(large, small, rows, cells=640)
    hosts, inserted = at_gains(small, rows).refits, at_gains(large, rows).refits
    for j in range(15):
        differences = []
        for half in (0, 1):
            x = rows[1 - half :: 2]
            base = hosts[half].reconstruct(small, small.encode(x))
            added = inserted[half].gains[j] * large.encode(x)[:, j : j + 1].double() * large.W_dec[j]
            differences.append((x - base - added).double().square().sum(1) - (x - base).double().square().sum(1))
        assert found[j].item() == pytest.approx(torch.cat(differences).mean().item(), rel=1e-4, abs=1e-5)


def test_a_latent_that_fires_in_one_half_alone_is_not_judged():
    features = orthogonal(4)
    rows = sparse_rows(features)
    rows[::2] -= rows[::2] @ features[:1].T * features[:1]  # feature 0 is in the odd rows alone
    dictionary = tied(features)
    assert changes(dictionary, dictionary, rows).isnan().tolist() == [True, False, False, False]
    assert math.isnan(at_gains(dictionary, rows, torch.arange(4) == 0).novel_to_itself)


def test_a_halved_encoder_is_shrunken_by_two():
    features = orthogonal(6)
    rows = sparse_rows(features)
    torch.testing.assert_close(shrinkage(tied(features), rows), torch.ones(6, dtype=torch.float64), rtol=0, atol=3e-3)
    torch.testing.assert_close(
        shrinkage(tied(features, gain=0.5), rows), 2 * torch.ones(6, dtype=torch.float64), rtol=0, atol=3e-3
    )


def test_the_length_of_a_decoder_row_does_not_change_its_shrinkage():
    features = orthogonal(6)
    dictionary = tied(features, gain=0.5)
    expected = shrinkage(dictionary, sparse_rows(features))
    dictionary.W_dec.data *= 4
    dictionary.W_enc.data /= 4
    dictionary.b_enc.data /= 4
    torch.testing.assert_close(shrinkage(dictionary, sparse_rows(features)), expected, rtol=1e-4, atol=0)


def test_a_latent_that_never_fires_has_no_shrinkage():
    dictionary = tied(orthogonal(2))
    dictionary.b_enc.data[0] = -100
    assert math.isnan(shrinkage(dictionary, sparse_rows(orthogonal(2)))[0])


def test_auc_counts_ordered_pairs():
    scores, positive = np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, True, False, True])
    assert auc(scores, positive) == pytest.approx((1 + 0.5 + 1 + 1) / 4)
    assert auc(scores, scores > 0.3) == 1
    assert math.isnan(auc(scores, scores > 2))
    assert auc(np.ones(5), np.arange(5) < 2) == 0.5  # all tied
