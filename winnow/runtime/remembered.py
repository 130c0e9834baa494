"""What was learned of files outside of a run, so that it is not computed again: RUN/.remembered.json.

    {"hashes": {"/models/gpt2/model.safetensors": {"bytes": 5, "changed": [1, 2], "sha256": "…"}, …},
     "weights": {"sha256 of a model's files, and a dtype": "sha256 of its weights", …}}

A file is hashed again where its size or one of its times is another. Nothing depends on this record: where it is
missing, damaged, or cannot be written, everything is computed again.
"""

import json
import time
from pathlib import Path
from typing import Any

from winnow.errors import UserError
from winnow.fields import read_fields
from winnow.runtime.hashes import hash_file
from winnow.runtime.lock import claim
from winnow.runtime.publish import publish_text

REMEMBERED = ".remembered.json"
LARGE = 2**24  # bytes: smaller ones are hashed in a moment
SETTLED = 2.0  # seconds: a file that changed since may change again without another time, as clocks of disks are coarse


def remembered_hash(run: Path, path: Path) -> str:
    """Compute the sha256 of a file, or remember it where the file is large and has not changed since."""
    found = path.stat()
    if found.st_size < LARGE:
        return hash_file(path)
    now = {"bytes": found.st_size, "changed": [found.st_mtime_ns, found.st_ctime_ns]}
    key = str(path.resolve())
    known = _read(run, "hashes").get(key)
    if isinstance(known, dict) and {name: known.get(name) for name in now} == now and _is_digest(known.get("sha256")):
        return known["sha256"]
    digest = hash_file(path)
    if max(now["changed"]) < (time.time() - SETTLED) * 1e9:
        _write(run, "hashes", key, {**now, "sha256": digest})
    return digest


def remembered_weights(run: Path, files: str, dtype: str) -> str | None:
    """Give the hash of the weights, in a dtype, of a model whose files have the hash `files`; None: not known."""
    known = _read(run, "weights").get(f"{files} {dtype}")
    return known if _is_digest(known) else None


def remember_weights(run: Path, files: str, dtype: str, weights: str) -> None:
    """Keep the hash of a model's weights."""
    _write(run, "weights", f"{files} {dtype}", weights)


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 64


def _read(run: Path, table: str) -> dict[str, Any]:
    try:
        fields = read_fields(run / REMEMBERED)
        return fields.object(table).all if fields.has(table) else {}
    except (OSError, UserError):
        return {}


def _write(run: Path, table: str, key: str, value: Any) -> None:
    if not run.is_dir():
        return
    try:
        with claim(run / REMEMBERED, wait=True):
            tables = {name: _read(run, name) for name in ("hashes", "weights")}
            if tables[table].get(key) != value:
                tables[table][key] = value
                publish_text(run / REMEMBERED, json.dumps(tables, indent=1, sort_keys=True) + "\n")
    except (OSError, UserError):  # a disk that is full or read-only: it is computed again the next time
        return
