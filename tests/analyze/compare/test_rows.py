import math

import pytest
import torch

from analyze.compare.cosines import nearest_cosines
from analyze.compare.families import relate
from analyze.compare.functional import functional_agreement
from analyze.compare.rows import compare_on_rows
from analyze.compare.stitching import Rescaled
from tests.analyze.planted import directions, orthogonal, sparse_rows, tied


def every(dictionary):
    return torch.ones(dictionary.n_latents, dtype=torch.bool)


def test_planted_novelty_and_agreement_both_ways():
    features = orthogonal(12)
    small, large = tied(features[:8]), tied(features)
    rows = sparse_rows(features)
    forth, back, relations = compare_on_rows(small, large, (every(small), every(large)), rows)
    assert forth["stitching"]["novel"] == 0
    assert math.isnan(forth["stitching"]["auc"])
    assert back["stitching"]["novel"] == pytest.approx(4 / 12)
    assert back["stitching"]["auc"] == 1
    assert forth["stitching"]["novel_to_itself"] == back["stitching"]["novel_to_itself"] == 0
    assert forth["functional"]["jaccard"] == pytest.approx(1, abs=1e-3)
    assert back["functional"]["jaccard"] < 0.8
    assert relations.edges.tolist() == [[i, i] for i in range(8)]


def test_both_ways_at_once_equals_each_way_alone():
    a, b = tied(directions(20)), tied(directions(30, seed=1))
    rows = sparse_rows(directions(40, seed=2), 500)
    alive = every(a).logical_and(torch.arange(20) != 3), every(b).logical_and(torch.arange(30) != 7)
    forth, back, relations = compare_on_rows(a, b, alive, rows)
    turned = compare_on_rows(b, a, (alive[1], alive[0]), rows)
    assert turned.forth["functional"] == pytest.approx(back["functional"])
    assert turned.forth["stitching"] == pytest.approx(back["stitching"])
    assert turned.back["functional"] == pytest.approx(forth["functional"])
    alone = relate(a, b, alive, rows)
    assert torch.equal(relations.edges, alone.edges)
    assert torch.equal(relations.children, alone.children)
    near = nearest_cosines(a.W_dec[alive[0]], b.W_dec[alive[1]], 1).indices[:, 0]
    mine, theirs = (mask.nonzero()[:, 0] for mask in alive)
    expected = functional_agreement(a, b, rows, (mine, theirs[near]))
    assert forth["functional"]["jaccard"] == pytest.approx(expected.jaccard.nanmean().item())
    assert forth["functional"]["masked_to_target"] == pytest.approx(expected.masked_to_b.nanmean().item())


@pytest.mark.parametrize("shares", [(0.03, 0.0), (0.0, 0.03), (math.nan, 0.0), (0.0, math.nan)])
def test_novelty_is_not_told_where_a_dictionary_is_novel_to_itself(shares):
    features = orthogonal(12)
    small, large = tied(features[:8]), tied(features)
    rows, alive = sparse_rows(features), (every(small), every(large))
    of_small = Rescaled.of(small, alive[0], rows)._replace(novel_to_itself=shares[0])
    of_large = Rescaled.of(large, alive[1], rows)._replace(novel_to_itself=shares[1])
    found = compare_on_rows(small, large, alive, rows, (of_small, of_large))
    for one in found[:2]:
        assert math.isnan(one["stitching"]["novel"])
        assert math.isnan(one["stitching"]["auc"])
        assert one["stitching"]["novel_to_itself"] == pytest.approx(sum(shares), nan_ok=True)
        assert one["functional"]["jaccard"] > 0


def test_without_a_living_latent_there_is_nothing_to_say():
    dictionary = tied(orthogonal(4))
    none = torch.zeros(4, dtype=torch.bool)
    rows = sparse_rows(orthogonal(4))
    forth, back, relations = compare_on_rows(dictionary, dictionary, (none, every(dictionary)), rows)
    assert forth == back == {"functional": None, "stitching": None}
    assert len(relations.children) == 0
    assert relations.parents.tolist() == [0, 0, 0, 0]
