import pytest
import torch

from analyze.compare.chance import Chance
from analyze.compare.covariance_null import covariance_null, root_of


def generator():
    return torch.Generator().manual_seed(0)


def test_an_isotropic_covariance_gives_the_analytic_null():
    found = covariance_null(root_of(torch.eye(32) * 7), 2000, 500, generator())
    assert found == pytest.approx(Chance(32, 500).mean, abs=0.005)


def test_a_covariance_of_low_rank_gives_the_null_of_its_rank():
    values = torch.zeros(32)
    values[:8] = 1
    basis = torch.linalg.qr(torch.randn(32, 32, generator=generator())).Q
    found = covariance_null(root_of(basis @ values.diag() @ basis.T), 2000, 500, generator())
    assert found == pytest.approx(Chance(8, 500).mean, abs=0.01)
