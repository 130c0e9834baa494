"""Activations with a known answer: rows that are sparse sums of ground-truth directions (Sharkey et al. 2022).

    toy = ToyData(ToySettings(d_model=256, n_features=512, active=5, seed=0))
    toy.directions                     # float32 [feature, d_model], of unit norm
    rows = toy.rows(0, 100_000)        # .activations [row, d_model]; .offsets .features .magnitudes: their codes

Rows come in chunks of `CHUNK_ROWS`; a chunk is a pure function of the settings and its number. So any process can make
any part in any order, and rows [start, stop) do not depend on how they are split into calls.
"""

from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from winnow.config.toy import ToySettings
from winnow.runtime.threads import one_thread
from winnow.toy.codes import draw_codes
from winnow.toy.directions import true_directions

CHUNK_ROWS = 8192


class ToyRows(NamedTuple):
    """Rows and their sparse codes: row r has the entries offsets[r] : offsets[r + 1]."""

    activations: Float[Tensor, "row d_model"]
    offsets: Int[Tensor, " rows_and_one"]
    features: Int[Tensor, " active"]  # ascending within a row
    magnitudes: Float[Tensor, " active"]

    def codes(self, n_features: int) -> Float[Tensor, "row n_features"]:
        """Return the codes as a dense matrix."""
        rows = torch.repeat_interleave(self.offsets.diff())
        dense = self.magnitudes.new_zeros(len(self.activations), n_features)
        return dense.index_put_((rows, self.features), self.magnitudes)


class ToyData:
    """Makes the rows of one `ToySettings`."""

    def __init__(self, settings: ToySettings, directions: Float[Tensor, "feature d_model"] | None = None) -> None:
        self.settings = settings
        if directions is not None:  # already computed
            self.directions = directions

    @cached_property
    def directions(self) -> Float[Tensor, "feature d_model"]:
        """The ground truth: one unit direction per feature."""
        return true_directions(self.settings, np.random.default_rng([self.settings.seed, 0]))

    @cached_property
    def loadings(self) -> Float[np.ndarray, "feature cause"]:
        """Weights of the shared causes in each feature's normal: rows of squared norm `common`.

        Each normal has variance 1; those of features i and j correlate by the inner product of their rows.
        """
        s = self.settings
        drawn = np.random.default_rng([s.seed, 1]).standard_normal((s.n_features, s.causes))
        return (drawn * (s.common**0.5 / np.linalg.norm(drawn, axis=1, keepdims=True))).astype(np.float32)

    def rows(self, start: int, stop: int) -> ToyRows:
        """Make rows [start, stop)."""
        first = start // CHUNK_ROWS
        chunks = [self.chunk(number) for number in range(first, max(first + 1, -(-stop // CHUNK_ROWS)))]
        if len(chunks) == 1 and stop - start == CHUNK_ROWS:
            return chunks[0]
        counts = torch.cat([chunk.offsets.diff() for chunk in chunks])
        offsets = F.pad(counts.cumsum(0), (1, 0))
        begin, end = start - first * CHUNK_ROWS, stop - first * CHUNK_ROWS
        entries = slice(int(offsets[begin]), int(offsets[end]))
        return ToyRows(
            torch.cat([chunk.activations for chunk in chunks])[begin:end],
            offsets[begin : end + 1] - offsets[begin],
            torch.cat([chunk.features for chunk in chunks])[entries],
            torch.cat([chunk.magnitudes for chunk in chunks])[entries],
        )

    @one_thread()
    def chunk(self, number: int) -> ToyRows:
        """Make rows [number · CHUNK_ROWS, (number + 1) · CHUNK_ROWS)."""
        s = self.settings
        # number + 2: 0 and 1 belong to directions and loadings
        rng = np.random.default_rng([s.seed, number + 2])
        fired = draw_codes(rng, CHUNK_ROWS, s, self.loadings)
        offsets, features, magnitudes = map(torch.from_numpy, fired)
        activations = F.embedding_bag(
            features,
            self.directions,
            offsets,
            per_sample_weights=magnitudes,
            mode="sum",
            include_last_offset=True,
        )
        return ToyRows(activations, offsets, features, magnitudes)
