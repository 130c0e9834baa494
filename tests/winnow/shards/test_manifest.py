"""The manifest of a folder of shards: round trip, files of other versions, every wrong shape, no torch."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.experiments import ROOT
from winnow.errors import UserError
from winnow.shards.manifest import MANIFEST, read_manifest, write_manifest

FROM_MODEL = {
    "model": {"name": "gpt2", "revision": "main", "commit": "", "dtype": "bfloat16", "weights_sha256": "0" * 64},
    "tokenizer": "gpt2",
    "text": "hub:someone/text",
    "text_commit": "abc",
    "tokens": {"fingerprint": "f", "sequences": 9, "bos": -1},
    "positions": {"skip_first": 1},
}
FROM_TOY = {"toy": {"d_model": 4, "directions_sha256": "0" * 64}}
REST = {
    "hooks": {"blocks.1.hook_resid_post": 8, "blocks.0.hook_resid_post": 4},
    "context": 16,
    "storage_dtype": "float16",
    "rows_per_shard": 64,
    "shards": 3,
    "settings": {"seed": None},
}
WRITTEN: dict[str, Any] = {"format_version": 1, **FROM_MODEL, **REST}
REMEDY = "; restore it from a copy, or delete it and run make harvest with the settings that the shards were made with"


def refused(folder: Path, text: str | bytes) -> str:
    """Write the manifest, and return what the refusal says after the file's name."""
    path = folder / MANIFEST
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(UserError) as raised:
        read_manifest(folder)
    message = str(raised.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


@pytest.mark.parametrize("made_from", [FROM_MODEL, FROM_TOY], ids=["model", "toy"])
def test_what_is_written_is_read(made_from: dict[str, Any], tmp_path: Path):
    written = write_manifest(tmp_path, made_from=made_from, **REST)
    manifest = read_manifest(tmp_path)
    assert manifest == written
    for name, value in {**made_from, **REST}.items():
        assert getattr(manifest, name) == value
    assert list(manifest.hooks) == list(REST["hooks"])
    assert manifest.written == {"format_version": 1, **made_from, **REST, "row_norms": True}
    assert manifest.row_norms
    assert {name for name in ("model", "tokens", "positions", "tokenizer", "text", "toy") if name not in made_from} == {
        name for name in ("model", "tokens", "positions", "tokenizer", "text", "toy") if getattr(manifest, name) is None
    }


def test_the_order_of_the_keys_is_kept(tmp_path: Path):
    write_manifest(tmp_path, made_from=FROM_MODEL, **REST)
    assert (tmp_path / MANIFEST).read_text() == json.dumps(WRITTEN | {"row_norms": True}, indent=1) + "\n"


def test_keys_of_a_later_version_are_kept(tmp_path: Path):
    later = WRITTEN | {"compression": {"level": 3}, "model": {**FROM_MODEL["model"], "licence": "MIT"}}
    (tmp_path / MANIFEST).write_text(json.dumps(later))
    assert read_manifest(tmp_path).written == later


def test_a_file_from_before_commits_were_noted_is_read(tmp_path: Path):
    model = {name: value for name, value in FROM_MODEL["model"].items() if name != "commit"}
    older = {name: value for name, value in WRITTEN.items() if name != "text_commit"} | {"model": model}
    (tmp_path / MANIFEST).write_text(json.dumps(older))
    manifest = read_manifest(tmp_path)
    assert (manifest.text_commit, manifest.model) == ("", model)


def test_a_missing_file_is_named(tmp_path: Path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(UserError) as raised:
            read_manifest(folder)
        expected = f"{folder / MANIFEST}: no such file; is {folder} a folder of activations? run make harvest"
        assert str(raised.value) == expected


def test_another_version_is_refused(tmp_path: Path):
    assert refused(tmp_path, json.dumps({"format_version": 99})) == (
        "format_version: expected 1, found 99; use the winnow that wrote it, or harvest into a new run"
    )


@pytest.mark.parametrize("text", ["", '{"format_version": 1', "[" * 100_000])
def test_what_is_not_json_is_refused(text: str, tmp_path: Path):
    message = refused(tmp_path, text)
    assert message.startswith("not valid JSON (")
    assert message.endswith(REMEDY)


def test_what_is_not_utf8_is_refused(tmp_path: Path):
    assert refused(tmp_path, b'{"\xff": 1}') == "expected UTF-8, found other bytes at byte 2" + REMEDY


def test_a_folder_in_its_place_is_refused(tmp_path: Path):
    (tmp_path / MANIFEST).mkdir()
    with pytest.raises(UserError, match=r"manifest.json: expected a file, found a folder"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("value", [None, [], 3, "x", True])
def test_a_file_that_is_no_object_is_refused(value: Any, tmp_path: Path):
    message = refused(tmp_path, json.dumps(value))
    assert message == f"the file: expected a JSON object, found {json.dumps(value)}{REMEDY}"


WRONG = {
    "format_version": ("an integer of at least 0", [None, [], "1", 1.0, True, -1]),
    "hooks": ("a JSON object", [None, [], "x", 3]),
    "context": ("an integer of at least 1", [None, [], {}, "128", 1.5, True, 0, -1]),
    "storage_dtype": ("one of float32, float16, bfloat16", [None, [], {}, "int8", 16]),
    "rows_per_shard": ("an integer of at least 1", [None, "x", 0]),
    "shards": ("an integer of at least 1", [None, "x", 0]),
    "settings": ("a JSON object", [None, [], "x"]),
    "model": ("a JSON object", [None, [], "gpt2"]),
    "tokens": ("a JSON object", [None, [], "x"]),
    "positions": ("a JSON object", [None, [], "all"]),
    "tokenizer": ("a string", [None, [], 3]),
    "text": ("a string", [None, [], 3]),
    "text_commit": ("a string", [None, [], 3]),
}


@pytest.mark.parametrize(
    ("field", "expected", "value"),
    [(field, expected, value) for field, (expected, values) in WRONG.items() for value in values],
)
def test_a_field_of_the_wrong_shape_is_named(field: str, expected: str, value: Any, tmp_path: Path):
    message = refused(tmp_path, json.dumps(WRITTEN | {field: value}))
    assert message == f"{field}: expected {expected}, found {json.dumps(value)}{REMEDY}"


@pytest.mark.parametrize("field", [name for name in WRITTEN if name not in ("model", "text_commit")])
def test_a_missing_field_is_named(field: str, tmp_path: Path):
    message = refused(tmp_path, json.dumps({name: value for name, value in WRITTEN.items() if name != field}))
    assert message.startswith(f"{field}: expected ")
    assert message.endswith(f", found no such field{REMEDY}")


@pytest.mark.parametrize(
    ("outer", "inner", "expected", "value"),
    [
        ("hooks", "blocks.0.hook_resid_post", "an integer of at least 1", 0),
        ("hooks", "blocks.0.hook_resid_post", "an integer of at least 1", "8"),
        ("hooks", "blocks.0.hook_resid_post", "an integer of at least 1", 8.0),
        ("model", "name", "a string", None),
        ("model", "revision", "a string", 3),
        ("model", "commit", "a string", None),
        ("model", "dtype", "one of float32, float16, bfloat16", "int8"),
        ("model", "weights_sha256", "a string", 0),
        ("tokens", "fingerprint", "a string", 0),
        ("tokens", "sequences", "an integer of at least 1", 0),
        ("tokens", "bos", "an integer of at least -1", None),
    ],
)
def test_a_field_within_a_field_is_checked(outer: str, inner: str, expected: str, value: Any, tmp_path: Path):
    message = refused(tmp_path, json.dumps(WRITTEN | {outer: {**WRITTEN[outer], inner: value}}))
    assert message == f"{outer}.{inner}: expected {expected}, found {json.dumps(value)}{REMEDY}"


def test_toy_data_name_their_directions(tmp_path: Path):
    message = refused(tmp_path, json.dumps({"format_version": 1, **REST, "toy": {"d_model": 4}}))
    assert message == f"toy.directions_sha256: expected a string, found no such field{REMEDY}"


@pytest.mark.parametrize("hook", ["", ".", "..", "../../elsewhere"])
def test_a_hook_that_is_no_name_is_refused(hook: str, tmp_path: Path):
    message = refused(tmp_path, json.dumps(WRITTEN | {"hooks": {hook: 4}}))
    assert message == f"hooks: expected names of hooks, found {hook!r}{REMEDY}"


def test_no_hooks_are_refused(tmp_path: Path):
    assert refused(tmp_path, json.dumps(WRITTEN | {"hooks": {}})) == f"hooks: expected at least one, found none{REMEDY}"


@pytest.mark.parametrize(("made_from", "found"), [({}, "neither"), (FROM_MODEL | FROM_TOY, "both")])
def test_rows_come_from_a_model_or_from_toy_data(made_from: dict[str, Any], found: str, tmp_path: Path):
    message = refused(tmp_path, json.dumps({"format_version": 1, **made_from, **REST}))
    assert message == f"model, toy: expected one of the two fields, found {found}{REMEDY}"


def test_a_long_value_is_cut_in_the_message(tmp_path: Path):
    message = refused(tmp_path, json.dumps(WRITTEN | {"context": "x" * 1000}))
    assert message == f'context: expected an integer of at least 1, found "{"x" * 59}…{REMEDY}'


def test_what_cannot_be_read_is_not_written(tmp_path: Path):
    with pytest.raises(UserError, match="shards: expected an integer of at least 1, found 0"):
        write_manifest(tmp_path, made_from=FROM_TOY, **{**REST, "shards": 0})
    assert not (tmp_path / MANIFEST).exists()


def test_reading_does_not_import_torch(tmp_path: Path):
    write_manifest(tmp_path, made_from=FROM_MODEL, **REST)
    program = (
        "import sys; from pathlib import Path; from winnow.shards.manifest import read_manifest; "
        f"print(read_manifest(Path({str(tmp_path)!r})).context, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["16", "False"]
