"""Which toy features fire in a row, and how strongly (Sharkey et al. 2022, with the correlations put right).

Per row: normals z with unit variance, correlated through shared causes; u = Φ(z), uniform; probability
p_i = scale · u_i · λ^i (or scale · u_i^(λ·i)); feature i fires with p_i. Public versions draw one z per batch, or give
z a large variance, which makes Φ 0 or 1: both lose the decay. The scale is exact, not estimated from a batch.

Features that cannot fire are never looked at: p_i is at most its value at u = 1, so candidates are drawn by that bound
and accepted with p_i / bound. A row costs what its candidates cost, twice the active features in the geometric form.
"""

import numpy as np
import torch
from jaxtyping import Float, Int

from winnow.toy.settings import ToySettings

BLOCK = 2**16  # candidates whose loadings are gathered at once


def rates(settings: ToySettings) -> Float[np.ndarray, " feature"]:
    """Give each feature's share of rows in which it fires."""
    return settings.scale * np.array(settings.mean_before_scale())


def bounds(settings: ToySettings) -> Float[np.ndarray, " feature"]:
    """Give each feature's largest firing probability, at u = 1."""
    i = np.arange(settings.n_features)
    return settings.scale * (settings.decay**i if settings.decay_form == "geometric" else np.ones(len(i)))


def _acceptance(
    settings: ToySettings, u: Float[np.ndarray, " candidate"], features: Int[np.ndarray, " candidate"]
) -> Float[np.ndarray, " candidate"]:
    """Give the firing probability at `u` as a share of the bound."""
    return u if settings.decay_form == "geometric" else u ** (settings.decay * features)


def draw_codes(
    rng: np.random.Generator,
    rows: int,
    settings: ToySettings,
    loadings: Float[np.ndarray, "feature cause"],
) -> tuple[Int[np.ndarray, " rows_and_one"], Int[np.ndarray, " active"], Float[np.ndarray, " active"]]:
    """Draw offsets, features (ascending within a row) and magnitudes of so many rows."""
    row, feature = _candidates(rng, rows, bounds(settings))
    causes = rng.standard_normal((rows, loadings.shape[1]), dtype=np.float32)
    own = np.sqrt(
        np.maximum(0, 1 - np.square(loadings).sum(1))
    )  # standard deviation of what a feature shares with none
    z = own[feature] * rng.standard_normal(len(row), dtype=np.float32)
    for start in range(0, len(row), BLOCK):  # by einsum: a BLAS would round by its number of threads
        part = slice(start, start + BLOCK)
        z[part] += np.einsum("ij,ij->i", loadings[feature[part]], causes[row[part]])
    accepted = rng.random(len(row)) < _acceptance(settings, _normal_cdf(z), feature)
    row, feature = row[accepted], feature[accepted]
    offsets = np.zeros(rows + 1, dtype=np.int64)
    np.cumsum(np.bincount(row, minlength=rows), out=offsets[1:])
    return offsets, feature, _magnitudes(rng, len(feature), settings.magnitude)


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


def _normal_cdf(z: Float[np.ndarray, " candidate"]) -> Float[np.ndarray, " candidate"]:
    return torch.special.ndtr(torch.from_numpy(z)).numpy()
