"""Open a folder of activation shards: read rows, verify files.

    store = winnow.ActivationStore("runs/demo/activations")
    store.hooks                                          # {"blocks.2.hook_resid_post": 128, …}
    store.read("blocks.2.hook_resid_post", 0, 1024)      # float32 [row, width]

Rows are numbered across all shards, in the order of their sequences. Each process opens a file when it first
reads it, so forked and spawned workers may share a store.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from winnow.errors import UserError, nearest
from winnow.runtime.hashes import Noted, check_file, check_size, said_of
from winnow.shards.contiguous import ContiguousReader, rest_hash
from winnow.shards.dtypes import ON_DISK, TORCH
from winnow.shards.fingerprint import fingerprints
from winnow.shards.layout import RowIndex
from winnow.shards.manifest import MANIFEST, Manifest, read_manifest
from winnow.shards.manifest import REMEDY as RESTORE
from winnow.shards.norms import estimated_median, norms_are_kept
from winnow.shards.sidecar import REPAIR, Sidecar, read_sidecar, shard_path
from winnow.shards.statistics import STATISTICS, HookStatistics, read_hook

SIDECAR = "its sidecar"
BLOCK_ROWS = 2**14  # rows whose norms are computed at a time, of a store that has none


class ActivationStore:
    """The activations of one harvest, finished or not.

    `manifest`: the content of manifest.json (winnow/shards/manifest.py). `hooks`: name -> width.
    Raises `UserError` where `path` holds no harvest, or one of another format.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        manifest = read_manifest(self.path)
        self.manifest = manifest.written
        self.hooks: dict[str, int] = dict(manifest.hooks)
        self.context = manifest.context
        self.shards = manifest.shards  # of the finished harvest
        check_file(self.path / MANIFEST, said_of(self.path / MANIFEST), RESTORE)
        self._shards = list(finished_shards(self.path, manifest.shards))
        check_sidecars(self.path, manifest, self._shards)
        self._statistics_checked = False
        self._starts = [0, *accumulate(sidecar.rows for _, sidecar in self._shards)]
        self._files: dict[Path, ContiguousReader] = {}

    @property
    def rows(self) -> int:
        """Rows in all finished shards."""
        return self._starts[-1]

    @property
    def bytes(self) -> int:
        """Bytes of all finished shards."""
        return sum(sidecar.bytes for _, sidecar in self._shards)

    @property
    def complete(self) -> bool:
        """Whether every shard of the harvest is finished."""
        return len(self._shards) == self.shards

    def read(self, hook: str, start: int, stop: int) -> Float[Tensor, "row width"]:
        """Read rows [start, stop) of a hook as float32.

        Raises `UserError` for an unknown hook, IndexError for rows that do not exist.
        """
        out = torch.empty(stop - start, self._width(hook))
        self.read_into(out, hook, start)
        return out

    def read_into(self, out: Float[Tensor, "row width"], hook: str, start: int) -> None:
        """Fill `out`, a CPU tensor, with the rows of a hook from `start` on, cast to the dtype of `out`."""
        self._width(hook)
        name = f"activations/{hook}"
        count = out.shape[0]
        for file, row, place in self._spans(start, start + count):
            dtype = self.manifest["storage_dtype"]
            target = out if place.stop - place.start == count else out[place]  # slicing takes as long as reading 20 kB
            fits = target.dtype == TORCH[dtype] and target.is_contiguous()
            stored = target if fits else torch.empty(target.shape, dtype=TORCH[dtype])
            file.read_into((stored.view(torch.uint16) if dtype == "bfloat16" else stored).numpy(), name, row)
            if not fits:
                target.copy_(stored)

    def read_runs_into(
        self, out: Shaped[Tensor, "row width"], hook: str, starts: np.ndarray, counts: np.ndarray
    ) -> None:
        """Fill `out`, a CPU tensor of the stored dtype, with runs of rows one after the other.

        Run i is the `counts[i]` rows from `starts[i]` on. Many short runs cost little more than reading their bytes.
        """
        self._width(hook)
        name = f"activations/{hook}"
        stored = (out.view(torch.uint16) if out.dtype == torch.bfloat16 else out).numpy()
        places = np.cumsum(counts) - counts
        for shard in range(len(self._shards)):
            first, stop = self._starts[shard], self._starts[shard + 1]
            begins, ends = np.maximum(starts, first), np.minimum(starts + counts, stop)
            here = begins < ends
            if here.any():
                begin = begins[here]
                place = places[here] + (begin - starts[here])
                self._file(shard).read_runs(stored, name, begin - first, ends[here] - begin, place)

    def tokens(self, start: int, stop: int) -> RowIndex:
        """Read sequence, position and token of rows [start, stop): int32 [row] each."""
        columns = [torch.empty(stop - start, dtype=torch.int32) for _ in RowIndex._fields]
        for file, row, place in self._spans(start, stop):
            for column, name in zip(columns, RowIndex._fields, strict=True):
                file.read_into(column[place].numpy(), name, row)
        return RowIndex(*columns)

    def statistics(self, hook: str) -> HookStatistics:
        """Read the statistics of a hook over the whole harvest.

        Raises `UserError` while the harvest is not finished.
        """
        return self._hook_statistics(hook)[0]

    def median_norm(self, hook: str) -> float:
        """Read the median norm of a hook's rows that are not zero; of an older harvest it is an estimate.

        Raises `UserError` while the harvest is not finished.
        """
        statistics, median = self._hook_statistics(hook)
        return estimated_median(statistics.norm_histogram) if median is None else median

    def norms(self, hook: str) -> Iterator[np.ndarray]:
        """Read the norms of all rows of a hook in order, in parts of float32 [row].

        They are those of the harvest, before rows were rounded for the disk; of an older store, those of the rows read.
        """
        self._width(hook)
        for shard in range(len(self._shards)):
            start, stop = self._starts[shard], self._starts[shard + 1]
            if norms_are_kept(self.manifest):
                part = np.empty(stop - start, np.float32)
                self._file(shard).read_into(part, f"norms/{hook}", 0)
                yield part
            else:
                for at in range(start, stop, BLOCK_ROWS):
                    rows = self.read(hook, at, min(at + BLOCK_ROWS, stop))
                    yield torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64).float().numpy()

    def shard_statistics(self, hook: str) -> Iterator[HookStatistics]:
        """Read the statistics of a hook in each finished shard, in order."""
        for number, (path, sidecar) in enumerate(self._shards):
            self._file(number)  # checks its size and layout
            with h5py.File(path) as file:
                group = file[f"statistics/{hook}"]
                yield read_hook(path, group, self.hooks[hook], self.context, sidecar.rows, REPAIR)[0]

    def check(self) -> None:
        """Look at the size of every shard, and read the statistics of every hook, whose hash is checked if it is known.

        Raises `UserError` naming the first file that is missing or is not as it was written.
        """
        for shard, sidecar in self._shards:
            check_size(shard, noted(sidecar), REPAIR, SIDECAR)
        for hook in self.hooks:
            self.statistics(hook)

    def structure(self) -> Iterator[tuple[Path, Callable[[], object]]]:
        """Yield each shard with a check: it raises `UserError` where data sets are not as sidecar and manifest say."""
        for number, (path, _) in enumerate(self._shards):
            yield path, lambda number=number: self._file(number)

    def verify(self) -> None:
        """Hash every finished shard. Raises `UserError` naming the first damaged one, and what is wrong with it."""
        for _ in self.verify_shards():
            pass

    def verify_shards(self) -> Iterator[int]:
        """Hash the finished shards one by one, yielding the size of each in bytes; raises as `verify` does."""
        for shard, sidecar in self._shards:
            verify_shard(shard, sidecar)
            yield sidecar.bytes

    def _hook_statistics(self, hook: str) -> tuple[HookStatistics, float | None]:
        """Read the statistics of a hook and its median norm; None: an older file has no median."""
        width, path = self._width(hook), self.path / STATISTICS
        if not path.exists():
            raise UserError(f"{self.path}: the harvest is not finished; run make harvest")
        if not self._statistics_checked:
            check_file(path, said_of(path), REPAIR)
            self._statistics_checked = True
        try:
            with h5py.File(path) as file:
                if hook not in file:
                    raise UserError(f"{path}: no statistics of {hook}; {REPAIR}")
                return read_hook(path, file[hook], width, self.context, self.rows, REPAIR)
        except (OSError, RuntimeError) as error:
            raise UserError(f"{path}: not an HDF5 file ({' '.join(str(error).split())}); {REPAIR}") from error

    def _width(self, hook: str) -> int:
        if hook not in self.hooks:
            raise UserError(
                f"{self.path}: no hook {hook}{nearest(hook, self.hooks)}; there are {', '.join(self.hooks)}"
            )
        return self.hooks[hook]

    def place(self, hook: str, row: int) -> tuple[Path, int]:
        """Return the file and the byte at which a row of a hook begins."""
        file, local, _ = next(self._spans(row, row + 1))
        stored = file[f"activations/{hook}"]
        return file.path, stored.offset + local * stored.shape[1] * stored.dtype.itemsize

    def _spans(self, start: int, stop: int) -> Iterator[tuple[ContiguousReader, int, slice]]:
        """Split rows [start, stop) by shard: the shard's file, the first row in it, the slice of the result."""
        if not 0 <= start <= stop <= self.rows:
            raise IndexError(f"{self.path}: rows {start} to {stop} of {self.rows}")
        at = start
        while at < stop:
            shard = bisect_right(self._starts, at) - 1
            end = min(stop, self._starts[shard + 1])
            first = self._starts[shard]
            yield self._file(shard), at - first, slice(at - start, end - start)
            at = end

    def _file(self, shard: int) -> ContiguousReader:
        path, sidecar = self._shards[shard]
        if path not in self._files:
            self._files[path] = self._opened(path, sidecar)
        return self._files[path]

    def _opened(self, path: Path, sidecar: Sidecar) -> ContiguousReader:
        """Open a shard whose data sets are those that sidecar and manifest say."""
        check_size(path, noted(sidecar), REPAIR, SIDECAR)
        if sidecar.layout and rest_hash(path, sidecar.layout.values) != sidecar.layout.sha256:
            raise UserError(f"{path}: what it says of its data sets is not what {SIDECAR} says; {REPAIR}")
        file = ContiguousReader(path)
        rows, dtype = sidecar.rows, self.manifest["storage_dtype"]
        for hook, width in self.hooks.items():
            file.expect(f"activations/{hook}", (rows, width), ON_DISK[dtype], REPAIR, stored_as=dtype)
            if norms_are_kept(self.manifest):
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

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": {}}  # another process opens the files itself


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
