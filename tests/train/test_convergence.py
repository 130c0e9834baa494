"""The rule by which a training ends, on losses and directions whose answer is known."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.train.experiments import HOOK, load, write_run
from train.convergence import Convergence, EvaluationPoint, self_similarity, slope
from train.evaluation import evaluated_rows
from train.learner import Learner
from train.schedule import dead_after, fewest_rows, most_rows, rows_at_end, schedule_of
from train.settings import DictionarySettings
from train.stage import train
from winnow import load_dictionary
from winnow.errors import UserError

BOUNDS: dict[str, Any] = {"slope_bound": 0.05, "similarity_bound": 0.9, "warmup": 0.1, "decay": 0.2}
TOPK: dict[str, Any] = {"architecture": "topk", "n_latents": 4, "k": 1, "batch_rows": 1024}
OPEN = DictionarySettings(rows="converged", max_rows=1_000_000, **TOPK, **BOUNDS)
FIXED = DictionarySettings(rows=1_000_000, **TOPK, **BOUNDS)


def test_slope_of_a_power_law_is_its_exponent() -> None:
    points = [EvaluationPoint(rows, 3.0 * rows**-0.25) for rows in (1000, 2100)]
    assert slope(*points) == pytest.approx(-0.25)
    assert slope(points[0], points[0]) is None
    assert slope(EvaluationPoint(10, 1.0), EvaluationPoint(20, 0.0)) is None


def test_self_similarity_counts_living_latents() -> None:
    before = torch.eye(4)
    now = torch.tensor([[1.0, 0, 0, 0], [1.0, 0, 0, 0], [0, 0, 0.6, 0.8], [0, 0, 0, -1.0]])
    assert self_similarity(now, before, torch.tensor([True, True, True, False])) == pytest.approx(1.6 / 3)
    assert self_similarity(now, before, torch.tensor([False] * 4)) is None


def run(convergence: Convergence, loss: Any, directions: Any, start: int = 0, step: int = 1000) -> int | None:
    """Evaluate wherever it is due, until the rule holds; give the rows at which it does."""
    alive = torch.ones(4, dtype=torch.bool)
    for rows in range(start + step, 1_000_001, step):
        number = convergence.point_due(rows - step, rows)
        if number is not None and convergence.add_point(number, rows, loss(rows), directions(rows), alive):
            convergence.ends = rows
            return rows
    return None


def still(rows: int) -> Tensor:
    return torch.eye(4)


def turning(rows: int) -> Tensor:
    """A quarter turn for each doubling."""
    angle = math.log2(rows) * math.pi / 2
    return F.normalize(torch.tensor([[math.cos(angle), math.sin(angle)]]).expand(4, 2), dim=1)


def test_rule_holds_where_the_loss_has_levelled_off_and_directions_stand_still() -> None:
    convergence = Convergence(OPEN, 100)
    ended = run(convergence, lambda rows: 1 + 1e5 / rows, still)
    # ln((1 + a/r) / (1 + 2a/r)) / ln 2 is above -0.05 from r = 28 a on: never; with a = 1e4, from 280,000 on
    assert ended is None
    assert convergence.record()["reason"] == "ceiling"
    convergence = Convergence(OPEN, 100)
    ended = run(convergence, lambda rows: 1 + 1e4 / rows, still)
    assert ended is not None
    assert 280_000 < ended <= 280_000 * 2**0.5 + 1000
    record = convergence.record()
    assert (record["converged"], record["reason"], record["self_similarity"]) == (True, "converged", 1)
    assert -0.05 <= record["slope"] < 0


def test_rule_does_not_hold_while_directions_turn() -> None:
    convergence = Convergence(OPEN, 100)
    assert run(convergence, lambda rows: 1.0, turning) is None
    record = convergence.record()
    assert record["slope"] == 0
    assert record["self_similarity"] == pytest.approx(0, abs=0.02)
    assert not record["converged"]


def test_only_two_copies_of_the_directions_are_held() -> None:
    convergence = Convergence(OPEN, 100)
    run(convergence, lambda rows: 1.0, turning)
    assert len(convergence.copies) == 2


def test_state_goes_on_where_it_was() -> None:
    whole, first = Convergence(OPEN, 100), Convergence(OPEN, 100)
    levelling = lambda rows: 1 + 1e4 / rows  # noqa: E731
    expected = run(whole, levelling, still)
    alive = torch.ones(4, dtype=torch.bool)
    for rows in range(1000, 200_001, 1000):
        number = first.point_due(rows - 1000, rows)
        if number is not None:
            first.add_point(number, rows, levelling(rows), still(rows), alive)
    tensors, numbers = first.state()
    second = Convergence(OPEN, 100)
    second.load_state(tensors, json.loads(json.dumps(numbers)), torch.device("cpu"))
    assert run(second, levelling, still, start=200_000) == expected
    assert second.record() | {"reason": ""} == whole.record() | {"reason": ""}


def test_evaluations_cost_at_most_two_rows_in_a_hundred() -> None:
    for settings in (FIXED, OPEN):
        for held_out in (10, 1000, 5000, 65_536):
            evaluated = evaluated_rows(settings, held_out)
            due_at = Convergence(settings, evaluated).due_at
            assert due_at[0] == 800_000
            assert 400_000 in due_at
            assert (len(due_at) + 1) * evaluated <= 0.02 * 1_000_000


def test_schedule_of_an_open_end_warms_up_over_its_share_of_the_earliest_end() -> None:
    assert (most_rows(OPEN), fewest_rows(OPEN)) == (1_000_000, 31_250)
    schedule = schedule_of(OPEN)
    assert schedule.rate(0, 3125) == 1
    assert schedule.rate(799_000, 800_000) == 1
    earlier = schedule.ending(rows_at_end(100_000, 0.2, 1000))
    assert earlier.rows == 125_000
    assert earlier.rate(100_000, 101_000) == 1
    assert earlier.rate(112_500, 113_500) == pytest.approx(0.5)
    assert [dead_after(OPEN, rows) for rows in (0, 31_250, 500_000)] == [3125, 3125, 50_000]
    assert [dead_after(FIXED, rows) for rows in (0, 1_000_000)] == [100_000, 100_000]


def test_each_dictionary_ends_on_its_own_and_its_rate_at_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates: dict[str, list[tuple[int, float]]] = {}
    original = Learner.learning_rate

    def remember(self: Any, start: int, stop: int) -> float:
        rate = original(self, start, stop)
        rates.setdefault(self.planned.name, []).append((stop, rate))
        return rate

    monkeypatch.setattr(Learner, "learning_rate", remember)
    grids: list[dict[str, Any]] = [
        {"architecture": "topk", "n_latents": 32, "k": 4, "learning_rate": 1e-2},
        {"architecture": "relu", "n_latents": 48, "l1_coefficient": 0.5},
    ]
    train(load(write_run(tmp_path, grids, rows="converged", max_rows=16_000, slope_bound=0.25)))
    ends = {}
    for path in (tmp_path / "run" / "dictionaries" / HOOK).glob("*/training.json"):
        record = json.loads(path.read_text())
        ends[path.parent.name] = rows = record["rows"]
        last, rate = rates[path.parent.name][-1]
        assert last == rows
        assert rate < record["settings"]["learning_rate"] * 0.2
        points = [json.loads(line) for line in (path.parent / "metrics.jsonl").read_text().splitlines()]
        assert points[-1]["rows"] == rows
        assert "eval_loss" in points[-1]
        verdict = record["convergence"]
        assert verdict["reason"] == ("converged" if rows < 16_000 else "ceiling")
        assert verdict["converged"] == (abs(verdict["slope"]) <= 0.25 and verdict["self_similarity"] >= 0.9)
    assert ends["topk-32-k4-lr0.01-seed0"] < ends["relu-48-l1_0.5-seed0"] == 16_000


def test_fixed_rows_are_judged_by_half_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Tensor] = []
    original = Convergence.keep_half

    def remember(self: Convergence, before: int, rows: int, W_dec: Tensor) -> None:
        original(self, before, rows, W_dec)
        if rows == 3000:
            kept.append(W_dec.clone())

    monkeypatch.setattr(Convergence, "keep_half", remember)
    train(load(write_run(tmp_path, [{"architecture": "topk", "n_latents": 48, "k": 3}])))
    folder = tmp_path / "run" / "dictionaries" / HOOK / "topk-48-k3-seed0"
    verdict = json.loads((folder / "training.json").read_text())["convergence"]
    cosines = F.cosine_similarity(load_dictionary(folder).W_dec, kept[0], dim=1)
    assert verdict["self_similarity"] == pytest.approx(float(cosines.mean()), rel=1e-5)
    losses = {
        point["rows"]: point["eval_loss"]
        for point in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
        if "eval_loss" in point
    }
    assert set(losses) == {2500, 5000, 6000}  # half and all of the rows at full rate, and the end
    assert verdict["slope"] == pytest.approx(math.log(losses[5000] / losses[2500]) / math.log(2))
    assert verdict["reason"] == "rows"


@pytest.mark.parametrize(
    ("train_keys", "message"),
    [
        ({"max_rows": 5000}, "max_rows has a meaning only with rows = converged"),
        ({"rows": "converged", "decay": 1.0}, "decay = 1 leaves no rows at full rate"),
        ({"rows": "until it is good"}, "train.rows"),
    ],
)
def test_impossible_end_is_refused(train_keys: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        load(write_run(tmp_path, [{"architecture": "topk", "n_latents": 48, "k": 3}], **train_keys))
