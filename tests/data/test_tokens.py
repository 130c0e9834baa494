"""Text in, token sequences out: sources, BOS, shortness, changed settings."""

import json
from pathlib import Path

import pandas
import pytest
from transformers import AutoTokenizer

from data.source import documents
from data.tokens import make_tokens
from tests.experiments import load, write_config
from tests.models import EMBEDDED
from winnow.config.experiment import TextSettings
from winnow.errors import UserError
from winnow.tokens import open_tokens


@pytest.fixture
def config(tmp_path: Path, gpt2: Path) -> Path:
    return write_config(tmp_path, gpt2)


def tokens_of(tmp_path: Path, config: Path, *arguments: str) -> list[list[int]]:
    make_tokens(load(config, *arguments))
    file = open_tokens(tmp_path / "run" / "tokens.h5")
    return file.read(0, file.sequences).tolist()


def test_sequences_decode_to_the_text_in_the_files_order(config: Path, tmp_path: Path):
    sequences = tokens_of(tmp_path, config)
    assert len(sequences) == 40
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED)
    assert all(sequence[0] == tokenizer.bos_token_id for sequence in sequences)
    text = tokenizer.decode([token for sequence in sequences for token in sequence[1:]])
    documents = [path.read_text() for path in sorted((tmp_path / "text").glob("*.txt"))]
    assert tokenizer.eos_token.join(documents).startswith(text)


def test_no_bos_where_it_is_refused(config: Path, tmp_path: Path):
    sequences = tokens_of(tmp_path, config, "--text.prepend_bos", "false")
    assert sequences[0][0] != 0


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_other_kinds_of_files_give_the_same_tokens(config: Path, tmp_path: Path, kind: str):
    texts = [path.read_text() for path in sorted((tmp_path / "text").glob("*.txt"))]
    if kind == "jsonl":
        (tmp_path / "a.jsonl").write_text("".join(json.dumps({"body": text}) + "\n" for text in texts))
    else:
        pandas.DataFrame({"body": texts}).to_parquet(tmp_path / "a.parquet")
    other = ["--run", str(tmp_path / "other"), "--text.source", f"files:{tmp_path}/a.{kind}", "--text.column", "body"]
    make_tokens(load(config, *other))
    expected = tokens_of(tmp_path, config)
    assert open_tokens(tmp_path / "other" / "tokens.h5").read(0, 40).tolist() == expected


def test_a_column_of_token_ids_is_taken_as_it_is(config: Path, tmp_path: Path):
    ids = [list(range(start, start + 100)) for start in range(0, 700, 100)]
    pandas.DataFrame({"input_ids": ids}).to_parquet(tmp_path / "a.parquet")
    source = ["--text.source", f"files:{tmp_path}/a.parquet", "--text.column", "input_ids"]
    sequences = tokens_of(tmp_path, config, *source, "--text.prepend_bos", "false")
    assert [token for sequence in sequences for token in sequence] == list(range(640))


def test_a_short_text_says_so_with_both_numbers(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    sequences = tokens_of(tmp_path, config, "--text.tokens", "1000000")
    said = capsys.readouterr().err
    assert f"ended after {len(sequences) * 16:,} tokens, but text.tokens = 1,000,000" in said


def test_a_text_too_short_to_hold_anything_out_is_refused_and_leaves_nothing(config: Path, tmp_path: Path):
    with pytest.raises(UserError, match=r"gives 2 sequences, and text\.held_out_sequences = 4 of them are held out"):
        make_tokens(load(config, "--text.tokens", "32"))
    assert not (tmp_path / "run" / "tokens.h5").exists()


def test_a_second_run_does_nothing_and_says_so(config: Path, capsys: pytest.CaptureFixture[str]):
    make_tokens(load(config))
    capsys.readouterr()
    make_tokens(load(config))
    assert capsys.readouterr().out.endswith("tokens.h5: 40 sequences of 16 tokens; nothing to do\n")


def test_a_killed_run_goes_on_from_its_last_part_to_the_same_bytes(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    make_tokens(load(config))
    expected = (tmp_path / "run" / "tokens.h5").read_bytes()
    monkeypatch.setattr("data.write_tokens.TOKENS_PER_PART", 100)
    monkeypatch.setattr("data.write_tokens.DOCUMENTS_PER_BATCH", 1)
    other = load(config, "--run", str(tmp_path / "other"))
    for stop_at in (1, 2):
        with monkeypatch.context() as dying:
            dying.setattr("data.write_tokens.documents", _dying(stop_at))
            with pytest.raises(KeyboardInterrupt):
                make_tokens(other)
        assert not (tmp_path / "other" / "tokens.h5").exists()
    make_tokens(other)
    assert (tmp_path / "other" / "tokens.h5").read_bytes() == expected
    assert not (tmp_path / "other" / "tokens.parts").exists()


def _dying(after: int):
    """Documents that end in an interruption after so many have been read."""

    def dying(settings: TextSettings, skip: int = 0, commit: str = ""):
        for number, document in enumerate(documents(settings, skip, commit)):
            if number == after:
                assert skip < 2
                raise KeyboardInterrupt
            yield document

    return dying


def test_changed_settings_are_refused_by_name(config: Path):
    make_tokens(load(config))
    with pytest.raises(UserError, match=r"made with text\.context = 16, now text\.context = 8 is asked for"):
        make_tokens(load(config, "--text.context", "8"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--text.source", "files:/nowhere/*.txt"], "text.source = files:/nowhere/*.txt: no such file"),
        (["--text.column", "body"], "text.column = body: .* has no such column; there are text"),
        (["--text.split", "test"], "text.split = test: files have no splits"),
        (["--text.source", "hub:nobody/nothing"], "text.source = hub:nobody/nothing: cannot be fetched from the hub"),
        (["--model.name", "nobody/nothing"], "model.name = nobody/nothing: no tokenizer found"),
    ],
)
def test_what_is_not_there_is_named(config: Path, arguments: list[str], message: str):
    with pytest.raises(UserError, match=message.replace("*.", r"\*.")):
        make_tokens(load(config, *arguments))
