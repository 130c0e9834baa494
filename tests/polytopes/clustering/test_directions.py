"""Sets of rows by direction, ball and chance, each against a naive reference."""

import numpy as np
import pytest
import torch
from torch import Tensor

from polytopes.clustering import directions
from polytopes.clustering.meaning import set_entropies
from polytopes.clustering.representations import euclidean
from winnow.errors import UserError


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_top_rows_are_the_highest_and_ties_go_by_row():
    scores = torch.tensor([[1.0, 0.0], [3.0, 0.0], [2.0, 5.0], [3.0, 0.0]])
    assert directions.top_rows(scores, 2).tolist() == [[1, 3], [2, 0]]
    for m in (0, 5):
        with pytest.raises(UserError, match=f"the top {m} of 4 rows"):
            directions.top_rows(scores, m)


def test_latents_that_fire_on_too_few_rows_are_left_out():
    latents = torch.tensor([[1.0, 0.0, 2.0], [0.0, 0.0, 3.0], [0.0, 4.0, 1.0]])
    assert directions.firing_rows(latents, 2).tolist() == [[1, 0]]
    assert directions.firing_rows(latents, 3).tolist() == [[1, 0, 2]]


def test_principal_components_find_a_planted_direction_and_its_opposite():
    direction = torch.zeros(20)
    direction[3] = 1
    amount = draw(500, seed=1)
    rows = 10 * amount[:, None] * direction + draw(500, 20, seed=2)
    scores = directions.pca_scores(rows, 4)
    assert scores.shape == (500, 8)
    tops = [set(found) for found in directions.top_rows(scores[:, [0, 4]], 20).tolist()]
    ends = [set(amount.topk(20).indices.tolist()), set((-amount).topk(20).indices.tolist())]
    assert max(len(tops[0] & end) for end in ends) > 15
    assert max(len(tops[1] & end) for end in ends) > 15
    assert not tops[0] & tops[1]


def test_nmf_finds_planted_parts():
    parts = torch.zeros(3, 12)
    for number in range(3):
        parts[number, 4 * number : 4 * number + 4] = 1
    owner = np.random.default_rng(0).integers(3, size=300)
    rows = parts[owner] + 0.05 * draw(300, 12, seed=3)
    tops = directions.top_rows(directions.nmf_scores(rows, 0, components=3), 40)
    np.testing.assert_allclose(set_entropies(tops, owner), 0)
    assert set(owner[tops[:, 0]]) == {0, 1, 2}
    turned = directions.top_rows(directions.nmf_scores(-rows, 0, components=3, signed=True), 40)
    np.testing.assert_allclose(set_entropies(turned, owner), 0)
    assert torch.equal(directions.nmf_scores(rows, 0, 3), directions.nmf_scores(rows, 0, 3))


def test_balls_are_the_nearest_rows():
    rows = draw(50, 3, seed=4)
    centres = directions.some_rows(50, 0, 7)
    assert len(set(centres.tolist())) == 7
    found = directions.balls(euclidean(rows), centres, 5)
    for centre, ball in zip(centres, found, strict=True):
        expected = (rows - rows[centre]).norm(dim=1).argsort()[:5]
        assert ball.tolist() == expected.tolist()
        assert ball[0] == centre


def test_small_regions_are_purer_than_directions_and_those_than_chance():
    """Labels that change slowly in space: why a cluster must be compared with balls."""
    rows = draw(3000, 6, seed=5)
    label = (rows[:, :3] > 0).long() @ torch.tensor([1, 2, 4])
    label = label.numpy()
    ball = set_entropies(directions.balls(euclidean(rows), directions.some_rows(3000, 0), 20), label)
    direction = set_entropies(directions.top_rows(directions.random_scores(rows, 0), 20), label)
    chance = set_entropies(directions.random_sets(3000, 20, 0), label)
    assert len(ball) == len(direction) == len(chance) == 100
    assert np.median(ball) < np.median(direction) - 0.05
    assert np.median(direction) < np.median(chance) - 0.2


def test_random_sets_have_no_row_twice():
    assert all(len(set(one)) == 30 for one in directions.random_sets(40, 30, 0).tolist())
