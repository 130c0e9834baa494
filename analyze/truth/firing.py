"""Compare the rows on which true features fire with the rows on which their latents do.

    counts = count_firing(dictionary, partners, rows, parents)     # partners: the latent of each feature
    firing(counts).f1, firing(counts).mcc                          # one value for each feature

At most `CELLS` latent values are in memory at a time.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from winnow.dictionary import Dictionary
from winnow.toy.data import ToyRows

CELLS = 2**24  # most rows * latents in memory at a time: 64 MiB in float32


class Counts(NamedTuple):
    """Of `rows` rows, on how many each feature fires, its latent fires, and both do.

    taken_over: rows on which a feature and its latent fire, but the latent of its parent does not; 0 without a parent.
    """

    rows: int
    feature: Int[Tensor, " feature"]
    latent: Int[Tensor, " feature"]
    both: Int[Tensor, " feature"]
    taken_over: Int[Tensor, " feature"]


class Firing(NamedTuple):
    """How well a latent's firing predicts its feature's firing, per feature; NaN if there is nothing to divide by.

    precision: share of the rows on which the latent fires that have the feature. recall: share of the rows with the
    feature on which the latent fires. f1: their harmonic mean. mcc: Matthews' correlation coefficient, which is the
    correlation of the two firings: 0 for a latent that fires independently, however often, where f1 is not.
    """

    precision: Float[np.ndarray, " feature"]
    recall: Float[np.ndarray, " feature"]
    f1: Float[np.ndarray, " feature"]
    mcc: Float[np.ndarray, " feature"]


def count_firing(
    dictionary: Dictionary,
    partners: Int[Tensor, " feature"],
    rows: ToyRows,
    parents: Int[np.ndarray, " feature"] | None = None,
) -> Counts:
    """Count over all rows; `partners`: each feature's latent; `parents`: each feature's parent, -1 for none."""
    x, offsets, features = rows.activations, rows.offsets, rows.features
    n = len(partners)
    both, latent, taken_over = (torch.zeros(n, dtype=torch.int64) for _ in range(3))
    parent = torch.full((n,), -1) if parents is None else torch.from_numpy(np.asarray(parents))
    step = max(1, CELLS // dictionary.n_latents)
    for start in range(0, len(x), step):
        stop = min(start + step, len(x))
        fires = dictionary.encode(x[start:stop])[:, partners] > 0  # (row, feature)
        latent += fires.sum(0)
        row = torch.repeat_interleave(offsets[start : stop + 1].diff())
        mine = features[offsets[start] : offsets[stop]]
        hit = fires[row, mine]
        row, mine = row[hit], mine[hit]
        both += mine.bincount(minlength=n)
        has_parent = parent[mine] >= 0
        row, mine = row[has_parent], mine[has_parent]
        taken_over += mine[~fires[row, parent[mine]]].bincount(minlength=n)
    return Counts(len(x), features.bincount(minlength=n), latent, both, taken_over)


def firing(counts: Counts) -> Firing:
    """Score each feature's latent by the rows on which both fire."""
    both, latent, feature = (part.double().numpy() for part in (counts.both, counts.latent, counts.feature))
    neither = counts.rows - latent - feature + both
    spread = np.sqrt(latent * feature * (counts.rows - latent) * (counts.rows - feature))
    return Firing(
        shares(both, latent),
        shares(both, feature),
        shares(2 * both, latent + feature),
        shares(both * neither - (latent - both) * (feature - both), spread),
    )


def shares(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide; NaN where `whole` is 0."""
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
