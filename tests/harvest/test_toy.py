"""Toy data by the ordinary machinery: an ordinary store, resumed, shared among ranks and repaired to the same bytes."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import tomli_w
import torch

import winnow
from data.tokens import make_tokens
from harvest.stage import harvest
from tests.experiments import ROOT, load
from winnow.errors import UserError
from winnow.runtime.ranks import Ranks
from winnow.shards.fingerprint import fingerprint
from winnow.toy.data import CHUNK_ROWS, ToyData

pytestmark = pytest.mark.usefixtures("two_threads")

ROWS = CHUNK_ROWS + 800  # a shard begins within a chunk


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "toy.toml"
    toy = {"rows": ROWS, "d_model": 8, "n_features": 16, "active": 2.0}
    harvested = {"rows_per_shard": 4000, "storage_dtype": "float32"}
    path.write_text(tomli_w.dumps({"run": str(tmp_path / "run"), "toy": toy, "harvest": harvested}))
    return path


def contents(run: Path) -> dict[str, str]:
    files = sorted(path for folder in ("activations", "truth") for path in (run / folder).glob("*") if path.is_file())
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_store_holds_the_rows_and_the_truth_made_them(config: Path, tmp_path: Path, capsys) -> None:
    experiment = load(config)
    make_tokens(experiment)
    assert capsys.readouterr().out.endswith("toy data have no text; nothing to tokenise\n")
    harvest(experiment)
    store = winnow.ActivationStore(tmp_path / "run" / "activations")
    assert (store.hooks, store.rows, store.context) == ({"toy": 8}, ROWS, 1)
    assert experiment.toy is not None
    rows = ToyData(experiment.toy).rows(0, ROWS)
    assert torch.equal(store.read("toy", 0, ROWS), rows.activations)
    truth = winnow.load_dictionary(tmp_path / "run" / "truth")
    torch.testing.assert_close(store.read("toy", 0, ROWS), truth.decode(rows.codes(16)))
    sequence, position, token = store.tokens(0, ROWS)
    assert torch.equal(sequence, torch.arange(ROWS, dtype=torch.int32))
    assert (position == 0).all()
    assert (token == -1).all()
    torch.testing.assert_close(
        torch.from_numpy(store.statistics("toy").mean), rows.activations.double().mean(0), rtol=1e-5, atol=1e-6
    )
    store.verify()
    capsys.readouterr()
    harvest(experiment)
    assert capsys.readouterr().out.endswith("all 3 shards are there; nothing to do\n")


def test_what_is_missing_or_damaged_is_made_to_the_same_bytes(config: Path, tmp_path: Path) -> None:
    harvest(load(config))
    folder, before = tmp_path / "run" / "activations", contents(tmp_path / "run")
    (folder / "shard-00001.json").unlink()
    (folder / "shard-00002.h5").write_bytes(b"")
    (folder / "statistics.h5").unlink()
    (tmp_path / "run" / "truth" / "cfg.json").unlink()
    harvest(load(config), repair=True)
    assert contents(tmp_path / "run") == before


def test_ranks_write_what_one_process_writes(config: Path, tmp_path: Path) -> None:
    harvest(load(config))
    other = ["--run", str(tmp_path / "ranks")]
    for rank in range(2):
        harvest(load(config, *other), Ranks(rank, 2))
    assert contents(tmp_path / "ranks") == contents(tmp_path / "run")


@pytest.mark.kills
def test_killed_at_any_instant_the_same_command_gives_the_same_bytes(tmp_path: Path) -> None:
    path = tmp_path / "toy.toml"
    toy = {"rows": 150, "d_model": 8, "n_features": 16, "active": 2.0}
    path.write_text(tomli_w.dumps({"run": str(tmp_path), "toy": toy, "harvest": {"rows_per_shard": 100}}))
    command = [sys.executable, "-m", "tests.harvest.doomed", str(path), str(tmp_path / "doomed"), "--random", "3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    # configuration, three files of the truth, manifest, two shards with their sidecars, statistics, and twice the
    # hashes: three steps each
    assert said["steps"] == 3 * (1 + 3 + 1 + 2 * 2 + 1 + 2)
    assert said["killed"] == said["steps"] + 3
    assert said["different"] == []


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (["--toy.seed", "1"], "toy.seed = 0, now toy.seed = 1"),
        (["--toy.rows", "9000"], f"toy.rows = {ROWS}, now toy.rows = 9000"),
        (["--harvest.storage_dtype", "float16"], "harvest.storage_dtype = 'float32', now"),
    ],
)
def test_changed_settings_are_refused_by_name(config: Path, override: list[str], said: str) -> None:
    harvest(load(config))
    with pytest.raises(UserError) as refused:
        harvest(load(config, *override))
    assert said in str(refused.value)


def test_other_directions_are_refused(config: Path, tmp_path: Path) -> None:
    harvest(load(config))
    folder = tmp_path / "run" / "activations"
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["toy"]["directions_sha256"] = "0" * 64
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "shard-00001.json").unlink()
    with pytest.raises(UserError, match="directions_sha256 of the toy data = '0000"):
        harvest(load(config))


def test_too_little_disk_is_said_before_a_row_is_made(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage(NamedTuple):
        free: int

    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(1000))
    needed = ROWS * (8 * 4 + 4 + 12)
    with pytest.raises(UserError, match=rf"the harvest needs {needed:,} bytes, 1,000 are free; .* toy\.rows"):
        harvest(load(config))


def test_a_store_without_trees_and_one_with_them_are_told_apart_both_ways(config: Path, tmp_path: Path, capsys) -> None:
    trees = ("--toy.roots", "2", "--toy.children", "3")
    plain, other = tmp_path / "run", tmp_path / "other"
    harvest(load(config))
    manifest = json.loads((plain / "activations" / "manifest.json").read_text())
    assert not {"roots", "siblings", "zipf_exponent"} & set(manifest["toy"])  # as before there were such settings
    harvest(load(config, *trees, "--run", str(other)))
    with pytest.raises(UserError, match=r"made with toy\.roots = 0, now toy\.roots = 2 is asked for"):
        harvest(load(config, *trees))
    with pytest.raises(UserError, match=r"made with toy\.roots = 2, now toy\.roots = 0 is asked for"):
        harvest(load(config, "--run", str(other)))
    with pytest.raises(UserError, match=r"toy\.siblings = 'exclusive', now toy\.siblings = 'independent'"):
        harvest(load(config, *trees, "--run", str(other), "--toy.siblings", "independent"))
    capsys.readouterr()
    harvest(load(config, *trees, "--run", str(other)))
    assert "nothing to do" in capsys.readouterr().out
    marks = [fingerprint(json.loads((run / "activations" / "manifest.json").read_text())) for run in (plain, other)]
    assert marks[0] != marks[1]
    shared = {**manifest, "toy": {**manifest["toy"], "roots": 2}}
    assert fingerprint(shared) != marks[0]
