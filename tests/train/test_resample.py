"""Dead latents come back, where the paper says and at no other cost; a resumed training draws the same rows."""

import dataclasses
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.stores import planted
from tests.train.experiments import HOOK, load, weights, write_run
from train import sweep
from train.learner import Learner
from train.plan import Planned
from train.resample import ENCODER_NORM, resample, resample_due, rows_between
from train.schedule import schedule_of
from train.settings import DictionarySettings
from train.stack import Stack
from train.stage import train
from train.start.initialise import first_directions, initial_parameters
from winnow.runtime.stage import Interrupted

D, N, ROWS, DEAD = 16, 24, 4000, 7
SETTINGS: dict[str, Any] = {
    "n_latents": N,
    "seed": 0,
    "learning_rate": 1e-2,
    "l1_coefficient": 0.3,
    "rows": 40 * ROWS,
    "batch_rows": ROWS,
    "warmup": 0.0,
    "decay": 0.2,
    "resample_rows": 8 * ROWS,
    "slope_bound": 0.05,
    "similarity_bound": 0.95,
}
KINDS: dict[str, dict[str, Any]] = {
    "relu": {"architecture": "relu"},
    "tied": {"architecture": "relu", "tied": True},
    "gated": {"architecture": "gated"},
}


def batch() -> Tensor:
    return planted(ROWS, D, N, 3)[0]


def with_dead_latent(kind: str) -> Learner:
    """Make a dictionary whose latent DEAD cannot fire, and take a few steps with it."""
    directions = first_directions("random", N, D, 0, lambda: torch.empty(0, D))
    planned = Planned("hook", Path(kind), DictionarySettings(**SETTINGS, **KINDS[kind]))
    learner = Learner(planned, initial_parameters(directions, torch.full((D,), 0.1)), torch.device("cpu"), 1)
    learner.parameters["b_enc"][DEAD] = -1e3
    stack, x = Stack([learner]), batch()
    for _ in range(6):
        stack.train_on(x, x.square().sum())
    return learner


@pytest.mark.parametrize("kind", KINDS)
def test_dead_latent_is_pointed_at_a_row_and_fires_again(kind: str) -> None:
    learner, x = with_dead_latent(kind), batch()
    before = {name: value.clone() for name, value in learner.state()[0].items()}
    assert int(learner.silent_rows[DEAD]) == 6 * ROWS
    assert resample(learner, x) == 1
    p = learner.parameters
    cosines = torch.nn.functional.normalize(x - p["b_dec"], dim=1) @ p["W_dec"][DEAD]
    assert abs(float(cosines.max()) - 1) < 1e-5
    if kind != "tied":
        living = torch.cat([before["W_enc"][:DEAD], before["W_enc"][DEAD + 1 :]]).norm(dim=1).mean()
        torch.testing.assert_close(p["W_enc"][DEAD], ENCODER_NORM * living * p["W_dec"][DEAD])
    assert all(float(p[name][DEAD]) == 0 for name in ("b_enc", "b_mag", "r_mag") if name in p)
    after = learner.state()[0]
    for name, value in after.items():
        if value.ndim and len(value) == N:
            if name.startswith("adam."):
                assert not value[DEAD].any(), name
            others = torch.arange(N) != DEAD
            assert torch.equal(value[others], before[name][others]), name
        else:
            assert torch.equal(value, before[name]), name
    assert int(learner.silent_rows[DEAD]) == 0
    stack = Stack([learner])
    for _ in range(20):
        stack.train_on(x, x.square().sum())
    assert int(learner.silent_rows[DEAD]) < 5 * ROWS
    assert resample(learner, x) == 0


def test_rows_are_drawn_by_the_square_of_their_loss() -> None:
    """Of two kinds of rows, one with three times the loss is drawn nine times as often."""
    x = torch.zeros(2000, D)
    x[:1000, 0], x[1000:, 1] = 1.0, 3.0**0.5  # squared errors 1 and 3 where nothing fires
    counts = torch.zeros(2)
    for seed in range(300):
        planned = Planned("hook", Path("x"), DictionarySettings(**{**SETTINGS, "seed": seed}, architecture="relu"))
        directions = first_directions("random", N, D, 0, lambda: torch.empty(0, D))
        learner = Learner(planned, initial_parameters(directions, torch.zeros(D)), torch.device("cpu"), 1)
        learner.parameters["b_enc"].fill_(-1e3)
        learner.silent_rows[DEAD] = 10**9
        assert resample(learner, x) == 1
        counts[int(learner.parameters["W_dec"][DEAD].argmax())] += 1
    # 0.9 of 300 with a standard deviation of 5.2
    assert abs(float(counts[1]) - 270) < 21


def test_more_dead_latents_than_rows_wait() -> None:
    learner = with_dead_latent("relu")
    learner.silent_rows.fill_(10**9)
    assert resample(learner, batch()[:10]) == 10
    assert int((learner.silent_rows > 0).sum()) == N - 10
    assert resample(learner, batch()) == N - 10
    assert learner.parameters["W_dec"].unique(dim=0).shape == (N, D)


def test_last_resampling_leaves_time_to_learn() -> None:
    own = {"rows": 1000, "resample_rows": "auto", "decay": 0.2}
    settings = DictionarySettings(**{**SETTINGS, **own}, architecture="relu")
    assert rows_between(settings) == 125
    schedule = schedule_of(settings)
    due = [start for start in range(0, 1000, 25) if resample_due(settings, schedule, start, start + 25)]
    assert due == [100, 225, 350, 475, 600]  # the last at row 625: 125 more, and the rate falls from 800 on
    never = dataclasses.replace(settings, resample_rows=0)
    assert not any(resample_due(never, schedule, start, start + 25) for start in due)


def test_resumed_training_draws_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop right after a resampling, in a grid of which a good part has died."""
    drawn: list[int] = []
    original = sweep.resample

    def counted(learner: Learner, x: Tensor) -> int:
        learner.silent_rows[::3] = 10**6
        drawn.append(original(learner, x))
        if len(drawn) == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        return drawn[-1]

    monkeypatch.setattr(sweep, "resample", counted)
    grids = [{"architecture": kind, "n_latents": 48, "l1_coefficient": 0.5} for kind in ("relu", "gated")]
    found = []
    for stop_at in (-1, 3):
        drawn.clear()
        path = write_run(tmp_path / str(stop_at), grids)
        if stop_at > 0:
            with pytest.raises(Interrupted):
                train(load(path))
        train(load(path))
        found.append(weights(tmp_path / str(stop_at) / "run"))
    assert found[0] == found[1]
    assert drawn == [16] * 10  # five times in each


def test_share_of_resampled_latents_is_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def all_dead(learner: Learner, x: Tensor) -> int:
        learner.silent_rows[:12] = 10**6
        return resample(learner, x)

    monkeypatch.setattr(sweep, "resample", all_dead)
    train(load(write_run(tmp_path, [{"architecture": "relu", "n_latents": 48, "l1_coefficient": 0.5}])))
    curve = tmp_path / "run" / "dictionaries" / HOOK / "relu-48-l1_0.5-seed0" / "metrics.jsonl"
    shares = {point["rows"]: point["resampled"] for point in map(json.loads, curve.read_text().splitlines())}
    assert [rows for rows, share in shares.items() if share] == [750, 1500, 2250, 3000, 3750]
    assert shares[750] == 0.25
