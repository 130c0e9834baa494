"""Records: JSON files that say what they were made from, and notice when they are damaged.

A record has `version`, `inputs`, `settings` and `results`, and `sha256`, the hash of these four. Nothing here imports
torch.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from winnow.errors import UserError
from winnow.runtime.publish import publish_text
from winnow.runtime.to_json import to_json

FIELDS = ("version", "inputs", "settings", "results")


@dataclass(frozen=True)
class Key:
    """What a record depends on: where one of them differs, it is made again."""

    version: int  # of the definitions: raised where they change
    inputs: Mapping[str, Any]  # hashes
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Record:
    """A record as read, whole."""

    key: Key
    results: Any
    sha256: str


def write_record(path: Path, key: Key, results: Any) -> None:
    """Publish a record; numbers keep seven digits, and those that are not finite become null."""
    fields = {"version": key.version, "inputs": key.inputs, "settings": key.settings}
    written = to_json({**fields, "results": results})
    text = json.dumps({**written, "sha256": _hash(written)}, separators=(",", ":"), allow_nan=False)
    publish_text(path, text + "\n")


def read_record(path: Path) -> Record:
    """Read a record. Raises `UserError` naming the file where it is missing or is not what was written."""
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run make polytopes") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"{path}: cannot be read as JSON ({error}); run make polytopes, which makes it again"
        ) from error
    if not isinstance(written, dict) or set(written) != {*FIELDS, "sha256"}:
        raise UserError(f"{path}: expected the fields {', '.join(FIELDS)} and sha256; run make polytopes again")
    found = _hash({name: written[name] for name in FIELDS})
    if found != written["sha256"]:
        raise UserError(
            f"{path}: expected sha256 {written['sha256']}, found {found}: the file is damaged; run make polytopes, "
            "which makes it again"
        )
    key = Key(written["version"], written["inputs"], written["settings"])
    return Record(key, written["results"], written["sha256"])


def is_of(record: Record, key: Key) -> bool:
    """Say whether a record was made from these inputs, by these settings."""
    return to_json([key.version, key.inputs, key.settings]) == [
        record.key.version,
        record.key.inputs,
        record.key.settings,
    ]


def _hash(fields: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True, allow_nan=False).encode()).hexdigest()
