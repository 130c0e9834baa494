"""Match two dictionaries' features one to one, where max-cosines may map many to one.

The gap between the mean max-cosine and the mean matched cosine comes from duplication and splitting: three copies
of a feature all have it as their nearest, but only one of them is matched with it.

The assignment is exact and dense up to `DENSE` cosines; its time grows with the cube of the smaller side.
Beyond that, each feature of the smaller dictionary is matched with one of its `CANDIDATES` nearest, or with none.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching
from torch import Tensor

from analyze.compare.cosines import nearest_cosines, unit

DENSE = 4096 * 4096  # most cosines of an exact assignment: 128 MiB in float64
CANDIDATES = 32
SHARED_ABOVE = 0.7  # Paulo and Belrose 2025: a shared feature's least cosine, of encoder and of decoder


class Matching(NamedTuple):
    """Matched pairs (a[i], b[i]) and their cosines, one pair per feature of the smaller dictionary."""

    a: Int[np.ndarray, " pair"]
    b: Int[np.ndarray, " pair"]
    cosines: Float[np.ndarray, " pair"]

    @property
    def mean(self) -> float:
        return float(self.cosines.mean()) if len(self.cosines) else float("nan")

    def share_above(self, threshold: float) -> float:
        """Compute the share of pairs whose cosine is larger than `threshold`."""
        return float((self.cosines > threshold).mean()) if len(self.cosines) else float("nan")


def match(
    a: Float[Tensor, "n_a d"], b: Float[Tensor, "n_b d"], dense: int = DENSE, candidates: int = CANDIDATES
) -> Matching:
    """Pair the rows of `a` and `b` one to one so that the sum of cosines is largest.

    Beyond `dense` cosines, each row is only paired with one of its `candidates` nearest; a row whose candidates
    are all taken is paired with -1, at cosine 0.
    """
    if len(a) > len(b):
        found = match(b, a, dense, candidates)
        return Matching(found.b, found.a, found.cosines)
    if len(a) * len(b) <= dense:
        cosines = (unit(a) @ unit(b).T).double().cpu().numpy()  # (n_a, n_b)
        rows, columns = linear_sum_assignment(cosines, maximize=True)
        return Matching(rows, columns, cosines[rows, columns])
    return _match_nearest(a, b, candidates)


def shared_fraction(
    encoders: tuple[Float[Tensor, "n_a d"], Float[Tensor, "n_b d"]], decoders: Matching, dense: int = DENSE
) -> float:
    """Compute the share of dictionary A's features that B has too (Paulo and Belrose 2025).

    A feature is shared if the assignments by encoder and by decoder directions both pair it with the same feature
    of B, and both cosines are at least 0.7. The denominator is the number of all of A's features. NaN where A or B
    has none.
    """
    n_a, n_b = map(len, encoders)
    if not n_a or not n_b:
        return float("nan")
    by_encoder = match(*encoders, dense)
    partner = np.full(n_a, -2)
    close = _real_pairs(by_encoder)
    partner[by_encoder.a[close]] = by_encoder.b[close]
    close = _real_pairs(decoders)
    agree = partner[decoders.a[close]] == decoders.b[close]
    return float(agree.sum() / n_a)


def _real_pairs(matching: Matching) -> NDArray[np.bool_]:
    return (matching.a >= 0) & (matching.b >= 0) & (matching.cosines >= SHARED_ABOVE)


def _match_nearest(a: Tensor, b: Tensor, candidates: int) -> Matching:
    near = nearest_cosines(a, b, candidates)
    n_a, k = near.values.shape
    # every row also has its own dummy column, n_b + row, with cosine 0, so a full matching always exists.
    # Costs lie in [1, 4]: a stored cost of 0 would be read as no edge.
    columns = torch.cat([near.indices.cpu(), len(b) + torch.arange(n_a)[:, None]], dim=1).numpy()
    cosines = torch.cat([near.values.cpu().double(), torch.zeros(n_a, 1, dtype=torch.float64)], dim=1).numpy()
    starts = np.arange(0, n_a * (k + 1) + 1, k + 1)
    costs = csr_array((2 - cosines.ravel(), columns.ravel(), starts), shape=(n_a, len(b) + n_a))
    rows, matched = min_weight_full_bipartite_matching(costs)
    return Matching(rows, np.where(matched < len(b), matched, -1), _chosen(columns, cosines, rows, matched))


def _chosen(columns: NDArray, cosines: NDArray, rows: NDArray, matched: NDArray) -> NDArray[np.float64]:
    at = (columns[rows] == matched[:, None]).argmax(1)
    return cosines[rows, at]
