"""Tokenise and pack documents into `tokens.h5`, resuming where an earlier process was stopped.

Documents are tokenised batch by batch (the tokenizer uses all cores), so memory does not grow with the
text, and the result does not depend on the number of cores. Beside the file to be, while it is made:

    tokens.parts/part-00000.npy    int32 [sequence, context]
    tokens.parts/state.json        settings, finished parts, documents read, tokens held over to the next part
"""

import hashlib
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
from data.tokenizer import Framing, TextTokenizer, framing
from winnow.config.experiment import Experiment, TextSettings
from winnow.errors import UserError
from winnow.runtime.progress import progress_bar
from winnow.runtime.publish import publish_file, publish_text
from winnow.shards.contiguous import DataSet, create_contiguous

DOCUMENTS_PER_BATCH = 512
TOKENS_PER_PART = 4_000_000


class State(NamedTuple):
    """All that resuming needs: what is on disk, and what comes next."""

    settings: dict[str, Any]
    parts: int = 0
    sequences: int = 0
    documents: int = 0
    held: tuple[int, ...] = ()
    tokenizer_commit: str = ""  # of the repositories on the hub, as `TokenFile` has them
    text_commit: str = ""


def write_tokens(path: Path, config: Experiment, settings: dict[str, Any]) -> None:
    """Write the sequences and, as attributes, what they were made with.

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
        _join(partial, folder, state, config, -1 if frame.bos is None else frame.bos)
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
    """Yield each part's sequences [sequence, context] with the state after it."""
    source = documents(text, state.documents, state.text_commit)
    packer: Packer | None = None
    full: list[np.ndarray] = []
    read = state.documents
    while state.sequences < wanted:
        batch = list(islice(source, DOCUMENTS_PER_BATCH))
        if batch:
            tokenised = [document for document in batch if isinstance(document, list)]
            if packer is None:
                # a column of token ids was joined by whoever tokenised it
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


def _join(path: Path, folder: Path, state: State, config: Experiment, bos: int) -> None:
    digest = hashlib.sha256(json.dumps(state.settings, sort_keys=True).encode())
    parts = [folder / f"part-{number:05d}.npy" for number in range(state.parts)]
    for part in parts:
        digest.update(np.load(part).tobytes())
    attributes = {
        "settings": json.dumps(state.settings),
        "fingerprint": digest.hexdigest(),
        "tokenizer": config.model.name,
        "text": config.text.source,
        "bos": bos,
        "tokenizer_commit": state.tokenizer_commit,
        "text_commit": state.text_commit,
    }
    layout = {"tokens": DataSet((state.sequences, config.text.context), np.dtype("<i4"), {})}
    with create_contiguous(path, layout, attributes) as file:
        start = 0
        for part in parts:
            sequences = np.load(part)
            file.write("tokens", sequences, start)
            start += len(sequences)


def _say_if_short(config: Experiment, sequences: int) -> None:
    text = config.text
    if sequences < text.tokens // text.context:
        print(
            f"WARNING: {text.source} ended after {sequences * text.context:,} tokens, text.tokens = {text.tokens:,} "
            "were asked for; nothing is repeated",
            file=sys.stderr,
        )
    held_out = text.held_out_sequences
    if sequences <= held_out:
        raise UserError(
            f"text.source = {text.source} gives {sequences} sequences, and text.held_out_sequences = {held_out} "
            "of them are held out; ask for more text.tokens, or hold out fewer"
        )
