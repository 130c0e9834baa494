"""The harvest as a whole: what it writes, and that nothing is lost whenever it dies."""

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import winnow
from data.tokens import make_tokens
from harvest.model import open_model
from harvest.stage import harvest
from tests.experiments import ROOT, load, write_config
from winnow.errors import UserError


@pytest.fixture
def config(tmp_path: Path, gpt2: Path) -> Path:
    path = write_config(tmp_path, gpt2)
    make_tokens(load(path))
    return path


def contents(run: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((run / "activations").iterdir())
        if path.name != "manifest.json"
    }


def test_shards_hold_what_the_model_computes(config: Path, tmp_path: Path):
    experiment = load(config)
    harvest(experiment)
    store = winnow.ActivationStore(tmp_path / "run" / "activations")
    assert store.hooks == {"blocks.1.mlp.hook_post": 128, "blocks.1.hook_resid_post": 32}
    assert store.rows == 36 * 16  # 40 sequences, 4 of them held out
    with h5py.File(tmp_path / "run" / "tokens.h5") as file:
        tokens = torch.from_numpy(np.asarray(file["tokens"]))[:36]
    model = open_model(experiment.model)
    for hook, width in store.hooks.items():
        expected = model.activations(tokens, [hook])[hook].reshape(-1, width)
        torch.testing.assert_close(store.read(hook, 0, store.rows), expected, rtol=1e-4, atol=1e-5)
        found = store.statistics(hook)
        np.testing.assert_allclose(found.mean, expected.double().mean(0), rtol=1e-4, atol=1e-6)
    sequence, position, token = store.tokens(0, store.rows)
    assert torch.equal(token, tokens.flatten())
    assert torch.equal(sequence.long() * 16 + position, torch.arange(36 * 16))
    store.verify()


def test_positions_are_kept_as_configured(config: Path, tmp_path: Path):
    harvest(load(config, "--harvest.positions", '{"skip_first": 4, "evenly": 3}'))
    store = winnow.ActivationStore(tmp_path / "run" / "activations")
    assert store.rows == 36 * 3
    assert store.tokens(0, 6).position.tolist() == [6, 10, 14, 6, 10, 14]


def test_all_hooks_of_a_batch_come_from_one_pass(config: Path, monkeypatch: pytest.MonkeyPatch):
    passes = []
    plain = torch.nn.Module.__call__

    def counted(self: torch.nn.Module, *args, **kwargs):
        if type(self).__name__ == "GPT2LMHeadModel":
            passes.append(args[0].shape[0] if args else 0)
        return plain(self, *args, **kwargs)

    monkeypatch.setattr(torch.nn.Module, "__call__", counted)
    harvest(load(config, "--harvest.hooks", '["blocks.*.hook_resid_post", "blocks.*.mlp.hook_post"]'))
    # 36 sequences, at most 10 a shard, in batches of 4: 4+4+2 thrice and 4+2
    assert passes[-11:] == [4, 4, 2] * 3 + [4, 2]


def test_a_second_run_does_nothing_and_says_so(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    harvest(load(config))
    before = contents(tmp_path / "run")
    capsys.readouterr()
    harvest(load(config))
    assert capsys.readouterr().out.endswith("all 4 shards are there; nothing to do\n")
    assert contents(tmp_path / "run") == before


def test_only_what_is_missing_is_made_and_equals_what_was_lost(config: Path, tmp_path: Path):
    harvest(load(config))
    folder = tmp_path / "run" / "activations"
    before = contents(tmp_path / "run")
    kept = (folder / "shard-00000.h5").stat().st_mtime_ns
    (folder / "shard-00002.json").unlink()
    (folder / "shard-00003.h5").unlink()
    (folder / "shard-00003.json").unlink()
    (folder / "statistics.h5").unlink()
    harvest(load(config))
    assert contents(tmp_path / "run") == before
    assert (folder / "shard-00000.h5").stat().st_mtime_ns == kept


def test_killed_at_any_instant_the_same_command_gives_the_same_bytes(config: Path, tmp_path: Path):
    command = [sys.executable, "-m", "tests.harvest.doomed", str(config), str(tmp_path / "doomed"), "--random", "15"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    # configuration, manifest, four shards with their sidecars, statistics: three steps each
    assert said["steps"] == 3 * (2 + 2 * 4 + 1)
    assert said["killed"] >= 40
    assert said["files"] == 10
    assert said["different"] == []


@pytest.mark.parametrize(
    ("override", "field"),
    [
        (
            ["--harvest.storage_dtype", "float16"],
            "harvest.storage_dtype = 'float32', now harvest.storage_dtype = 'float16'",
        ),
        (["--harvest.hooks", '["blocks.0.hook_resid_post"]'], "harvest.hooks = "),
        (["--harvest.positions.skip_first", "1"], "harvest.positions = "),
        (["--analyze.evaluation_sequences", "5"], "analyze.evaluation_sequences) = 36, now "),
        (["--model.dtype", "bfloat16"], "model.dtype = 'float32', now model.dtype = 'bfloat16'"),
    ],
)
def test_changed_settings_are_refused_by_name(config: Path, override: list[str], field: str):
    harvest(load(config))
    with pytest.raises(UserError) as refused:
        harvest(load(config, *override))
    assert field in str(refused.value)
    assert "choose a new run, or delete" in str(refused.value)


def test_other_weights_under_the_same_name_are_refused(config: Path, tmp_path: Path):
    harvest(load(config))
    folder = tmp_path / "run" / "activations"
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["model"]["weights_sha256"] = "0" * 64
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "shard-00001.json").unlink()
    with pytest.raises(UserError, match="weights_sha256 of the model = '0000"):
        harvest(load(config))


def test_too_little_disk_is_said_before_anything_is_computed(config: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: os.statvfs_result((0,) * 10) and _Usage())
    with pytest.raises(UserError, match=r"the harvest needs 375,552 bytes, 1,000 are free"):
        harvest(load(config))


class _Usage:
    free = 1000


def test_a_context_longer_than_the_models_is_refused(config: Path, tmp_path: Path):
    longer = ["--run", str(tmp_path / "long"), "--text.context", "65"]
    make_tokens(load(config, *longer))
    with pytest.raises(UserError, match=r"text\.context = 65: .* reads 64 tokens at most"):
        harvest(load(config, *longer))


def test_sigterm_leaves_with_what_was_complete(config: Path, tmp_path: Path):
    command = [sys.executable, "-m", "harvest", "--config", str(config)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "run" / "activations").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 3
    assert said.splitlines()[-1] == ("harvest: interrupted; what was complete is kept, the same command goes on")
