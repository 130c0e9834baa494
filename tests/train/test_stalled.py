"""What stands still because its rate is too low has not converged."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.train.experiments import HOOK, KINDS, load, write_run
from train.convergence import LEFT_START, Convergence, Progress
from train.settings import DictionarySettings
from train.stage import train


def verdicts(run: Path) -> dict[str, dict[str, Any]]:
    found = (run / "dictionaries" / HOOK).glob("*/training.json")
    return {path.parent.name: json.loads(path.read_text())["convergence"] for path in found}


@pytest.mark.parametrize("rows", [20_000, "converged"])
def test_a_rate_too_low_stalls_and_does_not_converge(
    rows: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grids = [kind | {"n_latents": 48, "learning_rate": rate} for kind in KINDS for rate in (1e-5, 1e-6)]
    asked: dict[str, Any] = {"rows": rows, "max_rows": 20_000} if rows == "converged" else {"rows": rows}
    train(load(write_run(tmp_path, grids, **asked)))
    found = verdicts(tmp_path / "run")
    assert len(found) == 12
    for name, verdict in found.items():
        assert abs(verdict["slope"]) <= 0.05, name  # it stands still,
        assert verdict["self_similarity"] >= 0.9, name
        assert (verdict["converged"], verdict["stalled"]) == (False, True), name
        assert verdict["reason"] == ("ceiling" if rows == "converged" else "rows"), (
            name
        )  # and was not ended by the rule
        assert verdict["start_similarity"] > LEFT_START, name
    said = capsys.readouterr().err
    assert said.count("it stands still and has not learned; raise learning_rate") >= 12


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind["architecture"])
def test_what_has_learned_converges(kind: dict[str, Any], tmp_path: Path) -> None:
    grid = kind | {"n_latents": 48, "learning_rate": 1e-2}
    bounds: dict[str, Any] = {"slope_bound": 0.5, "similarity_bound": 0.8}
    train(load(write_run(tmp_path, [grid], rows="converged", max_rows=60_000, **bounds)))
    (verdict,) = verdicts(tmp_path / "run").values()
    assert (verdict["converged"], verdict["stalled"], verdict["reason"]) == (True, False, "converged")
    assert verdict["fvu"] < 0.6
    assert verdict["loss_share"] < 0.9
    assert verdict["start_similarity"] < 0.95


@pytest.mark.parametrize(
    ("progress", "learned"),
    [
        (Progress(0.3, 0.5, 0.4), True),
        (Progress(3.0, 0.5, 0.4), False),
        (Progress(1.0, 0.5, 0.4), False),
        (Progress(0.3, 0.99, 0.4), False),
        (Progress(0.3, 0.5, 0.999), False),
        (Progress(None, None, None), True),
    ],
)
def test_each_sign_of_learning_is_asked_for(progress: Progress, learned: bool) -> None:
    rule = Convergence(DictionarySettings(architecture="topk", n_latents=4, k=1), 100)
    rule.slope, rule.self_similarity, rule.progress = 0.0, 1.0, progress
    assert (rule.holds, rule.stalled) == (learned, not learned)
    rule.slope = -1.0
    assert (rule.holds, rule.stalled) == (False, False)


def test_distance_from_the_start_counts_living_latents() -> None:
    start = torch.eye(4)
    rule = Convergence(DictionarySettings(architecture="topk", n_latents=4, k=1), 100, start)
    rule.start_loss = 8.0
    now = torch.tensor([[0.6, 0.8, 0, 0], [0, 1.0, 0, 0], [0, 0, -1.0, 0], [0, 0, 0, 1.0]])
    rule.measure_progress(2.0, 0.25, now, torch.tensor([True, True, False, False]))
    assert rule.progress[:2] == (0.25, 0.25)
    assert rule.progress.start_similarity == pytest.approx(0.8)
    rule.measure_progress(2.0, 0.25, now, torch.zeros(4, dtype=torch.bool))
    assert rule.progress.start_similarity is None
