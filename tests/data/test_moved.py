"""Tokens are what they hold: a text or a tokenizer may move, and another one in its place is refused by name."""

import json
import os
import shutil
from pathlib import Path

import pytest

from data.text_hash import TextHash
from data.tokens import make_tokens
from tests.experiments import ROOT, load, write_config
from winnow.errors import UserError
from winnow.tokens import TokenFile, hash_tokens, open_tokens


@pytest.fixture
def config(tmp_path: Path, gpt2: Path) -> Path:
    """Tokens made from a text and a model in the same folder."""
    shutil.copytree(gpt2, tmp_path / "model")
    path = write_config(tmp_path, tmp_path / "model")
    make_tokens(load(path))
    return path


def opened(folder: Path) -> TokenFile:
    return open_tokens(folder / "tokens.h5")


def again(config: Path, *arguments: str) -> None:
    """Run the stage, which must leave the tokens as they are."""
    path = config.parent / "run" / "tokens.h5"
    before = path.read_bytes(), path.stat().st_mtime_ns
    make_tokens(load(config, *arguments))
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


@pytest.mark.parametrize("spelling", ["{0}/", "{0}/../{1}", "./{2}", "{2}"])
def test_another_spelling_of_the_same_paths_changes_nothing(
    config: Path, spelling: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def spelt(path: Path) -> str:
        return spelling.format(path, path.name, os.path.relpath(path))

    capsys.readouterr()
    source = f"files:{spelt(config.parent / 'text').rstrip('/')}/*.txt"
    again(config, "--model.name", spelt(config.parent / "model"), "--text.source", source)
    captured = capsys.readouterr()
    assert captured.out.endswith("nothing to do\n")
    assert captured.err == ""


def test_a_text_that_has_moved_is_known_by_its_documents(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = (tmp_path / "text").rename(tmp_path / "elsewhere")
    capsys.readouterr()
    again(config, "--text.source", f"files:{moved}/*.txt")
    lines = [json.dumps({"text": path.read_text()}) for path in sorted(moved.iterdir())]
    (tmp_path / "all.jsonl").write_text("\n".join(lines))
    again(config, "--text.source", f"files:{tmp_path}/all.jsonl")
    captured = capsys.readouterr()
    assert captured.out.count("nothing to do") == 2
    assert captured.err == ""


def test_another_text_is_refused_by_name(config: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(tmp_path / "text", tmp_path / "other"))
    (other / "00.txt").write_text((other / "00.txt").read_text().replace("shape", "shade", 1))
    with pytest.raises(UserError, match=r"made with text\.source = .*text/\*.txt', now text\.source = .*other/\*.txt'"):
        make_tokens(load(config, "--text.source", f"files:{other}/*.txt"))


def test_a_text_that_goes_on_where_the_other_ended_is_another_one(tmp_path: Path, gpt2: Path) -> None:
    config = write_config(tmp_path, gpt2, text={"tokens": 1_000_000})
    make_tokens(load(config))
    longer = Path(shutil.copytree(tmp_path / "text", tmp_path / "longer"))
    again(config, "--text.source", f"files:{longer}/*.txt")
    (longer / "99.txt").write_text("and more")
    with pytest.raises(UserError, match=r"now text\.source = "):
        make_tokens(load(config, "--text.source", f"files:{longer}/*.txt"))


@pytest.mark.parametrize("moved", [False, True])
def test_a_text_that_is_gone_is_not_needed(
    config: Path, tmp_path: Path, moved: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(tmp_path / "text")
    capsys.readouterr()
    again(config, *(["--text.source", "files:/on/another/machine/*.txt"] if moved else []))
    captured = capsys.readouterr()
    assert captured.out.endswith("nothing to do\n")
    assert ("files:/on/another/machine/*.txt: no such file: " in captured.err) is moved


def test_a_model_that_has_moved_or_is_gone_is_not_asked_for(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = shutil.copytree(tmp_path / "model", tmp_path / "deep" / "model")
    shutil.rmtree(tmp_path / "model")
    again(config, "--model.name", str(moved))
    again(config)
    with pytest.raises(UserError, match=r"now model\.name = 'nobody/nothing' is asked for"):
        make_tokens(load(config, "--model.name", "nobody/nothing"))


@pytest.mark.parametrize("moved", [False, True])
def test_another_tokenizer_is_refused(config: Path, tmp_path: Path, moved: bool) -> None:
    folder = tmp_path / "model"
    if moved:
        folder = Path(shutil.copytree(folder, tmp_path / "other"))
    path = folder / "tokenizer.json"
    path.write_text(path.read_text().replace('"Ġthe"', '"Ġteh"'))
    with pytest.raises(UserError, match=r"tokens\.h5 was made with tokenizer_sha256 of the model = "):
        make_tokens(load(config, "--model.name", str(folder)))


def test_where_a_tokenizer_came_from_does_not_count(config: Path, tmp_path: Path) -> None:
    path = tmp_path / "model" / "tokenizer_config.json"
    said = json.loads(path.read_text())
    path.write_text(json.dumps({**said, "name_or_path": "/somewhere/else", "transformers_version": "9"}))
    again(config)


def test_other_settings_are_refused_also_of_a_text_that_is_gone(config: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "text")
    with pytest.raises(UserError, match=r"made with text\.context = 16, now text\.context = 8 is asked for"):
        make_tokens(load(config, "--text.context", "8"))


def test_the_fingerprint_is_that_of_the_tokens_however_they_were_named(config: Path, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "text", tmp_path / "b" / "text")
    model = shutil.copytree(tmp_path / "model", tmp_path / "b" / "model")
    names = ["--model.name", str(model), "--text.source", f"files:{tmp_path}/b/text/*.txt"]
    make_tokens(load(config, "--run", str(tmp_path / "b"), *names))
    one, other = opened(tmp_path / "run"), opened(tmp_path / "b")
    assert one.fingerprint == other.fingerprint
    assert (one.tokenizer_sha256, one.text_sha256) == (other.tokenizer_sha256, other.text_sha256)
    make_tokens(load(config, "--run", str(tmp_path / "c"), "--text.prepend_bos", "false"))
    assert opened(tmp_path / "c").fingerprint != one.fingerprint


def test_tokens_have_the_fingerprint_of_a_store_that_an_older_version_made_of_them(
    config: Path, tmp_path: Path
) -> None:
    tokens = opened(tmp_path / "run")
    before = hash_tokens(tokens.settings, [tokens.read(0, tokens.sequences)])  # as it was up to format 1
    assert before != tokens.fingerprint
    named = tokens.named_as(before)
    assert named.fingerprint == before
    named.verify()
    assert tokens.named_as("f" * 64) == tokens


@pytest.mark.parametrize("gone", [False, True])
def test_tokens_made_before_take_a_text_that_has_moved(
    tmp_path: Path, gone: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    made_before = ROOT / "tests" / "made_before"
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(made_before / "run" / "tokens.h5", run)
    if not gone:
        shutil.copy(made_before / "text.txt", tmp_path)
    model = shutil.copytree(ROOT / "data" / "tiny_gpt2", tmp_path / "model")
    names = ["--text.source", f"files:{tmp_path}/text.txt", "--model.name", str(model)]
    make_tokens(load(made_before / "experiment.toml", "--run", str(run), *names))
    captured = capsys.readouterr()
    assert captured.out.endswith("nothing to do\n")
    assert len(captured.err.splitlines()) == 2
    assert f"model.name = {model} is taken for data/tiny_gpt2: " in captured.err


def test_the_hash_of_a_text_does_not_depend_on_how_it_is_read() -> None:
    documents = ["one", "two", "three", "four"]
    whole = TextHash().add(documents, [4, 4, 4, 4], 9)
    parts = TextHash()
    for document in documents:
        parts = parts.add([document], [4], 9)
    assert parts == whole
    assert whole.documents == 3
    assert TextHash().add(["onetwo", "three"], [8, 4], 9).sha256 != whole.sha256
    assert TextHash().add([[1, 2]], [2], 9).sha256 != TextHash().add(["[1, 2]"], [2], 9).sha256
