"""Lines through a whole transformer: ends that are rows, counts no smaller than what differs, and the last layer."""

import pytest
import torch

from polytopes.lines import through
from polytopes.lines.pairs import draw_pairs
from polytopes.lines.through import count_on_line, lines_through
from polytopes.reading.subject import Subject
from tests.polytopes.planted import generator

LAYER = 2


def test_a_line_back_to_its_start_crosses_nothing(embedded: Subject):
    x = embedded.values(f"blocks.{LAYER}.hook_resid_post").double()
    assert count_on_line(embedded, LAYER, [3], 5, x[5], x[5]) == (0, 33)


def test_a_line_crosses_what_differs_at_its_ends_and_more_with_more_points(embedded: Subject):
    """The code at the start is the row's own, as the whole text gives it."""
    x = embedded.values("blocks.1.hook_resid_post").double()
    row, step = 5, 2e-6  # so near that the sampled line is a point: bits are those of the row
    away = torch.randn(len(x[0]), generator=torch.Generator().manual_seed(0)).double()
    assert count_on_line(embedded, 1, [2, 3], row, x[row], x[row] + step * away)[0] <= 2
    few, points = count_on_line(embedded, 1, [2, 3], row, x[row], x[9])
    assert few > 50
    assert points > 17
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(through, "MOST_POINTS", 17)
        fewest, points = count_on_line(embedded, 1, [2, 3], row, x[row], x[9])
    assert points == 17
    assert fewest <= few


def test_both_kinds_of_lines_are_compared_at_equal_lengths(embedded: Subject, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(through, "LINES", 6)
    rows = embedded.rows
    pairs = draw_pairs(rows, "prediction", rows.prediction, 100, generator())
    found = lines_through(embedded, LAYER, pairs.same, pairs.different, "test")
    assert found is not None
    assert (found["boundaries"], found["lines"]) == (512, 6)
    assert found["ratio"]["length_ratio"].item() == pytest.approx(1, abs=0.05)
    assert found["ratio"]["value"] == pytest.approx(found["different"]["value"] / found["same"]["value"])
    assert found["same"]["low"] <= found["same"]["value"] <= found["same"]["high"]
    assert lines_through(embedded, 3, pairs.same, pairs.different, "test") is None
