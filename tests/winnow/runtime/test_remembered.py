"""Large files outside of a run are hashed once, and again where they may have changed."""

import json
import os
import time
from pathlib import Path

import pytest

from tests.read_only import read_only
from winnow.runtime import remembered
from winnow.runtime.hashes import hash_file
from winnow.runtime.remembered import REMEMBERED, remember_weights, remembered_hash, remembered_weights


@pytest.fixture(autouse=True)
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were hashed; those of any size and age count as large and settled."""
    found: list[Path] = []
    monkeypatch.setattr(remembered, "hash_file", lambda path: found.append(path) or hash_file(path))
    monkeypatch.setattr(remembered, "LARGE", 0)
    monkeypatch.setattr(remembered, "SETTLED", -60.0)
    return found


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "model").write_bytes(b"weights")
    return tmp_path / "model"


def test_a_file_is_hashed_once(run: Path, model: Path, hashed: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    expected = hash_file(model)
    assert remembered_hash(run, model) == expected
    monkeypatch.chdir(model.parent)
    assert remembered_hash(run, Path("model")) == expected
    assert hashed == [model]


def test_other_bytes_are_noticed_also_with_the_same_size_and_time(run: Path, model: Path) -> None:
    before, first = model.stat(), remembered_hash(run, model)
    time.sleep(0.02)
    model.write_bytes(b"Weights")
    os.utime(model, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert remembered_hash(run, model) == hash_file(model) != first


def test_what_has_just_changed_is_not_relied_upon(
    run: Path, model: Path, hashed: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembered, "SETTLED", 60.0)
    assert remembered_hash(run, model) == remembered_hash(run, model)
    assert hashed == [model, model]


def test_small_files_leave_nothing_in_the_run(run: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "LARGE", 100)
    assert remembered_hash(run, model) == hash_file(model)
    assert list(run.iterdir()) == []


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"hashes": 3}', '{"hashes": {"@": null}, "weights": []}', "\xff", "[" * 9999]
)
def test_a_damaged_record_is_as_good_as_none(run: Path, model: Path, content: str) -> None:
    (run / REMEMBERED).write_text(content.replace("@", str(model)), encoding="latin-1")
    assert remembered_weights(run, "f", "float32") is None
    assert remembered_hash(run, model) == hash_file(model)
    remember_weights(run, "f", "float32", "0" * 64)
    assert remembered_weights(run, "f", "float32") == "0" * 64
    assert remembered_weights(run, "f", "bfloat16") is None
    assert len(json.loads((run / REMEMBERED).read_text())["hashes"]) == 1


def test_on_a_read_only_disk_a_file_is_hashed_every_time(run: Path, model: Path, hashed: list[Path]) -> None:
    with read_only(run):
        assert remembered_hash(run, model) == remembered_hash(run, model) == hash_file(model)
    assert hashed == [model, model]
    assert remembered_hash(run.with_name("none"), model) == hash_file(model)
