import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

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


@pytest.fixture(params=[0o022, 0o027, 0o077, 0o002])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """Several masks for the permissions of new files."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_whatever_wrote_it_a_file_has_the_permissions_of_a_new_one(tmp_path: Path, umask: int) -> None:
    with publish_file(tmp_path / "weights") as partial:
        save_file({"x": torch.ones(3)}, partial)  # through a temporary file that only its owner can read
    with publish_directory(tmp_path / "checkpoint") as partial:
        save_file({"x": torch.ones(3)}, partial / "weights")
        (partial / "inner").mkdir(mode=0o700)
        (partial / "inner" / "a").touch(mode=0o600)
    publish_text(tmp_path / "text", "x")
    for path in sorted(tmp_path.rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o777 if path.is_dir() else 0o666) & ~umask, path
