"""Open a folder of activation shards: read rows, verify files.

    store = winnow.ActivationStore("runs/demo/activations")
    store.hooks                                          # {"blocks.2.hook_resid_post": 128, …}
    store.read("blocks.2.hook_resid_post", 0, 1024)      # float32 [row, width]
    store["blocks.2.hook_resid_post"][[5, 3, 3]]         # any rows; a Dataset for torch's DataLoader, too

Rows are numbered across all shards, in the order of their sequences. Each process opens a file when it first
reads it, so forked and spawned workers may share a store.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any, ClassVar

import h5py
import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from winnow.errors import UserError, nearest
from winnow.hook_rows import HookRows
from winnow.paths import as_path, kind_of, refuse_special
from winnow.row_numbers import check_runs, check_span, integer
from winnow.runtime.hashes import check_file, check_size, said_of
from winnow.shapes import check_out
from winnow.shards.contiguous import ContiguousReader, ReadMany
from winnow.shards.dtypes import TORCH
from winnow.shards.finished import SIDECAR, check_sidecars, finished_shards, noted, open_shard, verify_shard
from winnow.shards.layout import RowIndex
from winnow.shards.manifest import MANIFEST, read_manifest
from winnow.shards.manifest import REMEDY as RESTORE
from winnow.shards.norms import estimated_median, norms_are_kept
from winnow.shards.sidecar import REPAIR
from winnow.shards.statistics import STATISTICS, HookStatistics, read_hook

BLOCK_ROWS = 2**14  # rows whose norms are computed at a time, of a store that has none


class ActivationStore:
    """The activations of one harvest, finished or not; `store[hook]` has the rows of a hook.

    `manifest`: the content of manifest.json (winnow/shards/manifest.py). `hooks`: name -> width.
    Raises `UserError` where `path` holds no harvest, or one of another format.
    """

    __iter__: ClassVar[None] = None  # over rows or over hooks? `store.hooks` and `store[hook]` have an answer

    def __init__(self, path: str | Path) -> None:
        self.path = _folder(as_path(path, "ActivationStore"))
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

    def __len__(self) -> int:
        return self.rows

    def __contains__(self, hook: object) -> bool:
        return hook in self.hooks

    def __getitem__(self, hook: str) -> HookRows:
        """Give the rows of a hook: [row, width], read as they are indexed. Raises `UserError` for an unknown hook."""
        self._width(hook)
        return HookRows(self, hook)

    @property
    def bytes(self) -> int:
        """Bytes of all finished shards."""
        return sum(sidecar.bytes for _, sidecar in self._shards)

    @property
    def devices(self) -> tuple[str, ...]:
        """Kinds of device that computed the finished shards, sorted; shards made before do not say theirs."""
        return tuple(sorted({sidecar.device for _, sidecar in self._shards} - {""}))

    @property
    def complete(self) -> bool:
        """Whether every shard of the harvest is finished."""
        return len(self._shards) == self.shards

    def read(self, hook: str, start: int, stop: int) -> Float[Tensor, "row width"]:
        """Read rows [start, stop) of a hook as float32.

        Raises `UserError` for an unknown hook, IndexError for rows that do not exist.
        """
        width = self._width(hook)
        start, stop = check_span(self.path, start, stop, self.rows)
        out = torch.empty(stop - start, width)
        self.read_into(out, hook, start)
        return out

    def read_into(self, out: Float[Tensor, "row width"], hook: str, start: int) -> None:
        """Fill `out`, a CPU tensor, with the rows of a hook from `start` on, cast to the dtype of `out`.

        Raises `UserError` where `out` has another width, and IndexError for rows that do not exist.
        """
        check_out(self.path, out, self._width(hook))
        start = integer(self.path, "start", start)
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
        self,
        out: Shaped[Tensor, "row width"],
        hook: str,
        starts: np.ndarray,
        counts: np.ndarray,
        read_many: ReadMany | None = None,
    ) -> None:
        """Fill `out`, a CPU tensor of the stored dtype, with runs of rows one after the other.

        Run i is the `counts[i]` rows from `starts[i]` on. Many short runs cost little more than reading their bytes.
        read_many: makes the reads of a file, in place of a loop in Python.
        Raises `UserError` where `out` has not as many rows, or another width or dtype, and IndexError for rows that do
        not exist.
        """
        check_out(self.path, out, self._width(hook), TORCH[self.manifest["storage_dtype"]])
        check_runs(self.path, starts, counts, len(out), self.rows)
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
                self._file(shard).read_runs(stored, name, begin - first, ends[here] - begin, place, read_many)

    def tokens(self, start: int, stop: int) -> RowIndex:
        """Read sequence, position and token of rows [start, stop): int32 [row] each.

        Raises IndexError for rows that do not exist.
        """
        start, stop = check_span(self.path, start, stop, self.rows)
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
        width = self._width(hook)
        for number, (path, sidecar) in enumerate(self._shards):
            self._file(number)  # checks its size and layout
            with h5py.File(path) as file:
                group = file[f"statistics/{hook}"]
                yield read_hook(path, group, width, self.context, sidecar.rows, REPAIR)[0]

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
        refuse_special(path, REPAIR)
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
        if not isinstance(hook, str):
            raise UserError(
                f"{self.path}: expected the name of a hook, found {type(hook).__name__} {hook!r:.60}; rows are read by "
                "store[hook][10:20] and store.read(hook, 10, 20)"
            )
        if hook not in self.hooks:
            raise UserError(
                f"{self.path}: no hook {hook}{nearest(hook, self.hooks)}; there are {', '.join(self.hooks)}"
            )
        return self.hooks[hook]

    def place(self, hook: str, row: int) -> tuple[Path, int]:
        """Return the file and the byte at which a row of a hook begins."""
        self._width(hook)
        file, local, _ = next(self._spans(row, row + 1))
        stored = file[f"activations/{hook}"]
        return file.path, stored.offset + local * stored.shape[1] * stored.dtype.itemsize

    def _spans(self, start: int, stop: int) -> Iterator[tuple[ContiguousReader, int, slice]]:
        """Split rows [start, stop) by shard: the shard's file, the first row in it, the slice of the result."""
        start, stop = check_span(self.path, start, stop, self.rows)
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
            norms = norms_are_kept(self.manifest)
            self._files[path] = open_shard(path, sidecar, self.hooks, self.manifest["storage_dtype"], norms)
        return self._files[path]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": {}}  # another process opens the files itself


def _folder(path: Path) -> Path:
    """Return the folder of a harvest. Raises `UserError` for a file, and for a run, which has its harvest below."""
    if path.exists() and not path.is_dir():
        hint = f"; give {path.parent}" if (path.parent / MANIFEST).exists() else ""
        raise UserError(f"{path}: expected a folder of activations, found {kind_of(path) or 'a file'}{hint}")
    below = path / "activations"
    if not (path / MANIFEST).exists() and (below / MANIFEST).exists():
        raise UserError(f"{path}: expected a folder of activations, found a run; give {below}")
    return path
