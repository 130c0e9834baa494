from itertools import pairwise

import numpy as np
import torch

from analyze.compare.families import relate
from analyze.compare.lineages import follow, ladders, lineages, summarise_lineages
from tests.analyze.planted import orthogonal, sparse_rows, tied


def every(*sizes):
    return [torch.ones(n, dtype=torch.bool) for n in sizes]


def edges(*pairs):
    return torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2)


def test_fates_over_three_sizes_follow_the_edges():
    # 0 persists twice; 1 splits at once; 2 persists, then splits; 3 vanishes; middle 5 and large 6 are new
    first = edges((0, 0), (1, 1), (1, 2), (2, 3))
    second = edges((0, 0), (1, 1), (2, 2), (3, 3), (3, 4), (5, 5))
    found = lineages([first, second], every(4, 6, 7))
    assert found.descendants[0].tolist() == [1, 2, 2, 0]
    assert found.descendants[1].tolist() == [1, 1, 1, 2, 0, 1]
    assert found.ancestors[2].tolist() == [1, 1, 1, 1, 1, 0, 0]
    assert found.born[1].tolist() == [0, 0, 0, 0, 1, 1]
    assert found.born[2].tolist() == [0, 0, 0, 0, 0, 1, 2]
    np.testing.assert_allclose(found.survival, [[1, 3 / 4, 3 / 4], [np.nan, 1, 5 / 6], [np.nan, np.nan, 1]])
    said = summarise_lineages(found, ["a", "b", "c"])
    assert said["sizes"][0]["to_largest"] == {"persists": 1, "splits": 2, "vanished": 1}
    assert said["sizes"][2]["from_smallest"] == {"persists": 5, "merges": 0, "new": 2}
    assert said["sizes"][2]["born_counts"].tolist() == [5, 1, 1]


def test_two_paths_to_one_descendant_count_once_and_two_ancestors_are_a_merge():
    split_and_joined = [edges((0, 0), (0, 1), (1, 1)), edges((0, 0), (1, 0))]
    found = lineages(split_and_joined, every(2, 2, 1))
    assert found.descendants[0].tolist() == [1, 1]
    assert found.ancestors[2].tolist() == [2]
    assert summarise_lineages(found, "abc")["sizes"][2]["from_smallest"]["merges"] == 1


def test_the_dead_are_left_out_and_latents_keep_their_numbers():
    alive = [torch.tensor([False, True]), torch.tensor([True, False, True]), torch.tensor([False, True])]
    found = lineages([edges((1, 2)), edges((2, 1))], alive)
    assert [latents.tolist() for latents in found.latents] == [[1], [0, 2], [1]]
    assert found.born[2].tolist() == [0]
    assert found.descendants[1].tolist() == [0, 1]


def test_without_living_features_there_are_no_lineages():
    none = [~mask for mask in every(2, 3, 4)]
    found = lineages([edges(), edges()], none)
    assert all(len(latents) == 0 for latents in found.latents)
    assert np.isnan(found.survival).all()


def test_planted_features_are_followed_through_dictionaries():
    features = orthogonal(8)
    parent = (features[0] + features[1]) / 2**0.5
    sizes = [tied(torch.stack([parent, features[2]])), tied(features[:4]), tied(features)]
    rows = sparse_rows(features, 4000, rate=0.05)
    alive = every(2, 4, 8)
    relations = [relate(a, b, (alive[s], alive[s + 1]), rows) for s, (a, b) in enumerate(pairwise(sizes))]
    found = lineages([r.edges for r in relations], alive)
    assert found.descendants[0].tolist() == [2, 1]
    assert found.born[2].tolist() == [0, 0, 0, 1, 2, 2, 2, 2]


def test_families_of_neighbours_are_joined_into_ladders():
    steps = [{"from": a, "to": b} for a, b in (("b", "c"), ("a", "b"), ("x", "y"), ("c", "d"))]
    assert [[f["from"] for f in chain] for chain in ladders(steps)] == [["a", "b", "c"], ["x"]]


def test_only_ladders_of_three_sizes_have_lineages(tmp_path):
    alive = dict(zip("abcxy", every(2, 2, 2, 2, 2), strict=True))
    steps = [("a", "b", [[0, 1, 0.9, 0.8]]), ("b", "c", [[1, 0, 0.9, 0.8]]), ("x", "y", [])]
    families = [{"from": a, "to": b, "edges": edges} for a, b, edges in steps]
    (found,) = follow(families, alive, dict.fromkeys("abcxy", "hash"), tmp_path)
    assert found["paths"] == ["a", "b", "c"]
    table = (tmp_path / found["latents_csv"]).read_text().splitlines()
    assert table[:3] == ["size,latent,descendants,ancestors,born", "0,0,1,1,0", "0,1,0,1,0"]
    assert len(table) == 1 + 6


def test_towards_a_size_without_a_living_feature_nothing_survives_or_vanishes():
    alive = [*every(2, 2), torch.zeros(3, dtype=torch.bool)]
    found = lineages([edges((0, 0)), edges()], alive)
    np.testing.assert_array_equal(found.survival, [[1, 0.5, np.nan], [np.nan, 1, np.nan], [np.nan, np.nan, np.nan]])
    sizes = summarise_lineages(found, "abc")["sizes"]
    assert [set(size["to_largest"].values()) for size in sizes] == [{None}] * 3
    assert sizes[1]["from_smallest"] == {"persists": 1, "merges": 0, "new": 1}
    assert set(sizes[2]["from_smallest"].values()) == {None}
