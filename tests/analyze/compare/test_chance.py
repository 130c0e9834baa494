import numpy as np
import pytest

from analyze.compare.chance import Chance
from analyze.compare.decoder_null import DecoderNull


@pytest.mark.parametrize(
    ("d", "n", "expected"), [(64, 128, 0.32), (64, 1024, 0.40), (16, 256, 0.64), (256, 4096, 0.23)]
)
def test_mean_agrees_with_the_figures_once_measured(d, n, expected):
    assert Chance(d, n).mean == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("n", [1, 2, 7, 500])
def test_in_three_dimensions_the_cosine_is_uniform(n):
    chance = Chance(3, n)  # Archimedes: F(m) = (1 + m) / 2
    assert chance.mean == pytest.approx((n - 1) / (n + 1), abs=1e-6)
    m = np.array([-1, -0.5, 0, 0.3, 1.0])
    np.testing.assert_allclose(chance.cdf(m), ((1 + m) / 2) ** n, atol=1e-12)


@pytest.mark.parametrize(("d", "n"), [(5, 30), (32, 200)])
def test_distribution_agrees_with_simulation(d, n):
    random = np.random.default_rng(0)
    a, b = random.standard_normal((4000, 1, d)), random.standard_normal((4000, n, d))
    cosines = (a * b).sum(2) / np.linalg.norm(a, axis=2) / np.linalg.norm(b, axis=2)
    largest = cosines.max(1)
    chance = Chance(d, n)
    assert largest.mean() == pytest.approx(chance.mean, abs=4 * largest.std() / 4000**0.5)
    below = (largest[:, None] <= np.linspace(0, 1, 21)).mean(0)
    np.testing.assert_allclose(below, chance.cdf(np.linspace(0, 1, 21)), atol=0.03)


def test_p_value_keeps_its_precision_far_in_the_tail():
    m = np.array([0.999, 0.9, -1])
    found, of_one = Chance(768, 24_576).p_value(m), Chance(768, 1).p_value(m)
    assert found[0] == pytest.approx(24_576 * of_one[0], rel=1e-9)
    assert 0 < found[1] < 1e-100
    assert found[2] == 1


def test_corrected_score_is_zero_at_chance_and_one_at_identity():
    chance = Chance(64, 1024)
    assert chance.corrected(chance.mean) == 0
    assert chance.corrected(1.0) == pytest.approx(1)
    assert chance.corrected(0.1) < 0


def test_expected_counts_sum_to_the_number_of_features():
    counts = Chance(16, 256).expected_counts(np.linspace(-1, 1, 41), 300)
    assert counts.sum() == pytest.approx(300)
    assert counts.min() >= 0


def test_among_no_directions_there_is_no_chance():
    none = Chance(16, 0)
    assert np.isnan([none.mean, none.corrected(0.5), *none.p_value(np.array([0.5])), *none.cdf(np.array([1.0]))]).all()


def test_where_chance_is_identity_nothing_is_above_it():
    assert np.isnan(DecoderNull(np.ones(7)).corrected(1.0))
    assert DecoderNull(np.full(7, 0.5)).corrected(1.0) == 1
