"""`metrics.json` on disk: read and written by the schema, and by nothing else."""

import json
from pathlib import Path

from analyze.schema.record import SchemaError, read_record
from analyze.schema.report import VERSION, Metrics
from winnow.errors import UserError
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
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error}); {AGAIN}") from error
    if not isinstance(found, dict):
        raise UserError(f"{path}: expected an object, found {type(found).__name__}; {AGAIN}")
    if found.get("version") in OLDER:
        return None
    if found.get("version", VERSION) != VERSION:
        raise UserError(f"{path}: expected version {VERSION}, found {found['version']!r}; {AGAIN}")
    if isinstance(inputs := found.get("inputs"), dict) and "evaluation" in inputs and not set(inputs) - MADE_BEFORE:
        inputs["polytopes"] = {}
    try:
        return read_record(Metrics, found)
    except SchemaError as error:
        raise UserError(f"{path}: {error}; {AGAIN}") from error


def write_metrics(metrics: Metrics, path: Path) -> None:
    """Publish `metrics.json`, complete or not at all."""
    publish_text(path, json.dumps(to_json(metrics), indent=1, allow_nan=False) + "\n")


def refuse_older(path: Path, remedy: str) -> None:
    """Refuse a `metrics.json` of an older version with a remedy; one that is not there, or is newer, passes."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return  # who reads it says so
    if isinstance(found, dict) and found.get("version") in OLDER:
        raise UserError(f"{path}: a report of version {found['version']}, expected version {VERSION}; {remedy}")
