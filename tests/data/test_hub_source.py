"""Models and data sets by their names on the hub, from a hub on this machine."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import winnow
from tests.experiments import ROOT, write_config
from tests.hub import Hub, serve
from tests.models import save_model

MODEL = "openai-community/gpt2"
TEXT = "someone/some-text"
TOKENS = "someone/some-tokens"
SENTENCES = [f"Row {row} of the array has a shape, and its type is number {row % 7}." for row in range(1200)]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    root = tmp_path_factory.mktemp("hub")
    (root / "models" / "openai-community").mkdir(parents=True)
    save_model("gpt2", root / "models" / MODEL)
    for name, column in ((TEXT, SENTENCES), (TOKENS, [[n % 4096 for n in range(k, k + 40)] for k in range(1200)])):
        folder = root / "datasets" / name / "data"
        folder.mkdir(parents=True)
        for part in range(2):
            table = pa.table({"text" if name == TEXT else "input_ids": column[part * 600 : (part + 1) * 600]})
            pq.write_table(table, folder / f"train-{part:05d}-of-00002.parquet", row_group_size=100)
    with serve(root, tmp_path_factory.mktemp("cache")) as served:
        yield served


def stage(hub: Hub, name: str, config: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", name, "--config", str(config), *arguments],
        cwd=ROOT,
        env={**os.environ, **hub.environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def config(tmp_path: Path, hub: Hub) -> Path:
    return write_config(tmp_path, Path(MODEL), text={"source": f"hub:{TEXT}"})


def tokens_of(run: Path) -> np.ndarray:
    with h5py.File(run / "tokens.h5") as file:
        return np.asarray(file["tokens"])


def test_text_from_the_hub_gives_the_tokens_that_the_same_text_from_files_gives(hub: Hub, config: Path, tmp_path: Path):
    done = stage(hub, "data", config)
    assert done.returncode == 0, done.stderr
    table = pa.table({"text": SENTENCES})
    pq.write_table(table, tmp_path / "local.parquet")
    local = ["--run", str(tmp_path / "local"), "--text.source", f"files:{tmp_path}/local.parquet"]
    done = stage(hub, "data", config, *local)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(tokens_of(tmp_path / "run"), tokens_of(tmp_path / "local"))


def test_only_as_much_of_a_data_set_is_read_as_is_needed(hub: Hub, config: Path):
    hub.requests.clear()
    done = stage(hub, "data", config)
    assert done.returncode == 0, done.stderr
    assert any("train-00000-of-00002" in request for request in hub.requests)
    assert not any("GET" in request and "train-00001-of-00002" in request for request in hub.requests)


def test_a_column_of_token_ids_is_taken_as_it_is(hub: Hub, config: Path, tmp_path: Path):
    ids = ["--text.source", f"hub:{TOKENS}", "--text.column", "input_ids", "--text.prepend_bos", "false"]
    done = stage(hub, "data", config, *ids)
    assert done.returncode == 0, done.stderr
    assert tokens_of(tmp_path / "run")[0].tolist() == list(range(16))


def test_a_model_by_its_name_on_the_hub_is_harvested(hub: Hub, config: Path, tmp_path: Path):
    for name in ("data", "harvest"):
        done = stage(hub, name, config)
        assert done.returncode == 0, done.stderr
    assert winnow.ActivationStore(tmp_path / "run" / "activations").rows == 36 * 16


def test_a_data_set_that_is_not_there_is_one_line(hub: Hub, config: Path):
    done = stage(hub, "data", config, "--text.source", "hub:someone/nothing")
    assert done.returncode == 2
    assert "text.source = hub:someone/nothing: not found on the hub" in done.stderr.splitlines()[-1]
