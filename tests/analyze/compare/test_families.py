import torch

from analyze.compare.cosines import unit
from analyze.compare.families import relate, summarise_families
from tests.analyze.planted import orthogonal, sparse_rows, tied


def every(small, large):
    return torch.ones(small.n_latents, dtype=torch.bool), torch.ones(large.n_latents, dtype=torch.bool)


def test_planted_fates_are_found():
    features = orthogonal(10)
    parent = unit(features[:1] + features[1:2])  # splits into features 0 and 1
    small = tied(torch.cat([parent, features[2:5], features[8:9]]))  # 2, 3, 4 persist; 8 vanishes
    large = tied(torch.cat([features[:5], features[6:8]]))  # 6, 7 are new
    rows = sparse_rows(features, 4000, rate=0.05)
    found = summarise_families(relate(small, large, every(small, large), rows), "small", "large")
    assert {key: found[key] for key in ("persists", "splits", "vanished", "new", "merges")} == {
        "persists": 3,
        "splits": 1,
        "vanished": 1,
        "new": 2,
        "merges": 0,
    }
    assert {(i, j) for i, j, *_ in found["edges"]} == {(0, 0), (0, 1), (1, 2), (2, 3), (3, 4)}


def test_two_copies_merge_into_one():
    features = orthogonal(3)
    small, large = tied(features[[0, 0, 1]]), tied(features)
    found = summarise_families(relate(small, large, every(small, large), sparse_rows(features)), "s", "l")
    assert (found["merges"], found["new"], found["persists"]) == (1, 1, 3)


def test_the_dead_have_no_relatives():
    features = orthogonal(4)
    dictionary = tied(features)
    half = torch.tensor([True, True, False, False])
    found = relate(dictionary, dictionary, (half, half), sparse_rows(features))
    assert found.edges.tolist() == [[0, 0], [1, 1]]
    assert len(found.children) == len(found.parents) == 2


def test_without_living_features_there_is_no_family():
    dictionary = tied(orthogonal(4))
    none = torch.zeros(4, dtype=torch.bool)
    found = summarise_families(relate(dictionary, dictionary, (none, none), sparse_rows(orthogonal(4))), "s", "l")
    assert found["edges"] == []


def test_where_a_size_has_no_living_feature_there_are_no_fates():
    dictionary = tied(orthogonal(4))
    some, none = torch.ones(4, dtype=torch.bool), torch.zeros(4, dtype=torch.bool)
    for alive in ((some, none), (none, some), (none, none)):
        found = summarise_families(relate(dictionary, dictionary, alive, sparse_rows(orthogonal(4))), "s", "l")
        assert {found[key] for key in ("persists", "splits", "vanished", "new", "merges")} == {None}
        assert found["edges"] == []
