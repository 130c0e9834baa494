"""The record of a run: what was written is there, is listed, and is what it was."""

import json
from pathlib import Path

import pytest

from winnow.errors import UserError
from winnow.runtime.hashes import HASHES, change_hashes, check_file, note, note_all, read_hashes, said_of


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name in ("tokens.h5", "a/one", "a/b/two"):
        (tmp_path / name).write_text(name)
    change_hashes(tmp_path, note_all(tmp_path, ("tokens.h5", "a/one", "a/b/two")))
    return tmp_path


def test_what_is_noted_is_read(run: Path) -> None:
    assert read_hashes(run) == note_all(run, ("tokens.h5", "a/one", "a/b/two"))
    assert said_of(run / "a" / "b" / "two") == note(run / "a" / "b" / "two")
    assert said_of(run / "a" / "other") is None


def test_a_run_without_a_record_has_nothing_noted(tmp_path: Path) -> None:
    assert read_hashes(tmp_path) == {}
    assert said_of(tmp_path / "any") is None


def test_files_and_whole_folders_are_forgotten(run: Path) -> None:
    change_hashes(run, forget=["a/"])
    assert list(read_hashes(run)) == ["tokens.h5"]
    change_hashes(run, {"x": note(run / "a" / "one")}, forget=["tokens.h5"])
    assert list(read_hashes(run)) == ["x"]


def test_nothing_is_written_where_nothing_changes(run: Path) -> None:
    before = (run / HASHES).stat().st_mtime_ns
    change_hashes(run, {"tokens.h5": note(run / "tokens.h5")}, forget=["none/"])
    assert (run / HASHES).stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "missing"), ("tokens.h", "8 bytes, hashes.json says 9"), ("Tokens.h5", "sha256 is ")],
)
def test_a_file_that_is_not_what_it_was_is_named(run: Path, content: str | None, said: str) -> None:
    path = run / "tokens.h5"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(UserError, match=rf"tokens\.h5: {said}.*; make it again$"):
        check_file(path, said_of(path), "make it again")


def test_a_changed_record_does_not_pass_for_another(run: Path) -> None:
    path = run / HASHES
    record = json.loads(path.read_text())
    record["files"]["tokens.h5"]["bytes"] += 1
    path.write_text(json.dumps(record))
    with pytest.raises(UserError, match=r"hashes\.json: sha256 of its list is .*; restore it, or delete it"):
        read_hashes(run)


@pytest.mark.parametrize("name", ["/etc/passwd", "../other"])
def test_a_record_of_files_elsewhere_is_refused(run: Path, name: str) -> None:
    path = run / HASHES
    record = json.loads(path.read_text())
    record["files"][name] = record["files"].pop("tokens.h5")
    path.write_text(json.dumps(record))
    with pytest.raises(UserError, match=r"files: expected names of files below"):
        read_hashes(run)
