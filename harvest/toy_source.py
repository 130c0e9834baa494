"""Rows with a known answer: sums of ground-truth directions, generated on all cores in parallel.

A sequence is one row at position 0, without a token. The content of a chunk does not depend on the core that makes it,
nor on how chunks are split into shards.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from winnow.config.toy import ToySettings
from winnow.errors import refuse_changed
from winnow.runtime.threads import in_order, thread_pool
from winnow.shards.layout import RowIndex
from winnow.toy.data import CHUNK_ROWS, ToyData
from winnow.toy.truth import HOOK, directions_hash, open_truth

NO_TOKEN = -1
AT_ONCE = 4  # shards; accumulating and writing a chunk takes one thread twice as long as making it
DIRECTIONS = "directions_sha256 of the toy data"


@contextmanager
def open_toy_source(settings: ToySettings, truth: Path) -> Iterator["ToySource"]:
    """Yield the source of toy rows; its directions are those in the folder `truth`, written if missing."""
    cores = torch.get_num_threads()
    with thread_pool(cores, torch_threads=1) as pool:
        yield ToySource(ToyData(settings, open_truth(settings, truth).W_dec.detach()), pool, cores)


class ToySource:
    """The rows of toy data at the hook `toy`; implements `harvest.source.RowSource`."""

    device = torch.device("cpu")
    context = 1
    most_rows = 1
    unit = "rows"

    def __init__(self, toy: ToyData, pool: Executor, cores: int) -> None:
        self.width: Mapping[str, int] = {HOOK: toy.settings.d_model}
        self._toy = toy
        self._pool = pool
        self.shards_at_once = min(cores, AT_ONCE)
        self._ahead = 1 + -(-cores // self.shards_at_once)  # chunks per shard

    def manifest(self) -> dict[str, Any]:
        """Return the settings of the toy data, and the hash of their directions."""
        settings = self._toy.settings.of_the_rows()
        return {"toy": {**settings, "directions_sha256": directions_hash(self._toy.directions)}}

    def refuse_other(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        """Raise `UserError` if the shards in `folder` are sums of other directions."""
        made = manifest["toy"]["directions_sha256"]
        refuse_changed(folder, {DIRECTIONS: made}, {DIRECTIONS: directions_hash(self._toy.directions)})

    def why_not_finite(self) -> str:
        """Say what helps against magnitudes beyond float32."""
        return (
            "magnitudes go beyond float32; lower toy.magnitude_spread, or toy.depth with scale_by_parent, in a new run"
        )

    def index(self, start: int, stop: int) -> RowIndex:
        """Number the rows; each is a sequence of its own."""
        position = torch.zeros(stop - start, dtype=torch.int32)
        return RowIndex(torch.arange(start, stop, dtype=torch.int32), position, torch.full_like(position, NO_TOKEN))

    def rows(self, start: int, stop: int, index: RowIndex) -> Iterator[tuple[int, dict[str, Tensor]]]:
        """Yield the rows [start, stop), chunk by chunk."""
        ends = [*range((start // CHUNK_ROWS + 1) * CHUNK_ROWS, stop, CHUNK_ROWS), stop]
        stretches = zip([start, *ends], ends, strict=False)
        for made in in_order(self._pool, lambda part: self._toy.rows(*part).activations, stretches, self._ahead):
            yield len(made), {HOOK: made}
