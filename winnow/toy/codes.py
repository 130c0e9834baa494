"""Which toy features fire in a row, and how strongly (Sharkey et al. 2022, with the correlations put right).

Per row: normals z with unit variance, correlated through shared causes; u = Φ(z), uniform; probability
p_i = scale · u_i · λ^i (or scale · u_i^(λ·i)); feature i fires with p_i. Public versions draw one z per batch, or give
z a large variance, which makes Φ 0 or 1: both lose the decay. The scale is exact, not estimated from a batch.

Only the random numbers that matter are drawn. Features share only the part c of z that the causes contribute, and
E[Φ(c + σε)] = Φ(c / √(1 + σ²)), so the geometric form draws no ε. And p_i is at most its value at u = 1, so candidates
are drawn with that probability: two for each feature that fires. In the power form this bound is the same for all
features; `power_law.py` draws it another way. Children fire where their parents do: `trees.py`.
"""

import warnings
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int

from winnow.config.toy import ToySettings
from winnow.toy.magnitudes import scale_by_parent
from winnow.toy.power_law import draw_power_law
from winnow.toy.trees import draw_children

CELLS_PER_FEATURE = 8  # in the lookup table of `_interval`

with warnings.catch_warnings():  # torch warns once per process that CSR tensors are in beta
    warnings.simplefilter("ignore")
    torch.sparse_csr_tensor([0, 0], [], torch.empty(0), (1, 1), check_invariants=False)


class Fired(NamedTuple):
    """A sparse matrix of codes: entries by row, features ascending within a row."""

    offsets: Int[np.ndarray, " rows_and_one"]
    features: Int[np.ndarray, " active"]
    magnitudes: Float[np.ndarray, " active"]


def rates(settings: ToySettings) -> Float[np.ndarray, " feature"]:
    """Return the share of rows in which each feature fires."""
    return np.array(settings.rates())


def bounds(settings: ToySettings) -> Float[np.ndarray, " feature"]:
    """Return the largest firing probability of each feature, at u = 1; 0 for one that has a parent."""
    i = np.arange(settings.n_features)
    geometric = settings.decay_form == "geometric"
    largest = settings.scale * (settings.decay**i if geometric else np.array(settings.largest_before_scale()))
    largest[settings.roots : settings.forest.size] = 0
    return largest


def draw_codes(
    rng: np.random.Generator, rows: int, settings: ToySettings, loadings: Float[np.ndarray, "feature cause"]
) -> Fired:
    """Draw the codes of `rows` rows; `loadings`: see `ToyData.loadings`."""
    causes = rng.standard_normal((rows, loadings.shape[1]), dtype=np.float32)
    if settings.decay_form == "power":
        row, feature = draw_power_law(rng, causes, settings, loadings)
    else:
        row, feature = candidates(rng, rows, bounds(settings))
        spread = (2 - settings.common) ** 0.5
        u = torch.special.ndtr(_shared_part(row, feature, causes, loadings).div_(spread)).numpy()
        accepted = np.flatnonzero(rng.random(len(row), dtype=np.float32) < u)
        row, feature = row[accepted], feature[accepted]
    if settings.roots:
        row, feature = draw_children(rng, row, feature, settings)
    magnitudes = _magnitudes(rng, len(feature), settings)
    if settings.scale_by_parent:
        scale_by_parent(row, feature, magnitudes, settings)
    return Fired(_offsets(row, rows), feature.astype(np.int64), magnitudes)


def candidates(
    rng: np.random.Generator, rows: int, probability: Float[np.ndarray, " feature"]
) -> tuple[Int[np.ndarray, " candidate"], Int[np.ndarray, " candidate"]]:
    """Choose each (row, feature) independently with the feature's probability; rows, then features ascend.

    Lay an interval of length −log(1 − p) for every pair along a line: at least one point of a Poisson process of
    unit rate falls into it with probability p. So it draws only the points, not every pair, and draws them in order,
    as sums of exponential gaps.
    """
    ends = np.cumsum(-np.log1p(-np.minimum(probability, 1 - 1e-9)))
    mean = rows * ends[-1]
    points = np.cumsum(rng.standard_exponential(int(mean + 10 * mean**0.5 + 100)))  # enough, except once in 10^23 times
    points = points[: np.searchsorted(points, mean)]
    points /= ends[-1]
    row = points.astype(np.int32)
    feature = _interval((points - row) * ends[-1], ends)
    first = np.ones(len(row), dtype=bool)  # first point of its interval
    np.logical_or(row[1:] != row[:-1], feature[1:] != feature[:-1], out=first[1:])
    return row[first], feature[first]


def _interval(points: Float[np.ndarray, " point"], ends: Float[np.ndarray, " feature"]) -> Int[np.ndarray, " point"]:
    """Find the first of the ascending `ends` above each point, by a lookup table that is mostly exact."""
    cells = len(ends) * CELLS_PER_FEATURE
    table = np.searchsorted(ends, np.arange(cells + 1) * (ends[-1] / cells), side="right").astype(np.int32)
    found = table.take((points * (cells / ends[-1])).astype(np.int32))
    np.minimum(found, len(ends) - 1, out=found)
    wrong = np.flatnonzero(ends.take(found) <= points)  # an end lies between the start of its cell and the point
    found[wrong] = np.minimum(np.searchsorted(ends, points[wrong], side="right"), len(ends) - 1)
    return found


def _shared_part(
    row: Int[np.ndarray, " candidate"],
    feature: Int[np.ndarray, " candidate"],
    causes: Float[np.ndarray, "row cause"],
    loadings: Float[np.ndarray, "feature cause"],
) -> Float[torch.Tensor, " candidate"]:
    """Compute the contribution of its row's causes to each candidate's normal."""
    size = (len(causes), len(loadings))
    starts, columns = torch.from_numpy(_offsets(row, len(causes)).astype(np.int32)), torch.from_numpy(feature)
    pattern = torch.sparse_csr_tensor(starts, columns, torch.zeros(len(row)), size, check_invariants=False)
    product = torch.sparse.sampled_addmm(pattern, torch.from_numpy(causes), torch.from_numpy(loadings).T, beta=0.0)
    return product.values()


def _offsets(row: Int[np.ndarray, " entry"], rows: int) -> Int[np.ndarray, " rows_and_one"]:
    """Return the index of each row's first entry; entries ascend by row."""
    offsets = np.zeros(rows + 1, dtype=np.int64)
    np.cumsum(np.bincount(row, minlength=rows), out=offsets[1:])
    return offsets


def _magnitudes(rng: np.random.Generator, count: int, settings: ToySettings) -> Float[np.ndarray, " active"]:
    if settings.magnitude == "uniform":
        return rng.random(count, dtype=np.float32)
    if settings.magnitude == "half-normal":
        return np.abs(rng.standard_normal(count, dtype=np.float32))
    if settings.magnitude == "normal":
        return np.abs(1 + np.float32(settings.magnitude_spread) * rng.standard_normal(count, dtype=np.float32))
    return np.ones(count, dtype=np.float32)
