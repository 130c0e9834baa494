"""Which toy features fire in a row, and how strongly (Sharkey et al. 2022, with the correlations put right).

Per row: normals z with unit variance, correlated through shared causes; u = Φ(z), uniform; probability
p_i = scale · u_i · λ^i (or scale · u_i^(λ·i)); feature i fires with p_i. Public versions draw one z per batch, or give
z a large variance, which makes Φ 0 or 1: both lose the decay. The scale is exact, not estimated from a batch.

Features that cannot fire are never looked at: p_i is at most its value at u = 1, so candidates are drawn by that bound
and accepted with p_i / bound. A row costs what its candidates cost, twice the active features in the geometric form.
"""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.special import ndtr

BLOCK = 2**16  # candidates whose loadings are gathered at once


class CodeLaw(NamedTuple):
    """How often features fire."""

    n_features: int
    active: float  # on average per row
    decay: float  # λ
    form: Literal["geometric", "power"]

    def mean_before_scale(self) -> Float[np.ndarray, " feature"]:
        """Average u·λ^i, or u^(λ·i), over u uniform on [0, 1]."""
        i = np.arange(self.n_features)
        return self.decay**i / 2 if self.form == "geometric" else 1 / (1 + self.decay * i)

    @property
    def scale(self) -> float:
        """The factor that makes `active` features fire on average.

        Raises `ValueError` where a probability would exceed 1.
        """
        total = self.mean_before_scale().sum()
        if self.active > total:
            raise ValueError(
                f"active = {self.active:g}: with decay {self.decay:g} ({self.form}) at most {total:.3g} of "
                f"{self.n_features} features can be active on average; choose less decay or more features"
            )
        return float(self.active / total)

    def rates(self) -> Float[np.ndarray, " feature"]:
        """Give each feature's share of rows in which it fires."""
        return self.scale * self.mean_before_scale()

    def bound(self) -> Float[np.ndarray, " feature"]:
        """Give each feature's largest firing probability, at u = 1."""
        i = np.arange(self.n_features)
        return self.scale * (self.decay**i if self.form == "geometric" else np.ones(self.n_features))

    def acceptance(
        self, u: Float[np.ndarray, " candidate"], features: Int[np.ndarray, " candidate"]
    ) -> Float[np.ndarray, " candidate"]:
        """Give the firing probability at `u` as a share of the bound."""
        return u if self.form == "geometric" else u ** (self.decay * features)


def draw_codes(
    rng: np.random.Generator,
    rows: int,
    law: CodeLaw,
    loadings: Float[np.ndarray, "feature cause"],
    magnitude: Literal["uniform", "half-normal", "constant"],
) -> tuple[Int[np.ndarray, " rows_and_one"], Int[np.ndarray, " active"], Float[np.ndarray, " active"]]:
    """Draw offsets, features (ascending within a row) and magnitudes of so many rows."""
    row, feature = _candidates(rng, rows, law.bound())
    causes = rng.standard_normal((rows, loadings.shape[1]), dtype=np.float32)
    own = np.sqrt(
        np.maximum(0, 1 - np.square(loadings).sum(1))
    )  # standard deviation of what a feature shares with none
    z = own[feature] * rng.standard_normal(len(row), dtype=np.float32)
    for start in range(0, len(row), BLOCK):  # by einsum: a BLAS would round by its number of threads
        part = slice(start, start + BLOCK)
        z[part] += np.einsum("ij,ij->i", loadings[feature[part]], causes[row[part]])
    accepted = rng.random(len(row)) < law.acceptance(ndtr(z), feature)
    row, feature = row[accepted], feature[accepted]
    offsets = np.zeros(rows + 1, dtype=np.int64)
    np.cumsum(np.bincount(row, minlength=rows), out=offsets[1:])
    return offsets, feature, _magnitudes(rng, len(feature), magnitude)


def _candidates(
    rng: np.random.Generator, rows: int, probability: Float[np.ndarray, " feature"]
) -> tuple[Int[np.ndarray, " candidate"], Int[np.ndarray, " candidate"]]:
    """Choose each (row, feature) independently with the feature's probability; rows, then features ascend.

    Lay an interval of length −log(1 − p) for every pair along a line: at least one point of a Poisson process of
    unit rate falls into it with probability p. So only the points are drawn, not every pair.
    """
    length = -np.log1p(-np.minimum(probability, 1 - 1e-9))
    ends = np.cumsum(length)
    points = np.sort(rng.random(rng.poisson(rows * ends[-1])) * rows)
    row = points.astype(np.int64)
    feature = np.searchsorted(ends, (points - row) * ends[-1], side="right").clip(max=len(ends) - 1)
    first = np.ones(len(row), dtype=bool)  # of the points in one interval
    first[1:] = (np.diff(row) > 0) | (np.diff(feature) > 0)
    return row[first], feature[first]


def _magnitudes(rng: np.random.Generator, count: int, law: str) -> Float[np.ndarray, " active"]:
    if law == "uniform":
        return rng.random(count, dtype=np.float32)
    if law == "half-normal":
        return np.abs(rng.standard_normal(count, dtype=np.float32))
    return np.ones(count, dtype=np.float32)
