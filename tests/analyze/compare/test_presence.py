import math

import numpy as np
import pytest

from analyze.compare.presence import by_firing_rate, recovery_curve, scale_aware


def test_recovery_is_the_share_strictly_above_each_threshold():
    m = np.array([0.1, 0.5, 0.5, 0.9])
    curve = recovery_curve(m)
    assert curve is not None
    expected = [(m > t).mean() for t in curve["thresholds"]]
    np.testing.assert_array_equal(curve["shares"], expected)
    assert curve["shares"][0] == 1
    assert curve["shares"][-1] == 0


def test_rare_features_are_averaged_apart_from_frequent_ones():
    rates = np.array([1e-5, 2e-3, 3e-3, 0.3])
    found = by_firing_rate(np.array([0.2, 0.4, 0.6, 0.9]), rates)
    assert [entry["count"] for entry in found] == [1, 2, 1]
    assert [entry["mean"] for entry in found] == pytest.approx([0.2, 0.5, 0.9])
    assert found[1]["from"] == -3
    assert found[1]["to"] == -2.5


def test_a_feature_that_never_fires_is_among_the_rarest():
    assert by_firing_rate(np.array([0.3]), np.array([0.0]))[0]["to"] == -4


def test_large_features_weigh_more():
    m = np.array([1.0, 0.0])
    assert scale_aware(m, np.array([3.0, 1.0])) == 0.75
    assert scale_aware(m, np.array([1.0, 1.0])) == 0.5
    assert math.isnan(scale_aware(m, np.zeros(2)))


def test_of_nothing_and_in_nothing_there_is_no_recovery():
    assert recovery_curve(np.empty(0)) is None
    assert recovery_curve(np.full(3, np.nan)) is None
