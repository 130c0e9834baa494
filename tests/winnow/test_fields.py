"""JSON of a wrong shape: one line that names the file and the field."""

from pathlib import Path
from typing import Any

import pytest

from winnow.errors import UserError
from winnow.fields import read_fields, read_json, read_lines


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.json"


def refusal(path: Path, content: bytes, take=lambda fields: None) -> str:
    path.write_bytes(content)
    with pytest.raises(UserError) as refused:
        take(read_fields(path, "delete it"))
    message = str(refused.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    assert message.endswith("; delete it")
    return message.removeprefix(f"{path}: ").removesuffix("; delete it")


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b"9" * 5000, b'{"a": 1,}', b"\x00"])
def test_what_is_not_json_is_said(path: Path, content: bytes) -> None:
    assert refusal(path, content).startswith("not valid JSON (")


def test_other_bytes_than_utf8_are_said(path: Path) -> None:
    assert refusal(path, b'{"a": "\xff"}') == "expected UTF-8, found other bytes at byte 7"


@pytest.mark.parametrize("content", [b"null", b"[]", b"3", b'"x"', b"true"])
def test_what_is_no_object_is_said(path: Path, content: bytes) -> None:
    assert refusal(path, content) == f"the file: expected a JSON object, found {content.decode()}"


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("integer", '"x"', "an integer of at least 1"),
        ("integer", "true", "an integer of at least 1"),
        ("integer", "1.0", "an integer of at least 1"),
        ("integer", "0", "an integer of at least 1"),
        ("integer", str(2**63), f"an integer of at most {2**63 - 1}"),
        ("number", "null", "a finite number"),
        ("number", "NaN", "a finite number"),
        ("text", "3", "a string"),
        ("flag", "1", "true or false"),
        ("object", "[]", "a JSON object"),
        ("list", "{}", "a list"),
        ("digest", '"abc"', "a sha256 of 64 hexadecimal digits"),
        ("integers", "[1, null]", "integers of at least 1"),
    ],
)
def test_a_field_of_the_wrong_type_is_named(path: Path, kind: str, value: str, expected: str) -> None:
    least = (1,) if kind in ("integer", "integers") else ()

    def take(fields) -> Any:
        return getattr(fields.object("a"), kind)("b", *least)

    assert refusal(path, b'{"a": {"b": %s}}' % value.encode(), take).startswith(f"a.b: expected {expected}, found ")
    assert refusal(path, b'{"a": {}}', take).endswith("found no such field")


def test_a_value_that_print_cannot_say_is_shown_escaped(path: Path) -> None:
    said = refusal(path, b'{"a": "\\ud800"}', lambda fields: fields.integer("a", 0))
    assert said == 'a: expected an integer of at least 0, found "\\ud800"'


def test_a_missing_file_and_a_folder_are_told_apart(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_json(path)
    with pytest.raises(FileNotFoundError):
        read_json(path / "below")
    path.mkdir()
    with pytest.raises(UserError, match="expected a file, found a folder"):
        read_json(path)


def test_a_line_that_does_not_fit_is_numbered(path: Path) -> None:
    path.write_text('{"rows": 1}\n{"rows": null}\n')
    with pytest.raises(UserError, match=r"a\.json, line 2: rows: expected an integer of at least 0, found null$"):
        read_lines(path, lambda point: point.integer("rows", 0))
