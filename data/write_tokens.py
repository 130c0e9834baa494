"""Tokenise and pack documents into `tokens.h5`, resuming where an earlier process stopped.

Documents are tokenised batch by batch (the tokenizer uses all cores), so memory does not grow with the
text, and the result does not depend on the number of cores. Until `tokens.h5` is complete, beside it:

    tokens.parts/part-00000.npy    int32 [sequence, context]
    tokens.parts/state.json        settings, finished parts, documents read, tokens kept for the next part
"""

import json
import shutil
import sys
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data.drop_shared import divide, reach
from data.pack import Packer
from data.source import Document, documents, text_commit
from data.text_hash import TextHash
from data.token_file import TokenOrigin, write_token_file
from data.tokenizer import Framing, TextTokenizer, framing
from winnow.config.experiment import Experiment, TextSettings
from winnow.errors import UserError
from winnow.fields import Fields, read_fields
from winnow.hub import model_folder
from winnow.model.files import tokenizer_hash
from winnow.runtime.progress import progress_bar
from winnow.runtime.publish import publish_file, publish_text

DOCUMENTS_PER_BATCH = 512
TOKENS_PER_PART = 4_000_000


class State(NamedTuple):
    """The state that resuming needs."""

    settings: dict[str, Any]
    parts: int = 0
    sequences: int = 0
    documents: int = 0
    held: tuple[int, ...] = ()
    tokenizer_commit: str = ""  # as in `TokenFile`
    text_commit: str = ""
    text_hash: TextHash | None = TextHash()  # of the text so far; None: begun before it was kept

    def to_json(self) -> dict[str, Any]:
        """Give the fields by name."""
        return {**self._asdict(), "text_hash": self.text_hash and self.text_hash._asdict()}


def write_tokens(path: Path, config: Experiment, settings: dict[str, Any]) -> None:
    """Write the sequences, with the settings and sources that made them as attributes.

    Raises `UserError` where the text is too short to hold out the sequences that are asked for.
    """
    text = config.text
    wanted = text.tokens // text.context
    folder = path.with_name("tokens.parts")
    state = _read_state(folder, settings)
    tokenizer = TextTokenizer(config.model, state.tokenizer_commit)
    frame = framing(tokenizer, text)
    bos = -1 if frame.bos is None else frame.bos
    state = state._replace(tokenizer_commit=tokenizer.commit, text_commit=text_commit(text, state.text_commit))
    reader = _Reader(state, text, tokenizer, frame)
    division = None
    with progress_bar("tokens", wanted * text.context, "tokens", state.sequences * text.context) as bar:
        goal = wanted
        while True:
            while reader.state.sequences < goal and not reader.ended:
                sequences = reader.read(goal)
                _write_part(_part(folder, reader.state.parts - 1), sequences)
                publish_text(folder / "state.json", json.dumps(reader.state.to_json()))
                bar.advance(sequences.size)
            _refuse_too_short(text, reader.state.sequences)
            state = reader.state
            paths = [_part(folder, number) for number in range(state.parts)]
            if text.drop_shared_ngrams:
                division = divide(paths, text, bos, reader.ended)
            if division is None or not division.missing or reader.ended:
                break
            goal = state.sequences + division.missing + reach(text, bos)
    _say_if_short(text, state.sequences if division is None else division.sequences)
    origin = TokenOrigin(
        bos,
        state.tokenizer_commit,
        state.text_commit,
        division and division.dropped,
        tokenizer_hash(model_folder(config.model.name, state.tokenizer_commit)),
        *(state.text_hash or (None, 0))[:2],
    )
    with publish_file(path) as partial:
        parts = division.parts if division else lambda: map(np.load, paths)
        write_token_file(partial, parts, config, state.settings, origin)
    shutil.rmtree(folder)


def _part(folder: Path, number: int) -> Path:
    return folder / f"part-{number:05d}.npy"


def _write_part(path: Path, sequences: np.ndarray) -> None:
    """Publish a part. numpy itself writes through C, and does not say why a write fails."""
    with publish_file(path) as partial, partial.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(sequences))
        file.write(np.ascontiguousarray(sequences).data)


def _read_state(folder: Path, settings: dict[str, Any]) -> State:
    folder.mkdir(exist_ok=True)
    path = folder / "state.json"
    if path.exists():
        fields = read_fields(path, f"delete {folder} to begin with the text again")
        state = State(
            settings=fields.object("settings").all,
            parts=fields.integer("parts", 0),
            sequences=fields.integer("sequences", 0),
            documents=fields.integer("documents", 0),
            held=tuple(fields.integers("held", 0)),
            tokenizer_commit=fields.text("tokenizer_commit"),
            text_commit=fields.text("text_commit"),
            text_hash=_read_hash(fields.object("text_hash")) if fields.has("text_hash") else None,
        )
        if state.settings == settings:
            _check_parts(folder, state, settings["text.context"])
            return state
    return State(settings)


def _read_hash(fields: Fields) -> TextHash:
    return TextHash(fields.digest("sha256"), fields.integer("documents", 0), fields.integer("tokens", 0))


def _check_parts(folder: Path, state: State, context: int) -> None:
    """Raise `UserError` where the parts are not as many sequences as the state says."""
    again = f"delete {folder} to begin with the text again"
    found = 0
    for number in range(state.parts):
        path = _part(folder, number)
        try:
            part = np.load(path)
        except (OSError, ValueError, EOFError) as error:
            raise UserError(f"{path}: cannot be read ({error}); {again}") from error
        if part.dtype != np.int32 or part.shape[1:] != (context,):
            raise UserError(
                f"{path}: expected int32 [sequence, {context}], found {part.dtype} {list(part.shape)}; {again}"
            )
        found += len(part)
    if found != state.sequences:
        raise UserError(
            f"{folder / 'state.json'}: sequences: expected {found} as in the parts, found {state.sequences}; {again}"
        )


class _Reader:
    """Reads, tokenises and packs documents, a part at a time, from where `state` says."""

    def __init__(self, state: State, text: TextSettings, tokenizer: TextTokenizer, frame: Framing) -> None:
        self.state = state
        self.ended = False  # whether there is no more text
        self._text = text
        self._tokenizer = tokenizer
        self._frame = frame
        self._documents = documents(text, state.documents, state.text_commit)
        self._text_hash = state.text_hash
        self._packer: Packer | None = None

    def read(self, goal: int) -> np.ndarray:
        """Read the sequences [sequence, context] of the next part; it ends early where there are `goal` in all.

        Sequences beyond the goal are cut off, unless later ones may take the place of others.
        """
        text, state = self._text, self.state
        full: list[np.ndarray] = []
        count, read = 0, state.documents
        while not self.ended and count * text.context < TOKENS_PER_PART and state.sequences + count < goal:
            batch = list(islice(self._documents, DOCUMENTS_PER_BATCH))
            self.ended = not batch
            if batch:
                full.append(self._pack(batch))
                count += len(full[-1])
                read += len(batch)
        sequences = np.concatenate(full) if full else np.empty((0, text.context), "i4")
        if not text.drop_shared_ngrams:
            sequences = sequences[: goal - state.sequences]
        self.state = state._replace(
            parts=state.parts + 1,
            sequences=state.sequences + len(sequences),
            documents=read,
            held=self._packer.held if self._packer else state.held,
            text_hash=self._text_hash,
        )
        return sequences

    def _pack(self, batch: list[Document]) -> np.ndarray:
        tokenised = [document for document in batch if isinstance(document, list) and isinstance(document[0], int)]
        if self._packer is None:
            # documents that are token ids already have their separators
            separator = [] if tokenised else self._frame.separator
            self._packer = Packer(self._text.context, separator, self._frame.bos, self.state.held)
        ids: Any = tokenised or self._tokenizer([self._as_text(document) for document in batch])
        if self._text_hash is not None:
            lengths = (len(one) + len(self._packer.separator) for one in ids)
            # BOS takes its place in each sequence
            enough = self._text.tokens // self._text.context * (self._text.context - (self._packer.bos is not None))
            self._text_hash = self._text_hash.add(batch, lengths, enough)
        return self._packer.add(ids)

    def _as_text(self, document: Any) -> str:
        if isinstance(document, str):
            return document
        if self._text.chat_template:
            return self._tokenizer.render(document)
        raise UserError(
            f"text.column = {self._text.column}: holds conversations, and text.chat_template = false; choose a column "
            "of text, or text.chat_template = true"
        )


def _refuse_too_short(text: TextSettings, sequences: int) -> None:
    held_out = text.held_out_sequences
    if sequences <= held_out:
        raise UserError(
            f"text.source = {text.source} gives {sequences} sequences, and text.held_out_sequences = {held_out} "
            "of them are held out; ask for more text.tokens, or hold out fewer"
        )


def _say_if_short(text: TextSettings, sequences: int) -> None:
    if sequences == text.held_out_sequences:
        raise UserError(
            f"text.drop_shared_ngrams = {text.drop_shared_ngrams}: every sequence of {text.source} shares so many "
            "tokens in a row with the held-out ones; choose a larger number, or 0"
        )
    if sequences < text.tokens // text.context:
        print(
            f"WARNING: {text.source} ended after {sequences * text.context:,} tokens, but text.tokens = "
            f"{text.tokens:,}; no text is repeated",
            file=sys.stderr,
        )
