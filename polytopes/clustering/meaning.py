"""Whether clusters of rows say anything about the text, against clusters that are permuted.

    gain = 1 − H(label | cluster) / mean H(label | permuted cluster)

Entropies are plug-in estimates, which are too low where a cluster has few rows. Permuted clusters have the same sizes
and so the same bias; so an entropy is never shown without theirs. *Beyond the token* permutes clusters only among the
rows of one token: a cluster that is nothing but its token then loses nothing. Rows outside any cluster (−1) are left
out.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from winnow.errors import UserError

PERMUTATIONS = 20
ROUNDING = 1e-9  # bits; entropies nearer than that are one


class Gain(NamedTuple):
    """What clusters say about a label, beside clusters that are permuted."""

    entropy: float  # H(label | cluster), bits
    permuted: float  # its mean over permutations
    gain: float | None  # 0: the clusters say nothing; 1: everything. None where the permuted clusters say all, too
    z: float | None  # standard deviations below the permuted mean; None where those do not vary


def gain(cluster: Int[np.ndarray, " row"], label: Int[np.ndarray, " row"], seed: int) -> Gain | None:
    """Measure what clusters say about a label, with all rows' clusters permuted as the null.

    None where no row is in a cluster. Raises `UserError` for arrays of different lengths.
    """
    return _against_permuted(cluster, label, np.zeros_like(cluster), seed)


def beyond(
    cluster: Int[np.ndarray, " row"], label: Int[np.ndarray, " row"], token: Int[np.ndarray, " row"], seed: int
) -> Gain | None:
    """Measure what clusters say about a label that the token does not: H(label | cluster, token).

    The null permutes clusters among the rows of each token. None where no row is in a cluster. Raises `UserError` for
    arrays of different lengths.
    """
    return _against_permuted(cluster, label, token, seed)


def _against_permuted(cluster: np.ndarray, label: np.ndarray, within: np.ndarray, seed: int) -> Gain | None:
    if not len(cluster) == len(label) == len(within):
        raise UserError(f"{len(cluster)} clusters beside {len(label)} labels and {len(within)} tokens of rows")
    inside = cluster >= 0
    if not inside.any():
        return None
    cluster, label, within = _number(cluster[inside]), _number(label[inside]), _number(within[inside])
    found = conditional_entropy(_pair(cluster, within), label)
    order = np.argsort(within, kind="stable")
    generator = np.random.default_rng(seed)
    null = np.empty(PERMUTATIONS)
    for draw in range(PERMUTATIONS):
        shuffled = np.empty_like(cluster)
        shuffled[order] = cluster[np.lexsort((generator.random(len(cluster)), within))]
        null[draw] = conditional_entropy(_pair(shuffled, within), label)
    mean, spread = null.mean(), null.std(ddof=1)
    below = mean - found
    z = below / spread if spread > ROUNDING else 0.0 if abs(below) < ROUNDING else None
    return Gain(found, float(mean), float(below / mean) if mean > ROUNDING else None, z if z is None else float(z))


def conditional_entropy(group: Int[np.ndarray, " row"], label: Int[np.ndarray, " row"]) -> float:
    """Compute H(label | group) in bits, from counts."""
    sizes = np.bincount(_number(group))
    return float((sizes / len(group) * group_entropies(group, label)).sum())


def group_entropies(group: Int[np.ndarray, " row"], label: Int[np.ndarray, " row"]) -> Float[np.ndarray, " group"]:
    """Compute the entropy of the labels in each group in bits, groups in the order of their numbers."""
    group, label = _number(group), _number(label)
    pairs, counts = np.unique(_pair(group, label), return_counts=True)
    owner = pairs // (label.max(initial=0) + 1)
    sizes = np.bincount(group)
    mass = np.bincount(owner, weights=counts * np.log2(counts), minlength=len(sizes))
    entropies = np.log2(sizes) - mass / sizes
    return np.where(entropies > ROUNDING, entropies, 0.0)


def set_entropies(sets: Int[np.ndarray, "set m"], label: Int[np.ndarray, " row"]) -> Float[np.ndarray, " set"]:
    """Compute the entropy of the labels of each set of m rows, given by their numbers, in bits."""
    owner = np.repeat(np.arange(len(sets)), sets.shape[1])
    return group_entropies(owner, label[sets.ravel()])


def _number(values: np.ndarray) -> np.ndarray:
    """Number the distinct values from 0 in their order."""
    return np.unique(values, return_inverse=True)[1].astype(np.int64)


def _pair(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Give every pair of two numberings a number of its own, in the order of the first."""
    return first * (second.max(initial=0) + 1) + second
