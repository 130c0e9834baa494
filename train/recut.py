"""Go on with a dictionary on another number of ranks than began it: cut the checkpoint of n slices into m.

dictionaries/<hook>/<name>/checkpoints/                    the state of a process that has all latents
dictionaries/<hook>/<name>/shards/1-of-8/checkpoints/      that of one rank of eight (train/sharded.py)

Every rank cuts its own slice from those that hold its latents; only one of them at a time is in memory. What it is cut
from is deleted once all slices are there, so a kill in between loses nothing.
"""

import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from train.checkpoint import CHECKPOINTS, TENSORS, checkpoint_path, checkpoint_rows, read_numbers, write_checkpoint
from train.plan import SHARDS
from winnow.errors import UserError

WHOLE = ("b_dec",)  # every rank holds it; the other parameters, except single numbers, are sliced by latents
SUMS = "sums"  # over rows and all latents


def slice_folder(folder: Path, rank: int, ranks: int) -> Path:
    """Return where one of `ranks` processes keeps its state of a dictionary."""
    return folder if ranks == 1 else folder / SHARDS / f"{rank}-of-{ranks}"


def part_of(n_latents: int, ranks: int) -> int:
    """Return the latents of a slice. Raises `UserError` if they cannot be split evenly."""
    if n_latents % ranks:
        raise UserError(
            f"train.shard_latents: {n_latents} latents cannot be split evenly over {ranks} ranks; choose a multiple"
        )
    return n_latents // ranks


def common_rows(folder: Path, ranks: int) -> int:
    """Return the rows of the latest checkpoint that all of `ranks` slices have; 0 if there is none."""
    return max(set.intersection(*(checkpoint_rows(slice_folder(folder, r, ranks)) for r in range(ranks))), default=0)


def other_cut(folder: Path, ranks: int) -> int | None:
    """Return into how many slices the latest checkpoint is cut, where that is not `ranks`; None where it is."""
    found = {int(path.name.rpartition("-")[2]) for path in (folder / SHARDS).glob("*-of-*")} | {1, ranks}
    latest = max(found, key=lambda cut: (common_rows(folder, cut), cut == ranks))
    return None if latest == ranks else latest


def recut(folder: Path, n_latents: int, rank: int, ranks: int) -> None:
    """Write one rank's slice of the latest checkpoint, if that is cut otherwise.

    All ranks must have done so before `drop_other_cuts`. Raises `UserError` if the latents cannot be split evenly.
    """
    cut = other_cut(folder, ranks)
    if cut is None:
        return
    part, held = part_of(n_latents, ranks), part_of(n_latents, cut)
    rows = common_rows(folder, cut)
    first, stop = rank * part, (rank + 1) * part
    parts: dict[str, list[Tensor]] = {}
    numbers: dict[str, Any] = {}
    for number in range(first // held, -(-stop // held)):
        path = checkpoint_path(slice_folder(folder, number, cut), rows)
        numbers = read_numbers(path, rows)
        start = number * held
        for name, tensor in _latents(path, max(first - start, 0), min(stop - start, held)).items():
            parts.setdefault(name, []).append(tensor)
    # what all ranks hold is the same in every slice
    tensors = {name: found[0] if _is_whole(name, found[0]) else torch.cat(found) for name, found in parts.items()}
    target = slice_folder(folder, rank, ranks)
    target.mkdir(parents=True, exist_ok=True)
    write_checkpoint(target, tensors, numbers)


def drop_other_cuts(folder: Path, ranks: int) -> None:
    """Delete the checkpoints of a dictionary that are cut into another number of slices."""
    if ranks > 1:
        shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    for path in (folder / SHARDS).glob("*-of-*"):
        if path.name.rpartition("-")[2] != str(ranks):
            shutil.rmtree(path)
    if ranks == 1:
        shutil.rmtree(folder / SHARDS, ignore_errors=True)


def _latents(path: Path, first: int, stop: int) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint, of those with an entry per latent the entries [first, stop)."""
    try:
        with safe_open(path / TENSORS, "pt") as file:
            found = {}
            for name in file.keys():  # noqa: SIM118 - it is no dictionary
                part = file.get_slice(name)
                whole = _is_whole(name, torch.empty(part.get_shape(), device="meta"))
                found[name] = file.get_tensor(name) if whole else part[first:stop]
            return found
    except (OSError, SafetensorError) as error:
        remedy = f"delete {path} to resume from an earlier one, or from the start"
        raise UserError(f"{path / TENSORS}: cannot be read ({error}); {remedy}") from error


def _is_whole(name: str, tensor: Tensor) -> bool:
    """Tell whether every rank has all of a tensor of a checkpoint: a parameter, or Adam's averages of it."""
    return not tensor.ndim or name == SUMS or any(part in WHOLE for part in name.split("."))
