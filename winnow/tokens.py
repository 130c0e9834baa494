"""Read the token sequences of a run: `runs/NAME/tokens.h5`, /tokens int32 [sequence, context]."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from winnow.errors import UserError
from winnow.fields import Fields, parse_json
from winnow.paths import refuse_special
from winnow.runtime.hashes import check_size, said_of
from winnow.shards.contiguous import ContiguousReader
from winnow.shards.heaps import check_heaps

REMEDY = "delete it, and run make tokens"
ATTRIBUTES = "attributes_sha256"  # of all the others; files made before have none
FORMAT_VERSION = 2  # since then the fingerprint does not depend on how text and model are named
BLOCK = 2**14  # sequences read at a time


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
    settings: Mapping[str, Any] = {}  # that made them, by their names in the configuration
    format_version: int = 1
    tokenizer_sha256: str = ""  # of the tokenizer's files (winnow/model/files.py); "" where it is not known
    documents: int = 0  # that were read, and
    text_sha256: str = ""  # their hash (data/text_hash.py); "" where it is not known

    @property
    def model(self) -> dict[str, str]:
        """Name, revision and commit of the model whose tokenizer made the tokens, as in a manifest."""
        return {"name": self.tokenizer, "revision": self.tokenizer_revision, "commit": self.tokenizer_commit}

    def read(self, start: int, stop: int) -> np.ndarray:
        """Read sequences [start, stop) as int32 [sequence, context]."""
        start, stop, _ = slice(start, stop).indices(self.sequences)
        out = np.empty((max(0, stop - start), self.context), np.int32)
        ContiguousReader(self.path).read_into(out, "tokens", start)
        return out

    def blocks(self, first: int = 0, stop: int | None = None) -> Iterator[tuple[int, np.ndarray]]:
        """Yield sequences [first, stop) some at a time, each time with the number of the first of them."""
        stop = self.sequences if stop is None else stop
        for start in range(first, stop, BLOCK):
            yield start, self.read(start, min(start + BLOCK, stop))

    def named_as(self, fingerprint: str) -> "TokenFile":
        """Give these tokens the fingerprint that a store made before has of them; as they are where it has another.

        Up to format 1, settings were part of it.
        """
        if fingerprint == self.fingerprint or self.format_version == 1:
            return self
        before = self._replace(format_version=1, fingerprint=fingerprint)
        return before if before._hash() == fingerprint else self

    def verify(self) -> None:
        """Compute the fingerprint again. Raises `UserError` where it is not the one that was stored."""
        found = self._hash()
        if found != self.fingerprint:
            raise UserError(
                f"{self.path}: fingerprint of its tokens is {found[:12]}…, it says {self.fingerprint[:12]}…; {REMEDY}"
            )

    def _hash(self) -> str:
        blocks = (block for _, block in self.blocks())
        if self.format_version == 1:
            return hash_tokens(self.settings, blocks)
        return hash_tokens(framing(self.bos, self.context), blocks)


def open_tokens(path: Path) -> TokenFile:
    """Open a token file. Raises `UserError` if it is missing, is not a token file, or is not what was written."""
    if not path.exists():
        raise UserError(f"{path}: no such file; run make tokens first")
    refuse_special(path, REMEDY)
    check_size(path, said_of(path), REMEDY)
    try:
        check_heaps(path)
        with h5py.File(path) as file:
            attributes = {str(name): _plain(value) for name, value in file.attrs.items()}
    except UserError as error:
        raise UserError(f"{error}; {REMEDY}") from error
    except Exception as error:  # on damaged files the library raises whatever its parts raise
        raise UserError(f"{path}: not a token file of winnow ({' '.join(str(error).split())}); {REMEDY}") from error
    said = attributes.get(ATTRIBUTES)
    if said is not None and said != attributes_hash(attributes):
        raise UserError(f"{path}: its attributes are not what was written; {REMEDY}")
    tokens = ContiguousReader(path)
    try:
        shape = tokens["tokens"].shape
    except UserError as error:
        raise UserError(
            f"{path}: not a token file of winnow ({str(error).removeprefix(f'{path}: ')}); {REMEDY}"
        ) from error
    if len(shape) != 2 or not shape[1]:
        raise UserError(f"{path}: tokens: expected [sequence, context], found {list(shape)}; {REMEDY}")
    tokens.expect("tokens", shape, np.dtype("<i4"), REMEDY)
    fields = Fields(path, attributes, remedy=REMEDY)
    settings = Fields(path, parse_json(fields.text("settings"), f"{path}: settings", REMEDY), "settings", REMEDY)
    if "text.context" in settings.all and settings.integer("text.context", 1) != shape[1]:
        raise settings.wrong(
            "settings.text.context", f"{shape[1]}, the context of its tokens", settings.all["text.context"]
        )
    return TokenFile(
        path,
        *shape,
        fields.text("fingerprint"),
        fields.text("tokenizer"),
        fields.text("text"),
        fields.integer("bos", -1),
        settings.text("model.revision"),
        fields.text("tokenizer_commit") if "tokenizer_commit" in fields.all else "",
        fields.text("text_commit") if "text_commit" in fields.all else "",
        fields.integer("dropped_sequences", 0) if "dropped_sequences" in fields.all else None,
        settings.all,
        fields.integer("format_version", 1, FORMAT_VERSION) if "format_version" in fields.all else 1,
        fields.text("tokenizer_sha256") if "tokenizer_sha256" in fields.all else "",
        fields.integer("documents", 0) if "documents" in fields.all else 0,
        fields.text("text_sha256") if "text_sha256" in fields.all else "",
    )


def framing(bos: int, context: int) -> dict[str, int]:
    """Name what a fingerprint holds beside the tokens."""
    return {"bos": bos, "context": context}


def hash_tokens(beside: Mapping[str, Any], blocks: Iterable[np.ndarray]) -> str:
    """Compute a fingerprint: the sha256 of what stands beside the tokens, as sorted JSON, and of the tokens."""
    digest = hashlib.sha256(json.dumps(beside, sort_keys=True).encode())
    for block in blocks:
        digest.update(block.tobytes())
    return digest.hexdigest()


def attributes_hash(attributes: Mapping[str, Any]) -> str:
    """Compute the sha256 of a token file's attributes, but for the one that holds it."""
    named = {name: value for name, value in attributes.items() if name != ATTRIBUTES}
    return hashlib.sha256(json.dumps(named, sort_keys=True, default=repr).encode()).hexdigest()


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
