import math

import pytest
import torch

from analyze.dictionary.convergence import (
    Bounds,
    convergence,
    half_trained,
    self_similarity,
    slope,
    verdict,
)
from tests.analyze.planted import directions, orthogonal, tied
from winnow.dictionary import save_dictionary

ROWS = [1000 * i for i in range(1, 41)]
FLAT = [0.2 * row**-0.01 for row in ROWS]
STEEP = [3 * row**-0.25 for row in ROWS]


def alive(n):
    return torch.ones(n, dtype=torch.bool)


def test_a_power_law_gives_its_exponent():
    assert slope(ROWS, STEEP) == pytest.approx(-0.25)


def test_only_the_last_half_counts():
    rows = [100 * i for i in range(1, 101)]
    losses = [1 / row if row < 5000 else 0.1 for row in rows]
    assert slope(rows, losses) == pytest.approx(0, abs=1e-9)
    assert verdict(slope(rows, losses), math.nan, Bounds()) == (True, None)


def test_too_short_a_curve_gives_no_verdict():
    assert math.isnan(slope([1, 2], [1.0, 0.5]))
    assert verdict(slope([], []), math.nan, Bounds()) == (None, None)
    assert verdict(math.nan, 0.99, Bounds()) == (None, None)
    assert math.isnan(slope([1, 2, 3, 4], [1.0, None, None, 0.5]))


def test_either_sign_is_enough_to_say_no_and_is_named():
    assert verdict(-0.3, 0.99, Bounds()) == (False, "its loss still changes as rows^-0.30")
    converged, caveat = verdict(0.0, 0.5, Bounds())
    assert converged is False
    assert caveat == "its features have a cosine of 0.50 with those at half the training"
    assert verdict(math.nan, 0.5, Bounds())[0] is False
    assert verdict(0.0, 0.5, Bounds(similarity=0.4))[0] is True


def test_self_similarity_finds_features_wherever_they_moved_to():
    final = directions(20)
    tilted = (final + 0.75 * orthogonal(1)).flip(0)  # permuted, each turned towards one direction
    expected = (final @ (tilted / tilted.norm(dim=1, keepdim=True)).T).amax(1).mean()
    assert self_similarity(tied(final), tied(tilted), alive(20)) == pytest.approx(expected.item(), rel=1e-6)
    assert self_similarity(tied(final), tied(final.flip(0)), alive(20)) == pytest.approx(1, rel=1e-6)


def test_dead_features_do_not_count_as_turned():
    final, half = directions(4), directions(4)
    half[3] = -final[3]
    living = torch.tensor([True, True, True, False])
    assert self_similarity(tied(final), tied(half), living) == pytest.approx(1, rel=1e-6)
    assert math.isnan(self_similarity(tied(final), tied(half), ~alive(4)))


@pytest.fixture
def trained(tmp_path):
    """A dictionary on disk of 40,000 rows, with snapshots of other directions at 10,000 and 19,000 rows."""
    final = tied(orthogonal(8))
    final.path, final.provenance = tmp_path, {"rows": 40_000}
    save_dictionary(tied(orthogonal(8, seed=1)), tmp_path / "snapshots" / "rows-10000", {}, {})
    save_dictionary(tied(orthogonal(8).flip(0)), tmp_path / "snapshots" / "rows-19000", {}, {})
    return final


def test_the_snapshot_nearest_to_half_is_compared(trained):
    half = half_trained(trained, 40_000)
    assert half is not None
    assert torch.equal(half.W_dec, orthogonal(8).flip(0))
    assert half_trained(trained, 80_000) is None
    assert half_trained(tied(orthogonal(8)), 40_000) is None
    found = convergence(trained, ROWS, FLAT, alive(8))
    assert found["self_similarity"] == pytest.approx(1, rel=1e-6)
    assert found["converged"] is True


def test_without_snapshots_the_slope_decides():
    found = convergence(tied(orthogonal(8)), ROWS, STEEP, alive(8))
    assert found["converged"] is False
    assert math.isnan(found["self_similarity"])


def test_what_the_trainer_measured_is_taken_and_judged_by_its_bounds(trained):
    said = {"slope": -0.02, "self_similarity": 0.6, "converged": False, "reason": "ceiling"}
    trained.provenance |= {"convergence": said, "settings": {"slope_bound": 0.01, "similarity_bound": 0.5}}
    found = convergence(trained, ROWS, FLAT, alive(8))
    caveat = "its loss still changes as rows^-0.02"
    assert found == {**said, "caveat": caveat, "held_at": None}


def test_where_the_rule_held_is_before_the_rate_fell(trained):
    trained.provenance["convergence"] = {"slope": -0.01, "self_similarity": 0.95, "reason": "converged"}
    trained.provenance["settings"] = {"slope_bound": 0.05, "similarity_bound": 0.9, "decay": 0.2}
    assert convergence(trained, ROWS, FLAT, alive(8))["held_at"] == pytest.approx(32_000)


def test_what_the_trainer_could_not_measure_is_measured(trained):
    trained.provenance["convergence"] = {"slope": None, "self_similarity": None, "converged": False, "reason": "rows"}
    found = convergence(trained, ROWS, FLAT, alive(8))
    assert found["converged"] is True
    assert found["slope"] == pytest.approx(-0.01)
    assert found["reason"] == "rows"
