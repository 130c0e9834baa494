"""FVU at a target L0: interpolated in logarithms between the nearest, at the best rate, the mean of the seeds."""

import math

import pytest

from bench.quality.matching import fvu_at, match
from bench.quality.plan import Cell
from bench.quality.rows import Quality


def power(l0: float, factor: float = 1.0) -> Quality:
    """A dictionary on the line FVU = factor · L0^-0.5, straight in logarithms."""
    return Quality(factor * l0**-0.5, l0, 0.0)


def cell(sparsity: float, rate: float, seed: int = 0) -> Cell:
    return Cell("ours", "relu", sparsity, rate, seed)


def test_straight_line_in_logarithms_is_met_exactly() -> None:
    assert fvu_at(24, [power(10), power(60)]) == pytest.approx(24**-0.5)


def test_only_the_nearest_on_either_side_count() -> None:
    near = [power(20), power(30)]
    assert fvu_at(24, [*near, Quality(0.9, 10, 0), Quality(0.001, 90, 0)]) == pytest.approx(24**-0.5)
    assert fvu_at(24, [power(20), Quality(0.9, 23, 0), power(30)]) != pytest.approx(24**-0.5, rel=0.1)


def test_order_of_the_points_does_not_matter() -> None:
    points = [power(40), power(10), power(90), power(20)]
    assert fvu_at(24, points) == fvu_at(24, points[::-1])


def test_dictionary_at_the_target_is_taken_as_it_is() -> None:
    assert fvu_at(24, [Quality(0.3, 24.0, 0.0)]) == 0.3


def test_just_out_of_reach_is_not_measured() -> None:
    """Ten per cent beyond the outermost L0 are extrapolated; a target beyond that has no number."""
    assert fvu_at(24, [power(22.5), power(11)]) == pytest.approx(24**-0.5)
    assert fvu_at(24, [power(21), power(11)]) is None
    assert fvu_at(24, [power(25.5), power(50)]) == pytest.approx(24**-0.5)
    assert fvu_at(24, [power(27), power(50)]) is None


@pytest.mark.parametrize("points", [[], [power(23.9)], [power(23), power(23)], [Quality(math.nan, math.nan, math.nan)]])
def test_too_few_points_give_no_number(points: list[Quality]) -> None:
    assert fvu_at(24, points) is None


def test_diverged_and_silent_dictionaries_are_left_out() -> None:
    diverged, silent = Quality(math.nan, 24, 0), Quality(1.0, 0.0, 1.0)
    assert fvu_at(24, [power(10), diverged, silent, power(60)]) == pytest.approx(24**-0.5)


def test_best_rate_is_that_of_the_first_seed_and_its_seeds_are_averaged() -> None:
    factors = {(1e-3, 0): 1.2, (2e-3, 0): 0.9, (2e-3, 1): 1.1, (4e-3, 0): 1.5, (4e-3, 1): 0.1}
    measured = {
        cell(l0, rate, seed): power(l0, factor) for (rate, seed), factor in factors.items() for l0 in (12.0, 48.0)
    }
    found = match(24, measured)
    assert found is not None
    assert found.fvu == pytest.approx(24**-0.5)
    assert found.spread == pytest.approx(math.sqrt(0.02) * 24**-0.5)
    assert (found.rate, found.at_edge, found.seeds) == (2e-3, False, 2)


def test_best_rate_at_the_edge_is_marked() -> None:
    measured = {cell(l0, rate): power(l0, rate) for rate in (1.0, 2.0, 3.0) for l0 in (12.0, 48.0)}
    found = match(24, measured)
    assert found is not None
    assert (found.rate, found.at_edge, found.spread) == (1.0, True, 0.0)


def test_target_that_a_seed_misses_at_the_best_rate_has_no_number() -> None:
    both = {cell(l0, 1.0, seed): power(l0) for seed in (0, 1) for l0 in (12.0, 48.0)}
    assert match(24, both) is not None
    missed = {c: q for c, q in both.items() if c != cell(48.0, 1.0, 1)}
    assert match(24, missed) is None
    assert match(24, {}) is None


def test_rate_at_which_the_first_seed_misses_the_target_does_not_count() -> None:
    measured = {cell(l0, 1.0): power(l0, 2.0) for l0 in (12.0, 48.0)} | {cell(12.0, 2.0): power(12.0)}
    found = match(24, measured)
    assert found is not None
    assert found.rate == 1.0


def test_dead_share_is_that_of_the_nearest_dictionary() -> None:
    measured = {cell(1.0, 1.0): Quality(0.3, 20, 0.25), cell(2.0, 1.0): Quality(0.2, 50, 0.75)}
    found = match(24, measured)
    assert found is not None
    assert found.dead == 0.25
