"""Intervals of factors on planted curves, natural ranges of planted norms."""

import math

import pytest
import torch

from polytopes.scaling.validity import covers, factors, interval_below, interval_where, natural_range


def test_factors_are_quarter_octaves_around_one():
    alpha = factors(3)
    assert len(alpha) == 25
    assert (alpha[0], alpha[12], alpha[-1]) == (1 / 8, 1, 8)
    assert alpha[16] == 2


def test_ends_are_interpolated_in_the_logarithm():
    """KL = |log2 α| crosses 0.6 at 2^±0.6, between grid points."""
    alpha = factors(2)
    kl = alpha.log2().abs()[None]
    ((low, high),) = interval_below(kl, alpha, 0.6).tolist()
    assert low == pytest.approx(2**-0.6)
    assert high == pytest.approx(2**0.6)
    ((low, high),) = interval_below(kl, alpha, 9.0).tolist()
    assert (low, high) == (1 / 4, 4)  # the edge of the grid


def test_only_the_interval_around_one_counts():
    alpha = factors(1)  # 9 factors
    kept = torch.tensor([[True, True, False, True, True, True, True, False, True]])
    assert interval_where(kept, alpha)[0].tolist() == pytest.approx([2**-0.25, 2**0.5])
    kept[0, 4] = False
    assert interval_where(kept, alpha).isnan().all()


def test_natural_ranges_are_of_the_rows_cluster():
    norms = torch.cat([torch.linspace(1, 2, 101), torch.linspace(10, 20, 101)])
    cluster = torch.tensor([0] * 101 + [1] * 101)
    ends, inside = natural_range(norms, cluster, torch.tensor([0, 201]))
    torch.testing.assert_close(ends, torch.tensor([[1.05, 1.95], [10.5 / 20, 19.5 / 20]], dtype=torch.float64))
    assert inside.tolist() == [True, True]
    ends, inside = natural_range(norms, torch.full((202,), -1), torch.tensor([0]))
    assert inside.tolist() == [False]
    assert ends[0, 1] > 15  # of all rows
    assert torch.equal(natural_range(norms, None, torch.tensor([0]))[0], ends)


def test_coverage_needs_both_ends():
    natural = torch.tensor([[0.9, 1.1]]).repeat(4, 1)
    interval = torch.tensor([[0.8, 1.2], [0.95, 1.2], [0.8, 1.05], [math.nan, math.nan]])
    found = covers(interval, natural)
    assert found[:3].tolist() == [1, 0, 0]
    assert found[3].isnan()
