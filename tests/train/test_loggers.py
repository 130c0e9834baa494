"""Where curves go besides metrics.jsonl: read back with the libraries that show them."""

import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from wandb.proto.wandb_internal_pb2 import Record  # pyright: ignore[reportAttributeAccessIssue]

from tests.experiments import ROOT, run_stage
from tests.train.experiments import HOOK, load, write_run
from train import loggers, sweep
from train.stage import train
from winnow.errors import UserError

TOPK: dict[str, Any] = {"architecture": "topk", "n_latents": 48, "k": 3}
NAME = "topk-48-k3-seed0"


def curve(run: Path) -> list[dict[str, float]]:
    lines = (run / "dictionaries" / HOOK / NAME / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def tensorboard_curve(run: Path, tag: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(run / "tensorboard" / HOOK / NAME))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]


def test_tensorboard_shows_the_curve(tmp_path: Path) -> None:
    train(load(write_run(tmp_path, [TOPK], loggers=["tensorboard"])))
    points = curve(tmp_path / "run")
    for tag in ("loss", "fvu", "eval_fvu"):
        expected = [(point["rows"], pytest.approx(point[tag])) for point in points if tag in point]
        assert tensorboard_curve(tmp_path / "run", tag) == expected


def test_tensorboard_goes_on_without_a_point_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second process starts from row 3000, behind which the first had written points."""
    path = write_run(tmp_path, [TOPK], loggers=["tensorboard"], checkpoint_rows=3000)
    original = sweep.append_point

    def fail_late(folder: Path, point: Any) -> None:
        original(folder, point)
        if point["rows"] == 4500:
            raise OSError("pulled the plug")

    monkeypatch.setattr(sweep, "append_point", fail_late)
    with pytest.raises(OSError, match="pulled the plug"):
        train(load(path))
    monkeypatch.undo()
    assert tensorboard_curve(tmp_path / "run", "loss")[-1][0] == 4250
    train(load(path))
    steps = [step for step, _ in tensorboard_curve(tmp_path / "run", "loss")]
    assert steps == [point["rows"] for point in curve(tmp_path / "run")]


def test_wandb_keeps_the_curve_offline(tmp_path: Path) -> None:
    path = write_run(tmp_path, [TOPK], loggers=["wandb"])
    environment = {**os.environ, "WANDB_MODE": "offline", "WANDB_PROJECT": "of-a-test"}
    command = [sys.executable, "-m", "train", "--config", str(path)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    identity = (tmp_path / "run" / "dictionaries" / HOOK / NAME / "wandb_id.txt").read_text()
    (kept,) = (tmp_path / "run" / "wandb").glob(f"offline-run-*-{identity}/run-{identity}.wandb")
    assert [(step, pytest.approx(fvu)) for step, fvu in wandb_curve(kept, "fvu")] == [
        (point["rows"], point["fvu"]) for point in curve(tmp_path / "run")
    ]


def wandb_curve(path: Path, name: str) -> list[tuple[int, float]]:
    found = []
    for data in wandb_records(path.read_bytes()):
        record = Record()
        record.ParseFromString(data)
        values = {item.key or ".".join(item.nested_key): item.value_json for item in record.history.item}
        if name in values:
            step = record.history.step.num or int(values["_step"])
            found.append((step, json.loads(values[name])))
    return found


def wandb_records(data: bytes) -> Iterator[bytes]:
    """Split W&B's file, LevelDB's log format behind 7 bytes: checksum, length and kind of each piece, in blocks."""
    at, block, pieces = 7, 32_768, b""
    while at < len(data):
        if block - at % block < 7:
            at += block - at % block
            continue
        length, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        pieces += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole, or the last piece of one
            yield pieces
            pieces = b""


def test_nobody_logged_in_is_said_before_training(tmp_path: Path) -> None:
    path = write_run(tmp_path, [TOPK], loggers=["wandb"])
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    environment = {**kept, "HOME": str(tmp_path), "NETRC": str(tmp_path / "none")}
    command = [sys.executable, "-m", "train", "--config", str(path)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("train: train.loggers: wandb is not logged in; run ")
    assert not (tmp_path / "run" / "dictionaries").exists()


@pytest.mark.parametrize(("name", "module"), [("tensorboard", "torch.utils.tensorboard"), ("wandb", "wandb")])
def test_missing_library_is_named_before_training(
    name: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_run(tmp_path, [TOPK], loggers=[name])
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=rf'train.loggers: "{name}" is not installed .* pip install'):
        train(load(path))
    assert not (tmp_path / "run" / "dictionaries").exists()


def test_every_logger_of_the_configuration_exists(tmp_path: Path) -> None:
    for name in ("tensorboard", "wandb"):
        assert load(write_run(tmp_path, [TOPK], loggers=[name])).train.loggers == [name]
        assert name in loggers.LOGGERS


def test_finished_training_loads_no_logger(tmp_path: Path) -> None:
    path = write_run(tmp_path, [TOPK], loggers=["tensorboard"])
    train(load(path))
    code = (
        "import sys; from train.stage import train; from winnow.config.command_line import load_experiment; "
        f"train(load_experiment('train', ['--config', {str(path)!r}])); "
        "sys.exit('tensorboard' in sys.modules or 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, "nothing to do" in done.stdout) == (0, True), done.stderr
    assert run_stage("train", path).stderr == ""
