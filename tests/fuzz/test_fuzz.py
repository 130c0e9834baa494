"""No damaged file of a run is accepted with other numbers, and none ends in a traceback."""

import shutil
import time
from pathlib import Path

import pytest

from tests.fuzz.fuzz import Fuzzer, kind_of, summary
from tests.fuzz.run import make_runs

CASES = 500
SEED = 17


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory: pytest.TempPathFactory, gpt2: Path) -> Fuzzer:
    return Fuzzer(*make_runs(tmp_path_factory.mktemp("fuzz"), gpt2))


@pytest.mark.slow
def test_no_damage_is_accepted_and_changes_a_number(fuzzer: Fuzzer) -> None:
    begun = time.monotonic()
    cases = list(fuzzer.cases(CASES, SEED))
    print(summary(cases, time.monotonic() - begun))
    assert [case for case in cases if case.fault] == []
    assert sum(case.refused for case in cases) > 0.9 * CASES  # the others put back what was there
    assert {kind_of(Path(case.file)) for case in cases} == set(fuzzer.kinds)


def test_no_file_that_is_gone_changes_a_number(fuzzer: Fuzzer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzz.fuzz.damage", lambda path, content, dice: path.unlink() or "gone")
    cases = list(fuzzer.cases(len(fuzzer.kinds), SEED))
    assert [case for case in cases if case.fault] == []
    # without hashes of its own, a checkpoint counts as made before there were any
    missed = [case.file for case in cases if not case.refused and "checkpoints" not in case.file]
    assert missed == []


@pytest.mark.slow
def test_no_damage_to_a_run_made_before_ends_in_a_traceback(fuzzer: Fuzzer, tmp_path: Path) -> None:
    """Nothing of it has a hash, so all that is left is the shape of what is read."""
    copies = []
    for config in (fuzzer.config, fuzzer.begun):
        copied = Path(shutil.copytree(config.run, tmp_path / Path(config.run).name))
        for path in copied.rglob("hashes.json"):
            path.unlink()
        copies.append(config.model_copy(update={"run": str(copied)}))
    older = Fuzzer(*copies, listed=False)
    older.kinds = {kind: paths for kind, paths in older.kinds.items() if paths[0].suffix in (".json", ".jsonl", ".h5")}
    assert [case for case in older.cases(150, SEED) if case.fault] == []


def test_the_fuzzer_sees_what_nobody_checks(fuzzer: Fuzzer, monkeypatch: pytest.MonkeyPatch) -> None:
    """With every hash left unchecked, numbers change and cases fail: the fuzzer would see it."""
    for module in (
        *("winnow.verify", "winnow.store", "winnow.shards.finished", "winnow.dictionary"),
        *("analyze.inputs", "train.checkpoint"),
    ):
        monkeypatch.setattr(f"{module}.check_file", lambda *_: None)
    monkeypatch.setattr("winnow.shards.finished.rest_hash", lambda path, values: None)
    faults = [case for case in fuzzer.cases(60, SEED) if case.fault]
    assert len(faults) > 3


def test_every_kind_of_file_of_a_run_is_damaged(fuzzer: Fuzzer) -> None:
    assert {
        *("tokens.h5", "manifest.json", "shard.h5", "shard.json", "statistics.h5", "hashes.json", "config.toml"),
        *("cfg.json", "sae_weights.safetensors", "training.json", "metrics.jsonl", "snapshots/cfg.json"),
        *("state.json", "state.safetensors", "metrics.json", "latents.h5", "index.html", "fvu.csv"),
    } <= set(fuzzer.kinds)
