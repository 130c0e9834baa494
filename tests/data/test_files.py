"""Text as people have it: odd names, damaged files, columns of every kind are read right or refused by name."""

import csv
import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import AutoTokenizer

from data.source import documents
from data.tokens import make_tokens
from harvest.stage import harvest
from tests.experiments import load, write_config
from tests.models import EMBEDDED
from winnow.config.experiment import TextSettings
from winnow.errors import UserError
from winnow.tokens import open_tokens

CHAT = [{"role": "user", "content": "How deep?"}, {"role": "assistant", "content": "Nine fathoms."}]


def read(pattern: Path | str, column: str = "text", skip: int = 0) -> list[Any]:
    return list(documents(TextSettings(source=f"files:{pattern}", column=column), skip))


def write_lines(path: Path, *records: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def write_parquet(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize("name", ["a[1].txt", "a*b.txt", "what?.txt", "a::b.txt", "two words.txt", "~a.txt", "é.TXT"])
@pytest.mark.parametrize("folder", ["plain", "[odd] *?"])
def test_a_name_is_taken_literally_where_there_is_such_a_file(folder: str, name: str, tmp_path: Path) -> None:
    (tmp_path / folder).mkdir()
    (tmp_path / folder / name).write_text("this one")
    (tmp_path / folder / "a1.txt").write_text("another")
    assert read(tmp_path / folder / name) == ["this one"]
    assert read(tmp_path / folder / "*.[tT][xX][tT]") == [
        path.read_text() for path in sorted((tmp_path / folder).iterdir())
    ]


def test_a_pattern_reaches_into_folders_and_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "x.txt").write_text("deep")
    (tmp_path / "a" / "y.txt").write_text("flat")
    assert read("~/a/**/*.txt") == ["deep", "flat"]
    assert read("~/a/y.txt") == ["flat"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", b"\xef\xbb\xbfone\r\ntwo"),
        ("a.txt", b"one\r\ntwo"),
        ("a.jsonl", b'\xef\xbb\xbf\r\n{"text": "one\\ntwo"}\r\n\r\n'),
        ("a.json", b'[\n {"text": "one\\ntwo", "meta": null}\n]'),
        ("a.JSON", b'{"text": "one\\ntwo"}'),
        ("a.csv", b'\xef\xbb\xbfid,text\r\n1,"one\ntwo"\r\n'),
    ],
)
@pytest.mark.parametrize("packed", ["", ".gz", ".zst", ".GZ"])
def test_marks_line_ends_and_compressions_change_nothing(
    name: str, content: bytes, packed: str, tmp_path: Path
) -> None:
    path = tmp_path / (name + packed)
    compress: dict[str, Callable[[bytes], bytes]] = {
        "": bytes,
        ".gz": gzip.compress,
        ".zst": lambda plain: pa.Codec("zstd").compress(plain, asbytes=True),
    }
    path.write_bytes(compress[packed.lower()](content))
    assert read(path) == ["one\ntwo"]


def test_only_the_column_is_looked_at(tmp_path: Path) -> None:
    write_lines(tmp_path / "1.jsonl", {"text": "a", "meta": None}, {"text": "b", "meta": {"deep": [1]}})
    write_lines(tmp_path / "2.jsonl", {"text": "c", "meta": "x", "more": 1})
    (tmp_path / "3.jsonl").write_text("")
    write_lines(tmp_path / "4.jsonl", {"more": {}, "text": "d"})
    assert read(tmp_path / "*.jsonl") == ["a", "b", "c", "d"]
    write_parquet(tmp_path / "1.parquet", text=["a"], meta=pa.array([None], pa.null()))
    write_parquet(tmp_path / "2.parquet", meta=[{"x": 1}], extra=[2], text=["b"])
    write_parquet(tmp_path / "3.parquet", text=pa.array([], pa.string()))
    (tmp_path / "4.parquet").write_bytes(b"")
    assert read(tmp_path / "*.parquet") == ["a", "b"]


@pytest.mark.parametrize("rows", [[None, "a", "b"], ["a", None, "b"], ["a", "b", None]])
def test_rows_without_a_document_are_left_out_and_said(
    rows: list[str | None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    number = rows.index(None) + 1
    paths = [
        write_lines(tmp_path / "null.jsonl", *({"text": text} for text in rows)),
        write_lines(tmp_path / "missing.jsonl", *({"text": text} if text else {"id": 1} for text in rows)),
        write_parquet(tmp_path / "null.parquet", text=rows),
    ]
    for path in paths:
        assert read(path) == ["a", "b"]
        assert capsys.readouterr().err == f"WARNING: {path}, document {number}: no text; such rows are left out\n"
        assert read(path, skip=1) == ["b"]
        capsys.readouterr()


def test_a_document_after_which_a_file_breaks_is_named(tmp_path: Path) -> None:
    good = json.dumps({"text": "a"}).encode() + b"\n"
    cases = {
        "cut.jsonl": (good + b'{"text": "b', "document 2 cannot be read"),
        "latin.jsonl": (good + b'{"text": "caf\xe9"}\n', r"cannot be read \(not UTF-8: byte 0xe9"),
        "latin.txt": (b"caf\xe9", r"document 1 cannot be read \(not UTF-8: byte 0xe9"),
        "array.jsonl": (good + b"[1, 2]\n", "document 2 cannot be read .*is a list, where an object"),
        "null.jsonl": (good + b"null\n", "document 2 cannot be read .*is null, where an object"),
        "cut.txt.gz": (gzip.compress(good * 999)[:-9], "document 1 cannot be read"),
        "plain.txt.gz": (good, "document 1 cannot be read"),
        "plain.txt.zst": (good, "document 1 cannot be read"),
        "text.parquet": (good, "document 1 cannot be read"),
        "deep.jsonl": (good + b"[" * 100_000 + b"\n", "document 2 cannot be read"),
        "half.jsonl": (b'{"text": "\\ud800"}\n', "document 1: half of a surrogate pair at character 0"),
    }
    for name, (content, said) in cases.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(UserError, match=f"{name}.*{said}") as error:
            read(path)
        assert "\n" not in str(error.value)
        path.unlink()


def test_a_column_that_a_file_lacks_is_named_with_those_it_has(tmp_path: Path) -> None:
    write_lines(tmp_path / "1.jsonl", {"text": "a"})
    write_lines(tmp_path / "2.jsonl", {"tekst": "a", "id": 1})
    with pytest.raises(UserError, match=r"2\.jsonl has no such column; did you mean tekst\?; there are tekst, id"):
        read(tmp_path / "*.jsonl")
    with pytest.raises(UserError, match=r"1\.parquet has no such column; there are body"):
        read(write_parquet(tmp_path / "1.parquet", body=["a"]))
    (tmp_path / "1.csv").write_text("id,body\n1,a\n")
    with pytest.raises(UserError, match=r"1\.csv has no such column; there are id, body"):
        read(tmp_path / "1.csv")


def test_what_is_no_readable_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is a folder; name its files, as files:.*/\*\.txt does"):
        read(tmp_path)
    with pytest.raises(UserError, match="no such file"):
        read(tmp_path / "*.txt")
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(UserError, match=r"pipe\.txt: is no regular file"):
        read(tmp_path / "pipe.txt")
    (tmp_path / "lost.txt").symlink_to("nowhere")
    with pytest.raises(UserError, match=r"lost\.txt: cannot be read \(No such file"):
        read(tmp_path / "lost.txt")
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "empty2.jsonl").write_text("\n\n")
    with pytest.raises(UserError, match="there is no document in split train"):
        read(tmp_path / "empty*.jsonl")
    (tmp_path / "a.pdf").write_text("")
    with pytest.raises(UserError, match=r"found files ending in \.pdf; choose one kind"):
        read(tmp_path / "a.pdf")


def test_ids_are_looked_at_in_every_document(tmp_path: Path) -> None:
    good = {"ids": list(range(5))}
    cases: list[tuple[Any, str]] = [
        (["a", "b"], "document 301: text.column = ids holds a list of str; expected"),
        ({"0": 1}, "holds a value of type dict; expected"),
        ([1, None], "holds a list of NoneType, int; expected"),
        ([1, 2.5], "holds a list of float, int; expected"),
        ([True], "holds a list of bool; expected"),
        ([1, 2**40], f"has {2**40}, which is no token id"),
        ([1, -1], "has -1, which is no token id"),
        (7, "holds a value of type int; expected"),
        ("words", "holds text, and token ids before"),
    ]
    for bad, said in cases:
        path = write_lines(tmp_path / "a.jsonl", *[good] * 300, {"ids": bad})
        with pytest.raises(UserError, match=said):
            read(path, "ids")


@pytest.fixture
def config(tmp_path: Path, gpt2: Path) -> Path:
    return write_config(tmp_path, gpt2)


def test_conversations_are_written_by_the_chat_template(config: Path, tmp_path: Path) -> None:
    model = tmp_path / "chatty"
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED)
    source = ["--text.source", f"files:{write_lines(tmp_path / 'a.jsonl', *[{'messages': CHAT}] * 200)}"]
    source += ["--text.column", "messages", "--text.prepend_bos", "false"]
    with pytest.raises(UserError, match="holds conversations, and the model's tokenizer has no chat template"):
        make_tokens(load(config, *source))
    tokenizer.chat_template = "{% for m in messages %}<{{ m.role }}> {{ m.content }}\n{% endfor %}"
    tokenizer.save_pretrained(model)
    source += ["--model.name", str(model)]
    with pytest.raises(UserError, match=r"holds conversations, and text\.chat_template = false"):
        make_tokens(load(config, *source, "--text.chat_template", "false"))
    make_tokens(load(config, *source))
    found = open_tokens(tmp_path / "run" / "tokens.h5").read(0, 40).flatten().tolist()
    assert tokenizer.decode(found).startswith("<user> How deep?\n<assistant> Nine fathoms.\n" + tokenizer.eos_token)


def test_a_tokenizer_that_is_not_there_is_said(config: Path, tmp_path: Path) -> None:
    model = tmp_path / "mute"
    model.mkdir()
    (model / "config.json").write_bytes((EMBEDDED / "config.json").read_bytes())
    with pytest.raises(UserError, match=r"model\.name = .*mute: (its tokenizer turns text into nothing|no tokenizer)"):
        make_tokens(load(config, "--model.name", str(model)))


def test_a_large_csv_field_is_read(tmp_path: Path) -> None:
    with (tmp_path / "a.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["text"], ["x" * 300_000]])
    assert read(tmp_path / "a.csv") == ["x" * 300_000]


def test_ids_that_the_embedding_lacks_are_named_before_the_pass(config: Path, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", {"ids": [*range(300), 99_999, *range(339)]})
    source = ["--text.source", f"files:{path}", "--text.column", "ids", "--text.prepend_bos", "false"]
    make_tokens(load(config, *source))
    said = r"token 99999 \(sequence 18, position 12\) is none of the 4,096 of .*another model's tokenizer"
    with pytest.raises(UserError, match=said):
        harvest(load(config, *source))
    assert not list((tmp_path / "run").glob("activations/*.h5"))
