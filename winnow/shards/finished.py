"""The finished shards of a folder: those that have a sidecar, each of which agrees with the others and the manifest."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from winnow.errors import UserError
from winnow.runtime.hashes import Noted, check_file, check_size, said_of
from winnow.shards.contiguous import ContiguousReader, rest_hash
from winnow.shards.dtypes import ON_DISK
from winnow.shards.fingerprint import fingerprints
from winnow.shards.layout import RowIndex
from winnow.shards.manifest import MANIFEST, Manifest
from winnow.shards.manifest import REMEDY as RESTORE
from winnow.shards.sidecar import REPAIR, Sidecar, read_sidecar, shard_path

SIDECAR = "its sidecar"


def finished_shards(folder: Path, count: int) -> Iterator[tuple[Path, Sidecar]]:
    """Yield the shards that have a sidecar, in order."""
    for number in range(count):
        path = shard_path(folder, number)
        sidecar = read_sidecar(path)
        if sidecar is not None:
            yield path, sidecar


def noted(sidecar: Sidecar) -> Noted:
    """Give size and hash of a shard, as its sidecar says."""
    return Noted(sidecar.bytes, sidecar.sha256)


def verify_shard(shard: Path, sidecar: Sidecar) -> None:
    """Raise `UserError` if the size or hash of a shard differs from its sidecar."""
    check_file(shard, noted(sidecar), REPAIR, SIDECAR)


def check_sidecars(folder: Path, manifest: Manifest, shards: Sequence[tuple[Path, Sidecar]]) -> None:
    """Raise `UserError` where sidecars and manifest do not agree, or a sidecar is not what was written."""
    made_by = fingerprints(manifest.written)
    before: tuple[int, int] | None = None  # number of the last shard, and the sequence behind it
    for path, sidecar in shards:
        own = path.with_suffix(".json")
        check_file(own, said_of(own), REPAIR)
        if sidecar.manifest not in ("", *made_by):
            raise UserError(
                f"{own}: made by another manifest ({sidecar.manifest}) than {folder / MANIFEST} ({made_by[0]}); "
                f"restore that one, or delete {folder} and run make harvest"
            )
        number, (start, stop) = int(path.stem.removeprefix("shard-")), sidecar.sequences
        expected = 0 if number == 0 else before[1] if before and before[0] == number - 1 else start
        if start != expected:
            raise UserError(f"{own}: sequences: expected them from {expected} on, found [{start}, {stop}); {REPAIR}")
        if sidecar.rows > manifest.context * (stop - start):
            raise UserError(
                f"{own}: rows: expected at most {manifest.context} for each of {stop - start} sequences, "
                f"found {sidecar.rows}; {REPAIR}"
            )
        before = number, stop
    whole = None if manifest.tokens is None else manifest.tokens["sequences"]
    if len(shards) == manifest.shards and before and whole not in (None, before[1]):
        raise UserError(
            f"{folder / MANIFEST}: tokens.sequences: expected {before[1]} as in the last shard, "
            f"found {whole}; {RESTORE}"
        )


def open_shard(
    path: Path, sidecar: Sidecar, hooks: Mapping[str, int], storage_dtype: str, has_norms: bool
) -> ContiguousReader:
    """Open a shard whose data sets are those that sidecar and manifest say.

    Raises `UserError` naming the first that is not.
    """
    check_size(path, noted(sidecar), REPAIR, SIDECAR)
    if sidecar.layout and rest_hash(path, sidecar.layout.values) != sidecar.layout.sha256:
        raise UserError(f"{path}: what it says of its data sets is not what {SIDECAR} says; {REPAIR}")
    file = ContiguousReader(path)
    rows = sidecar.rows
    for hook, width in hooks.items():
        stored = ON_DISK[storage_dtype]
        file.expect(f"activations/{hook}", (rows, width), stored, REPAIR, stored_as=storage_dtype)
        if has_norms:
            file.expect(f"norms/{hook}", (rows,), np.dtype("<f4"), REPAIR)
    for name in RowIndex._fields:
        file.expect(name, (rows,), np.dtype("<i4"), REPAIR)
    if rows and sidecar.manifest:  # older ones need not tell
        ends = np.empty(2, np.int32)
        for place, row in enumerate((0, rows - 1)):
            file.read_into(ends[place : place + 1], "sequence", row)
        start, stop = sidecar.sequences
        if not start <= ends[0] <= ends[1] < stop:
            raise UserError(
                f"{path}: rows of sequences {ends[0]} to {ends[1]}, {SIDECAR} says [{start}, {stop}); {REPAIR}"
            )
    return file
