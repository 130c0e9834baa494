"""The rows of a hook without its massive ones, numbered without gaps.

    kept = kept_rows(store, hook, bound=10)
    kept.rows, kept.mean, kept.mean_norm      # as of a store that never held the others
    kept.read(0, 1024)                        # float32 [row, width]

Whatever is computed from these rows by their number is what a store without the massive rows would give. Where none is
massive, or `bound` is 0, these are the rows of the store.
"""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64, Shaped
from torch import Tensor

from winnow.massive.rows import describe, massive_rows, norm_limit, read_rows
from winnow.shards.layout import RowIndex
from winnow.shards.norms import bound_for
from winnow.store import ActivationStore


class KeptRows:
    """The rows of one hook, but for those with the numbers `massive`, ascending; `bound` is what they exceed."""

    def __init__(
        self, store: ActivationStore, hook: str, massive: Int64[np.ndarray, " massive"], bound: float | int
    ) -> None:
        self.store = store
        self.hook = hook
        self.massive = massive
        self.bound = bound  # 0: massive rows are among these
        self.limit = norm_limit(store, hook, bound)  # norm above which rows are left out
        self.rows = store.rows - len(massive)
        # the massive rows lie before the kept rows of these numbers; some lie side by side
        self._before = massive - np.arange(len(massive))
        self._cuts = np.unique(self._before)
        self.mean: Float64[np.ndarray, " width"]
        self.mean_norm: float
        self.mean, self.mean_norm = self._means()
        self.left_out = describe(store, hook, massive, bound)

    @property
    def context(self) -> int:
        """Positions of a sequence."""
        return self.store.context

    @property
    def path(self) -> Path:
        """The folder of the store."""
        return self.store.path

    def runs(
        self, starts: Int64[np.ndarray, " run"], counts: Int64[np.ndarray, " run"]
    ) -> tuple[Int64[np.ndarray, " part"], Int64[np.ndarray, " part"]]:
        """Find runs of kept rows in the store: those that massive rows lie in are split there."""
        if not len(self._cuts):
            return starts, counts
        ends = starts + counts
        first, stop = np.searchsorted(self._cuts, starts, side="right"), np.searchsorted(self._cuts, ends, side="left")
        parts = 1 + np.maximum(0, stop - first)
        of_run = np.repeat(np.arange(len(starts)), parts)
        number = np.arange(parts.sum()) - np.repeat(parts.cumsum() - parts, parts)  # of a part in its run
        cut = np.minimum(first[of_run] + number - 1, len(self._cuts) - 1)
        begins = np.where(number == 0, starts[of_run], self._cuts[cut])
        last = number == parts[of_run] - 1
        stops = np.where(last, ends[of_run], np.append(begins[1:], 0))
        return self._stored(begins), stops - begins

    def read_runs_into(
        self,
        out: Shaped[Tensor, "row width"],
        starts: Int64[np.ndarray, " run"],
        counts: Int64[np.ndarray, " run"],
    ) -> None:
        """Fill `out`, a CPU tensor of the stored dtype, with runs of kept rows one after the other."""
        self.store.read_runs_into(out, self.hook, *self.runs(starts, counts))

    def read(self, start: int, stop: int) -> Float[Tensor, "row width"]:
        """Read kept rows [start, stop) as float32."""
        first, last, chosen = self._span(start, stop)
        rows = self.store.read(self.hook, first, last)
        return rows if chosen is None else rows[chosen]

    def tokens(self, start: int, stop: int) -> RowIndex:
        """Read sequence, position and token of kept rows [start, stop): int32 [row] each."""
        first, last, chosen = self._span(start, stop)
        columns = self.store.tokens(first, last)
        return columns if chosen is None else RowIndex(*(column[chosen] for column in columns))

    def _span(self, start: int, stop: int) -> tuple[int, int, Tensor | None]:
        """Give the stretch of the store that holds kept rows [start, stop), and which of its rows they are."""
        if not len(self.massive) or stop <= start:
            return start, stop, None
        if not 0 <= start <= stop <= self.rows:
            raise IndexError(f"{self.store.path}: kept rows {start} to {stop} of {self.rows} at {self.hook}")
        first, last = self._stored(np.array([start, stop - 1])).tolist()
        inside = self.massive[slice(*np.searchsorted(self.massive, [first, last + 1]))]
        if not len(inside):
            return first, last + 1, None
        chosen = torch.ones(last + 1 - first, dtype=torch.bool)
        chosen[torch.from_numpy(inside - first)] = False
        return first, last + 1, chosen

    def _stored(self, kept: Int64[np.ndarray, " row"]) -> Int64[np.ndarray, " row"]:
        """Find kept rows in the store: before each lie those kept before it, and some massive ones."""
        return kept + np.searchsorted(self._before, kept, side="right")

    def _means(self) -> tuple[Float64[np.ndarray, " width"], float]:
        """Take the massive rows out of the mean row and the mean norm of everything harvested."""
        statistics = self.store.statistics(self.hook)
        if not len(self.massive):
            return statistics.mean, statistics.mean_norm
        deviation, norms = np.zeros_like(statistics.mean), 0.0
        for rows in read_rows(self.store, self.hook, self.massive):
            deviation += (rows.double().numpy() - statistics.mean).sum(0)
            norms += float(rows.double().norm(dim=1).sum())
        return statistics.mean - deviation / self.rows, (float(statistics.norm_sum.sum()) - norms) / self.rows


def kept_rows(store: ActivationStore, hook: str, bound: float | int) -> KeptRows:
    """Leave out the rows of a hook whose norm is above `bound` times the median; 0 leaves none out.

    A store that was harvested before norms were kept has all its rows.
    """
    bound = bound_for(store.manifest, bound)
    return KeptRows(store, hook, massive_rows(store, hook, norm_limit(store, hook, bound)), bound)
