import pytest
import torch

from analyze.compare.cosines import unit
from analyze.compare.families import relate, summarise_families
from tests.analyze.planted import directions, orthogonal, sparse_rows, tied


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
    assert rests(found) == {"mutual": 0, "by_cosine": 0, "by_masked": 0, "by_both": 0}


def rests(found):
    return {key: found[key] for key in ("mutual", "by_cosine", "by_masked", "by_both")}


def test_edges_say_what_they_rest_on_and_whether_they_are_mutual():
    features = orthogonal(12)
    parent = unit(features[:1] + features[1:2] + features[2:3])  # cosine 0.58 with each of its three children
    elsewhere = unit(features[5:6] + 1.2 * features[6:7])  # cosine 0.64 with feature 5, on whose rows it fires alike
    small = tied(torch.cat([parent, features[3:5], elsewhere, features[8:9]]))
    large = tied(torch.cat([features[:6], features[8:9], features[8:9]]))
    rows = sparse_rows(features, 4000, rate=0.03)
    found = summarise_families(relate(small, large, every(small, large), rows), "small", "large")
    assert {(i, j) for i, j, *_ in found["edges"]} == {
        *((0, 0), (0, 1), (0, 2), (3, 5)),  # fire alike, point elsewhere
        *((1, 3), (2, 4), (4, 6), (4, 7)),  # point alike and fire alike
    }
    assert rests(found) == {"mutual": 5, "by_cosine": 0, "by_masked": 4, "by_both": 4}


def test_edges_by_cosine_alone_are_counted_where_equal_directions_fire_on_other_rows():
    features = orthogonal(6)
    small, large = tied(features[:4]), tied(features[:4])
    for i in (0, 1):  # reads another feature than it writes
        large.W_enc.data[:, i] = features[4 + i]
    found = summarise_families(relate(small, large, every(small, large), sparse_rows(features, 4000)), "s", "l")
    assert rests(found) == {"mutual": 4, "by_cosine": 2, "by_masked": 0, "by_both": 2}


def test_only_one_of_two_children_is_its_parents_nearest():
    features = orthogonal(4)
    left, right = unit(features[:1] + 0.3 * features[1:2]), unit(features[:1] - 0.2 * features[1:2])
    small, large = tied(features[:1]), tied(torch.cat([left, right]))
    found = summarise_families(relate(small, large, every(small, large), sparse_rows(features)), "s", "l")
    assert len(found["edges"]) == 2
    assert found["mutual"] == 1


def test_in_few_dimensions_random_directions_have_edges_and_their_number_stands_beside():
    rows = torch.zeros(100, 8)  # nothing fires
    small, large = tied(directions(200, 8)), tied(directions(400, 8, seed=1))
    found = summarise_families(relate(small, large, every(small, large), rows), "s", "l")
    assert found["by_cosine"] == len(found["edges"]) > 1000
    assert found["cosine_random"] == pytest.approx(found["by_cosine"], rel=0.1)
    wide = tied(directions(40, 64)), tied(directions(80, 64, seed=1))
    found = summarise_families(relate(*wide, every(*wide), torch.zeros(100, 64)), "s", "l")
    assert found["cosine_random"] == len(found["edges"]) == 0


def test_where_a_size_has_no_living_feature_there_are_no_fates():
    dictionary = tied(orthogonal(4))
    some, none = torch.ones(4, dtype=torch.bool), torch.zeros(4, dtype=torch.bool)
    for alive in ((some, none), (none, some), (none, none)):
        found = summarise_families(relate(dictionary, dictionary, alive, sparse_rows(orthogonal(4))), "s", "l")
        assert {found[key] for key in ("persists", "splits", "vanished", "new", "merges")} == {None}
        assert found["edges"] == []
