import pytest
import torch

from analyze.compare.cosines import unit
from analyze.compare.decoder_null import decoder_null
from analyze.features.neighbours import Relative, nearest_latents, relatives
from tests.analyze.planted import directions, orthogonal


def test_planted_neighbours_are_found_and_the_dead_are_not():
    features = orthogonal(8)
    mixed = unit(features[:4] + 0.5 * features[4:])
    alive = torch.tensor([True, True, True, False, True, True, True, True])
    found = nearest_latents(mixed, features, alive)
    assert found.latents[:3, :2].tolist() == [[0, 4], [1, 5], [2, 6]]
    assert found.latents[3, 0] == 7  # 3, which is nearer, is dead
    torch.testing.assert_close(found.cosines[0, :2], torch.tensor([2.0, 1.0]) / 5**0.5)
    assert found.chance == decoder_null(mixed, features[alive]).mean
    own = torch.tensor([True, False, False, True])
    assert (
        nearest_latents(mixed, features, alive, own_alive=own).chance == decoder_null(mixed[own], features[alive]).mean
    )


def test_chance_is_what_random_directions_give():
    a, b = directions(400, 32, seed=1), directions(300, 32, seed=2)
    found = nearest_latents(a, b, torch.ones(300, dtype=torch.bool))
    assert found.cosines[:, 0].mean() == pytest.approx(found.chance, abs=0.01)


def test_fewer_living_than_asked_for_are_all_there_are():
    alive = torch.tensor([False, True, False])
    assert nearest_latents(directions(5), directions(3), alive).latents.tolist() == [[1]] * 5
    none = nearest_latents(directions(5), directions(3), alive & False)
    assert none.latents.shape == (5, 0)
    assert none.chance is None


def test_relatives_are_read_from_both_sides_strongest_first():
    families = [
        {"from": "s", "to": "m", "edges": [[0, 5, 0.7, 0.1], [0, 6, 0.2, 0.9], [1, 5, 0.8, None]]},
        {"from": "m", "to": "l", "edges": [[5, 9, 0.75, 0.6]]},
    ]
    parents, children = relatives(families, "m")
    assert parents == {5: [Relative("s", 1, 0.8, None), Relative("s", 0, 0.7, 0.1)], 6: [Relative("s", 0, 0.2, 0.9)]}
    assert children == {5: [Relative("l", 9, 0.75, 0.6)]}
    assert relatives(families, "s") == (
        {},
        {0: [Relative("m", 6, 0.2, 0.9), Relative("m", 5, 0.7, 0.1)], 1: [Relative("m", 5, 0.8, None)]},
    )
