"""Stream documents from python-docs, files or a data set on the hub, never all in memory."""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from datasets import IterableDataset, config, load_dataset
from datasets.utils.logging import disable_progress_bar

from data.files import Row, find_files, read_file
from data.python_docs import load_python_docs
from winnow.config.experiment import TextSettings
from winnow.errors import UserError, nearest
from winnow.hub import FAILURES, is_lasting, keep_commit, quiet, why

Message = dict[str, Any]  # role and content
Document = str | list[int] | list[Message]
KIND_NAMES = {str: "text", int: "token ids", dict: "conversations"}  # by what a document is made of
LARGEST_ID = 2**31 - 1
_LOCAL_WORKS_TOO = "files:PATTERN reads local txt, jsonl, csv and parquet files"


def text_commit(settings: TextSettings, made_with: str = "") -> str:
    """Find the commit of the data set to read; "" if it is not on the hub. `made_with`: the one a run began with.

    Raises `UserError` naming the data set and the reason why it cannot be read.
    """
    kind, _, name = settings.source.partition(":")
    if kind != "hub":
        return ""
    try:
        return keep_commit("dataset", name, settings.revision or "main", made_with)
    except FAILURES as error:
        raise UserError(
            f"text.source = hub:{name}: cannot be fetched from the hub ({_why(settings, error)}); {_LOCAL_WORKS_TOO}"
        ) from error


def documents(settings: TextSettings, skip: int = 0, commit: str = "") -> Iterator[Document]:
    """Yield the documents of the configured source after the first `skip`; read a data set on the hub at `commit`.

    Documents are strings, lists of token ids, or conversations, whichever the column holds. Rows without one are left
    out, and the first is named on stderr. Raises `UserError` naming the source, split or column that does not exist,
    or the file and document that cannot be read.
    """
    disable_progress_bar()
    # the hub's client retries for 23 seconds; datasets would repeat that twenty times
    config.STREAMING_READ_MAX_RETRIES = config.STREAMING_OPEN_MAX_RETRIES = 1
    config.STREAMING_READ_RETRY_INTERVAL = config.STREAMING_OPEN_RETRY_INTERVAL = 1
    kind: type | None = None
    count, missing = 0, False
    for where, value in _rows(settings, commit):
        if value is None or value == []:
            if not missing:
                print(f"WARNING: {where}: no {settings.column}; such rows are left out", file=sys.stderr)
            missing = True
            continue
        found = _kind(settings.column, where, value)
        if kind is not None and found is not kind:
            raise UserError(
                f"{where}: text.column = {settings.column} holds {KIND_NAMES[found]}, and {KIND_NAMES[kind]} before"
            )
        kind = found
        count += 1
        if count > skip:
            yield value
    if not count:
        raise UserError(f"text.source = {settings.source}: there is no document in split {settings.split}")


def _kind(column: str, where: str, value: Any) -> type:
    """Return str, int or dict: what a document is made of. Raises `UserError` for all else."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise UserError(
                f"{where}: half of a surrogate pair at character {error.start:,}, which is no text"
            ) from error
        return str
    if isinstance(value, Sequence):
        if all(type(token) is int for token in value):
            worst = next((token for token in value if not 0 <= token <= LARGEST_ID), None)
            if worst is None:
                return int
            raise UserError(f"{where}: text.column = {column} has {worst}, which is no token id")
        if all(isinstance(message, dict) and message.keys() >= {"role", "content"} for message in value):
            return dict
    raise UserError(
        f"{where}: text.column = {column} holds {_described(value)}; expected text, a list of token ids, or a "
        "conversation, a list of messages with role and content"
    )


def _described(value: Any) -> str:
    if isinstance(value, Sequence):
        return f"a list of {', '.join(sorted({type(one).__name__ for one in value}))}"
    return f"a value of type {type(value).__name__}"


def _rows(settings: TextSettings, commit: str) -> Iterator[Row]:
    kind, _, where = settings.source.partition(":")
    if kind == "files":
        if settings.split != "train":
            raise UserError(
                f"text.split = {settings.split}: files have no splits; set it to train, and select files by the pattern"
            )
        for path in find_files(where):
            yield from read_file(path, settings.column)
        return
    if kind == "python-docs":
        splits = load_python_docs()
        if settings.split not in splits:
            raise UserError(f"text.split = {settings.split}: python-docs has {' and '.join(map(str, splits))}")
        rows = iter(splits[settings.split])
    else:
        rows = _readable(settings, iter(_from_hub(where, settings, commit)))
    found = False
    for number, row in enumerate(rows, 1):
        if not found and settings.column not in row:
            raise UserError(
                f"text.column = {settings.column}: {settings.source} has no such column"
                f"{nearest(settings.column, row)}; there are {', '.join(row)}"
            )
        found = True
        yield Row(f"{settings.source}, document {number:,}", row.get(settings.column))


def _readable(settings: TextSettings, rows: Iterator[Any]) -> Iterator[Any]:
    """Yield the rows. Raises `UserError` if a file or connection breaks."""
    read = 0
    try:
        with quiet():
            for row in rows:
                yield row
                read += 1
    except FAILURES as error:
        again = "if the connection broke, the same command resumes after the last finished part; "
        raise UserError(
            f"text.source = {settings.source}: reading failed after {read:,} documents "
            f"({_why(settings, error)}); {'' if is_lasting(error) else again}{_LOCAL_WORKS_TOO}"
        ) from error


def _from_hub(name: str, settings: TextSettings, commit: str) -> IterableDataset:
    try:
        with quiet():
            loaded = load_dataset(
                name, settings.subset, split=settings.split, revision=commit or settings.revision, streaming=True
            )
    except FAILURES as error:
        subset = f", text.subset = {settings.subset}" if settings.subset else ""
        raise UserError(
            f"text.source = hub:{name}{subset}, text.split = {settings.split}: cannot be opened "
            f"({_why(settings, error)}); {_LOCAL_WORKS_TOO}"
        ) from error
    assert isinstance(loaded, IterableDataset)
    return loaded


def _why(settings: TextSettings, error: BaseException) -> str:
    """Explain in one line why the data set could not be read."""
    return why(error, settings.source.partition(":")[2], settings.revision or "main", "dataset")
