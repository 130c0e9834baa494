"""Tokenise and pack documents into `tokens.h5`, resuming where an earlier process stopped.

Documents are tokenised batch by batch (the tokenizer uses all cores), so memory does not grow with the
text, and the result does not depend on the number of cores. Until `tokens.h5` is complete, beside it:

    tokens.parts/part-00000.npy    int32 [sequence, context]
    tokens.parts/state.json        settings, finished parts, documents read, tokens kept for the next part
"""

import json
import shutil
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data.pack import Packer
from data.source import documents, text_commit
from data.token_file import TokenOrigin, write_token_file
from data.tokenizer import Framing, TextTokenizer, framing
from winnow.config.experiment import Experiment, TextSettings
from winnow.errors import UserError
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
    state = state._replace(tokenizer_commit=tokenizer.commit, text_commit=text_commit(text, state.text_commit))
    with progress_bar("tokens", wanted * text.context, "tokens", state.sequences * text.context) as bar:
        for after, sequences in _parts(state, text, tokenizer, frame, wanted):
            state = after
            with publish_file(folder / f"part-{state.parts - 1:05d}.npy") as partial, partial.open("wb") as file:
                np.save(file, sequences)
            publish_text(folder / "state.json", json.dumps(state._asdict()))
            bar.advance(sequences.size)
    _say_if_short(config, state.sequences)
    with publish_file(path) as partial:
        parts = [folder / f"part-{number:05d}.npy" for number in range(state.parts)]
        bos = -1 if frame.bos is None else frame.bos
        origin = TokenOrigin(bos, state.tokenizer_commit, state.text_commit)
        write_token_file(partial, parts, config, state.settings, origin)
    shutil.rmtree(folder)


def _read_state(folder: Path, settings: dict[str, Any]) -> State:
    folder.mkdir(exist_ok=True)
    path = folder / "state.json"
    if path.exists():
        state = State(**json.loads(path.read_text(encoding="utf-8")))
        if state.settings == settings:
            return state
    return State(settings)


def _parts(
    state: State, text: TextSettings, tokenizer: TextTokenizer, frame: Framing, wanted: int
) -> Iterator[tuple[State, np.ndarray]]:
    """Yield the sequences [sequence, context] of each part, with the state after it."""
    source = documents(text, state.documents, state.text_commit)
    packer: Packer | None = None
    full: list[np.ndarray] = []
    read = state.documents
    while state.sequences < wanted:
        batch = list(islice(source, DOCUMENTS_PER_BATCH))
        if batch:
            tokenised = [document for document in batch if isinstance(document, list)]
            if packer is None:
                # documents that are token ids already have their separators
                packer = Packer(text.context, [] if tokenised else frame.separator, frame.bos, state.held)
            full.append(packer.add(tokenised or tokenizer([d for d in batch if isinstance(d, str)])))
            read += len(batch)
        count = sum(map(len, full))
        if count * text.context >= TOKENS_PER_PART or state.sequences + count >= wanted or not batch:
            sequences = np.concatenate(full)[: wanted - state.sequences] if full else np.empty((0, text.context), "i4")
            held = packer.held if packer else state.held
            state = state._replace(
                parts=state.parts + 1, sequences=state.sequences + len(sequences), documents=read, held=held
            )
            full = []
            yield state, sequences
        if not batch:
            return


def _say_if_short(config: Experiment, sequences: int) -> None:
    text = config.text
    if sequences < text.tokens // text.context:
        print(
            f"WARNING: {text.source} ended after {sequences * text.context:,} tokens, but text.tokens = "
            f"{text.tokens:,}; no text is repeated",
            file=sys.stderr,
        )
    held_out = text.held_out_sequences
    if sequences <= held_out:
        raise UserError(
            f"text.source = {text.source} gives {sequences} sequences, and text.held_out_sequences = {held_out} "
            "of them are held out; ask for more text.tokens, or hold out fewer"
        )
