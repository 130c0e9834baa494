"""Read the token sequences of a run: `runs/NAME/tokens.h5`, /tokens int32 [sequence, context]."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from winnow.errors import UserError


class TokenFile(NamedTuple):
    """What a token file holds, and rows of it on request."""

    path: Path
    sequences: int
    context: int
    fingerprint: str
    tokenizer: str
    text: str
    bos: int  # the token that starts every sequence, -1 for none
    tokenizer_revision: str = "main"
    tokenizer_commit: str = ""  # the commit of its repository on the hub; "" for a local folder
    text_commit: str = ""  # that of the data set

    @property
    def model(self) -> dict[str, str]:
        """Name, revision and commit of the model whose tokenizer made them, as a store's manifest has them."""
        return {"name": self.tokenizer, "revision": self.tokenizer_revision, "commit": self.tokenizer_commit}

    def read(self, start: int, stop: int) -> np.ndarray:
        """Read sequences [start, stop) as int32 [sequence, context]."""
        with h5py.File(self.path) as file:
            return np.asarray(file["tokens"][start:stop])  # type: ignore[index]


def open_tokens(path: Path) -> TokenFile:
    """Open a token file. Raises `UserError` where there is none, or it cannot be read as one."""
    if not path.exists():
        raise UserError(f"{path}: no such file; run make tokens first")
    try:
        with h5py.File(path) as file:
            sequences, context = file["tokens"].shape  # type: ignore[union-attr]
            said: dict[str, Any] = dict(file.attrs)
            made_from = (said["fingerprint"], said["tokenizer"], said["text"], int(said["bos"]))
            revision = json.loads(said["settings"])["model.revision"]
            commits = (said.get("tokenizer_commit", ""), said.get("text_commit", ""))
            return TokenFile(path, sequences, context, *made_from, revision, *commits)
    except (OSError, KeyError, AttributeError) as error:
        raise UserError(f"{path}: not a token file of winnow ({error}); delete it, and run make tokens") from error
