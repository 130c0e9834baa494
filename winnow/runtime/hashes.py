"""What belongs to a run, written down and hashed once: `hashes.json` in its folder.

    {"format_version": 1, "files": {"tokens.h5": {"bytes": 912, "sha256": "…"}, …}, "sha256": "…"}

Names are relative to the folder; the last hash is that of the record itself. A stage takes the files that it is about
to make out of the record, and puts them in when they are complete. What is not listed was made before hashes were kept,
or by another program: it cannot be checked, and is used all the same. This module imports nothing heavy.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from winnow.errors import UserError
from winnow.fields import read_fields
from winnow.paths import refuse_special
from winnow.runtime.lock import claim
from winnow.runtime.publish import publish_text

HASHES = "hashes.json"
FORMAT_VERSION = 1
ABOVE = 6  # folders in which the record of a file is looked for: its own, and those around it
SHORT = 12  # digits of a hash that are shown


class Noted(NamedTuple):
    """Size and hash of a file, as they were when it was written."""

    bytes: int
    sha256: str


Record = Mapping[str, Noted]


def hash_file(path: Path) -> str:
    """Compute the sha256 of a file's bytes, in hexadecimal."""
    refuse_special(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def note(path: Path) -> Noted:
    """Measure and hash a file as it is now."""
    return Noted(path.stat().st_size, hash_file(path))


def note_all(folder: Path, names: Iterable[str]) -> dict[str, Noted]:
    """Measure and hash files of a folder, by their names in it."""
    return {name: note(folder / name) for name in names}


def write_hashes(folder: Path, files: Record) -> None:
    """Publish the record of a folder."""
    listed = {name: files[name]._asdict() for name in sorted(files)}
    written = {"format_version": FORMAT_VERSION, "files": listed, "sha256": _digest(listed)}
    publish_text(folder / HASHES, json.dumps(written, indent=1) + "\n")


def change_hashes(run: Path, add: Record | None = None, forget: Iterable[str] = ()) -> None:
    """Change the record of a run: forget files, and all below folders whose names end in "/"; then add files.

    Processes that share the run take turns. Nothing is written where nothing changes.
    """
    gone = tuple(name for name in forget if name.endswith("/"))
    single = set(forget) - set(gone)
    with claim(run / HASHES, wait=True):
        before = read_hashes(run)
        kept = {name: said for name, said in before.items() if name not in single and not name.startswith(gone)}
        after = {**kept, **(add or {})}
        if after != before:
            write_hashes(run, after)


def read_hashes(folder: Path) -> dict[str, Noted]:
    """Read the record of a folder; empty where there is none. Raises `UserError` where it is damaged."""
    path = folder / HASHES
    remedy = f"restore it, or delete it: the files of {folder} then count as made before hashes were kept"
    try:
        fields = read_fields(path, remedy)
    except FileNotFoundError:
        return {}
    version = fields.integer("format_version", 0)
    if version != FORMAT_VERSION:
        raise UserError(
            f"{path}: format_version: expected {FORMAT_VERSION}, found {version}; use the winnow that wrote it, or "
            "delete it"
        )
    files = {
        name: Noted(one.integer("bytes", 0), one.digest("sha256")) for name, one in fields.objects("files").items()
    }
    if any(name.startswith("/") or ".." in name.split("/") for name in files):
        raise UserError(f"{path}: files: expected names of files below {folder}; {remedy}")
    found, said = _digest(fields.object("files").all), fields.digest("sha256")
    if found != said:
        raise UserError(f"{path}: sha256 of its list is {found[:SHORT]}…, it says {said[:SHORT]}…; {remedy}")
    return files


def said_of(path: Path) -> Noted | None:
    """Find what the record of the run that a file belongs to says of it; None where there is no record of it.

    The record lies up to five folders above: a snapshot's, beside dictionaries/.
    """
    absolute = path.absolute()
    for folder in absolute.parents[:ABOVE]:
        try:
            found = (folder / HASHES).stat()
        except OSError:
            continue
        return _cached(folder, found.st_mtime_ns, found.st_size).get(absolute.relative_to(folder).as_posix())
    return None


@lru_cache(maxsize=4)
def _cached(folder: Path, changed: int, size: int) -> dict[str, Noted]:
    return read_hashes(folder)


def check_file(path: Path, said: Noted | None, remedy: str, where: str = HASHES) -> None:
    """Raise `UserError` where a file is missing, or differs from what was noted; None: nothing was.

    `where` names the file that says what was noted.
    """
    if said is None:
        return
    check_size(path, said, remedy, where)
    check_noted(path, Noted(said.bytes, hash_file(path)), said, remedy, where)


def check_noted(path: Path, found: Noted, said: Noted | None, remedy: str, where: str = HASHES) -> None:
    """Raise `UserError` where what was found of a file is not what was noted; None: nothing was."""
    if said is not None and found.bytes != said.bytes:
        raise UserError(f"{path}: {found.bytes} bytes, {where} says {said.bytes}; {remedy}")
    if said is not None and found.sha256 != said.sha256:
        raise UserError(f"{path}: sha256 is {found.sha256[:SHORT]}…, {where} says {said.sha256[:SHORT]}…; {remedy}")


def check_size(path: Path, said: Noted | None, remedy: str, where: str = HASHES) -> None:
    """Raise `UserError` where a file is missing, or has another size than was noted; None: nothing was."""
    if said is None:
        return
    if not path.is_file():
        raise UserError(f"{path}: missing, {where} lists it; {remedy}")
    size = path.stat().st_size
    if size != said.bytes:
        raise UserError(f"{path}: {size} bytes, {where} says {said.bytes}; {remedy}")


def _digest(listed: Mapping[str, Mapping[str, int | str]]) -> str:
    return hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).hexdigest()
