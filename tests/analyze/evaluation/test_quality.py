import math
from typing import Any

import pytest
import torch

from analyze.evaluation.quality import Quality

Rows = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@pytest.fixture
def rows():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(500, 8, generator=generator) + 30  # a large mean, as GPT-2's residual stream has
    f = (torch.randn(500, 20, generator=generator) - 1).relu()
    f[:, 3] = 0
    f[:, 4] = 0
    f[:10, 4] = 1  # ten rows: neither alive nor dead
    y = x + 0.1 * torch.randn(500, 8, generator=generator)
    return x, f, y


def measured(x, f, y, size):
    quality = Quality(f.shape[1], x.mean(0))
    for batch in zip(x.split(size), f.split(size), y.split(size), strict=True):
        quality.update(*batch)
    return quality


def test_fvu_equals_naive_reference_in_float64(rows: Rows):
    x, f, y = rows
    quality = measured(x, f, y, 64)
    exact, rebuilt = x.double(), y.double()
    error = (exact - rebuilt).square().sum(1)
    assert quality.fvu == pytest.approx(float(error.sum() / (exact - exact.mean(0)).square().sum()), rel=1e-12)
    assert quality.fvu_uncentred == pytest.approx(float(error.sum() / exact.square().sum()), rel=1e-12)
    spread = (exact - x.mean(0).double()).square().sum(1)
    assert quality.fvu_rowwise == pytest.approx(float((error / spread).mean()), rel=1e-12)


def test_metrics_do_not_depend_on_how_rows_are_cut_into_batches(rows: Rows):
    whole, cut = measured(*rows, 500), measured(*rows, 7)
    assert cut.fvu == pytest.approx(whole.fvu, rel=1e-12)
    assert torch.equal(cut.firings, whole.firings)
    assert cut.l0_quantiles == whole.l0_quantiles
    torch.testing.assert_close(cut.squares, whole.squares, rtol=1e-6, atol=0)


def test_fvu_of_predicting_the_mean_is_one_and_of_a_perfect_copy_zero(rows: Rows):
    x, f, _ = rows
    assert measured(x, f, x.mean(0).expand_as(x), 500).fvu == pytest.approx(1, rel=1e-6)
    assert measured(x, f, x, 64).fvu == 0


def test_a_constant_bias_counts_as_error(rows: Rows):
    x, f, _ = rows
    variance = x.double().var(0, correction=0).sum()
    assert measured(x, f, x + 1, 64).fvu == pytest.approx(float(8 / variance), rel=1e-5)


def test_l0_and_its_quantiles_equal_a_sort(rows: Rows):
    x, f, y = rows
    quality = measured(x, f, y, 64)
    active = (f > 0).sum(1)
    assert quality.l0 == pytest.approx(float(active.double().mean()))
    ranked = active.sort().values
    expected = {str(q): int(ranked[math.ceil(q * 500) - 1]) for q in (0.05, 0.25, 0.5, 0.75, 0.95)}
    assert quality.l0_quantiles == expected


def test_alive_needs_more_than_ten_rows_and_dead_means_never(rows: Rows):
    quality = measured(*rows, 64)
    assert quality.dead_fraction == 1 / 20
    assert quality.alive_fraction == 18 / 20
    assert not quality.alive[4]


def test_density_counts_every_latent_once(rows: Rows):
    density: dict[str, Any] = dict(measured(*rows, 64).density())
    assert density["never"] == 1
    assert sum(density["counts"]) == 19
    low = [i for i, edge in enumerate(density["edges"]) if edge <= math.log10(10 / 500)][-1]
    assert density["counts"][low] >= 1
    assert sum(density["counts"][:low]) == 0


def test_without_rows_ratios_are_nan():
    quality = Quality(4, torch.zeros(3))
    quality.update(torch.zeros(0, 3), torch.zeros(0, 4), torch.zeros(0, 3))
    assert math.isnan(quality.fvu)
    assert math.isnan(quality.l0)


def test_the_two_terms_of_a_loss_equal_naive_references(rows: Rows):
    x, f, y = rows
    quality = measured(x, f, y, 64)
    decoder = torch.randn(20, 8, generator=torch.Generator().manual_seed(1))
    assert quality.mse == pytest.approx(float((x - y).double().square().sum(1).mean()), rel=1e-12)
    expected = (f.double() * decoder.double().norm(dim=1)).sum(1).mean()
    assert quality.l1(decoder) == pytest.approx(float(expected), rel=1e-6)


def test_squares_of_latents_beyond_1e19_are_summed():
    f = torch.tensor([[1e25, 0.0], [2e25, 0.0]])
    quality = Quality(2, torch.zeros(3))
    quality.update(torch.ones(2, 3), f, torch.zeros(2, 3))
    assert quality.values.tolist() == pytest.approx([3e25, 0.0])
    assert quality.squares.tolist() == pytest.approx([5e50, 0.0])
