"""`metrics.json` on disk: read and written by the schema, and by nothing else."""

import json
from pathlib import Path
from typing import Any

from analyze.schema.record import SchemaError, read_record
from analyze.schema.report import VERSION, Metrics
from winnow.errors import UserError
from winnow.fields import read_json
from winnow.runtime.hashes import check_file, said_of
from winnow.runtime.publish import publish_text
from winnow.runtime.to_json import to_json

AGAIN = "delete it, and run make analyze again"
OLDER = range(1, VERSION)
MADE_BEFORE = {"evaluation", "harvest", "dictionaries"}  # the inputs of reports from before polytopes were read


def read_metrics(path: Path) -> Metrics | None:
    """Read an earlier `metrics.json`; None where there is none, or one of an older version, which is made anew.

    Raises `UserError` with the file and the key where something is missing, or is not declared.
    """
    try:
        found = read_json(path, AGAIN)
    except FileNotFoundError:
        return None
    if not isinstance(found, dict):
        raise UserError(f"{path}: expected an object, found {type(found).__name__}; {AGAIN}")
    if _version(found) in OLDER:
        return None
    if found.get("version", VERSION) != VERSION:
        raise UserError(f"{path}: expected version {VERSION}, found {found['version']!r}; {AGAIN}")
    check_file(path, said_of(path), AGAIN)
    if isinstance(inputs := found.get("inputs"), dict) and "evaluation" in inputs and not set(inputs) - MADE_BEFORE:
        inputs["polytopes"] = {}
    for run in [found.get("run"), *(found.get("runs") or [])]:
        if isinstance(run, dict):
            run.setdefault("devices", None)  # older reports do not say which computed the rows
    try:
        return read_record(Metrics, found)
    except SchemaError as error:
        raise UserError(f"{path}: {error}; {AGAIN}") from error


def is_later(path: Path) -> bool:
    """Tell whether a `metrics.json` is of a later version, which this one neither reads nor makes again."""
    try:
        found = read_json(path)
    except (FileNotFoundError, UserError):
        return False
    version = _version(found) if isinstance(found, dict) else None
    return version is not None and version > VERSION


def _version(found: dict[str, Any]) -> int | None:
    version = found.get("version")
    return version if type(version) is int else None


def write_metrics(metrics: Metrics, path: Path) -> None:
    """Publish `metrics.json`, complete or not at all."""
    publish_text(path, json.dumps(to_json(metrics), indent=1, allow_nan=False) + "\n")


def refuse_older(path: Path, remedy: str) -> None:
    """Refuse a `metrics.json` of an older version with a remedy; one that is not there, or is newer, passes."""
    try:
        found = read_json(path)
    except (FileNotFoundError, UserError):
        return  # who reads it says so
    if isinstance(found, dict) and _version(found) in OLDER:
        raise UserError(f"{path}: a report of version {found['version']}, expected version {VERSION}; {remedy}")
