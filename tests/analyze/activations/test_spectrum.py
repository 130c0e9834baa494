import pytest
import torch

from analyze.activations.spectrum import covariance, excess_kurtosis, privileged_basis, spectrum


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_participation_ratio_of_equal_dimensions_is_their_number():
    values = torch.cat([torch.ones(8), torch.zeros(24)])
    assert spectrum(values.diag())["participation_ratio"] == pytest.approx(8)
    assert spectrum(torch.tensor([3.0, 0, 0]).diag())["participation_ratio"] == pytest.approx(1)


def test_shares_fall_and_sum_to_one():
    rows = torch.randn(500, 12, generator=generator()) @ torch.randn(12, 12, generator=generator(1)) + 9
    shares = spectrum(covariance(rows))["shares"]
    assert shares.sum().item() == pytest.approx(1)
    assert (shares.diff() <= 0).all()


def test_sparse_neurons_make_their_basis_privileged():
    sparse = torch.rand(20_000, 64, generator=generator()) * (torch.rand(20_000, 64, generator=generator(1)) < 0.05)
    found = privileged_basis(sparse, generator(2))
    assert found["along_basis"] > 10 * abs(found["along_rotation"])


def test_without_a_preferred_basis_both_agree():
    found = privileged_basis(torch.randn(50_000, 16, generator=generator()), generator(1))
    assert found["along_basis"] == pytest.approx(0, abs=0.05)
    assert found["along_rotation"] == pytest.approx(0, abs=0.05)


def laplace(rows, d, seed=0):
    signs = torch.randint(0, 2, (rows, d), generator=generator(seed)) * 2 - 1
    return signs * -torch.rand(rows, d, generator=generator(seed + 1)).clamp_min(1e-12).log()


def test_one_dimension_of_large_variance_changes_nothing_along_random_directions():
    sparse = torch.rand(20_000, 64, generator=generator()) * (torch.rand(20_000, 64, generator=generator(1)) < 0.05)
    outlier = 1000 * laplace(20_000, 1)
    alone = privileged_basis(sparse, generator(2))
    beside = privileged_basis(torch.cat([sparse, outlier], dim=1), generator(2))
    # not standardised, every random direction shows the outlier's own kurtosis, 3
    assert excess_kurtosis(torch.cat([sparse, outlier], dim=1).double() @ torch.ones(65, 1).double()).item() > 2.5
    for key in ("along_rotation", "median_along_rotation"):
        assert beside[key] == pytest.approx(alone[key], abs=0.15)
        assert abs(beside[key]) < 2
    assert beside["along_basis"] > 10 * beside["along_rotation"]
    assert beside["median_along_basis"] > 10 * beside["median_along_rotation"]


def test_a_basis_that_nothing_distinguishes_is_not_privileged_by_one_dimension_of_large_variance_or_heavy_tails():
    normal = torch.randn(20_000, 128, generator=generator())
    heavy = torch.zeros(20_000, 1)
    heavy[::1000] = 50.0
    for outlier in (1000 * laplace(20_000, 1), heavy):
        found = privileged_basis(torch.cat([normal, outlier], dim=1), generator(1))
        assert found["median_along_basis"] == pytest.approx(0, abs=0.05)
        assert found["median_along_rotation"] == pytest.approx(0, abs=0.2)
    assert found["along_basis"] > 5  # the mean along the basis is one dimension's


def test_constant_dimensions_are_left_out():
    rows = torch.cat([laplace(20_000, 16), torch.full((20_000, 3), 2.5)], dim=1)
    assert privileged_basis(rows, generator())["along_basis"] == pytest.approx(3, rel=0.15)
    nothing = privileged_basis(torch.ones(50, 3), generator())
    assert all(value != value for value in nothing.values())


def test_standardised_participation_ratio_does_not_see_one_dimension_of_large_variance():
    rows = torch.randn(20_000, 32, generator=generator())
    rows[:, 5] *= 1000
    found = spectrum(covariance(rows))
    assert found["participation_ratio"] == pytest.approx(1, abs=0.01)
    assert found["participation_ratio_standardised"] == pytest.approx(32, rel=0.01)
    copies = spectrum(covariance(torch.cat([rows, rows, torch.ones(20_000, 2)], dim=1)))
    assert copies["participation_ratio_standardised"] == pytest.approx(32, rel=0.01)


def test_kurtosis_of_a_uniform_law():
    rows = torch.rand(200_000, 1, generator=generator(), dtype=torch.float64)
    assert excess_kurtosis(rows).item() == pytest.approx(-1.2, abs=0.02)


def test_a_hook_one_number_wide_fills_its_one_dimension():
    found = spectrum(covariance(torch.randn(50, 1, generator=generator())))
    assert found["shares"].tolist() == [1.0]
    assert found["participation_ratio"] == pytest.approx(1)
