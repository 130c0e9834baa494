"""The rows of one hook of a store, indexed as a tensor [row, width] is, and a `torch.utils.data.Dataset`.

    rows = winnow.ActivationStore("runs/demo/activations")["blocks.2.hook_resid_post"]
    rows[10:20], rows[-1], rows[[5, 3, 3]], rows[mask]      # float32, read from the disk
    DataLoader(rows, batch_size=256, shuffle=True, num_workers=2)

Only the rows that are asked for are read. A worker opens its own files, however it is started.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.utils.data import Dataset

from winnow.row_numbers import row_numbers
from winnow.shards.dtypes import TORCH

BLOCK_ROWS = 2**12  # read at a time by a loop over the rows


@runtime_checkable
class _Store(Protocol):
    """What is asked of an `ActivationStore`."""

    path: Path
    hooks: dict[str, int]
    manifest: Any

    @property
    def rows(self) -> int: ...

    def read(self, hook: str, start: int, stop: int) -> Tensor: ...

    def read_runs_into(
        self, out: Shaped[Tensor, "row width"], hook: str, starts: np.ndarray, counts: np.ndarray
    ) -> None: ...


class HookRows(Dataset[Tensor]):
    """All rows of a hook, in the store's order, as float32 [row, width].

    Indices are numpy's: integers, also negative ones; slices, cut to the rows that exist; arrays, lists and tensors of
    integers of any shape, in any order, with duplicates; masks with one entry a row. The result has the index's shape
    and then `width`. Raises IndexError for a row that does not exist, `UserError` for any other index.
    """

    def __init__(self, store: _Store, hook: str) -> None:
        self.store = store
        self.hook = hook
        self.width = store.hooks[hook]

    def __len__(self) -> int:
        return self.store.rows

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and width."""
        return len(self), self.width

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of what is returned; the shards may hold another."""
        return torch.float32

    def __getitem__(self, key: Any) -> Float[Tensor, "*index width"]:
        """Read the rows that `key` stands for."""
        found = row_numbers(f"{self.store.path}: {self.hook}", key, len(self))
        if isinstance(found, slice):
            if found.step == 1:
                return self.store.read(self.hook, found.start, found.stop)
            found = np.arange(found.start, found.stop, found.step)
        return self._read(found.reshape(-1)).reshape(*found.shape, self.width)

    def __getitems__(self, keys: Sequence[int]) -> list[Float[Tensor, " width"]]:
        """Read the rows of a batch at once, for a DataLoader, which stacks them."""
        return list(self[list(keys)].unbind(0))

    def __iter__(self) -> Iterator[Float[Tensor, " width"]]:
        for start in range(0, len(self), BLOCK_ROWS):
            yield from self[start : start + BLOCK_ROWS].unbind(0)

    def __repr__(self) -> str:
        return f"HookRows({self.hook!r}, {len(self)} rows of {self.width}, path={str(self.store.path)!r})"

    def _read(self, numbers: np.ndarray) -> Tensor:
        """Read rows by number, those that follow one another together."""
        begins = np.flatnonzero(np.diff(numbers, prepend=-2) != 1)  # of runs
        counts = np.diff(begins, append=len(numbers))
        out = torch.empty(len(numbers), self.width, dtype=TORCH[self.store.manifest["storage_dtype"]])
        self.store.read_runs_into(out, self.hook, numbers[begins], counts)
        return out.float()
