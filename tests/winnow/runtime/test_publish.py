from pathlib import Path

import pytest

from winnow.runtime.publish import publish_directory, publish_file, publish_text


def write_half(path: Path) -> None:
    with publish_file(path) as partial:
        partial.write_text("half")
        raise RuntimeError


def test_a_file_appears_only_when_its_block_succeeds(tmp_path: Path):
    path = tmp_path / "a"
    with pytest.raises(RuntimeError):
        write_half(path)
    assert not path.exists()
    with publish_file(path) as partial:
        partial.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_block_leaves_the_previous_file(tmp_path: Path):
    path = tmp_path / "a"
    publish_text(path, "before")
    with pytest.raises(RuntimeError):
        write_half(path)
    assert path.read_text() == "before"


def test_a_folder_appears_whole_and_the_first_one_stays(tmp_path: Path):
    path = tmp_path / "folder"
    for text in ("first", "second"):
        with publish_directory(path) as partial:
            (partial / "inner").mkdir()
            (partial / "inner" / "a").write_text(text)
    assert (path / "inner" / "a").read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]
