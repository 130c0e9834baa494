"""The harvest under the real torchrun: a rank dies, another number of ranks goes on, and the bytes are the same."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import winnow
from data.tokens import make_tokens
from harvest.stage import harvest
from tests.experiments import ROOT, load, write_config
from tests.harvest.test_harvest import contents

pytestmark = pytest.mark.torchrun


def torchrun(config: Path, processes: int) -> subprocess.Popen[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    return subprocess.Popen(
        [*launcher, "-m", "harvest", "--config", str(config)],
        cwd=ROOT,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def ranks_of(launcher: subprocess.Popen[str]) -> dict[int, int]:
    """Map the ranks that run to their process ids."""
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    found = {}
    for child in children:
        variables = Path(f"/proc/{child}/environ").read_text().split("\0")
        found |= {int(value.removeprefix("RANK=")): int(child) for value in variables if value.startswith("RANK=")}
    return found


def test_a_rank_dies_under_torchrun_and_another_number_of_ranks_finishes(tmp_path: Path, gpt2: Path):
    config = write_config(tmp_path, gpt2, harvest={"rows_per_shard": 16})
    make_tokens(load(config))
    make_tokens(load(config, "--run", str(tmp_path / "alone")))
    harvest(load(config, "--run", str(tmp_path / "alone")))

    launcher = torchrun(config, 3)
    activations = tmp_path / "run" / "activations"
    deadline = time.monotonic() + 120
    while not list(activations.glob("shard-*.json")) and launcher.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(ranks_of(launcher)[1], signal.SIGKILL)
    launcher.communicate(timeout=120)
    assert launcher.returncode != 0
    assert not (activations / "statistics.h5").exists()

    launcher = torchrun(config, 2)
    _, said = launcher.communicate(timeout=120)
    assert launcher.returncode == 0, said
    assert contents(tmp_path / "run") == contents(tmp_path / "alone")
    winnow.ActivationStore(activations).verify()
