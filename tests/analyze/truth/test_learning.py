"""How fast features are found, from snapshots of which it is known what was found when."""

import math
from pathlib import Path

import pytest
import torch

from analyze.compare.decoder_null import decoder_null
from analyze.dictionary.snapshots import Stages, agreement_by_rows
from analyze.truth.learning import improved_until, learning, rows_to, steepest, value_at
from tests.analyze.planted import orthogonal, sparse_rows, tied
from winnow.dictionary import Dictionary, load_dictionary, save_dictionary

TRUTH = orthogonal(8)
ELSEWHERE = orthogonal(32)[8:]


def saved(folder: Path, stages: dict[int, int], latents: int = 8) -> Dictionary:
    """Save a dictionary that had found so many of the true features after so many rows, the last ones at the end."""
    *_, end = stages
    for rows, found in stages.items():
        decoder = torch.cat([TRUTH[:found], ELSEWHERE[: latents - found]])
        name = "." if rows == end else f"snapshots/rows-{rows:06d}"
        save_dictionary(tied(decoder), folder / name, {}, {"rows": end})
    return load_dictionary(folder)


@pytest.fixture
def stages() -> Stages:
    rows = sparse_rows(torch.cat([TRUTH, ELSEWHERE]))
    return Stages(lambda hook: rows)


def test_recovery_is_followed_to_the_end_and_half_is_interpolated_in_log_rows(tmp_path: Path, stages: Stages) -> None:
    found = learning(TRUTH, stages, saved(tmp_path, {100: 0, 200: 3, 800: 6, 1600: 7}))
    assert found["snapshots"]["rows"] == [100, 200, 800, 1600]
    assert found["snapshots"]["recovered"] == [0, 0.375, 0.75, 0.875]
    null = decoder_null(TRUTH, torch.cat([TRUTH[:3], ELSEWHERE[:5]])).mean
    assert found["snapshots"]["mmcs_corrected"][1] == pytest.approx((0.375 - null) / (1 - null), abs=1e-6)
    assert found["rows_to_half"] == pytest.approx(200 * 4 ** (1 / 3))  # a third of the way, on a logarithmic axis
    assert found["steepest"] == pytest.approx({"rows": math.sqrt(100 * 200), "per_doubling": 0.375})


def test_latents_that_are_dead_at_a_stage_have_not_found_anything(tmp_path: Path) -> None:
    rows = sparse_rows(TRUTH[4:])
    found = learning(TRUTH, Stages(lambda hook: rows), saved(tmp_path, {100: 4, 200: 8}))
    assert found["snapshots"]["recovered"] == [0, 0.5]
    assert found["snapshots"]["mmcs_corrected"][0] is None  # nothing lives


def test_without_snapshots_nothing_is_known(tmp_path: Path, stages: Stages) -> None:
    found = learning(TRUTH, stages, saved(tmp_path, {100: 8}))
    assert found == {"snapshots": None, "rows_to_half": None, "steepest": None}


def test_sizes_are_compared_at_the_rows_that_both_had_seen(tmp_path: Path, stages: Stages) -> None:
    small = saved(tmp_path / "small", {100: 1, 200: 2, 400: 4}, 4)
    large = saved(tmp_path / "large", {100: 4, 200: 4, 300: 8, 400: 8})
    found = agreement_by_rows(stages, small, large)
    assert found is not None
    assert found["rows"] == [100, 200, 400]
    # of the small one's four, those that it found are among the large one's, and its others too where those last
    assert found["mmcs_corrected"] == pytest.approx([1, 1, 1], abs=1e-6)
    assert found["back"][-1] == pytest.approx(decoder_null(TRUTH, TRUTH[:4]).corrected(0.5), abs=1e-6)
    assert agreement_by_rows(stages, small, tied(TRUTH)) is None


@pytest.mark.parametrize(
    ("values", "rows"),
    [([0, 0.25, 0.75, 1], 40), ([0.5, 0.6, 0.7, 1], 10), ([0, None, 0.5, 1], 80), ([0, 0.1, 0.2, 0.3], None)],
)
def test_rows_to_a_level(values: list[float | None], rows: float | None) -> None:
    found = rows_to(0.5, [10, 20, 80, 160], values)
    assert found == (None if rows is None else pytest.approx(rows))


def test_a_value_in_between_is_interpolated_and_outside_is_not_known() -> None:
    rows, values = [10, 1000], [0.0, 1.0]
    assert value_at(100, rows, values) == pytest.approx(0.5)
    assert value_at(10, rows, values) == 0
    assert value_at(1000, rows, values) == pytest.approx(1)
    assert value_at(5, rows, values) is None
    assert value_at(2000, rows, values) is None


def test_where_it_stopped_improving_and_rose_fastest() -> None:
    rows, values = [1, 2, 4, 8, 16], [0.0, 0.1, 0.7, 0.95, 1.0]
    assert improved_until(rows, values) == pytest.approx(8)
    assert steepest(rows, values) == pytest.approx({"rows": math.sqrt(8), "per_doubling": 0.6})
    assert steepest(rows, [0.5, 0.5, 0.5, 0.4, 0.4]) is None
    assert improved_until(rows, [0.0] * 5) is None
