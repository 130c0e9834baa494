"""What is shown while a sweep trains."""

import io
from pathlib import Path

import pytest
import torch
from rich.console import Console

from tests.train.experiments import HOOK, load, write_run
from train import display
from train.compute_dtype import resolved
from train.display import Lines, Screen, visible
from train.learner import Learner
from train.plan import plan_dictionaries
from train.stage import train
from train.start.initialise import first_directions, initial_parameters


@pytest.fixture
def learners(tmp_path: Path) -> list[Learner]:
    grid = {"architecture": "topk", "n_latents": [32, 48, 64], "k": 4}
    config = load(write_run(tmp_path, [grid]))
    planned = resolved(plan_dictionaries(config, {"hooks": {HOOK: 16}}, tmp_path), torch.device("cpu"))
    made = []
    for p in planned:
        directions = first_directions("random", p.settings.n_latents, 16, 0, lambda: torch.zeros(1, 16))
        made.append(Learner(p, initial_parameters(directions, torch.zeros(16)), torch.device("cpu"), 10))
    return made


POINT = {"rows": 1500, "loss": 8.25, "fvu": 0.325, "l0": 4.0, "dead": 0.125, "rows_per_second": 1000.0}


def shown(screen: Screen, console: Console) -> str:
    with console.capture() as capture:
        console.print(screen.render())
    return capture.get()


def test_table_has_a_line_for_each_dictionary(learners: list[Learner]) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120, height=40, color_system=None)
    screen = Screen(console, HOOK, learners, 6000, 0)
    for learner in learners:
        learner.rows = 1500
    screen.show(learners[1], {**POINT, "eval_fvu": 0.341})
    screen.show(learners[1], POINT)
    lines = [line.split() for line in shown(screen, console).splitlines()]
    assert lines[1:] == [
        ["dictionary", "loss", "FVU", "held-out", "FVU", "L0", "dead", "rows/s", "time", "left"],
        ["topk-32-k4-seed0"],
        ["topk-48-k4-seed0", "8.250", "0.325", "0.341", "4.0", "12.5%", "1,000", "0:00:04"],
        ["topk-64-k4-seed0"],
    ]


def test_more_dictionaries_than_lines_come_in_turns(learners: list[Learner]) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120, height=8, color_system=None)
    text = shown(Screen(console, HOOK, learners, 6000, 0), console)
    assert text.count("topk-") < 3
    assert "of 3" in text
    pages = [visible(96, 40, float(second)) for second in range(15)]
    assert set(pages) == {range(0, 40), range(40, 80), range(80, 96)}
    assert visible(3, 40, 1234.5) == range(3)
    assert visible(3, -2, 0.0) == range(1)


def test_time_left_is_a_bound_where_the_end_is_open(learners: list[Learner]) -> None:
    learner = learners[0]
    learner.rows = 1500
    assert display.time_left(learner, POINT) == "0:00:04"
    assert display.time_left(learner, {}) == ""
    learner.convergence.asked = True
    assert display.time_left(learner, POINT) == "≤ 0:00:04"
    learner.convergence.ends = 6000
    assert display.time_left(learner, POINT) == "0:00:04"
    learner.rows = 6000
    assert display.time_left(learner, POINT) == "done"


def test_lines_say_how_it_goes_where_there_is_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid = {"architecture": "topk", "n_latents": [32, 64], "k": 4}
    train(load(write_run(tmp_path, [grid])))
    lines = capsys.readouterr().err.splitlines()
    assert all(line.startswith(f"train {HOOK}: ") for line in lines)
    assert 5 <= sum(" of 6,000, 2 dictionaries, FVU 0." in line for line in lines) <= 10
    done = [line for line in lines if "done at row 6,000" in line]
    assert sorted(line.split()[2] for line in done) == ["topk-32-k4-seed0", "topk-64-k4-seed0"]
    assert all("held-out FVU 0." in line for line in done)
    assert isinstance(Lines(Console(), HOOK, 1, 10, 0), display.Display)
