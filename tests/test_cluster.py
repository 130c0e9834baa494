"""The lines and scripts of docs/guide/cluster.md do what they say, in miniature: two processes for eight, on CPUs."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import winnow
from harvest.stage import harvest
from tests.experiments import ROOT, load
from train.stage import train

pytestmark = pytest.mark.torchrun

PAGE = (ROOT / "docs" / "guide" / "cluster.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
LINES = [line for language, block in BLOCKS if not language for line in block.splitlines()]
SCRIPTS = re.findall(r"^`(\w+\.sh)`.*?^```bash\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
EXPERIMENT = """
run = "{folder}/run"
model.device = "cpu"
[toy]
rows = 3000
d_model = 16
n_features = 40
[harvest]
rows_per_shard = 250
[train]
rows = {rows}
batch_rows = 250
checkpoint_rows = 1000
loggers = []
[[train.dictionaries]]
architecture = "topk"
n_latents = [32, 64]
k = 3
"""


class Cluster:
    """A folder with an experiment, and a shell in which the page's commands run on it."""

    def __init__(self, folder: Path, rows: int = 6000) -> None:
        self.folder = folder
        self.config = folder / "experiment.toml"
        self.config.write_text(EXPERIMENT.format(folder=folder, rows=rows))
        self.port = str(free_port())
        commands = folder / "bin"
        commands.mkdir()
        for name in ("sbatch", "srun", "scontrol"):
            (commands / name).write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT}/tests/slurm.py {name} "$@"\n')
            (commands / name).chmod(0o755)
        for name, text in SCRIPTS:
            (folder / name).write_text(self.small(text))
        variables = {
            name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "RANK", "WORLD"))
        }
        path = f"{commands}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.environment = {**variables, "PATH": path, "FAKE_SLURM": str(folder), "OMP_NUM_THREADS": "1"}

    def small(self, text: str) -> str:
        """Put this experiment and two processes in a text of the page."""
        text = re.sub(r"--nproc-per-node \d", "--nproc-per-node 1" if "nnodes" in text else "--nproc-per-node 2", text)
        text = (
            text.replace("--ntasks=8", "--ntasks=2")
            .replace("--array=0-7", "--array=0-1")
            .replace("WORLD_SIZE=8", "WORLD_SIZE=2")
        )
        text = text.replace("NODE0:29400", f"127.0.0.1:{self.port}").replace(":29400", f":{self.port}")
        text = re.sub(r"\b((?:stage|shared)\.sh)\b", rf"{self.folder}/\1", text)
        return text.replace("FILE", str(self.config))

    def start(self, line: str, **variables: str) -> subprocess.Popen[str]:
        environment = {**self.environment, **variables}
        return subprocess.Popen(
            ["bash", "-c", self.small(line)],
            cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def harvested(self) -> dict[str, bytes]:
        found = sorted((self.folder / "run" / "activations").glob("s*"))
        return {path.name: path.read_bytes() for path in found}

    def trained(self) -> dict[str, winnow.Dictionary]:
        return {str(d.path and d.path.name): d for d in winnow.load_dictionaries(self.folder / "run")}


def finish(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 0, said


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def the_line(*words: str) -> str:
    """Find the one line of the page that holds all of these words."""
    (line,) = [line for line in LINES if all(word in line for word in words)]
    return line


def assert_equal(found: dict[str, winnow.Dictionary], expected: dict[str, winnow.Dictionary]) -> None:
    assert found.keys() == expected.keys()
    for name, d in found.items():
        for key, value in d.named_parameters():
            torch.testing.assert_close(value, expected[name].get_parameter(key), rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """One process that has done everything."""
    cluster = Cluster(tmp_path_factory.mktemp("alone"))
    harvest(load(cluster.config))
    train(load(cluster.config))
    return cluster


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


@pytest.fixture
def ready(cluster: Cluster) -> Cluster:
    """Everything harvested, nothing trained."""
    harvest(load(cluster.config))
    return cluster


def test_one_node(cluster: Cluster, alone: Cluster):
    finish(cluster.start(the_line("torchrun --nproc-per-node 4 -m harvest")))
    assert cluster.harvested() == alone.harvested()
    (line,) = [line for line in LINES if re.fullmatch(r"torchrun --nproc-per-node 4 -m train --config FILE", line)]
    finish(cluster.start(line))
    assert_equal(cluster.trained(), alone.trained())


def test_ranks_of_one_node_share_dictionaries_and_go_on_after_one_was_killed(tmp_path: Path):
    # long enough that the kill comes before the end
    cluster = Cluster(tmp_path, rows=60_000)
    harvest(load(cluster.config))
    line = the_line("torchrun --nproc-per-node 4 -m train", "shard_latents")
    job = cluster.start(line)
    wait_for(job, lambda: list(tmp_path.glob("run/dictionaries/*/*/shards/*/checkpoints/rows-*/state.json")))
    os.kill(next(pid for pid, rank in ranks(cluster).items() if rank == 1), signal.SIGKILL)
    said, _ = job.communicate(timeout=300)
    assert job.returncode == 1
    assert "the same command continues from there" in said
    finish(cluster.start(line))
    assert {d.n_latents for d in cluster.trained().values()} == {32, 64}


def test_several_nodes(ready: Cluster, alone: Cluster):
    line = the_line("--nnodes 2")
    finish(ready.start(line), ready.start(line))
    assert_equal(ready.trained(), alone.trained())


def test_any_scheduler(cluster: Cluster, alone: Cluster):
    line = the_line("RANK=$i")
    finish(*(cluster.start(line, i=str(rank)) for rank in range(2)))
    assert cluster.harvested() == alone.harvested()


def test_a_slurm_job(cluster: Cluster, alone: Cluster):
    finish(cluster.start(the_line("sbatch --ntasks=8")))
    assert cluster.harvested() == alone.harvested()
    assert not (cluster.folder / "requeued").exists()


def test_a_task_of_a_slurm_array_that_is_told_to_stop_is_requeued(tmp_path: Path):
    cluster = Cluster(tmp_path, rows=200_000)  # long enough that the signal comes before the end
    harvest(load(cluster.config))
    line = the_line("sbatch --array=0-7")
    job = cluster.start(line)
    # the largest dictionary is the first task's
    wait_for(job, lambda: list(tmp_path.glob("run/dictionaries/toy/topk-64-*/checkpoints/rows-*/state.json")))
    os.kill(next(pid for pid, rank in ranks(cluster).items() if rank == 0), signal.SIGTERM)
    said, _ = job.communicate(timeout=300)
    assert job.returncode == 3, said
    assert said.count("state saved; the same command continues from there") == 1
    assert (tmp_path / "requeued").read_text() == "17\n"
    assert {d.n_latents for d in cluster.trained().values()} == {32}  # the other task went on
    finish(cluster.start(line))
    assert {d.n_latents for d in cluster.trained().values()} == {32, 64}


def test_torchrun_on_every_node_of_a_slurm_job(ready: Cluster, alone: Cluster):
    finish(ready.start(the_line("sbatch shared.sh")))
    assert_equal(ready.trained(), alone.trained())
    assert not (ready.folder / "requeued").exists()


def test_every_line_and_script_of_the_page_is_tried():
    assert [name for name, _ in SCRIPTS] == ["stage.sh", "shared.sh"]
    assert len(LINES) == 8


def wait_for(job: subprocess.Popen[str], condition: object) -> None:
    deadline = time.monotonic() + 300
    while not condition() and job.poll() is None and time.monotonic() < deadline:  # type: ignore[operator]
        time.sleep(0.002)
    assert job.poll() is None, job.communicate()[0]


def ranks(cluster: Cluster) -> dict[int, int]:
    """Map the process ids of the ranks that run on this experiment to their ranks, under torchrun or in a job array."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_text().split("\0")
            environment = (folder / "environ").read_text().split("\0")
        except OSError:
            continue
        variables = {name: value for name, _, value in (entry.partition("=") for entry in environment)}
        stage = words[1:3] == ["-u", "-m"] or words[1:2] == ["-m"]
        if stage and "train" in words and str(cluster.config) in words and "torch.distributed.run" not in words:
            found[int(folder.name)] = int(variables.get("RANK") or variables["SLURM_ARRAY_TASK_ID"])
    return found
