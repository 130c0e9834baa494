"""Read the token sequences of a run: `runs/NAME/tokens.h5`, /tokens int32 [sequence, context]."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from winnow.errors import UserError


class TokenFile(NamedTuple):
    """An open token file: its attributes, and `read` for its rows."""

    path: Path
    sequences: int
    context: int
    fingerprint: str
    tokenizer: str
    text: str
    bos: int  # the token that starts every sequence; -1: none
    tokenizer_revision: str = "main"
    tokenizer_commit: str = ""  # commit of the model's repository on the hub; "" for a local folder
    text_commit: str = ""  # commit of the data set on the hub; "" for other text
    dropped_sequences: int | None = None  # left out by text.drop_shared_ngrams; None where it is off

    @property
    def model(self) -> dict[str, str]:
        """Name, revision and commit of the model whose tokenizer made the tokens, as in a manifest."""
        return {"name": self.tokenizer, "revision": self.tokenizer_revision, "commit": self.tokenizer_commit}

    def read(self, start: int, stop: int) -> np.ndarray:
        """Read sequences [start, stop) as int32 [sequence, context]."""
        with h5py.File(self.path) as file:
            return np.asarray(file["tokens"][start:stop])  # type: ignore[index]


def open_tokens(path: Path) -> TokenFile:
    """Open a token file. Raises `UserError` if it is missing or is not a token file."""
    if not path.exists():
        raise UserError(f"{path}: no such file; run make tokens first")
    try:
        with h5py.File(path) as file:
            sequences, context = file["tokens"].shape  # type: ignore[union-attr]
            attributes: dict[str, Any] = dict(file.attrs)
            fingerprint, bos = attributes["fingerprint"], int(attributes["bos"])
            made_from = (fingerprint, attributes["tokenizer"], attributes["text"], bos)
            revision = json.loads(attributes["settings"])["model.revision"]
            commits = (attributes.get("tokenizer_commit", ""), attributes.get("text_commit", ""))
            dropped = attributes.get("dropped_sequences")
            left_out = None if dropped is None else int(dropped)
            return TokenFile(path, sequences, context, *made_from, revision, *commits, left_out)
    except (OSError, KeyError, AttributeError) as error:
        raise UserError(f"{path}: not a token file of winnow ({error}); delete it, and run make tokens") from error
