"""Write one activation shard, batch by batch; publish it when it is complete.

    with write_shard(path, hooks, index, sequences, dtype, context) as shard:
        shard.append({hook: rows})     # [row, width] on the CPU, in order

`winnow.shards.layout` describes the file.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, NoReturn

import torch
from torch import Tensor

from harvest.accumulate import Accumulator, block_rows, new_scratch
from harvest.beside import Flusher, beside
from harvest.device_accumulator import DeviceAccumulator
from harvest.hook_threads import HookThreads
from harvest.host_buffers import Landed
from winnow.errors import UserError
from winnow.runtime.hashes import note
from winnow.runtime.publish import publish_file, publish_text
from winnow.shards.contiguous import ContiguousFile, create_contiguous, layout_of
from winnow.shards.dtypes import TORCH, to_disk
from winnow.shards.layout import RowIndex, Sidecar, shard_layout


class Scratch(NamedTuple):
    """What a thread needs to cast and count a block of rows."""

    values: Tensor  # float32
    stored: Tensor  # of the storage dtype

    @classmethod
    def of(cls, widest: int, dtype: str) -> "Scratch":
        """Allocate it for rows of this width or less."""
        return cls(new_scratch(widest), new_scratch(widest, TORCH[dtype]))


class ShardFile:
    """An open shard that takes rows batch by batch, in order."""

    def __init__(
        self,
        file: ContiguousFile,
        statistics: Mapping[str, Accumulator | DeviceAccumulator],
        index: RowIndex,
        dtype: str,
        context: int,
        why_not_finite: Callable[[], str],
        threads: HookThreads[Scratch],
        flusher: Flusher,
    ) -> None:
        self.index = index
        self.dtype = dtype
        self.context = context
        self.written = 0
        self._statistics = statistics
        self._file = file
        self._why_not_finite = why_not_finite
        self._threads = threads
        self._flusher = flusher
        itemsize = TORCH[dtype].itemsize
        self._row_bytes = sum(itemsize * accumulator.width for accumulator in statistics.values())

    def append(self, batch: Mapping[str, Tensor]) -> None:
        """Append the next rows of every hook: tensors [row, width] on the CPU.

        Raises `UserError` if a value is not finite in the storage dtype.
        """
        self._threads.each(batch.items(), self._take)
        self._wrote(len(next(iter(batch.values()))))

    def append_counted(self, batch: Landed) -> None:
        """Append the next rows of every hook, counted and cast by the device that computed them."""
        for hook, row in batch.first_bad.items():
            if row >= 0:
                suspect = batch.suspects[hook]
                dimension = int(torch.where(~suspect.to(TORCH[self.dtype]).isfinite())[0][0])
                self._refuse(hook, row, dimension, suspect[dimension].item())
        self._threads.each(
            batch.pieces, lambda piece, _: self._file.write(piece.name, piece.values, self.written + piece.row)
        )
        self._wrote(batch.rows)

    def finish(self) -> None:
        """Write the index of the rows and the statistics, once every row is written."""
        assert self.written == len(self.index.token), (self.written, len(self.index.token))
        for name, column in zip(RowIndex._fields, self.index, strict=True):
            self._file.write(name, column.numpy())
        for hook, statistics in self._statistics.items():
            for name, array in statistics.result().arrays().items():
                self._file.write(f"statistics/{hook}/{name}", array)

    def _wrote(self, rows: int) -> None:
        self.written += rows
        self._flusher.wrote(rows * self._row_bytes)

    def _take(self, rows: tuple[str, Tensor], scratch: Scratch) -> None:
        """Check, store and count the rows of one hook."""
        hook, values = rows
        if len(values):
            self._refuse_infinite(hook, values)
        at = self.written
        for block in values.split(block_rows(values.shape[1])):
            self._file.write(f"activations/{hook}", to_disk(block, self.dtype, scratch.stored), at)
            at += len(block)
        positions = self.index.position[self.written : at]
        accumulator = self._statistics[hook]
        assert isinstance(accumulator, Accumulator)
        norms = accumulator.add(values, positions, scratch.values)
        self._file.write(f"norms/{hook}", norms.numpy(), self.written)

    def _refuse_infinite(self, hook: str, values: Tensor) -> None:
        extremes = torch.stack(torch.aminmax(values)).to(TORCH[self.dtype])  # NaN if any value is NaN
        if extremes.isfinite().all():
            return
        row, dimension = (int(i[0]) for i in torch.where(~values.to(TORCH[self.dtype]).isfinite()))
        self._refuse(hook, row, dimension, values[row, dimension].item())

    def _refuse(self, hook: str, row: int, dimension: int, value: float) -> NoReturn:
        at = self.written + row
        where = (
            f"{hook}: {value:g} at sequence {self.index.sequence[at]}, position {self.index.position[at]}, "
            f"dimension {dimension}"
        )
        if not math.isfinite(value):
            raise UserError(f"{where}, before it is stored: {self._why_not_finite()}")
        wider = "bfloat16 or float32" if self.dtype == "float16" else "float32"
        raise UserError(f"{where} does not fit {self.dtype}; set harvest.storage_dtype to {wider} in a new run")


@contextmanager
def write_shard(
    path: Path,
    hooks: Mapping[str, int],
    index: RowIndex,
    sequences: tuple[int, int],
    dtype: str,
    context: int,
    manifest: str = "",
    why_not_finite: Callable[[], str] = lambda: "its source gives no number there",
    threads: HookThreads[Scratch] | None = None,
    counted: Mapping[str, DeviceAccumulator] | None = None,
    pool: Executor | None = None,
    device: str = "",
) -> Iterator[ShardFile]:
    """Yield a `ShardFile` for `hooks` (name -> width); publish the shard when the block succeeds.

    manifest: the fingerprint of the manifest that it belongs to. why_not_finite: says where a value that is no finite
    number comes from, and what helps. threads: for the hooks of a batch; several shards may share them. None: the
    caller's thread. counted: what counts the rows on their device, for `append_counted`; None: for `append`.
    pool: a thread of it sends to the disk what is written, while rows are written and while they are hashed; None: that
    is left to the end. device: the kind that computes the rows.
    """
    threads = threads or HookThreads(lambda: Scratch.of(max(hooks.values()), dtype))
    statistics = counted or {hook: Accumulator(width, context) for hook, width in hooks.items()}
    layout = shard_layout(hooks, len(index.token), dtype, context)
    with publish_file(path) as partial, create_contiguous(partial, layout) as file:
        with Flusher(file.flush, pool) as flusher:
            shard = ShardFile(file, statistics, index, dtype, context, why_not_finite, threads, flusher)
            yield shard
            shard.finish()
        with beside(pool, file.flush):
            sidecar = Sidecar(len(index.token), sequences, *note(partial), layout_of(partial), manifest, device)
    publish_text(path.with_suffix(".json"), json.dumps(sidecar.to_json(), indent=1) + "\n")
