import math

import pytest
import torch

from analyze.pair_rows import compare_on_rows
from tests.analyze.planted import orthogonal, sparse_rows, tied


def every(dictionary):
    return torch.ones(dictionary.n_latents, dtype=torch.bool)


def test_planted_novelty_and_agreement_both_ways():
    features = orthogonal(12)
    small, large = tied(features[:8]), tied(features)
    rows = sparse_rows(features)
    forth = compare_on_rows(small, large, (every(small), every(large)), rows, torch.eye(32), 0)
    back = compare_on_rows(large, small, (every(large), every(small)), rows, torch.eye(32), 0)
    assert forth["stitching"]["novel"] == 0
    assert math.isnan(forth["stitching"]["auc"])
    assert back["stitching"]["novel"] == pytest.approx(4 / 12)
    assert back["stitching"]["auc"] == 1
    assert forth["functional"]["jaccard"] == pytest.approx(1, abs=1e-3)
    assert back["functional"]["jaccard"] < 0.8
    assert forth["meta"]["explained"] == pytest.approx(1, abs=1e-3)
    assert forth["meta"]["random"] < 0.6
    assert back["meta"]["explained"] == pytest.approx(8 / 12, abs=1e-3)
    assert forth["covariance_null"] < 0.5


def test_without_a_living_latent_there_is_nothing_to_say():
    dictionary = tied(orthogonal(4))
    none = torch.zeros(4, dtype=torch.bool)
    rows = sparse_rows(orthogonal(4))
    assert compare_on_rows(dictionary, dictionary, (none, every(dictionary)), rows, torch.eye(32), 0) == {}
