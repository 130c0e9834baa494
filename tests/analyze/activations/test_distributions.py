import numpy as np
import pytest
import torch

from analyze.activations.distributions import (
    describe,
    histogram,
    kind_of,
    outlier_dimensions,
    position_norms,
    share_of_small,
)
from harvest.accumulate import statistics_of
from winnow.shards.statistics import MAGNITUDES, HookStatistics


def statistics(x, context=4):
    return statistics_of(x, torch.arange(len(x)) % context, context)


@pytest.fixture
def normal():
    return torch.randn(20_000, 6, generator=torch.Generator().manual_seed(0)) * 2.5


def test_histogram_of_normal_values_follows_the_bell_curve():
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(60_000, 6, generator=generator) * 2.5
    found = histogram(statistics(normal))
    edges, density = np.array(found["edges"]), np.array(found["density"])
    assert (density * np.diff(edges)).sum() == pytest.approx(1)
    middle = (edges[1:] + edges[:-1]) / 2
    near = np.abs(middle) < 2
    curve = np.exp(-(middle**2) / 2) / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(density[near], curve[near], atol=0.03)
    assert np.diff(edges).min() >= 0.02


def test_an_outlier_dimension_does_not_set_the_scale_of_the_histogram(normal):
    alone = histogram(statistics(normal))
    beside = histogram(statistics(torch.cat([normal, 1000 * normal[:, :1]], dim=1)))
    near = [np.abs(np.array(found["edges"])[1:]) < 2 for found in (alone, beside)]
    of_both = [np.array(found["density"])[mask] for found, mask in zip((alone, beside), near, strict=True)]
    np.testing.assert_allclose(of_both[1], of_both[0] * 6 / 7, rtol=0.05)  # a seventh of the values is the outlier's


def test_small_values_are_those_below_a_thousandth_of_sigma():
    x = torch.linspace(-1, 1, 200_001)[:, None].repeat(1, 2)
    x[:, 1] *= 50  # each dimension has its own sigma: 1/sqrt(3) of the range
    assert share_of_small(statistics(x)) == pytest.approx(1e-3 / 3**0.5, rel=0.05)


def test_exact_zeros_are_small_and_counted(normal):
    x = normal.clone()
    x[:10_000, :3] = 0
    found = describe("blocks.0.mlp.hook_post", statistics(x))
    assert found["zeros"] == pytest.approx(0.25)
    assert 0.25 < found["small"] < 0.26


def test_a_hook_that_is_always_zero_is_described():
    nothing = HookStatistics.zero(3, 4)
    nothing.histogram[:, MAGNITUDES] = 8
    nothing.norm_histogram[0] = 8
    found = describe("x", nothing._replace(rows=8))
    assert found["zeros"] == 1
    assert found["small"] == 1
    assert len(found["histogram"]["density"]) == 1


def test_norms_count_every_row_within_their_edges(normal):
    found = describe("blocks.1.hook_resid_post", statistics(normal))["norms"]
    lengths = normal.norm(dim=1).numpy()
    assert found["counts"].sum() == len(lengths)
    assert found["edges"][0] <= lengths.min()
    assert found["edges"][-1] >= lengths.max()
    assert np.array_equal(found["counts"], np.histogram(lengths, found["edges"])[0])


def test_position_norms_are_none_where_nothing_was_kept(normal):
    found = position_norms(statistics_of(normal, torch.arange(len(normal)) % 2 + 1, 4))
    assert found[0] is None
    assert found[3] is None
    assert found[1] == pytest.approx(normal[::2].norm(dim=1).mean().item(), rel=1e-5)


def test_outlier_dimensions_are_those_of_huge_mean_or_tails(normal):
    x = normal.clone() + 1
    x[:, 2] += 100
    x[::1000, 4] *= 300
    assert outlier_dimensions(statistics(x)) == [2, 4]
    x[:, 1] = 20 * normal[:, 1]
    assert outlier_dimensions(statistics(x)) == [1, 2, 4]


@pytest.mark.parametrize(
    ("hook", "kind"),
    [
        ("blocks.2.hook_resid_post", "residual"),
        ("blocks.2.hook_mlp_out", "mlp"),
        ("blocks.2.mlp.hook_post", "mlp"),
        ("blocks.2.attn.hook_z", "other"),
    ],
)
def test_kind_follows_from_the_name(hook, kind):
    assert kind_of(hook) == kind
