"""The reader of tokens.h5: what is not what was written is refused in one line."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from winnow.errors import UserError
from winnow.shards.contiguous import DataSet, create_contiguous
from winnow.tokens import ATTRIBUTES, attributes_hash, open_tokens

TOKENS = np.arange(24, dtype="<i4").reshape(6, 4)
SETTINGS = {"model.revision": "main", "text.context": 4}
WHOLE = {"settings": json.dumps(SETTINGS), "fingerprint": "f" * 64, "tokenizer": "t", "text": "x", "bos": 0}


def write(path: Path, tokens: np.ndarray = TOKENS, changes: Mapping[str, Any] | None = None) -> Path:
    attributes = {name: value for name, value in {**WHOLE, **(changes or {})}.items() if value is not None}
    with create_contiguous(path, {"tokens": DataSet(tokens.shape, tokens.dtype, {})}, attributes) as file:
        file.write("tokens", tokens)
    return path


def test_a_file_made_before_is_read(tmp_path: Path) -> None:
    found = open_tokens(write(tmp_path / "tokens.h5"))
    assert (found.sequences, found.context, found.bos, dict(found.settings)) == (6, 4, 0, SETTINGS)
    assert found.read(2, 4).tolist() == TOKENS[2:4].tolist()
    assert found.read(4, 99).tolist() == TOKENS[4:].tolist()


@pytest.mark.parametrize(
    ("tokens", "changes", "said"),
    [
        (TOKENS, {"bos": None}, "bos: expected an integer, found no such field"),
        (TOKENS, {"bos": "0"}, 'bos: expected an integer of at least -1, found "0"'),
        (TOKENS, {"fingerprint": 3}, "fingerprint: expected a string, found 3"),
        (TOKENS, {"settings": "[]"}, r"settings: expected a JSON object, found \[\]"),
        (TOKENS, {"settings": "{"}, r"settings: not valid JSON \("),
        (TOKENS, {"settings": "{}"}, "settings.model.revision: expected a string, found no such field"),
        (TOKENS, {ATTRIBUTES: "0" * 64}, "its attributes are not what was written"),
        (TOKENS.astype("<i8"), {}, r"tokens: expected int32 \[6, 4\], found int64 \[6, 4\]"),
        (TOKENS.ravel(), {}, r"tokens: expected \[sequence, context\], found \[24\]"),
        (TOKENS.reshape(4, 6), {}, "settings.text.context: expected 6, the context of its tokens, found 4"),
    ],
)
def test_another_shape_is_refused_by_name(tmp_path: Path, tokens: np.ndarray, changes: dict, said: str) -> None:
    path = write(tmp_path / "tokens.h5", tokens, changes)
    with pytest.raises(UserError, match=rf"tokens\.h5: {said}.*; delete it, and run make tokens$"):
        open_tokens(path)


def test_attributes_have_their_hash(tmp_path: Path) -> None:
    path = write(tmp_path / "tokens.h5", changes={ATTRIBUTES: attributes_hash(WHOLE)})
    assert open_tokens(path).tokenizer == "t"
    with h5py.File(path, "r+") as file:
        file.attrs["bos"] = 1
    with pytest.raises(UserError, match="its attributes are not what was written"):
        open_tokens(path)


def test_a_chunked_file_is_no_token_file(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "tokens.h5", "w") as file:
        file.create_dataset("tokens", data=TOKENS, chunks=(2, 4))
        file.attrs.update(WHOLE)
    with pytest.raises(
        UserError, match=r"not a token file of winnow \(tokens: expected a contiguous data set, found a"
    ):
        open_tokens(tmp_path / "tokens.h5")
