"""Matching by length: planted boundaries that know no labels have R = 1, and only where lengths are matched."""

from math import pi

import pytest
import torch
from torch import Tensor

from tests.winnow.spline.planted import draw
from winnow.errors import UserError
from winnow.spline import density
from winnow.spline.density import density_ratio, match_lengths, soft_density
from winnow.spline.gates import find_gate
from winnow.spline.lines import layer_crossings
from winnow.spline.mlp import MLP


def test_each_line_is_matched_with_the_closest_length():
    same, different = draw(200, seed=1).abs(), draw(500, seed=2).abs()
    matched = match_lengths(same, different)
    assert torch.equal(matched, (same[:, None] - different).abs().argmin(1))
    assert match_lengths(torch.tensor([0.0, 9.0]), torch.tensor([3.0, 1.0])).tolist() == [1, 0]


def test_without_lines_between_labels_there_is_nothing_to_match():
    with pytest.raises(UserError, match="no line between different labels to match with"):
        match_lengths(torch.ones(3), torch.ones(0))


def test_soft_density_of_hard_codes_is_the_density_of_crossings():
    mlp = MLP(draw(4, 30), draw(30, seed=1), draw(30, 2), draw(2), find_gate("relu"))
    a, b = draw(9, 4, seed=2), draw(9, 4, seed=3)
    found = layer_crossings(mlp, a, b)
    p, q = mlp.gate.code(mlp.pre(a)), mlp.gate.code(mlp.pre(b))
    torch.testing.assert_close(soft_density(p, q, found.length), found.density()[:, 0])


def planted(extra: float) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Lines within labels, which are short, and between them, of Gaussian boundaries that know no labels.

    The share of neurons that separates two ends on a circle is their angle over π, so crossings per length of the
    chord grow with the length: 2 arcsin(length/2) / (π length). Lines between labels cross `extra` times as many.
    """
    generator = torch.Generator().manual_seed(4)
    same = torch.rand(2000, generator=generator, dtype=torch.float64) * 1.2 + 0.3
    different = torch.rand(20_000, generator=generator, dtype=torch.float64) * 1.6 + 0.3

    def measured(length: Tensor, factor: float) -> Tensor:
        share = 2 * (length / 2).asin() / pi
        crossed = torch.binomial(torch.full_like(share, 512), (factor * share).clamp(max=1), generator=generator)
        return crossed / length

    label = torch.randint(40, (2000,), generator=generator)
    return measured(same, 1.0), same, measured(different, extra), different, label


def assert_says(extra: float) -> None:
    found = density_ratio(*planted(extra), seed=0)
    assert found.low < extra < found.high
    assert found.high - found.low < 0.02
    assert found.length_ratio == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("extra", [1.0, 1.06])
def test_the_ratio_is_that_of_the_planted_boundaries(extra: float):
    assert_says(extra)


def test_densities_of_unmatched_lengths_are_noticed(monkeypatch: pytest.MonkeyPatch):
    def at_random(same: Tensor, different: Tensor) -> Tensor:
        return torch.randint(len(different), same.shape, generator=torch.Generator().manual_seed(1))

    monkeypatch.setattr(density, "match_lengths", at_random)
    with pytest.raises(AssertionError):
        assert_says(1.0)
    assert density_ratio(*planted(1.0), seed=0).low > 1.01  # what would have been said


def test_the_interval_is_over_labels_and_not_over_lines():
    """Lines of one label are alike: with 5 labels the interval must be wide however many lines there are."""
    label = torch.arange(5).repeat_interleave(400)
    within = 1 + 0.5 * draw(5, seed=9).tanh()[label]
    length = torch.ones(2000).double()
    found = density_ratio(within, length, torch.ones(10).double(), torch.ones(10).double(), label, seed=0)
    assert found.ratio == pytest.approx(1 / within.mean().item())
    assert found.high - found.low > 0.1
    assert found == density_ratio(within, length, torch.ones(10).double(), torch.ones(10).double(), label, seed=0)
