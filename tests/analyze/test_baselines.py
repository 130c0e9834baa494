import pytest
import torch

from analyze.baselines import baselines, components, fvu, kmeans, project, sparse_code
from tests.analyze.planted import directions, orthogonal


def normal(rows, scales, seed):
    return torch.randn(rows, len(scales), generator=torch.Generator().manual_seed(seed)) * scales


def test_pca_leaves_the_variance_of_the_other_components():
    scales = torch.tensor([4.0, 3.0, 2.0, 1.0])
    rows = normal(20_000, scales, 0) + 5
    found = baselines(rows, normal(20_000, scales, 1) + 5, n_latents=8, l0=2)
    assert found.pca == pytest.approx(5 / 30, rel=0.05)


def test_kmeans_finds_planted_clusters():
    centres = 10 * orthogonal(6)
    noise = torch.randn(3000, 32, generator=torch.Generator().manual_seed(1))
    rows = centres[torch.arange(3000) % 6] + 0.1 * noise
    found = kmeans(rows, 60, torch.Generator().manual_seed(0))  # ten chances for each
    nearest = torch.cdist(centres, found).amin(1)
    assert nearest.max() < 0.5


def test_more_centres_than_rows_are_allowed():
    assert kmeans(directions(5), 8, torch.Generator().manual_seed(0)).shape == (8, 32)


def test_a_gain_never_hurts_random_directions_on_rows_like_those_fitted():
    scales = torch.linspace(0.5, 2, 32)
    found = baselines(normal(5000, scales, 0), normal(5000, scales, 1), n_latents=64, l0=8)
    assert found.random < min(1, found.untrained)


def test_a_complete_basis_of_both_signs_rebuilds_everything():
    basis = orthogonal(32)
    rows = directions(50, seed=3)
    rebuilt = sparse_code(rows, torch.cat([basis, -basis]), 32)
    torch.testing.assert_close(rebuilt, rows, rtol=0, atol=1e-5)
    assert fvu(rows, rebuilt) < 1e-9


def test_projection_on_all_components_changes_nothing():
    rows = directions(100)
    torch.testing.assert_close(project(rows, components(rows, 99)), rows, rtol=0, atol=1e-5)


def test_no_active_latent_leaves_the_mean():
    rows = normal(2000, torch.ones(8), 0)
    found = baselines(rows, rows, n_latents=16, l0=0.2)
    assert (found.pca, found.random, found.untrained) == pytest.approx((1, 1, 1))
