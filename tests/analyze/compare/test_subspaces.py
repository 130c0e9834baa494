import math

import pytest
import torch

from analyze.compare.subspaces import angles, leading, linear_cka, permuted, principal_angles, subspaces, svcca
from tests.analyze.planted import directions, orthogonal, sparse_rows, tied


def normal(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def rotation(d, seed=5):
    return torch.linalg.qr(normal(d, d, seed)).Q


@pytest.mark.parametrize("angle", [1e-6, 0.3, 1.2, math.pi / 2])
def test_the_angle_between_two_tilted_planes(angle):
    plane = torch.eye(4, dtype=torch.float64)[:2]
    tilted = plane.clone()
    tilted[1, 1:3] = torch.tensor([math.cos(angle), math.sin(angle)])
    found = principal_angles(plane @ plane.T @ plane, tilted)
    torch.testing.assert_close(found, torch.tensor([0.0, angle], dtype=torch.float64), rtol=1e-6, atol=1e-9)


def test_angles_know_spans_and_not_the_vectors_that_span_them():
    basis = orthogonal(5)
    torch.testing.assert_close(
        principal_angles(basis, normal(9, 5) @ basis), torch.zeros(5).double(), rtol=0, atol=1e-5
    )
    assert len(principal_angles(basis, basis[:2])) == 2


def test_a_leading_subspace_holds_the_share_asked_for():
    found = leading(torch.diag(torch.tensor([3.0, 2.0, 1.0, 0.1])), 0.9)
    assert len(found) == 2  # 13 of 14.01
    torch.testing.assert_close(found.abs(), torch.eye(4).double()[:2])
    assert len(leading(orthogonal(7), 1.0)) == 7


def test_cka_is_one_for_a_rotated_copy_and_equals_its_definition_by_gram_matrices():
    x, y = normal(40, 6), normal(40, 9, seed=1)
    assert linear_cka(x, 3 * x @ rotation(6) + 2) == pytest.approx(1)
    centre = torch.eye(40).double() - 1 / 40
    k, m = (centre @ z.double() @ z.double().T @ centre for z in (x, y))
    expected = (k * m).sum() / (k.norm() * m.norm())
    assert linear_cka(x, y) == pytest.approx(expected.item())


def test_svcca_is_one_for_any_invertible_map_and_equals_cca_by_whitening():
    x, y = normal(60, 4), normal(60, 5, seed=1)
    assert svcca(x, x @ normal(4, 4, seed=2), 1.0) == pytest.approx(1)
    x0, y0 = (z.double() - z.double().mean(0) for z in (x, y))

    def inverse_root(matrix):
        values, vectors = torch.linalg.eigh(matrix)
        return vectors @ torch.diag(values.rsqrt()) @ vectors.T

    joint = inverse_root(x0.T @ x0) @ x0.T @ y0 @ inverse_root(y0.T @ y0)
    assert svcca(x, y, 1.0) == pytest.approx(torch.linalg.svdvals(joint).mean().item())


def test_unrelated_pairs_are_within_their_chance_and_related_ones_are_not():
    generator = torch.Generator().manual_seed(0)
    x = normal(80, 6)
    related = permuted(x, x @ rotation(6) + 0.3 * normal(80, 6, 2), generator, times=39)
    unrelated = permuted(x, normal(80, 6, 3), generator, times=39)
    for name in ("cka", "svcca"):
        assert related[name]["p"] == 1 / 40
        assert related[name]["score"] > 0.8 > 2 * related[name]["null"]
        assert unrelated[name]["p"] > 0.05
        assert unrelated[name]["score"] == pytest.approx(unrelated[name]["null"], rel=0.4)


@pytest.mark.parametrize(("n", "m", "d"), [(1, 1, 3), (3, 5, 9), (6, 4, 24)])
def test_random_subspaces_overlap_as_simulated_ones_do(n, m, d):
    generator = torch.Generator().manual_seed(0)

    def space(k):
        return torch.linalg.qr(torch.randn(d, k, generator=generator)).Q.T.contiguous()

    found = [angles(space(n), space(m)) for _ in range(400)]
    r, s = sorted((n, m))
    assert sorted(found[0]["dimensions"]) == [r, s]
    overlaps = torch.tensor([one["overlap"]["score"] for one in found])
    assert overlaps.mean().item() == pytest.approx(s / d, rel=0.1)
    assert found[0]["overlap"]["null"] == s / d
    spread = math.sqrt(2 * s * (d - r) * (d - s) / (r * d**2 * (d - 1) * (d + 2)))
    assert overlaps.std().item() == pytest.approx(spread, rel=0.12)
    below = [one["overlap"]["p"] < 0.05 for one in found]
    assert sum(below) / 400 == pytest.approx(0.05, abs=0.03)


def test_equal_subspaces_overlap_as_none_do_by_chance():
    found = angles(orthogonal(8), orthogonal(8).flip(0))
    assert found["overlap"]["score"] == pytest.approx(1)
    assert found["overlap"]["p"] < 1e-9


def test_a_rotated_permuted_dictionary_is_matched_by_firing_and_found_equal():
    features = directions(60, d=16)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(1))
    a = tied(features)
    b = tied(features[order])
    b.W_dec.data = b.W_dec @ rotation(16)  # fires as a does, points elsewhere
    every = torch.ones(60, dtype=torch.bool)
    found = subspaces(a, b, (every, every), sparse_rows(features, 500))
    assert found is not None
    assert found["pairs"] == 60
    assert found["correlation"] == pytest.approx(1, abs=1e-3)
    assert found["cka"]["score"] == pytest.approx(1, abs=1e-4)
    assert found["cka"]["p"] == 1 / 100
    back = subspaces(b, a, (every, every), sparse_rows(features, 500))
    assert back is not None
    assert back["svcca"]["score"] == pytest.approx(found["svcca"]["score"], abs=1e-6)


def test_dictionaries_that_fire_independently_are_not_called_alike():
    features = directions(80, d=16)
    rows = sparse_rows(features, 500)
    a, b = tied(features), tied(features)
    b.W_dec.data = directions(80, d=16, seed=9)  # fires as a does, its directions unrelated
    every = torch.ones(80, dtype=torch.bool)
    found = subspaces(a, b, (every, every), rows)
    assert found is not None
    assert found["cka"]["p"] > 0.01
    assert found["svcca"]["p"] > 0.01


def test_without_living_features_there_is_nothing_to_compare():
    a = tied(directions(4))
    none = torch.zeros(4, dtype=torch.bool)
    assert subspaces(a, a, (none, ~none), directions(10)) is None


@pytest.mark.parametrize("gathered", [0, 256])
def test_permuted_cka_is_that_of_the_permuted_rows_whichever_way_it_is_computed(gathered, monkeypatch):
    monkeypatch.setattr("analyze.compare.subspaces.GATHERED", gathered)
    x, y = normal(30, 20), normal(30, 12, seed=1)
    found = permuted(x, y, torch.Generator().manual_seed(3), times=4)["cka"]
    generator = torch.Generator().manual_seed(3)
    chance = [linear_cka(x, y[torch.randperm(30, generator=generator)]) for _ in range(4)]
    assert found["score"] == pytest.approx(linear_cka(x, y))
    assert found["null"] == pytest.approx(sum(chance) / 4)


def test_svcca_keeps_no_more_components_than_it_says(monkeypatch):
    x, y = normal(60, 8), normal(60, 8, seed=1)
    monkeypatch.setattr("analyze.compare.subspaces.MOST_COMPONENTS", 3)
    x0, y0 = (z.double() - z.double().mean(0) for z in (x, y))
    p, q = (torch.linalg.svd(z, full_matrices=False).U[:, :3] for z in (x0, y0))
    assert svcca(x, y, 1.0) == pytest.approx(torch.linalg.svdvals(p.T @ q).mean().item())


def test_directions_that_are_all_equal_have_no_geometry_and_no_p():
    x, y = directions(1).expand(8, 32), directions(8, seed=1)
    for found in (permuted(x, y, torch.Generator()), permuted(y, x, torch.Generator())):
        assert all(math.isnan(value) for tested in found.values() for value in tested.values())
