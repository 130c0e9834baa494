import numpy as np
import pytest
import scipy.stats
import torch

from harvest.accumulate import COLUMNS, COUNTED_AT_MOST, Accumulator, statistics_of
from winnow.shards.statistics import BINS, MAGNITUDES, HookStatistics, bin_edges

CONTEXT = 4


def sample(rows: int = 500, width: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows, width, generator=generator) ** 3 + torch.arange(width)
    x[::7, 0] = 0
    return x, torch.arange(rows) % CONTEXT


def test_moments_equal_numpy_and_scipy():
    x, positions = sample()
    found = statistics_of(x, positions, CONTEXT)
    exact = x.double().numpy()
    np.testing.assert_allclose(found.mean, exact.mean(0), rtol=1e-5)
    np.testing.assert_allclose(found.variance, exact.var(0), rtol=1e-5)
    np.testing.assert_allclose(found.skewness, scipy.stats.skew(exact), rtol=1e-5)
    np.testing.assert_allclose(found.excess_kurtosis, scipy.stats.kurtosis(exact), rtol=1e-5)
    assert found.mean_norm == pytest.approx(np.linalg.norm(exact, axis=1).mean(), rel=1e-6)
    assert found.share_of_zeros == pytest.approx((exact == 0).mean())


def test_moments_of_a_far_and_narrow_dimension_are_not_lost_to_rounding():
    x, positions = sample()
    x = x.double() / 10 + 1000  # the outlier dimensions of GPT-2's residual stream are of this kind
    found = statistics_of(x.float(), positions, CONTEXT)
    np.testing.assert_allclose(found.variance, x.float().double().numpy().var(0), rtol=1e-4)


@pytest.mark.parametrize("batch", [1, 7, 16, 300])
def test_rows_may_come_in_batches_of_any_size(batch: int):
    x, positions = sample()
    whole = statistics_of(x, positions, CONTEXT)
    accumulator = Accumulator(x.shape[1], CONTEXT)
    for part, places in zip(x.split(batch), positions.split(batch), strict=True):
        accumulator.add(part, places)
    found = accumulator.result()
    for name in ("mean", "m2", "m3", "m4", "norm_sum"):
        np.testing.assert_allclose(getattr(found, name), getattr(whole, name), rtol=2e-4, err_msg=name)
    for name in ("histogram", "norm_histogram", "position_rows"):
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name), err_msg=name)


def test_a_batch_that_keeps_no_row_leaves_no_trace():
    x, positions = sample()
    accumulator = Accumulator(x.shape[1], CONTEXT)
    for part in (x[:0], x, x[:0]):
        accumulator.add(part, positions[: len(part)])
    found, whole = accumulator.result(), statistics_of(x, positions, CONTEXT)
    for name in HookStatistics._fields:
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name), err_msg=name)


def test_histogram_equals_numpy_on_its_edges():
    x, positions = sample()
    edges = bin_edges()
    assert len(edges) == BINS + 1
    assert (np.diff(edges) > 0).all()
    found = statistics_of(x, positions, CONTEXT).histogram[1]
    values = x[:, 1].double().numpy()
    positive = np.histogram(values[values > 0], edges[MAGNITUDES + 1 :])[0]
    negative = np.histogram(-values[values < 0], edges[MAGNITUDES + 1 :])[0][::-1]
    np.testing.assert_array_equal(found[MAGNITUDES + 1 :], positive)
    np.testing.assert_array_equal(found[:MAGNITUDES], negative)
    assert found[MAGNITUDES] == (values == 0).sum()


def test_extreme_magnitudes_count_in_the_outermost_bins():
    x = torch.tensor([[1e7], [-1e7], [1e-7], [-1e-7], [0.0]])
    found = statistics_of(x, torch.zeros(len(x), dtype=torch.int64), 1).histogram[0]
    assert found[[0, MAGNITUDES - 1, MAGNITUDES, MAGNITUDES + 1, -1]].tolist() == [1, 1, 1, 1, 1]


def test_a_constant_dimension_has_no_skewness_and_no_kurtosis():
    found = statistics_of(torch.ones(10, 2), torch.zeros(10, dtype=torch.int64), 1)
    assert found.skewness.tolist() == [0, 0]
    assert found.excess_kurtosis.tolist() == [0, 0]


def test_more_rows_than_recent_counts_can_hold_are_all_counted():
    rows = 3 * COUNTED_AT_MOST + 7
    x = torch.ones(rows, 1)
    whole = statistics_of(x, torch.zeros(rows, dtype=torch.int64), 1)
    accumulator = Accumulator(1, 1)
    for part in x.to(torch.bfloat16).split(50_000):
        accumulator.add(part, torch.zeros(len(part), dtype=torch.int64))
    for found in (whole, accumulator.result()):
        assert found.histogram.max() == found.histogram.sum() == rows
        assert found.norm_histogram.sum() == rows


@pytest.mark.parametrize("size", [1e-36, 1e20, 1e36])
def test_statistics_of_values_far_from_one_are_theirs(size: float):
    x = (1 + torch.rand(600, 5, generator=torch.Generator().manual_seed(0))) * size
    found = statistics_of(x, torch.zeros(600, dtype=torch.int64), 1)
    exact = x.double().numpy()
    np.testing.assert_allclose(found.mean, exact.mean(0), rtol=1e-6)
    np.testing.assert_allclose(found.variance, exact.var(0), rtol=1e-6)
    np.testing.assert_allclose(found.mean_norm, np.linalg.norm(exact, axis=1).mean(), rtol=1e-6)


@pytest.mark.parametrize("width", [COLUMNS - 1, COLUMNS, 2 * COLUMNS + 3])
def test_each_dimension_has_its_own_histogram_however_many_there_are(width: int):
    x = torch.randn(50, width, generator=torch.Generator().manual_seed(0)) * (1 + torch.arange(width))
    found = statistics_of(x, torch.zeros(50, dtype=torch.int64), 1).histogram
    assert (found.sum(1) == 50).all()
    for dimension in (0, COLUMNS - 2, width - 1):
        alone = statistics_of(x[:, [dimension]].contiguous(), torch.zeros(50, dtype=torch.int64), 1).histogram
        np.testing.assert_array_equal(found[dimension], alone[0])
