"""Two processes under torchrun come to what one comes to: each with dictionaries of its own, or sharing each."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

import winnow
from tests.experiments import ROOT
from tests.train.experiments import load, write_run
from train.collectives import Collectives
from train.plan import Planned
from train.settings import DictionarySettings
from train.sharded import SharedStop, slice_of
from train.share import share_of
from train.signals import Stop
from train.stage import train
from winnow.errors import UserError
from winnow.runtime.ranks import Ranks

pytestmark = pytest.mark.torchrun

N = 48
FAST = {"learning_rate": 5e-3}
GRIDS: list[dict[str, Any]] = [
    {"architecture": "topk", "n_latents": 192, "k": 2, **FAST},  # so many that AuxK has work to do
    {"architecture": "batchtopk", "n_latents": 192, "k": 2, **FAST},
    {"architecture": "matryoshka", "n_latents": 192, "k": 2, "seed": 1, **FAST},
    {"architecture": "relu", "n_latents": N, "l1_coefficient": 0.5, **FAST},
    {"architecture": "relu", "tied": True, "n_latents": N, "l1_coefficient": 0.5, **FAST},
    {"architecture": "gated", "n_latents": 2 * N, "l1_coefficient": 10.0, "resample_rows": 500, "learning_rate": 0.1},
    {"architecture": "jumprelu", "n_latents": N, "l0_coefficient": 0.5, **FAST},
]
SHARE = ("--train.shard_latents", "true")


def torchrun(config: Path, *arguments: str, ranks: int = 2) -> subprocess.Popen[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    return subprocess.Popen(
        [*launcher, "-m", "train", "--config", str(config), *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return said


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, winnow.Dictionary]:
    folder = tmp_path_factory.mktemp("alone")
    train(load(write_run(folder, GRIDS)))
    return trained(folder)


def trained(folder: Path) -> dict[str, winnow.Dictionary]:
    return {d.path.name: d for d in winnow.load_dictionaries(folder / "run") if d.path}


def curve(d: winnow.Dictionary) -> list[dict[str, float]]:
    assert d.path is not None
    return [json.loads(line) for line in (d.path / "metrics.jsonl").read_text().splitlines()]


def assert_equal(found: dict[str, winnow.Dictionary], expected: dict[str, winnow.Dictionary]) -> None:
    assert found.keys() == expected.keys()
    for name, d in found.items():
        for key, value in d.named_parameters():
            torch.testing.assert_close(value, expected[name].get_parameter(key), rtol=1e-5, atol=1e-5, msg=name)


def test_ranks_that_share_each_dictionary_come_to_what_one_comes_to(
    alone: dict[str, winnow.Dictionary], tmp_path: Path
) -> None:
    finish(torchrun(write_run(tmp_path, GRIDS), *SHARE))
    found = trained(tmp_path)
    assert_equal(found, alone)
    curves = {name: curve(d) for name, d in found.items()}
    assert {len(points) for points in curves.values()} == {24}
    for name, points in curves.items():
        for point, other in zip(points, curve(alone[name]), strict=True):
            assert point | {"rows_per_second": 0} == pytest.approx(other | {"rows_per_second": 0}, rel=1e-4)
        if found[name].architecture in ("topk", "batchtopk", "matryoshka"):
            assert max(point["dead"] for point in points) > 0.01  # AuxK had work to do
        if found[name].architecture == "gated":
            assert max(point["resampled"] for point in points) > 0
    assert not list(tmp_path.glob("run/dictionaries/*/*/shards"))


def test_ranks_with_dictionaries_of_their_own_come_to_what_one_comes_to(
    alone: dict[str, winnow.Dictionary], tmp_path: Path
) -> None:
    said = finish(torchrun(write_run(tmp_path, GRIDS)))
    assert_equal(trained(tmp_path), alone)
    assert sorted(re.findall(r"(\d) dictionaries of rank (\d) of 2", said)) == [("3", "0"), ("4", "1")]


def test_job_that_lost_a_rank_says_so_and_goes_on_with_any_number(
    alone: dict[str, winnow.Dictionary], tmp_path: Path
) -> None:
    config = write_run(tmp_path, GRIDS[:1], rows=6000, checkpoint_rows=250)
    process = torchrun(config, *SHARE)
    second = _rank(process, 1)
    while process.poll() is None and len(list(tmp_path.glob("run/*/*/*/shards/*/checkpoints/rows-*/state.json"))) < 2:
        time.sleep(0.002)
    os.kill(second, signal.SIGKILL)
    said, _ = process.communicate(timeout=300)
    assert process.returncode != 0
    assert "another rank of this job was lost" in said or "stopped by" in said, said
    assert "the same command continues from there" in said
    assert not trained_names(tmp_path)
    finish(torchrun(config, *SHARE, ranks=3))
    assert_equal(trained(tmp_path), {name: d for name, d in alone.items() if name.startswith("topk")})
    assert not list(tmp_path.glob("run/dictionaries/*/*/shards"))


def trained_names(folder: Path) -> list[Path]:
    return list(folder.glob("run/dictionaries/*/*/cfg.json"))


def _rank(process: subprocess.Popen[str], rank: int) -> int:
    """Find the process id of a rank among the launcher's children."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            if f"\0RANK={rank}\0" in Path(f"/proc/{child}/environ").read_text():
                return int(child)
        time.sleep(0.01)
    raise AssertionError("the rank never started")


def test_latents_that_cannot_be_split_evenly_are_named() -> None:
    two = Collectives()
    two.ranks = 2
    with pytest.raises(UserError, match="25 latents cannot be split evenly over 2 ranks; choose a multiple"):
        slice_of({"W_dec": torch.zeros(25, 4)}, two)


def test_signal_to_one_rank_stops_all() -> None:
    class WithOther(Collectives):
        """With another rank, that has been asked to stop or not."""

        def __init__(self, asked: int) -> None:
            self.asked = asked

        def all_reduce(self, tensor: torch.Tensor) -> torch.Tensor:
            return tensor + self.asked

    mine = Stop()
    assert SharedStop(mine, WithOther(0)).requested is None
    assert SharedStop(mine, WithOther(1)).requested == "a signal to another rank"
    mine.requested = "SIGTERM"
    assert SharedStop(mine, WithOther(0)).requested == "SIGTERM"


def test_sharing_without_a_meeting_point_names_torchrun(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="start with torchrun --nproc-per-node N -m train"):
        train(load(write_run(tmp_path, GRIDS[:1]), *SHARE), Ranks(0, 2))


def test_work_is_dealt_evenly_and_every_dictionary_once() -> None:
    sizes = [256, 512, 1024, 2048] * 3
    planned = [
        Planned("h", Path(str(i)), DictionarySettings(architecture="topk", n_latents=n, k=1))
        for i, n in enumerate(sizes)
    ]
    shares = [share_of(planned, Ranks(rank, 3)) for rank in range(3)]
    assert sorted(p.folder.name for share in shares for p in share) == sorted(p.folder.name for p in planned)
    assert {sum(p.settings.n_latents for p in share) for share in shares} == {sum(sizes) // 3}
    assert share_of(planned, Ranks()) == planned
