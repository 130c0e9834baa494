"""A training that was stopped or killed, and started again, ends with the bits of one that was not."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.experiments import ROOT
from tests.train.experiments import HOOK, load, weights, write_run
from train import sweep
from train.checkpoint import checkpoint_rows, group_by_start, write_checkpoint
from train.plan import Planned
from train.settings import DictionarySettings
from train.stage import train
from winnow.errors import UserError
from winnow.runtime.stage import INTERRUPTED, Interrupted

pytestmark = pytest.mark.usefixtures("two_threads")

GRIDS: list[dict[str, Any]] = [
    {"architecture": "topk", "n_latents": [32, 64], "k": 4},
    {"architecture": "relu", "n_latents": 48, "l1_coefficient": 0.5},
]
ANY = DictionarySettings(architecture="topk", n_latents=32, k=4)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("uninterrupted")
    train(load(write_run(folder, GRIDS)))
    return weights(folder / "run")


@pytest.mark.parametrize("when", [1, 7, 23])
def test_stopped_training_goes_on_to_equal_bits(
    when: int, uninterrupted: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_run(tmp_path, GRIDS)
    steps = 0
    original = sweep.Stack.train_on

    def stop_in_step(*arguments: Any, **named: Any) -> None:
        nonlocal steps
        steps += 1
        if steps == 3 * when:
            os.kill(os.getpid(), signal.SIGTERM)
        original(*arguments, **named)

    monkeypatch.setattr(sweep.Stack, "train_on", stop_in_step)
    with pytest.raises(Interrupted, match=r"stopped by SIGTERM at row [\d,]+, state saved"):
        train(load(path))
    assert weights(tmp_path / "run") == {}
    train(load(path))
    assert weights(tmp_path / "run") == uninterrupted


def test_curve_of_resumed_training_has_every_point_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_run(tmp_path, GRIDS[1:])
    original = sweep.write_checkpoint

    def fail_after_writing(folder: Path, tensors: Any, numbers: dict[str, Any]) -> None:
        original(folder, tensors, numbers)
        if numbers["rows"] == 3000:
            raise OSError("pulled the plug")

    monkeypatch.setattr(sweep, "write_checkpoint", fail_after_writing)
    with pytest.raises(OSError, match="pulled the plug"):
        train(load(path))
    monkeypatch.undo()
    curve = tmp_path / "run" / "dictionaries" / HOOK / "relu-48-l1_0.5-seed0" / "metrics.jsonl"
    with curve.open("a") as file:
        file.write('{"rows": 3250, "loss": 1.0}\n{"rows": 34')  # behind the checkpoint, and torn
    train(load(path))
    points = [json.loads(line) for line in curve.read_text().splitlines()]
    assert [point["rows"] for point in points] == list(range(250, 6001, 250))


@pytest.mark.kills
def test_sweep_killed_twenty_times_ends_with_equal_bits(tmp_path: Path) -> None:
    """Weights, curves, snapshots and verdicts of several architectures, each of which stops on its own."""
    grids: list[dict[str, Any]] = [
        {"architecture": "topk", "n_latents": [32, 64], "k": 4, "seed": [0, 1]},
        {"architecture": "batchtopk", "n_latents": 32, "k": 4},
        {"architecture": "matryoshka", "n_latents": 32, "k": 4},
        {"architecture": "relu", "n_latents": 48, "l1_coefficient": 0.5},
        {"architecture": "gated", "n_latents": 48, "l1_coefficient": 0.5},
        {"architecture": "jumprelu", "n_latents": 32, "l0_coefficient": 0.1},
    ]
    end = {"rows": "converged", "max_rows": 16_000, "slope_bound": 0.3}
    path = write_run(tmp_path, grids, **end, snapshots=1, loggers=["tensorboard"])
    command = [sys.executable, "-m", "tests.train.doomed", str(path), str(tmp_path / "doomed"), "20"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["different"] == []
    assert len(result["checkpoints"]) == 20
    assert any(result["checkpoints"]), "all kills came before the first checkpoint"
    records = [json.loads(path.read_text()) for path in tmp_path.glob("doomed/whole/dictionaries/*/*/training.json")]
    assert {record["convergence"]["reason"] for record in records} == {"converged", "ceiling"}


def test_signal_ends_the_stage_with_its_own_status(tmp_path: Path) -> None:
    path = write_run(tmp_path, GRIDS, rows=5_000_000)
    command = [sys.executable, "-m", "train", "--config", str(path)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not any(tmp_path.glob("run/dictionaries/*/*/checkpoints/rows-*")):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == INTERRUPTED
    assert f"train: {HOOK}: stopped by SIGINT at row" in said
    assert "Traceback" not in said


def test_changed_setting_is_refused_on_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_run(tmp_path, GRIDS)
    monkeypatch.setattr(sweep._Sweep, "_finish_ended", _pull_the_plug)
    with pytest.raises(OSError, match="pulled the plug"):
        train(load(path))
    with pytest.raises(UserError, match="was made with batch_rows = 250, now batch_rows = 300 is asked for"):
        train(load(path, "--train.batch_rows", "300"))
    with pytest.raises(UserError, match="was made with held_out_rows = 'auto', now held_out_rows = 50 is asked for"):
        train(load(path, "--train.held_out_rows", "50"))
    with pytest.raises(UserError, match="was made with rows = 6000, now rows = 'converged' is asked for"):
        train(load(path, "--train.rows", "converged"))


def _pull_the_plug(*arguments: Any) -> None:
    raise OSError("pulled the plug")


def test_what_a_killed_process_had_begun_to_write_is_deleted(tmp_path: Path) -> None:
    path = write_run(tmp_path, GRIDS[1:])
    folder = tmp_path / "run" / "dictionaries" / HOOK / "relu-48-l1_0.5-seed0"
    (folder / "checkpoints" / "rows-0000000001000.77.partial").mkdir(parents=True)
    (folder / "checkpoints" / "rows-0000000001000.77.partial" / "state.safetensors").write_bytes(b"half")
    for name in (".tmpbtFlCU", "sae_weights.safetensors.partial", "snapshots/rows-0000000000250/.tmpAbCdEf"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"half of it")
    train(load(path))
    files = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
    assert files == ["cfg.json", "metrics.jsonl", "sae_weights.safetensors", "training.json"]


def test_sweep_killed_between_its_first_checkpoints_ends_with_equal_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One learner of a stack has a checkpoint then, the other none: alone, sums would be taken in another order."""
    grid = [{"architecture": "relu", "n_latents": 48, "l1_coefficient": 0.5, "seed": [0, 1, 2, 3]}]
    train(load(write_run(tmp_path / "whole", grid)))
    path = write_run(tmp_path / "torn", grid)
    original = sweep.write_checkpoint
    written: list[Path] = []

    def pull_the_plug(folder: Path, *state: Any) -> None:
        if written:
            raise OSError("pulled the plug")
        original(folder, *state)
        written.append(folder)

    monkeypatch.setattr(sweep, "write_checkpoint", pull_the_plug)
    with pytest.raises(OSError, match="pulled the plug"):
        train(load(path))
    monkeypatch.undo()
    begun = [Planned(HOOK, folder, ANY) for folder in (tmp_path / "torn" / "run" / "dictionaries" / HOOK).iterdir()]
    assert group_by_start(begun) == [(0, begun)]
    train(load(path))
    assert weights(tmp_path / "torn" / "run") == weights(tmp_path / "whole" / "run")


def test_learners_that_share_a_checkpoint_go_on_together(tmp_path: Path) -> None:
    planned = [Planned("h", tmp_path / name, ANY) for name in "abc"]
    for name, rows in {"a": (1000, 2000), "b": (1000,)}.items():
        for row in rows:
            write_checkpoint(tmp_path / name, {}, {"rows": row})
    (tmp_path / "a" / "checkpoints" / "rows-0000000003000.77.partial").mkdir()
    a, b, c = planned
    assert checkpoint_rows(a.folder) == {1000, 2000}
    assert group_by_start(planned) == [(1000, [a, b]), (0, [c])]
