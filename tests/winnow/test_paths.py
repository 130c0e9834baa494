"""`~` expands in every path, what a terminal would obey is escaped, and what lies at a path is looked at first."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import winnow
from analyze.evaluation.text import HeldOutText
from data.files import find_files
from data.tokens import make_tokens
from harvest.stage import harvest
from tests.experiments import load, write_config
from winnow.config.command_line import load_experiment
from winnow.dictionary import Dictionary, save_dictionary
from winnow.errors import UserError
from winnow.fields import read_fields, read_lines
from winnow.paths import as_path, escape, expand, kind_of
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


def test_a_home_that_exists_is_expanded_and_all_else_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    for written, expected in (
        ("~", "/home/me"),
        ("~/runs/é", "/home/me/runs/é"),
        ("a/~/b", "a/~/b"),
        ("~nobody-of-this-name/a", "~nobody-of-this-name/a"),
        ("openai-community/gpt2", "openai-community/gpt2"),
    ):
        assert expand(written) == Path(expected)


def test_every_path_of_an_experiment_expands(tmp_path: Path, gpt2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "gpt2").symlink_to(gpt2)
    path = write_config(tmp_path, Path("~/gpt2"), text={"source": "files:~/text/*.txt"})
    config = load(Path("~") / path.name, "--run", "~/run")
    assert (config.config, config.run, config.model.name) == (
        f"~/{path.name}",
        str(tmp_path / "run"),
        str(tmp_path / "gpt2"),
    )
    assert len(find_files("~/text/*.txt")) == 16
    make_tokens(config)
    harvest(config)
    assert {found.name for found in (tmp_path / "run").iterdir()} >= {"tokens.h5", "activations"}
    store = winnow.ActivationStore("~/run/activations")
    assert store.rows == 36 * 16
    assert HeldOutText.open("~/run").sequences == 4
    weights = (torch.ones(32, 8), torch.zeros(8), torch.ones(8, 32), torch.zeros(32))
    folder = "~/run/dictionaries/blocks.1.hook_resid_post/relu-8"
    save_dictionary(Dictionary(*weights, architecture="relu", hook="blocks.1.hook_resid_post"), folder, {}, {})
    assert winnow.load_dictionary(folder).n_latents == 8
    assert len(winnow.load_dictionaries("~/run")) == 1
    assert not Path("~").exists()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("run/é→", "run/é→"),
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("a\nb\r\x00", "a\\nb\\r\\x00"),
        ("a\u2028\x85", "a\\u2028\\x85"),
        ("a\udcff", "a\\udcff"),
        ("می\u200cخواهم\u3000", "می\u200cخواهم\u3000"),  # what people write is kept
    ],
)
def test_what_a_terminal_would_obey_is_escaped(text: str, shown: str) -> None:
    assert escape(text) == shown


@pytest.mark.parametrize("key", ["run", "model.name"])
@pytest.mark.parametrize("name", ["a\x1b[2Jb", "a\nb", "a\x7f", "a\u2028b", "a\udcffb"])
def test_control_characters_in_a_name_are_refused(key: str, name: str, tmp_path: Path, gpt2: Path) -> None:
    path = write_config(tmp_path, gpt2)
    with pytest.raises(UserError, match=rf"experiment\.toml: {key}: ") as refused:
        load_experiment("test", ["--config", str(path), f"--{key}={name}"])
    assert escape(str(refused.value)) == str(refused.value)


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
