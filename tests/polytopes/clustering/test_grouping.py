"""Planted centres come out again, names of representations, distances against those written out, and the controls."""

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score
from torch import Tensor

from polytopes.clustering.grouping import assign, by_size, hdbscan, kmeans
from polytopes.clustering.meaning import gain
from polytopes.clustering.representations import (
    Representation,
    euclidean,
    gaussian_rows,
    permuted_columns,
    representations,
)
from polytopes.clustering.stability import stability_of_draws
from winnow.errors import UserError

POST, CODE = Representation("post", (2,)), Representation("code", (2,))


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def planted(rows: int = 400) -> tuple[Tensor, np.ndarray]:
    """Rows about five centres, and the centre of each; about a tenth of the bits differ from the centre's."""
    label = np.random.default_rng(0).integers(5, size=rows)
    return 3 * draw(5, 64, seed=1)[label] + draw(rows, 64, seed=2), label


@pytest.mark.parametrize("representation", [POST, CODE])
def test_planted_centres_come_out(representation: Representation):
    rows, label = planted()
    distances = representation.distances(rows)
    before = distances.clone()
    found = hdbscan(distances, 8, 3)
    assert torch.equal(distances, before)
    assert found.max() == 4
    inside = found >= 0
    assert inside.mean() > 0.8
    assert adjusted_rand_score(label[inside], found[inside]) == 1
    told = gain(found, label, 0)
    assert told is not None
    assert told.gain is not None
    assert told.gain > 0.95
    stable = stability_of_draws(
        lambda drawn: hdbscan(distances[torch.from_numpy(drawn)][:, torch.from_numpy(drawn)], 8, 3), len(rows), 0
    )
    assert stable.ari == 1
    assert stable.share > 0.7


def test_kmeans_covers_every_row_and_is_the_same_each_time():
    rows, label = planted()
    found = kmeans(rows, seed=0, centres=5)
    assert adjusted_rand_score(label, found) == 1
    np.testing.assert_array_equal(found, kmeans(rows, seed=0, centres=5))
    assert kmeans(rows, seed=0).max() == 39  # a tenth of the rows
    assert np.all(np.diff(np.bincount(found)) <= 0)  # the largest is the first


def test_rows_that_were_not_clustered_get_their_nearest_members_cluster():
    rows, label = planted(800)
    found = hdbscan(POST.distances(rows[:400]), 8, 3)
    rest = assign(POST, rows[400:], rows[:400], found)
    assert rest.shape == (400,)
    assert adjusted_rand_score(label[400:][rest >= 0], rest[rest >= 0]) == 1
    np.testing.assert_array_equal(assign(POST, rows[:400], rows[:400], found), found)
    beside_noise = assign(POST, rows[:1], rows[:2], np.array([-1, 3]))
    assert beside_noise.tolist() == [-1]
    assert len(assign(POST, rows[:0], rows[:400], found)) == 0


def test_distances_are_those_of_the_definition_and_exactly_symmetric():
    rows, others = draw(30, 9, seed=3) + 100, draw(7, 9, seed=4) + 100
    expected = (rows.double()[:, None] - others.double()).norm(dim=2)
    torch.testing.assert_close(euclidean(rows, others), expected, rtol=1e-9, atol=1e-9)
    for representation in (POST, CODE):
        full = representation.distances(rows - 100)
        assert torch.equal(full, full.T)
        assert full.diagonal().abs().max() == 0
    s, t = rows[0] > 100, others[0] > 100
    jaccard = 1 - (s & t).sum() / (s | t).sum()
    assert CODE.distances(rows - 100, others - 100)[0, 0].item() == pytest.approx(jaccard.item())


def test_names_of_representations():
    found = representations(["post:*", "code:1", "code:0-2", "code:1-1"], range(3))
    assert [one.name for one in found] == ["post:0", "post:1", "post:2", "code:1", "code:0-2"]
    assert found[-1] == Representation("code", (0, 1, 2))
    assert representations(["code:all", "code:0-2"], range(3)) == [found[-1]]
    assert [one.name for one in representations(["code:all"], (1, 4, 9))] == ["code:1+4+9"]
    assert [one.name for one in representations(["code:all"], (1,))] == ["code:1"]
    for wrong in ("post", "post:a", "post:0-1", "codes:1", "code:1-", "code:*-2", "post:all"):
        with pytest.raises(UserError, match="is none; there are post:L, code:L and code:L-K"):
            representations([wrong], range(3))
    for wrong in ("post:3", "code:2-1", "code:1-3"):
        with pytest.raises(UserError, match=f"'{wrong}': the layers looked at are 0, 1, 2; name"):
            representations([wrong], range(3))
    assert [one.name for one in representations(["code:*"], (1, 4))] == ["code:1", "code:4"]
    with pytest.raises(UserError, match="'code:1-4': the layers looked at are 1, 4; name"):
        representations(["code:1-4"], (1, 4))


def test_clusters_are_numbered_from_the_largest():
    assert by_size(np.array([4, -1, 2, 2, 4, 7, 2])).tolist() == [1, -1, 0, 0, 1, 2, 0]
    assert by_size(np.array([-1, -1])).tolist() == [-1, -1]
    assert hdbscan(torch.zeros(3, 3), 8, 3).tolist() == [-1, -1, -1]


def test_gaussian_rows_have_mean_and_covariance_and_no_clusters():
    rows, label = planted(2000)
    drawn = gaussian_rows(rows, 0)
    torch.testing.assert_close(drawn.mean(0), rows.mean(0), atol=0.3, rtol=0)
    assert (drawn.T.cov() - rows.T.cov()).norm() < 0.1 * rows.T.cov().norm()
    told = gain(hdbscan(POST.distances(drawn), 8, 3), label, 0)
    assert told is None or (told.z is not None and abs(told.z) < 4)


def test_permuted_columns_keep_each_neurons_rate_only():
    rows, label = planted()
    permuted = permuted_columns(rows, 0)
    torch.testing.assert_close(permuted.sort(0).values, rows.sort(0).values)
    assert abs(np.corrcoef(permuted[:, 0], permuted[:, 1])[0, 1]) < 0.15
    told = gain(hdbscan(CODE.distances(permuted), 8, 3), label, 0)
    assert told is not None  # a few clusters come out of this, too
    assert told.z is not None
    assert abs(told.z) < 4


def test_a_group_of_most_rows_is_looked_into():
    """Twelve dense groups in a thin cloud: without the limit the cloud and one of the groups are one cluster."""
    label = np.arange(180) % 12
    groups = 2 * draw(12, 16, seed=1)[label] + draw(180, 16, seed=3) / 2
    found = hdbscan(POST.distances(torch.cat([groups, draw(600, 16, seed=4)])), 8, 3)
    assert np.bincount(found[found >= 0]).max() <= 390
    assert adjusted_rand_score(label, found[:180]) == 1
    assert not set(found[:180]) & set(found[180:])
