"""Ratios and means with intervals over groups."""

import numpy as np

from polytopes import bootstrap


def test_the_interval_holds_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(0)
    hits = 0
    for trial in range(200):
        group = np.repeat(np.arange(60), 5)
        value = 2 + np.repeat(generator.normal(size=60), 5) + generator.normal(size=300)
        found = bootstrap.mean(value, group, trial)
        assert found.low is not None
        assert found.high is not None
        hits += found.low < 2 < found.high
    assert 180 <= hits <= 198  # 95 %; were rows drawn one by one, about 70 %


def test_rows_of_a_group_are_drawn_together():
    group = np.repeat(np.arange(4), 1000)
    by_group = bootstrap.mean(np.repeat([0.0, 1.0, 2.0, 3.0], 1000), group, 0)
    by_row = bootstrap.mean(np.repeat([0.0, 1.0, 2.0, 3.0], 1000), np.arange(4000), 0)
    assert by_group.value == by_row.value == 1.5
    assert by_group.low is not None
    assert by_group.high is not None
    assert by_row.low is not None
    assert by_row.high is not None
    assert by_group.high - by_group.low > 20 * (by_row.high - by_row.low)


def test_what_is_not_finite_is_left_out_and_nothing_has_no_ratio():
    values = np.array([1.0, np.nan, 3.0])
    assert bootstrap.mean(values, np.arange(3), 0).value == 2
    assert bootstrap.mean(values[1:2], np.arange(1), 0) == (None, None, None)
    assert bootstrap.ratio(np.ones(2), np.zeros(2), np.arange(2), 0) == (None, None, None)
