"""Where documents come from: python-docs, files, or a data set on the hub; streamed, never all in memory."""

import glob
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from datasets import IterableDataset, load_dataset
from datasets.utils.logging import disable_progress_bar
from huggingface_hub.errors import HFValidationError

from data.python_docs import load_python_docs
from winnow.config import Text
from winnow.errors import UserError, nearest

Document = str | list[int]
_BUILDERS = {".txt": "text", ".jsonl": "json", ".json": "json", ".parquet": "parquet"}


def documents(settings: Text, skip: int = 0) -> Iterator[Document]:
    """Yield the documents of the configured source after the first `skip`.

    They are strings, or lists of token ids where the column holds those. Raises `UserError` naming the source,
    split or column that is not there.
    """
    disable_progress_bar()
    rows = iter(_rows(settings).skip(skip))
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


def _rows(settings: Text) -> Any:
    kind, _, where = settings.source.partition(":")
    if kind == "python-docs":
        splits = load_python_docs()
        if settings.split not in splits:
            raise UserError(f"text.split = {settings.split}: python-docs has {' and '.join(map(str, splits))}")
        return splits[settings.split]
    if kind == "files":
        return _from_files(where, settings.split)
    return _from_hub(where, settings.split)


def _from_files(pattern: str, split: str) -> IterableDataset:
    if split != "train":
        raise UserError(f"text.split = {split}: files have no splits; set it to train, and choose by the pattern")
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


def _from_hub(name: str, split: str) -> IterableDataset:
    try:
        loaded = load_dataset(name, split=split, streaming=True)
    except (OSError, ValueError, HFValidationError) as error:
        raise UserError(
            f"text.source = hub:{name}: not found on the hub, or no split {split} "
            f"({' '.join(str(error).split())[:200]}); files:PATTERN reads local txt, jsonl and parquet files"
        ) from error
    assert isinstance(loaded, IterableDataset)
    return loaded
