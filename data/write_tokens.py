"""Tokenise and pack documents into `tokens.h5`.

Documents are tokenised batch by batch (the tokenizer uses all cores), so memory does not grow with the
text, and the result does not depend on the number of cores.
"""

import hashlib
import json
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from data.pack import Packer
from data.source import Document, documents
from data.tokenizer import Framing, TextTokenizer, framing
from winnow.config import Experiment
from winnow.errors import UserError
from winnow.progress import progress_bar

DOCUMENTS_PER_BATCH = 512


def write_tokens(path: Path, config: Experiment, settings: dict[str, Any]) -> None:
    """Write the sequences and, as attributes, what they were made with.

    Raises `UserError` where the text is too short to hold out the evaluation sequences.
    """
    text = config.text
    tokenizer = TextTokenizer(config.model)
    frame = framing(tokenizer, text)
    wanted = text.tokens // text.context
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    with h5py.File(path, "w") as file:
        # the text may end early, so the number of rows is settled last; chunks of 1 MiB
        stored = file.create_dataset(
            "tokens",
            (wanted, text.context),
            "<i4",
            maxshape=(None, text.context),
            chunks=(max(1, 2**18 // text.context), text.context),
        )
        written = 0
        with progress_bar("tokens", wanted * text.context, "tokens") as bar:
            for full in _sequences(documents(text), tokenizer, frame, text.context):
                sequences = full[: wanted - written]
                stored[written : written + len(sequences)] = sequences
                digest.update(sequences.tobytes())
                written += len(sequences)
                bar.advance(sequences.size)
                if written == wanted:
                    break
        stored.resize(written, axis=0)
        file.attrs["settings"] = json.dumps(settings)
        file.attrs["fingerprint"] = digest.hexdigest()
        file.attrs["tokenizer"] = config.model.name
        file.attrs["text"] = text.source
        file.attrs["tokens_wanted"] = wanted * text.context
        file.attrs["bos"] = -1 if frame.bos is None else frame.bos
    if written < wanted:
        print(
            f"WARNING: {text.source} ended after {written * text.context:,} tokens, text.tokens = {text.tokens:,} "
            "were asked for; nothing is repeated",
            file=sys.stderr,
        )
    held_out = config.analyze.evaluation_sequences
    if written <= held_out:
        raise UserError(
            f"text.source = {text.source} gives {written} sequences, and analyze.evaluation_sequences = {held_out} "
            "of them are held out; ask for more text.tokens, or fewer evaluation sequences"
        )


def _sequences(
    texts: Iterable[Document], tokenizer: TextTokenizer, frame: Framing, context: int
) -> Iterator[np.ndarray]:
    texts = iter(texts)
    packer: Packer | None = None
    while batch := list(islice(texts, DOCUMENTS_PER_BATCH)):
        tokenised: list[list[int]] = [document for document in batch if isinstance(document, list)]
        if packer is None:
            # a column of token ids was joined by whoever tokenised it
            packer = Packer(context, [] if tokenised else frame.separator, frame.bos)
        words: list[str] = [document for document in batch if isinstance(document, str)]
        yield packer.add(tokenised or tokenizer(words))
