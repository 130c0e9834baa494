"""Records: what is read is what was written, and whether it is of the same inputs and settings."""

from pathlib import Path

import numpy as np
import pytest
import torch

from winnow.errors import UserError
from winnow.runtime.record import Key, is_of, read_record, write_record

KEY = Key(2, {"tokens": "abc", "dictionaries": {}}, {"rows": 3, "layers": (0, 1)})


def test_what_is_read_is_what_was_written(tmp_path: Path):
    path = tmp_path / "codes.json"
    write_record(path, KEY, {"array": np.arange(3), "tensor": torch.ones(2), "none": float("nan"), "float": 1 / 3})
    record = read_record(path)
    assert record.results == {"array": [0, 1, 2], "tensor": [1.0, 1.0], "none": None, "float": 0.3333333}
    assert is_of(record, KEY)
    before = path.read_bytes()
    write_record(path, KEY, {"array": np.arange(3), "tensor": torch.ones(2), "none": float("nan"), "float": 1 / 3})
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "other",
    [
        Key(3, KEY.inputs, KEY.settings),
        Key(2, {**KEY.inputs, "tokens": "abd"}, KEY.settings),
        Key(2, KEY.inputs, {**KEY.settings, "rows": 4}),
        Key(2, {**KEY.inputs, "clusters": None}, KEY.settings),
    ],
)
def test_another_key_is_another_record(tmp_path: Path, other: Key):
    write_record(tmp_path / "codes.json", KEY, {})
    assert not is_of(read_record(tmp_path / "codes.json"), other)


def test_what_is_no_record_is_named(tmp_path: Path):
    path = tmp_path / "codes.json"
    with pytest.raises(UserError, match="no such file; run make polytopes"):
        read_record(path)
    for content, message in (
        ("{", "cannot be read as JSON"),
        ("[1]", "expected the fields"),
        ('{"version": 1}', "expected"),
    ):
        path.write_text(content)
        with pytest.raises(UserError, match=message):
            read_record(path)
