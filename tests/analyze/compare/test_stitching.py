import math

import numpy as np
import pytest
import torch

from analyze.compare.stitching import auc, insert, shrinkage
from tests.analyze.planted import directions, orthogonal, sparse_rows, tied


def test_planted_novel_latents_are_told_from_reconstructing_ones():
    features = orthogonal(10)
    small, large = tied(features[:6]), tied(features)
    found = insert(large, small, sparse_rows(features))
    assert found.novel.tolist() == [False] * 6 + [True] * 4


def test_change_equals_inserting_by_hand():
    small, large = tied(directions(10)), tied(2 * directions(15, seed=1))
    rows = sparse_rows(directions(30, seed=2), 200)
    found = insert(large, small, rows, cells=640)
    base = small(rows)
    before = (rows - base).double().square().sum(1).mean()
    f = large.encode(rows)
    for j in range(15):
        after = (rows - base - f[:, j : j + 1] * large.W_dec[j]).double().square().sum(1).mean()
        assert found.change[j].item() == pytest.approx((after - before).item(), rel=1e-4, abs=1e-5)


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
