"""The harvest as a whole: what it writes, and that nothing is lost whenever it dies."""

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread
from typing import NamedTuple

import h5py
import numpy as np
import pytest
import torch

import winnow
import winnow.runtime.stage as winnow_stage
from data.tokens import make_tokens
from harvest.stage import harvest
from tests.experiments import ROOT, load, run_stage, write_config
from tests.forked import Client
from winnow.errors import UserError
from winnow.model.language_model import open_model
from winnow.runtime.hashes import change_hashes, read_hashes
from winnow.runtime.ranks import Ranks, this_rank
from winnow.store import ActivationStore

pytestmark = pytest.mark.usefixtures("two_threads")


@pytest.fixture
def config(tmp_path: Path, gpt2: Path) -> Path:
    path = write_config(tmp_path, gpt2)
    make_tokens(load(path))
    return path


def contents(run: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((run / "activations").iterdir())
        if path.is_file() and path.name != "manifest.json"
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


@pytest.mark.slow
def test_a_compiled_harvest_holds_the_same_values(config: Path, tmp_path: Path):
    harvest(load(config))
    run = ["--run", str(tmp_path / "compiled"), "--harvest.compile", "true"]
    make_tokens(load(config, *run))
    done = run_stage("harvest", config, *run)  # in a process of its own: shape checks cannot be compiled
    assert done.returncode == 0, done.stderr
    plain, compiled = (winnow.ActivationStore(tmp_path / name / "activations") for name in ("run", "compiled"))
    for hook in plain.hooks:
        found, expected = (store.read(hook, 0, plain.rows) for store in (compiled, plain))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    compiled.verify()


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
    # 36 sequences, at most 10 a shard, in batches of 4, several at once: 4+4+2 thrice and 4+2
    assert sorted(passes[-11:]) == sorted([4, 4, 2] * 3 + [4, 2])


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


def test_a_missing_manifest_is_written_again(config: Path, tmp_path: Path):
    harvest(load(config))
    path = tmp_path / "run" / "activations" / "manifest.json"
    before = path.read_bytes()
    path.unlink()
    harvest(load(config))
    assert path.read_bytes() == before


def test_a_damaged_manifest_is_refused(config: Path, tmp_path: Path):
    harvest(load(config))
    path = tmp_path / "run" / "activations" / "manifest.json"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(UserError, match=r"manifest\.json: not valid JSON .*; restore it from a copy, or delete it and"):
        harvest(load(config))


@pytest.mark.parametrize("content", ["null", "[]", '{"rows": "x"}', '{"rows": 16', None])
def test_repair_takes_an_unreadable_sidecar_for_none(config: Path, tmp_path: Path, content: str | None):
    harvest(load(config))
    folder = tmp_path / "run" / "activations"
    path = folder / "shard-00001.json"
    before = contents(tmp_path / "run")
    path.write_bytes(b"\xff\xfe" if content is None else content.encode())
    with pytest.raises(UserError, match=r"shard-00001\.json: .*; python -m harvest --repair --config FILE makes"):
        harvest(load(config))
    harvest(load(config), repair=True)
    assert contents(tmp_path / "run") == before


def test_repair_makes_statistics_again(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    harvest(load(config))
    path = tmp_path / "run" / "activations" / "statistics.h5"
    before = path.read_bytes()
    path.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    with pytest.raises(UserError, match=r"statistics\.h5: sha256 is .*; python -m harvest --repair"):
        ActivationStore(path.parent).statistics("blocks.1.hook_resid_post")
    harvest(load(config), repair=True)
    assert path.read_bytes() == before
    assert "statistics.h5: sha256 is" in capsys.readouterr().err


def test_shards_of_other_settings_are_not_mixed_when_the_manifest_is_gone(config: Path, tmp_path: Path):
    harvest(load(config))
    folder = tmp_path / "run" / "activations"
    before = (folder / "manifest.json").read_bytes()
    (folder / "manifest.json").unlink()
    (folder / "shard-00001.json").unlink()
    with pytest.raises(UserError, match=r"shard-00000\.json: made by another manifest .*; restore that one, or delete"):
        harvest(load(config, "--harvest.sequences_per_batch", "2"))
    assert not (folder / "manifest.json").exists()
    harvest(load(config))
    assert (folder / "manifest.json").read_bytes() == before


def test_tokens_that_were_damaged_are_not_harvested(config: Path, tmp_path: Path):
    path = tmp_path / "run" / "tokens.h5"
    path.write_bytes(path.read_bytes()[:-1] + b"\x07")
    with pytest.raises(UserError, match=r"tokens\.h5: fingerprint of its tokens is .*; delete it, and run make tokens"):
        harvest(load(config))
    assert not (tmp_path / "run" / "activations" / "manifest.json").exists()


def test_a_shard_that_is_gone_is_not_taken_for_done(config: Path, tmp_path: Path):
    harvest(load(config))
    (tmp_path / "run" / "activations" / "shard-00001.h5").unlink()
    with pytest.raises(UserError, match=r"shard-00001\.h5: missing, its sidecar lists it; python -m harvest --repair"):
        harvest(load(config))


def test_hashes_that_a_kill_left_unwritten_are_written_by_the_next_run(config: Path, tmp_path: Path):
    harvest(load(config))
    before = read_hashes(tmp_path / "run")
    change_hashes(tmp_path / "run", forget=["activations/"])
    harvest(load(config))
    assert read_hashes(tmp_path / "run") == before


@pytest.mark.kills
def test_killed_at_any_instant_the_same_command_gives_the_same_bytes(config: Path, tmp_path: Path):
    command = [sys.executable, "-m", "tests.harvest.doomed", str(config), str(tmp_path / "doomed"), "--random", "15"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    # configuration, manifest, four shards with their sidecars, statistics, and twice the hashes: three steps each
    assert said["steps"] == 3 * (2 + 2 * 4 + 1 + 2)
    assert said["killed"] == said["steps"] + 15
    assert len(said["files"]) == 10
    assert said["different"] == []


@pytest.mark.parametrize("damage", [pytest.param("truncated", marks=pytest.mark.slow), "bit", "missing", "no sidecar"])
def test_repair_makes_exactly_what_is_damaged_again(config: Path, tmp_path: Path, stages: Client, damage: str):
    harvest(load(config))
    expected = contents(tmp_path / "run")
    folder = tmp_path / "run" / "activations"
    made = {path: path.stat().st_mtime_ns for path in folder.glob("shard-*.h5")}
    path = folder / "shard-00001.h5"
    whole = path.read_bytes()
    match damage:
        case "truncated":
            path.write_bytes(whole[:-1])
        case "bit":
            path.write_bytes(whole[:5000] + bytes([whole[5000] ^ 4]) + whole[5001:])
        case "missing":
            path.unlink()
        case "no sidecar":
            path.with_suffix(".json").unlink()
    done = stages.run("harvest", "--config", str(config), "--repair")
    assert done.status == 0, done.err
    assert ("shard-00001.h5" in done.err) == (damage != "no sidecar")
    assert contents(tmp_path / "run") == expected
    changed = [path.name for path, time in made.items() if path.stat().st_mtime_ns != time]
    assert changed == ["shard-00001.h5"]


def test_ranks_repair_a_store_together_whoever_owns_what_is_damaged(config: Path, tmp_path: Path, stages: Client):
    harvest(load(config))
    expected = contents(tmp_path / "run")
    folder = tmp_path / "run" / "activations"

    def flip(name: str) -> None:
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 4
        (folder / name).write_bytes(content)

    def cut(name: str) -> None:
        (folder / name).write_bytes((folder / name).read_bytes()[:-1])

    for damaged in (
        {"shard-00000.json": cut, "shard-00001.json": flip, "shard-00002.h5": cut, "shard-00003.h5": flip},
        {"shard-00001.h5": cut, "statistics.h5": flip},
    ):
        for name, damage in damaged.items():
            damage(name)
        ranks = [{"RANK": str(rank), "WORLD_SIZE": "2"} for rank in range(2)]
        for done in stages.together("harvest", ["--config", str(config), "--repair"], ranks):
            assert done.status == 0, (damaged, done)
            assert "Traceback" not in done.err, done.err
        assert contents(tmp_path / "run") == expected, damaged
        winnow.ActivationStore(folder).verify()
        recorded = {name for name in read_hashes(tmp_path / "run") if name.startswith("activations/")}
        assert recorded == {f"activations/{path.name}" for path in folder.iterdir() if path.is_file()}


def test_a_rank_does_not_delete_what_another_has_repaired_meanwhile(
    config: Path, tmp_path: Path, stages: Client, monkeypatch: pytest.MonkeyPatch
):
    harvest(load(config))
    expected = contents(tmp_path / "run")
    (tmp_path / "run" / "activations" / "shard-00001.json").write_text("{}")
    other = Thread(target=lambda: stages.run("harvest", "--config", str(config), "--repair", RANK="1", WORLD_SIZE="2"))

    def found(damage: UserError) -> None:  # the other rank, which owns the shard, gets its time before it is deleted
        if other.ident is None:
            other.start()
            other.join(2)

    monkeypatch.setattr("harvest.stage._say_again", found)
    harvest(load(config), Ranks(0, 2), repair=True)
    other.join()
    assert contents(tmp_path / "run") == expected


@pytest.mark.parametrize("count", [2, 3])
def test_ranks_together_write_what_one_process_writes(config: Path, tmp_path: Path, stages: Client, count: int):
    harvest(load(config))
    expected = contents(tmp_path / "run")
    other = tmp_path / "ranks"
    make_tokens(load(config, "--run", str(other)))
    variables = [{"RANK": str(rank), "WORLD_SIZE": str(count)} for rank in range(count)]
    done = stages.together("harvest", ["--config", str(config), "--run", str(other)], variables)
    assert [rank.status for rank in done] == [0] * count, done
    assert contents(other) == expected


def test_a_dead_ranks_shards_are_made_by_another_number_of_ranks(config: Path, tmp_path: Path):
    harvest(load(config))
    expected = contents(tmp_path / "run")
    other = ["--run", str(tmp_path / "ranks")]
    make_tokens(load(config, *other))
    harvest(load(config, *other), Ranks(1, 3))
    assert set(contents(tmp_path / "ranks")) == {"shard-00001.h5", "shard-00001.json"}
    for rank in range(2):
        harvest(load(config, *other), Ranks(rank, 2))
    assert contents(tmp_path / "ranks") == expected


def test_ranks_are_read_from_torchrun_and_slurm():
    assert this_rank({}) == Ranks(0, 1, 0)
    assert this_rank({"RANK": "2", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}) == Ranks(2, 4, 1)
    assert this_rank({"SLURM_PROCID": "1", "SLURM_NTASKS": "2", "SLURM_LOCALID": "0"}) == Ranks(1, 2, 0)
    with pytest.raises(UserError, match="RANK=2 and WORLD_SIZE=2: ranks count from 0"):
        this_rank({"RANK": "2", "WORLD_SIZE": "2"})
    with pytest.raises(UserError, match="RANK=one, WORLD_SIZE=2, LOCAL_RANK=0: expected whole numbers"):
        this_rank({"RANK": "one", "WORLD_SIZE": "2"})


@pytest.fixture
def small_disk(tmp_path: Path):
    """A file system of 5 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small file system can only be mounted by root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_is_one_line_and_the_same_command_finishes_once_there_is_room(
    config: Path,
    tmp_path: Path,
    small_disk: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    harvest(load(config))
    expected = contents(tmp_path / "run")
    run = small_disk / "run"
    arguments = ["--config", str(config), "--run", str(run)]
    make_tokens(load(config, "--run", str(run)))
    (small_disk / "filler").write_bytes(bytes(3_000_000))
    monkeypatch.setattr(sys, "argv", ["harvest", *arguments])
    monkeypatch.setattr("harvest.plan.shutil.disk_usage", lambda path: _Usage(10**9))  # as if it had filled since
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        winnow_stage.run_stage("harvest", harvest)
    assert left.value.code == 3
    assert "harvest: the disk is full" in capsys.readouterr().err.splitlines()[-1]
    assert not list((run / "activations").glob("*.partial"))
    (small_disk / "filler").unlink()
    harvest(load(config, "--run", str(run)))
    assert contents(run) == expected


@pytest.mark.parametrize(
    ("override", "field"),
    [
        (
            ["--harvest.storage_dtype", "float16"],
            "harvest.storage_dtype = 'float32', now harvest.storage_dtype = 'float16'",
        ),
        (["--harvest.hooks", '["blocks.0.hook_resid_post"]'], "harvest.hooks = "),
        (["--harvest.positions.skip_first", "1"], "harvest.positions = "),
        (["--text.held_out_sequences", "5"], "harvested_sequences = 36, now harvested_sequences = 35"),
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
    monkeypatch.setattr("shutil.disk_usage", lambda path: _Usage(1000))
    with pytest.raises(UserError, match=r"the harvest needs 380,160 bytes, 1,000 are free"):
        harvest(load(config))


class _Usage(NamedTuple):
    free: int


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
    assert said.splitlines()[-1] == ("harvest: interrupted; what was complete is kept, the same command continues")
