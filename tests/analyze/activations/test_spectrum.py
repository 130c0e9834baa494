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


def test_kurtosis_of_a_uniform_law():
    rows = torch.rand(200_000, 1, generator=generator(), dtype=torch.float64)
    assert excess_kurtosis(rows).item() == pytest.approx(-1.2, abs=0.02)
