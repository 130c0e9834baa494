"""Criteria that do not know the truth, on grids of which the truth is known."""

import math
from typing import Any

import numpy as np
import pytest

from analyze.groups.criteria import criteria, elbow, rank_correlation, verdict
from analyze.groups.grid import grids

NAN = math.nan


def grid(**tables: list[list[float]]) -> dict[str, Any]:
    """Three sizes by two sparsities; the last size has no next larger one."""
    made = {
        "converged": np.ones((3, 2)),
        "mmcs_next": [[0.5, 0.9], [0.8, 0.6], [NAN, NAN]],
        "mmcs_next_corrected": [[0.2, 0.3], [0.7, 0.4], [NAN, NAN]],
        "dead_fraction": [[0, 0], [0, 0.1], [0.5, 0.9]],
        "fvu": [[0.9, 0.5], [0.8, 0.2], [0.7, 0.1]],
        "decoder_cosine": [[0.3, 0.2], [0.1, 0.2], [0.4, 0.4]],
        "l0": [[1.0, 2.0], [1.0, 4.0], [1.0, 16.0]],
        **tables,
    }
    arrays = {key: np.array(values, dtype=float) for key, values in made.items()}
    return {**arrays, "sizes": [64, 128, 256], "sparsities": [0.1, 1.0]}


def truth(**tables: list[list[float]]) -> dict[str, np.ndarray]:
    made = {
        "mmcs_corrected": [[0.3, 0.4], [0.8, 0.7], [0.9, 0.6]],
        "learned": [[0.9, 0.9], [0.8, 0.5], [0.3, 0.2]],
        "recovered": [[0.1, 0.2], [0.7, 0.5], [0.8, 0.4]],
        "features": [[128] * 2] * 3,
        **tables,
    }
    return {key: np.array(values, dtype=float) for key, values in made.items()}


def judged(**tables: list[list[float]]) -> dict[str, Any]:
    found = verdict(grid(**tables), truth())
    assert found is not None
    return found


def test_each_pick_is_held_against_the_best_by_the_truth() -> None:
    best, found = judged()["best"], judged()["all"]
    place = {"n_latents": 256, "sparsity": 0.1, "size_ratio": 2, "converged": True}
    assert best["found"] == {**place, "found": 0.9, "alike": 0.3, "learned": 0.3, "recovered": 0.8}
    assert best["alike"]["n_latents"] == 128
    corrected = found["criteria"]["mmcs_next_corrected"]
    assert (corrected["picked"]["n_latents"], corrected["picked"]["sparsity"]) == (128, 0.1)
    assert corrected["picked"]["size_ratio"] == 1
    assert corrected["regret"] == pytest.approx(0.1)
    assert corrected["regret_alike"] == 0
    assert corrected["cells"] == 4
    raw = found["criteria"]["mmcs_next"]
    assert (raw["picked"]["n_latents"], raw["picked"]["sparsity"], raw["regret"]) == (64, 1.0, 0.5)
    # the truth ranks the four cells 1 2 4 3, and so does the corrected score; the raw one ranks them 1 4 3 2
    assert corrected["rank_correlation"] == pytest.approx(1)
    assert raw["rank_correlation"] == pytest.approx(np.corrcoef([1, 4, 3, 2], [1, 2, 4, 3])[0, 1])


def test_the_gate_asks_for_the_cell_and_for_its_next_larger_one() -> None:
    done = [[1, 1], [0, 1], [1, NAN]]
    found = judged(converged=done)["converged"]
    assert found["cells"] == 4
    corrected = found["criteria"]["mmcs_next_corrected"]
    assert corrected["cells"] == 1  # 64 at 1.0: at 0.1 its next larger one has not converged, and 128's neither
    assert (corrected["picked"]["n_latents"], corrected["picked"]["sparsity"]) == (64, 1.0)
    assert corrected["regret"] == pytest.approx(0.5)
    none = judged(converged=[[0, 0]] * 3)["converged"]
    assert none["cells"] == 0
    assert none["criteria"]["elbow"]["picked"] is None
    assert none["criteria"]["elbow"]["regret"] is None


def test_many_dead_latents_rule_a_cell_out() -> None:
    tables = criteria(grid(dead_fraction=[[0, 0], [0.11, 0.1], [0, 0]]))
    np.testing.assert_array_equal(tables["mmcs_next_living"], [[0.2, 0.3], [NAN, 0.4], [NAN, NAN]])


def test_the_elbow_is_where_more_latents_stop_paying() -> None:
    found = elbow(*(grid()[key] for key in ("l0", "fvu")))
    # the front: (1, 0.7), (2, 0.5), (4, 0.2), (16, 0.1); log2 L0 is 0, 1, 2, 4
    assert np.nanargmax(found) == 3
    assert found[1, 1] == pytest.approx((0.5 - 0.1 / 0.6) / math.sqrt(2))
    assert [found[2, 0], found[2, 1]] == [0, 0]
    assert np.isnan([found[0, 0], found[1, 0]]).all()
    assert np.isnan(elbow(np.ones((2, 2)), np.ones((2, 2)))).all()


def test_without_a_truth_there_is_no_verdict() -> None:
    unknown = {key: np.full((3, 2), NAN) for key in truth()}
    assert verdict(grid(), unknown) is None


def test_rank_correlation_is_of_ranks_and_needs_three() -> None:
    a = np.array([1.0, 2.0, 3.0, NAN])
    assert rank_correlation(a, np.exp(a)) == pytest.approx(1)
    assert rank_correlation(a, -(a**3)) == pytest.approx(-1)
    assert math.isnan(rank_correlation(a, np.ones(4)))
    assert math.isnan(rank_correlation(a[2:], a[2:]))
    # ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: covariance 4.5, variances 4.5 and 5
    tied = rank_correlation(np.array([1.0, 5, 5, 9]), np.array([1.0, 2, 3, 4]))
    assert tied == pytest.approx(4.5 / math.sqrt(4.5 * 5))


def test_a_grid_takes_the_truth_from_its_dictionaries() -> None:
    def entry(n: int, sparsity: float, found: float) -> dict[str, object]:
        scores = {"mmcs": 0.9, "mmcs_corrected": found, "learned": {"mmcs_corrected": 0.6}, "recovered": found}
        return {
            **{"path": f"{n}-{sparsity}", "hook": "toy", "architecture": "relu", "seed": 0, "n_latents": n},
            **{"sparsity": {"l1_coefficient": sparsity}, "fvu": 0.5, "l0": 5.0, "mse": 1.0, "l1": 1.0},
            **{"dead_fraction": 0.0, "alive_fraction": 1.0, "convergence": {"converged": n < 200}},
            "truth": {**scores, "size_ratio": n / 128},
        }

    entries = [entry(64, 0.1, 0.3), entry(128, 0.1, 0.8), entry(256, 0.1, 0.7)]
    pairs = [
        {"from": a["path"], "to": b["path"], "mmcs": 0.5, "mmcs_corrected": value}
        for a, b, value in ((entries[0], entries[1], 0.2), (entries[1], entries[2], 0.6))
    ]
    (made,) = grids(entries, pairs)
    assert made["truth"]["mmcs_corrected"].tolist() == [[0.3], [0.8], [0.7]]
    assert made["converged"].tolist() == [[1], [1], [0]]
    said = made["verdict"]
    picked = [said[gate]["criteria"]["mmcs_next_corrected"]["picked"] for gate in ("all", "converged")]
    assert [(cell["n_latents"], cell["converged"]) for cell in picked] == [(128, True), (64, True)]
    assert said["best"]["found"]["size_ratio"] == 1
    assert grids([{**e, "truth": None} for e in entries], pairs)[0]["verdict"] is None


def test_dictionaries_of_which_nothing_lives_are_not_judged() -> None:
    nothing = [[NAN] * 2] * 3
    assert verdict(grid(), truth(mmcs_corrected=nothing, learned=nothing)) is None
    found = verdict(grid(), truth(learned=nothing))
    assert found is not None
    assert found["best"]["alike"] is None
    said = found["all"]["criteria"]["mmcs_next_corrected"]
    assert said["regret"] == pytest.approx(0.1)
    assert said["regret_alike"] is None


def test_a_next_larger_size_without_a_living_latent_gives_no_agreement() -> None:
    kind = {"hook": "h", "architecture": "topk", "seed": 0, "options": {}, "rows": 1, "learning_rate": 1.0}
    entries = [{**kind, "path": str(n), "n_latents": n, "sparsity": {"k": 8}} for n in (64, 128)]
    pairs = [{"from": "64", "to": "128", "mmcs": None, "mmcs_corrected": None}]
    (found,) = grids(entries, pairs)
    assert np.isnan(found["mmcs_next"]).all()
    assert np.isnan(found["mmcs_next_corrected"]).all()


def test_the_smallest_cosine_of_directions_picks_alone() -> None:
    found = judged()["all"]["criteria"]["decoder_cosine"]
    assert found["cells"] == 6  # the largest size too: it needs no next larger one
    assert (found["picked"]["n_latents"], found["picked"]["sparsity"]) == (128, 0.1)
    gated = judged(converged=[[1, 1], [0, 1], [1, 1]])["converged"]["criteria"]["decoder_cosine"]
    assert gated["picked"]["n_latents"] != 128 or gated["picked"]["sparsity"] != 0.1
