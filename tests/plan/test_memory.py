"""`plan` estimates a training's memory to a factor of two, and the most memory that a harvest takes."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from data.tokens import make_tokens
from plan.dictionaries import asked_sizes
from plan.estimate import estimate
from plan.machine import H100
from plan.space import PROCESS, train_memory
from tests.experiments import ROOT, load, write_config
from tests.stores import write_store

pytestmark = pytest.mark.slow

CPU = H100._replace(on_gpu=False)  # memory does not depend on speed


def growth(stage: str, config: Path) -> int:
    """Run a stage on one core, and return the bytes by which it grew."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.plan.growth", stage, str(config)],
        cwd=ROOT,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])


def assert_within_a_factor_of_two(measured: int, estimated: int) -> None:
    assert estimated / 2 < measured < 2 * estimated, (measured, estimated)


@pytest.mark.parametrize(
    ("width", "kind"),
    [
        (256, {"architecture": "topk", "n_latents": [4096, 8192], "k": 16}),  # mostly weights
        (32, {"architecture": "gated", "n_latents": 4096, "l1_coefficient": 1.0}),  # mostly latents of a batch
    ],
    ids=lambda value: value["architecture"] if isinstance(value, dict) else str(value),
)
def test_a_training_takes_the_memory_that_was_estimated(tmp_path: Path, width: int, kind: dict[str, Any]):
    rows = {"rows": 2048, "batch_rows": 1024, "window_mib": 1, "loggers": []}
    path = write_config(tmp_path, Path("none"), train={**rows, "dictionaries": [kind]})
    config = load(path)
    store = {"hook": torch.randn(2048, width, generator=torch.Generator().manual_seed(0))}
    write_store(Path(config.run) / "activations", store)
    sizes = asked_sizes(config, {"hook": width}, on_gpu=False)
    estimated = train_memory(config.train, sizes, 2048, 4 * width, CPU).host - PROCESS
    assert estimated > 100e6
    assert_within_a_factor_of_two(growth("train", path), estimated)


def test_a_harvest_takes_no_more_memory_than_was_estimated(tmp_path: Path, gpt2: Path):
    keys = {"hooks": ["blocks.*.hook_resid_post", "blocks.*.mlp.hook_post"], "rows_per_shard": 8192}
    keys |= {"sequences_per_batch": 256, "storage_dtype": "float16"}
    path = write_config(tmp_path, gpt2, harvest=keys, text={"context": 32, "tokens": 24_000})
    config = load(path)
    make_tokens(config)
    estimated = estimate(config, CPU).harvest_memory.host - PROCESS
    assert estimated > 50e6
    measured = growth("harvest", path)  # here the disk keeps up, and hardly a batch waits
    assert estimated / 5 < measured < estimated, (measured, estimated)
