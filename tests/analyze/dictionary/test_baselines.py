import pytest
import torch

from analyze.dictionary.baselines import Rule, Simpler, components, fvu, kmeans, sparse_code, threshold_for
from tests.analyze.planted import directions, orthogonal


def normal(rows, scales, seed):
    return torch.randn(rows, len(scales), generator=torch.Generator().manual_seed(seed)) * scales


def test_pca_leaves_the_variance_of_the_other_components():
    scales = torch.tensor([4.0, 3.0, 2.0, 1.0])
    rows = normal(20_000, scales, 0) + 5
    found = Simpler(rows, normal(20_000, scales, 1) + 5).measure(n_latents=8, l0=2)
    assert found.pca == pytest.approx(5 / 30, rel=0.05)


def test_kmeans_finds_planted_clusters():
    centres = 10 * orthogonal(6)
    noise = torch.randn(3000, 32, generator=torch.Generator().manual_seed(1))
    rows = centres[torch.arange(3000) % 6] + 0.1 * noise
    found = kmeans(rows, 60, torch.Generator().manual_seed(0))  # ten chances for each
    nearest = torch.cdist(centres, found).amin(1)
    assert nearest.max() < 0.5


def test_of_fewer_rows_than_centres_each_is_one():
    rows = directions(5)
    assert kmeans(rows, 8, torch.Generator().manual_seed(0)).equal(rows)
    others = rows + 0.01
    assert Simpler(rows, others).measure(n_latents=8, l0=2).kmeans == pytest.approx(fvu(others, rows))


@pytest.mark.parametrize("architecture", ["topk", "relu", "jumprelu", "batchtopk"])
def test_a_gain_never_hurts_random_directions_on_rows_like_those_fitted(architecture):
    scales = torch.linspace(0.5, 2, 32)
    found = Simpler(normal(5000, scales, 0), normal(5000, scales, 1)).measure(64, 8, architecture)
    assert found.random < min(1, found.untrained)


def test_the_untrained_dictionary_has_the_gain_that_its_encoder_started_with():
    simpler = Simpler(normal(5000, torch.ones(16), 0), normal(5000, torch.ones(16), 1))
    found = {s: simpler.measure(128, 8, "relu", s).untrained for s in ("transpose", 1.0, 0.1, "least_squares", 0.5)}
    assert found["transpose"] == found[1.0] > 5  # eight latents a dimension overshoot
    assert found["least_squares"] < min(found[0.1], found[0.5], 1)
    topk = {start: simpler.measure(128, 8, "topk", start).untrained for start in ("transpose", 0.5)}
    assert topk["transpose"] != topk[0.5]


@pytest.mark.parametrize("rule", [Rule(active=32), Rule(threshold=0.0), Rule(threshold=0.0, shrinks=True)])
def test_a_complete_basis_of_both_signs_rebuilds_everything(rule):
    basis = orthogonal(32)
    rows = directions(50, seed=3)
    rebuilt = sparse_code(rows, torch.cat([basis, -basis]), rule)
    torch.testing.assert_close(rebuilt, rows, rtol=0, atol=1e-5)
    assert fvu(rows, rebuilt) < 1e-9


def test_components_equal_projection_by_hand():
    rows, others = normal(300, torch.linspace(1, 2, 6), 0) + 3, normal(200, torch.linspace(1, 2, 6), 1) + 3
    simpler = Simpler(rows, others)
    for count in (0, 1, 4, 6, 9):
        basis = components(rows, count)
        projected = rows.mean(0) + (others - rows.mean(0)) @ basis.T @ basis
        assert simpler.pca(count) == pytest.approx(fvu(others, projected), rel=1e-4, abs=1e-9)


def test_the_rules_keep_as_many_products_as_asked_for_and_differ_by_the_threshold():
    rows, axes = normal(4000, torch.ones(8), 0), torch.eye(8)
    threshold = threshold_for(rows, axes, 1.6)
    jumping = sparse_code(rows, axes, Rule(threshold=threshold))
    assert (jumping > 0).sum(1).double().mean().item() == pytest.approx(1.6, abs=0.01)
    shrunken = sparse_code(rows, axes, Rule(threshold=threshold, shrinks=True))
    torch.testing.assert_close(shrunken, jumping - threshold * (jumping > 0), rtol=0, atol=1e-6)
    assert threshold_for(rows, axes, 7.9) == 0  # only half of all products are above 0


def test_each_row_keeps_its_own_largest():
    rows = torch.tensor([[3.0, 2.0, 1.0], [-1.0, -2.0, 5.0]])
    kept = sparse_code(rows, torch.eye(3), Rule(active=2))
    assert kept.tolist() == [[3, 2, 0], [0, 0, 5]]


def test_no_active_latent_leaves_the_mean():
    rows = normal(2000, torch.ones(8), 0)
    found = Simpler(rows, rows).measure(n_latents=16, l0=0.2)
    assert (found.pca, found.random, found.untrained) == pytest.approx((1, 1, 1))
