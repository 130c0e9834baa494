"""What lies at a path is looked at before it is opened: a FIFO would wait for ever, and /dev/zero has no end."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from winnow.errors import UserError
from winnow.fields import read_fields, read_lines
from winnow.paths import as_path, kind_of
from winnow.runtime.hashes import hash_file
from winnow.shards.contiguous import ContiguousReader
from winnow.tokens import open_tokens

READERS: list[Callable[[Path], Any]] = [
    read_fields,
    lambda path: read_lines(path, lambda fields: None),
    hash_file,
    ContiguousReader,
    open_tokens,
]


def lay(path: Path, kind: str) -> Path:
    """Put something at a path that is no ordinary file."""
    if kind == "a FIFO":
        os.mkfifo(path)
    elif kind == "a device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    return path


@pytest.mark.parametrize("kind", ["a FIFO", "a device", "a folder"])
@pytest.mark.parametrize("read", READERS)
def test_what_is_no_file_is_named_and_not_opened(read: Callable[[Path], Any], kind: str, tmp_path: Path) -> None:
    path = lay(tmp_path / "thing", kind)
    with pytest.raises(UserError, match=f"thing: expected a file, found {kind}"):
        read(path)


def test_sockets_are_told_from_files_and_from_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path may have a hundred characters
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket")
        assert kind_of(Path("socket")) == "a socket"
    Path("file").write_text("")
    assert kind_of(Path("file")) is None
    assert kind_of(Path("nothing")) is None


def test_a_path_is_taken_as_a_shell_takes_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert as_path("~/runs/demo", "run") == tmp_path / "runs" / "demo"
    assert as_path(Path("runs/demo"), "run") == Path("runs/demo")


def test_a_path_that_the_system_refuses_is_named(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.raises(UserError, match=r"^run: .*circle: Too many levels of symbolic links$"):
        as_path(tmp_path / "circle", "run")
    with pytest.raises(UserError, match=r"^run: a{300}: File name too long$"):
        as_path("a" * 5000, "run")


@pytest.mark.parametrize(
    ("given", "found"),
    [(None, "NoneType"), (3, "int"), (b"runs", "bytes"), (["runs"], "list"), ("", "''"), ("a\0b", r"'a\\x00b'")],
)
def test_what_is_no_path_is_named(given: Any, found: str) -> None:
    with pytest.raises(UserError, match=f"^run: expected a path, found {found}$"):
        as_path(given, "run")
