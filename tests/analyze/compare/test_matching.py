import math

import numpy as np
import pytest
import torch

from analyze.compare.cosines import unit
from analyze.compare.matching import match, shared_fraction


def directions(n, d=16, seed=0):
    return unit(torch.randn(n, d, generator=torch.Generator().manual_seed(seed)))


@pytest.mark.parametrize("dense", [10**9, 0])
def test_a_permutation_is_found(dense):
    a = directions(40)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    found = match(a, a[order] * 3, dense=dense)
    back = np.empty(40, int)
    back[found.a] = found.b
    assert np.array_equal(order.numpy()[back], np.arange(40))
    assert found.mean == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("dense", [10**9, 0])
def test_a_copy_may_be_had_only_once(dense):
    small = directions(10)
    copies = small[torch.zeros(10, dtype=torch.int64)]
    found = match(copies, small, dense=dense)
    assert (found.cosines > 0.99).sum() == 1


def test_candidates_agree_with_the_dense_assignment():
    a, b = directions(60), directions(80, seed=1)
    exact, near = match(a, b), match(a, b, dense=0, candidates=40)
    assert near.cosines.sum() == pytest.approx(exact.cosines.sum(), rel=1e-6)


def test_a_row_whose_candidates_are_taken_stays_alone_with_cosine_zero():
    a = torch.eye(4)[:2] + torch.tensor([[0.0, 0, 0, 0], [1, 0, 0, 0]])  # both nearest to b[0]
    b = torch.stack([torch.eye(4)[0], torch.eye(4)[3], torch.eye(4)[2]])
    found = match(a, b, dense=0, candidates=1)
    assert dict(zip(found.a.tolist(), found.b.tolist(), strict=True)) == {0: 0, 1: -1}
    assert sorted(found.cosines.tolist()) == [0, 1]


def test_the_larger_dictionary_may_come_first():
    small, large = directions(10), torch.cat([directions(10), directions(20, seed=1)])
    found = match(large, small)
    assert len(found.a) == 10
    assert np.array_equal(found.a, found.b)
    assert found.share_above(0.9) == 1


def test_shared_needs_encoder_and_decoder_to_agree():
    decoder, encoder = directions(20), directions(20, seed=1)
    other = encoder.clone()
    other[:5] = encoder[[1, 2, 3, 4, 0]]  # same decoders, encoders swapped around
    matching = match(decoder, decoder)
    assert shared_fraction((encoder, encoder), matching) == 1
    assert shared_fraction((encoder, other), matching) == 15 / 20


def test_shared_counts_all_features_of_the_first():
    small, large = directions(10), torch.cat([directions(10), directions(10, seed=1)])
    assert shared_fraction((small, large), match(small, large)) == 1
    assert shared_fraction((large, small), match(large, small)) == 0.5


def test_nothing_to_match_is_nan():
    assert math.isnan(match(directions(0), directions(3)).mean)


def test_with_no_rows_on_a_side_no_share_is_shared():
    some, none = directions(5), directions(0)
    for a, b in ((some, none), (none, some)):
        assert math.isnan(shared_fraction((a, b), match(a, b)))
        assert math.isnan(match(a, b).mean)
        assert math.isnan(match(a, b).share_above(0.7))
