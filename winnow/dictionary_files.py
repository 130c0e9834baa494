"""What a dictionary is by its files: the same for two trainings that are equal to the bit.

Nothing here imports torch.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from winnow.fields import Fields, read_fields, read_lines
from winnow.runtime.hashes import Noted, check_file, check_noted, check_size, note

PASSING = ("finished", "rows_per_second", "device", "versions")  # of training.json and metrics.jsonl


def identity(folder: Path, record: Mapping[str, Noted] = MappingProxyType({})) -> str:
    """Hash what a dictionary is: its configuration, weights, provenance and curve.

    When, where and how fast it was trained does not count: two trainings that are equal to the bit have one identity.
    record: what was noted of the folder's files. Raises `UserError` where a file is missing or is not what was written.
    """
    remedy = f"restore it, or delete {folder}, and train again"
    for name, said in record.items():
        if name.startswith("snapshots/") or name.endswith(".safetensors"):
            check_size(folder / name, said, remedy)
        else:
            check_file(folder / name, said, remedy)
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.iterdir() if p.suffix in (".json", ".jsonl")):
        lines = [read_fields(path, remedy).all] if path.suffix == ".json" else read_curve(path, remedy)
        digest.update(f"{path.name} {json.dumps([_lasting(line) for line in lines], sort_keys=True)}".encode())
    for path in sorted(folder.glob("*.safetensors")):
        found = note(path)
        check_noted(path, found, record.get(path.name), remedy)
        digest.update(f"{path.name} {found.sha256}".encode())
    return digest.hexdigest()


def read_curve(path: Path, remedy: str = "delete it") -> list[dict[str, Any]]:
    """Read a training's curve, metrics.jsonl; a line that is cut or holds other than numbers is named."""

    def check(point: Fields) -> None:
        for name in point.all:
            if point.has(name):
                point.any_number(name)

    return list(read_lines(path, check, remedy))


def _lasting(written: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out when, where and how fast a dictionary was trained."""
    kept = {name: value for name, value in written.items() if name not in PASSING}
    made_from = kept.get("activations")
    if isinstance(made_from, dict):
        kept["activations"] = {name: value for name, value in made_from.items() if name != "path"}
    return kept
