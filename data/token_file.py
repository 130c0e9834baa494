"""Write `tokens.h5`: the one place that knows its data set and its attributes. `winnow.tokens` reads it."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from winnow.config.experiment import Experiment
from winnow.shards.contiguous import DataSet, create_contiguous
from winnow.tokens import ATTRIBUTES, FORMAT_VERSION, attributes_hash, framing, hash_tokens


class TokenOrigin(NamedTuple):
    """What made the tokens, beside the settings."""

    bos: int  # the token that starts every sequence, -1 for none
    tokenizer_commit: str = ""  # of the repositories on the hub, "" where nothing came from there
    text_commit: str = ""
    dropped_sequences: int | None = None  # left out for what they share with the held-out ones; None: not looked for
    tokenizer_sha256: str = ""  # of the tokenizer's files
    text_sha256: str | None = None  # of the first documents (data/text_hash.py); None: not known
    documents: int = 0  # so many


def write_token_file(
    path: Path,
    parts: Callable[[], Iterable[np.ndarray]],
    config: Experiment,
    settings: Mapping[str, Any],
    origin: TokenOrigin,
) -> None:
    """Join parts, each int32 [sequence, context], into one file at `path`; `parts` is called twice.

    The fingerprint is that of the tokens and of what starts a sequence: how text and model are named does not matter.
    """
    lengths: list[int] = []

    def counted() -> Iterator[np.ndarray]:
        for tokens in parts():
            lengths.append(len(tokens))
            yield tokens

    attributes: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "settings": json.dumps(settings),
        "fingerprint": hash_tokens(framing(origin.bos, config.text.context), counted()),
        "tokenizer": config.model.name,
        "text": config.text.source,
        **{name: value for name, value in origin._asdict().items() if value is not None},
    }
    attributes[ATTRIBUTES] = attributes_hash(attributes)
    layout = {"tokens": DataSet((sum(lengths), config.text.context), np.dtype("<i4"), {})}
    with create_contiguous(path, layout, attributes) as file:
        start = 0
        for tokens in parts():
            file.write("tokens", tokens, start)
            start += len(tokens)
