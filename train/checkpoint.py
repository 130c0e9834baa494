"""Checkpoints: the state from which training resumes and ends with the same bits.

dictionaries/<hook>/<name>/checkpoints/rows-0000002000000/
  state.safetensors    parameters, optimiser, counters
  state.json           rows, steps, settings
metrics.jsonl          the curve up to there, beside checkpoints/

A checkpoint appears whole or not at all. The previous one is kept until every dictionary of the sweep has the new one;
before the first there is an empty rows-0000000000000/. A kill in between leaves dictionaries with different
checkpoints: those that have one in common resume together.
"""

import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from train.plan import Planned
from winnow.errors import UserError
from winnow.runtime.publish import publish_directory

CHECKPOINTS = "checkpoints"


def begin(folder: Path) -> None:
    """Mark a dictionary as begun at row 0, until it has its first checkpoint.

    After a kill while a sweep writes its first checkpoints, all its dictionaries then resume together from row 0.
    Without the mark, those that already have a checkpoint would resume without the others, in other stacks, and end
    with different last bits.
    """
    _path(folder, 0).mkdir(parents=True, exist_ok=True)


def write_checkpoint(folder: Path, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
    """Write one dictionary's checkpoint; older ones stay."""
    path = _path(folder, numbers["rows"])
    path.parent.mkdir(parents=True, exist_ok=True)
    with publish_directory(path) as partial:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, partial / "state.safetensors")
        (partial / "state.json").write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")


def read_checkpoint(folder: Path, rows: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_checkpoint` wrote."""
    path = _path(folder, rows)
    try:
        return load_file(path / "state.safetensors"), json.loads((path / "state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(f"{path}: cannot be read ({error}); delete it to resume from the previous one") from error


def drop_checkpoints(folder: Path, but: int | None = None) -> None:
    """Delete a dictionary's checkpoints, except the one at `but` rows."""
    for rows in checkpoint_rows(folder):
        if rows != but:
            shutil.rmtree(_path(folder, rows))
    if but is None:
        shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)


def drop_leftovers(folder: Path) -> None:
    """Delete what a killed process left half-written in a dictionary's folder: safetensors writes to .tmp… first."""
    for leftover in [*folder.rglob(".tmp*"), *folder.rglob("*.partial")]:
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink(missing_ok=True)


def checkpoint_rows(folder: Path) -> set[int]:
    """List the rows at which a dictionary has a checkpoint."""
    found = (folder / CHECKPOINTS).glob("rows-*")
    return {int(path.name.removeprefix("rows-")) for path in found if not path.name.endswith(".partial")}


def group_by_start(planned: Iterable[Planned]) -> list[tuple[int, list[Planned]]]:
    """Split dictionaries into groups that can resume together; each comes after the row it resumes from."""
    waiting: Sequence[Planned] = list(planned)
    groups: list[tuple[int, list[Planned]]] = []
    while waiting:
        options = {p.folder: checkpoint_rows(p.folder) or {0} for p in waiting}
        counts: dict[int, int] = {}
        for rows in options.values():
            for row in rows:
                counts[row] = counts.get(row, 0) + 1
        start = max(counts, key=lambda row: (counts[row], row))
        groups.append((start, [p for p in waiting if start in options[p.folder]]))
        waiting = [p for p in waiting if start not in options[p.folder]]
    return groups


def _path(folder: Path, rows: int) -> Path:
    return folder / CHECKPOINTS / f"rows-{rows:013d}"
