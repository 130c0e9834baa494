"""Read documents from local files: one file at a time, by its literal name, and only the column that is asked for.

    .txt                              one document a file
    .jsonl, .json                     an object a line, or a list of objects
    .csv                              a row each, under a line of names
    .parquet

A BOM is left out and CRLF read as LF. All but parquet may be compressed (.gz, .zst); suffixes may be upper case.
"""

import csv
import glob
import io
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from winnow.errors import UserError, nearest
from winnow.paths import expand_text

KINDS = {".txt": "text", ".jsonl": "json", ".json": "json", ".csv": "csv", ".parquet": "parquet"}
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
BROKEN = (OSError, EOFError, ValueError, pa.ArrowException, csv.Error, RecursionError)
ROWS_PER_BATCH = 256
MAGIC = set("*?[")


class Row(NamedTuple):
    """One document as the file has it; `value` is None where it has none."""

    where: str  # file and number, from 1
    value: Any


def is_there(pattern: str) -> bool:
    """Tell whether a pattern names anything."""
    return bool(_matching(pattern))


def find_files(pattern: str) -> list[Path]:
    """List the files that a pattern names, sorted; what is there by that very name is no pattern.

    Raises `UserError` for a folder, for files of several kinds, and where there is none.
    """
    paths = _matching(pattern)
    found = [Path(path) for path in paths if not (Path(path).is_dir() and len(paths) > 1)]
    if not found:
        raise UserError(f"text.source = files:{pattern}: no such file")
    if found[0].is_dir():
        raise UserError(
            f"text.source = files:{pattern}: is a folder; name its files, as files:{pattern.rstrip('/')}/*.txt does"
        )
    for path in found:
        _refuse_special(path)
    kinds = {KINDS.get(_suffixes(path)[0]) for path in found}
    if len(kinds) > 1 or None in kinds:
        endings = ", ".join(sorted({"".join(_suffixes(path)) or "nothing" for path in found}))
        raise UserError(
            f"text.source = files:{pattern}: found files ending in {endings}; choose one kind of "
            f"{', '.join(KINDS)}, or of these but parquet with {' or '.join(COMPRESSIONS)} behind"
        )
    return found


def read_file(path: Path, column: str) -> Iterator[Row]:
    """Yield a file's documents. Raises `UserError` naming the file, and the document behind the last one read."""
    suffix, compression = _suffixes(path)
    reader = {"text": _text, "json": _json, "csv": _csv, "parquet": _parquet}[KINDS[suffix]]
    number = 0
    try:
        with pa.input_stream(str(path), compression=COMPRESSIONS.get(compression)) as stream:
            for number, value in enumerate(reader(path, stream, column), 1):
                yield Row(f"{path}, document {number:,}", value)
    except BROKEN as error:
        raise UserError(f"{path}: document {number + 1:,} cannot be read ({_why(error)})") from error


def _matching(pattern: str) -> list[str]:
    given = expand_text(pattern)
    return [given] if os.path.lexists(given) else sorted(glob.glob(_escaped(given), recursive=True))  # noqa: PTH207


def _escaped(pattern: str) -> str:
    """Escape the leading folders that are there by their very names, whatever signs are in these."""
    parts = pattern.split("/")
    for count in range(len(parts) - 1, 0, -1):
        folder = "/".join(parts[:count])
        if MAGIC & set(folder) and Path(folder).is_dir():
            return "/".join([glob.escape(folder), *parts[count:]])
    return pattern


def _refuse_special(path: Path) -> None:
    """Raise `UserError` for what is no file, such as a pipe, on which a read would wait for ever."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error
    if not stat.S_ISREG(mode):
        raise UserError(f"{path}: is no regular file")


def _suffixes(path: Path) -> tuple[str, str]:
    """Return the suffix that tells the kind, and that of the compression or "", both in lower case."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSIONS:
        return (suffixes[-2] if len(suffixes) > 1 else ""), suffixes[-1]
    return (suffixes[-1] if suffixes else ""), ""


def _lines(stream: pa.NativeFile) -> io.TextIOWrapper:
    return io.TextIOWrapper(stream, encoding="utf-8-sig")


def _text(path: Path, stream: pa.NativeFile, column: str) -> Iterator[Any]:
    if column != "text":
        _refuse_column(path, column, ["text"])
    text = _lines(stream).read()
    if text:
        yield text


def _json(path: Path, stream: pa.NativeFile, column: str) -> Iterator[Any]:
    lines = _lines(stream)
    seen: dict[str, None] = {}
    found = None
    for number, record in enumerate(_records(lines), 1):
        if not isinstance(record, dict):
            raise ValueError(f"is {_named(record)}, where an object with the key {column} is expected")
        found = found or column in record
        if not found and number <= ROWS_PER_BATCH:
            seen.update(dict.fromkeys(record))
        yield record.get(column)
    if found is False:
        _refuse_column(path, column, seen)


def _records(lines: io.TextIOWrapper) -> Iterator[Any]:
    first = next((line for line in lines if line.strip()), "")
    if first.lstrip().startswith("["):
        yield from json.loads(first + lines.read())
        return
    if first:
        yield json.loads(first)
    yield from (json.loads(line) for line in lines if line.strip())


def _csv(path: Path, stream: pa.NativeFile, column: str) -> Iterator[Any]:
    csv.field_size_limit(2**31 - 1)
    # the csv module reads line ends within quotes itself
    rows = csv.DictReader(io.TextIOWrapper(stream, encoding="utf-8-sig", newline=""), strict=True)
    if rows.fieldnames and column not in rows.fieldnames:
        _refuse_column(path, column, rows.fieldnames)
    yield from (row[column] for row in rows)


def _parquet(path: Path, stream: pa.NativeFile, column: str) -> Iterator[Any]:
    if not path.stat().st_size:
        return
    file = pq.ParquetFile(path)
    names = file.schema_arrow.names
    if column not in names:
        _refuse_column(path, column, names)
    for batch in file.iter_batches(ROWS_PER_BATCH, columns=[column]):
        yield from batch.column(0).to_pylist()


def _refuse_column(path: Path, column: str, names: Any) -> None:
    raise UserError(
        f"text.column = {column}: {path} has no such column{nearest(column, names)}; there are {', '.join(names)}"
    )


def _named(value: Any) -> str:
    return {list: "a list", str: "a string", type(None): "null"}.get(type(value), f"a {type(value).__name__}")


def _why(error: BaseException) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8: byte {error.object[error.start]:#04x}; convert the file, for instance with iconv"
    return " ".join(str(error).split())[:300] or type(error).__name__
