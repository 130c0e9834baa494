import math

import pytest
import torch

from analyze.compare.cosines import max_cosines, mean_cosines, nearest_cosines, unit


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(37, 6, generator=generator) * 5, torch.randn(53, 6, generator=generator)


def naive(a, b):
    a, b = a.double(), b.double()
    return (a / a.norm(dim=1, keepdim=True)) @ (b / b.norm(dim=1, keepdim=True)).T


@pytest.mark.parametrize("block", [1, 8, 37, 4096])
def test_both_maxima_equal_a_naive_reference_whatever_the_block(pair, block):
    of_a, of_b = max_cosines(*pair, block=block)
    cosines = naive(*pair)
    torch.testing.assert_close(of_a.double(), cosines.amax(1), rtol=0, atol=1e-6)
    torch.testing.assert_close(of_b.double(), cosines.amax(0), rtol=0, atol=1e-6)


@pytest.mark.parametrize("block", [1, 8, 4096])
def test_nearest_equal_a_full_sort(pair, block):
    found = nearest_cosines(*pair, k=5, block=block)
    values, indices = naive(*pair).topk(5)
    torch.testing.assert_close(found.values.double(), values, rtol=0, atol=1e-6)
    assert torch.equal(found.indices, indices)


def test_more_neighbours_than_there_are_gives_all(pair):
    found = nearest_cosines(*pair, k=100, block=8)
    assert found.values.shape == (37, 53)
    assert torch.equal(found.indices.sort().values, torch.arange(53).expand(37, 53))


def test_sign_counts():
    a = torch.tensor([[1.0, 0.0]])
    assert max_cosines(a, -a)[0].item() == -1


def test_a_zero_row_is_like_nothing(pair):
    assert torch.equal(unit(torch.zeros(1, 4)), torch.zeros(1, 4))
    assert max_cosines(torch.zeros(1, 6), pair[1])[0].item() == 0


def test_no_rows_no_maxima(pair):
    of_a, of_b = max_cosines(pair[0][:0], pair[1])
    assert of_a.shape == (0,)
    assert of_b.shape == (53,)
    assert of_b.isnan().all()
    assert nearest_cosines(pair[0][:0], pair[1], k=2).values.shape == (0, 2)


@pytest.mark.parametrize("block", [3, 100])
def test_mean_cosines_are_those_of_all_pairs(block: int) -> None:
    directions = torch.randn(17, 5, generator=torch.Generator().manual_seed(0)) * 3 + 0.5
    u = torch.nn.functional.normalize(directions.double(), dim=1)
    cosines = (u @ u.T)[~torch.eye(17, dtype=torch.bool)]
    assert mean_cosines(directions, block) == pytest.approx((float(cosines.abs().mean()), float(cosines.mean())))


def test_mean_cosines_of_known_directions() -> None:
    assert mean_cosines(torch.eye(4)) == pytest.approx((0, 0))
    assert mean_cosines(torch.cat([torch.eye(4), -torch.eye(4)])) == pytest.approx((1 / 7, -1 / 7))
    assert mean_cosines(torch.ones(3, 4)) == pytest.approx((1, 1), abs=1e-6)
    assert all(math.isnan(value) for value in mean_cosines(torch.ones(1, 4)))
    random = torch.randn(2000, 64, generator=torch.Generator().manual_seed(1))
    assert mean_cosines(random) == pytest.approx((math.sqrt(2 / (math.pi * 64)), 0), abs=1e-3)
