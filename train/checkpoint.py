"""Checkpoints: the state from which training resumes and ends with the same bits.

dictionaries/<hook>/<name>/checkpoints/rows-0000002000000/
  state.safetensors    parameters, optimiser, counters
  state.json           rows, steps, settings
  hashes.json          of the two (winnow/runtime/hashes.py); checkpoints made before have none
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
from winnow.fields import read_fields
from winnow.runtime.hashes import check_file, note_all, read_hashes, write_hashes
from winnow.runtime.publish import publish_directory

CHECKPOINTS = "checkpoints"
TENSORS, NUMBERS = "state.safetensors", "state.json"


def begin(folder: Path) -> None:
    """Mark a dictionary as begun at row 0, until it has its first checkpoint.

    After a kill while a sweep writes its first checkpoints, all its dictionaries then resume together from row 0.
    Without the mark, those that already have a checkpoint would resume without the others, in other stacks, and end
    with different last bits.
    """
    checkpoint_path(folder, 0).mkdir(parents=True, exist_ok=True)


def write_checkpoint(folder: Path, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
    """Write one dictionary's checkpoint; older ones stay."""
    path = checkpoint_path(folder, numbers["rows"])
    path.parent.mkdir(parents=True, exist_ok=True)
    with publish_directory(path) as partial:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, partial / TENSORS)
        (partial / NUMBERS).write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
        write_hashes(partial, note_all(partial, (TENSORS, NUMBERS)))


def read_checkpoint(folder: Path, rows: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_checkpoint` wrote. Raises `UserError` naming the file and the field that is not as written."""
    path = checkpoint_path(folder, rows)
    numbers = read_numbers(path, rows)
    try:
        return load_file(path / TENSORS), numbers
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path / TENSORS}: cannot be read ({error}); {_remedy(path)}") from error


def read_numbers(path: Path, rows: int) -> dict[str, Any]:
    """Read a checkpoint's numbers, and check that both of its files are as they were written.

    Raises `UserError` naming the file and the field that is not.
    """
    numbers = read_state(path / NUMBERS)
    if numbers["rows"] != rows:
        raise UserError(f"{path / NUMBERS}: rows: expected {rows}, found {numbers['rows']}; {_remedy(path)}")
    record = read_hashes(path)
    for name in (NUMBERS, TENSORS):
        check_file(path / name, record.get(name), _remedy(path))
    return numbers


def _remedy(path: Path) -> str:
    return f"delete {path} to resume from an earlier one, or from the start"


def read_state(path: Path) -> dict[str, Any]:
    """Read state.json of a checkpoint. Raises `UserError` naming the field that has another type than is written."""
    try:
        fields = read_fields(path, f"delete {path.parent} to resume from an earlier one, or from the start")
    except FileNotFoundError:
        raise UserError(f"{path}: missing; delete {path.parent} to resume from an earlier one") from None
    for name in ("rows", "steps", "resampled"):
        fields.integer(name, 0)
    fields.object("settings")
    rule = fields.object("convergence")
    for number, point in rule.object("looks").all.items():
        looks = rule.object("looks")
        if not number.lstrip("-").isdigit() or len(looks.list(number, 2)) != 2 or not all(map(_is_number, point)):
            raise looks.wrong(f"convergence.looks.{number}", "rows and a loss", point)
    for name in ("slope", "self_similarity", "start_loss"):
        if rule.has(name):
            rule.number(name)
    if rule.has("progress") and not all(value is None or _is_number(value) for value in rule.list("progress", 3)):
        raise rule.wrong("convergence.progress", "three numbers", rule.all["progress"])
    if rule.has("ends"):
        rule.integer("ends", 0)
    for name in ("slope", "self_similarity", "ends"):
        if name not in rule.all:
            raise rule.wrong(f"convergence.{name}", "a number or null", "no such field")
    return fields.all


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def drop_checkpoints(folder: Path, but: int | None = None) -> None:
    """Delete a dictionary's checkpoints, except the one at `but` rows."""
    for rows in checkpoint_rows(folder):
        if rows != but:
            shutil.rmtree(checkpoint_path(folder, rows))
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
    numbers = (path.name.removeprefix("rows-") for path in found)
    return {int(number) for number in numbers if number.isdigit()}  # a kill leaves half a one, ending in .partial


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


def checkpoint_path(folder: Path, rows: int) -> Path:
    """Return the folder of a dictionary's checkpoint."""
    return folder / CHECKPOINTS / f"rows-{rows:013d}"
