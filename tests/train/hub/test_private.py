"""Paths of the machine are shortened in what is pushed; names on the hub, and all else, stay as they are."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.experiments import ROOT, load, write_config
from train.hub.private import file_without_paths, paths_of, text_without_paths, without_paths


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("/home/somebody/models/gpt2/", "gpt2"),
        ("~/models/gpt2", "gpt2"),
        ("~somebody/models/gpt2", "gpt2"),
        ("../models/gpt2", "gpt2"),
        ("./gpt2", "gpt2"),
        ("file:///home/somebody/text.txt", "text.txt"),
        ("C:\\Users\\somebody\\gpt2", "gpt2"),
        ("\\\\server\\share\\gpt2", "gpt2"),
        ("files:/home/somebody/texts/*.txt", "files:*.txt"),
        ("files:texts/*.txt", "files:*.txt"),
        ("models/gpt2", "gpt2"),
        ("see /srv/runs/one/report, or /srv/runs/onerous", "see one/report, or /srv/runs/onerous"),
        ("openai-community/gpt2", "openai-community/gpt2"),
        ("hub:someone/text", "hub:someone/text"),
        ("blocks.1.hook_resid_post", "blocks.1.hook_resid_post"),
        ("2026-01-01T00:00:00+00:00", "2026-01-01T00:00:00+00:00"),
        ("/", "/"),
        ("", ""),
    ],
)
def test_strings(value: str, expected: str) -> None:
    paths = {"models/gpt2", "/srv/runs/one"}
    assert without_paths({"a": [{"b": value}, 3, None]}, paths) == {"a": [{"b": expected}, 3, None]}


def test_relative_names_are_those_of_models_that_are_not_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load(write_config(tmp_path, ROOT / "data" / "tiny_gpt2"), "--run", "runs/one")
    monkeypatch.chdir(ROOT)

    def paths(**model: Any) -> set[str]:
        return paths_of(config, [{"activations": {"model": model, "tokenizer": model["name"]}}, {}])

    assert "openai-community/gpt2" not in paths(name="openai-community/gpt2", commit="a" * 40)
    assert "data/gone" in paths(name="data/gone", commit="")
    older = "openai-community/gpt2"
    assert older not in paths(name=older)
    assert "data/tiny_gpt2" in paths(name="data/tiny_gpt2")
    found = paths(name="model", commit="")
    assert {"runs/one", str(ROOT / "runs" / "one"), str(tmp_path / "text")} <= found
    assert "model" not in found  # it says nothing of where it lies


def test_a_text_is_shortened_by_absolute_paths_alone() -> None:
    text = "`/srv/runs/one` is runs/one, and /srv/runs/one-more another"
    assert (
        text_without_paths(text, {"/srv/runs/one", "runs/one"}) == "`one` is runs/one, and /srv/runs/one-more another"
    )


def test_files_without_paths_are_sent_as_they_are(tmp_path: Path) -> None:
    for name, content in (("a.json", '{"x":   1.0}'), ("b.safetensors", "\x00"), ("c.jsonl", '{"x": NaN}\n\n')):
        (tmp_path / name).write_text(content)
        assert file_without_paths(tmp_path / name, {"/srv"}) == tmp_path / name
    (tmp_path / "d.jsonl").write_text('{"at": "/srv/x"}\n{"at": 2}\n')
    assert file_without_paths(tmp_path / "d.jsonl", set()) == b'{"at": "x"}\n{"at": 2}\n'
    (tmp_path / "e.json").write_text(json.dumps({"at": "/srv/x", "é": 2}))
    sent = file_without_paths(tmp_path / "e.json", set())
    assert isinstance(sent, bytes)
    assert json.loads(sent) == {"at": "x", "é": 2}
