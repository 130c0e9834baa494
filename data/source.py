"""Stream documents from python-docs, files or a data set on the hub, never all in memory."""

import glob
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from datasets import IterableDataset, config, load_dataset
from datasets.utils.logging import disable_progress_bar

from data.python_docs import load_python_docs
from winnow.config.experiment import TextSettings
from winnow.errors import UserError, nearest
from winnow.hub import FAILURES, keep_commit, quiet, why

Document = str | list[int]
_BUILDERS = {".txt": "text", ".jsonl": "json", ".json": "json", ".parquet": "parquet"}
_LOCAL_WORKS_TOO = "files:PATTERN reads local txt, jsonl and parquet files"


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

    Documents are strings, or lists of token ids if the column holds those. Raises `UserError` naming the source,
    split or column that does not exist, or the number of documents after which reading failed.
    """
    disable_progress_bar()
    # the hub's client retries for 23 seconds; datasets would repeat that twenty times
    config.STREAMING_READ_MAX_RETRIES = config.STREAMING_OPEN_MAX_RETRIES = 1
    config.STREAMING_READ_RETRY_INTERVAL = config.STREAMING_OPEN_RETRY_INTERVAL = 1
    rows = _readable(settings, iter(_rows(settings, commit).skip(skip)), skip)
    first = next(rows, None)
    if first is None:
        if skip:
            return
        raise UserError(f"text.source = {settings.source}: split {settings.split} is empty")
    if settings.column not in first:
        raise UserError(
            f"text.column = {settings.column}: {settings.source} has no such column"
            f"{nearest(settings.column, first)}; there are {', '.join(first)}"
        )
    if not isinstance(first[settings.column], str | list):
        raise UserError(f"text.column = {settings.column}: holds neither strings nor lists of token ids")
    for row in chain([first], rows):
        yield row[settings.column]


def _readable(settings: TextSettings, rows: Iterator[Any], skip: int) -> Iterator[Any]:
    """Yield the rows. Raises `UserError` if a file or connection breaks."""
    read = skip
    try:
        with quiet():
            for row in rows:
                yield row
                read += 1
    except FAILURES as error:
        raise UserError(
            f"text.source = {settings.source}: reading failed after {read:,} documents "
            f"({_why(settings, error)}); the same command resumes after the last finished part; "
            f"{_LOCAL_WORKS_TOO}"
        ) from error


def _rows(settings: TextSettings, commit: str) -> Any:
    kind, _, where = settings.source.partition(":")
    if kind == "python-docs":
        splits = load_python_docs()
        if settings.split not in splits:
            raise UserError(f"text.split = {settings.split}: python-docs has {' and '.join(map(str, splits))}")
        return splits[settings.split]
    if kind == "files":
        return _from_files(where, settings.split)
    return _from_hub(where, settings, commit)


def _from_files(pattern: str, split: str) -> IterableDataset:
    if split != "train":
        raise UserError(f"text.split = {split}: files have no splits; set it to train, and select files by the pattern")
    paths = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207  pathlib globs no absolute pattern
    if not paths:
        raise UserError(f"text.source = files:{pattern}: no such file")
    kinds = {Path(path).suffix for path in paths}
    if len(kinds) > 1 or not kinds <= set(_BUILDERS):
        raise UserError(
            f"text.source = files:{pattern}: found files ending in {', '.join(sorted(kinds))}; "
            f"choose one kind of {', '.join(_BUILDERS)}"
        )
    builder = _BUILDERS[kinds.pop()]
    options: dict[str, Any] = {"sample_by": "document"} if builder == "text" else {}
    loaded = load_dataset(builder, data_files=paths, split="train", streaming=True, **options)
    assert isinstance(loaded, IterableDataset)
    return loaded


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
