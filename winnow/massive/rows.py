"""Massive rows: activations whose norm is many times the median of their hook.

Language models park attention on a few positions or tokens, whose residual stream is then huge along a few dimensions
(Sun et al. 2024, Massive activations in large language models). A handful of such rows can be nine tenths of a hook's
variance, and every figure that sums squares is then about them.

    limit = norm_limit(store, hook, bound=10)            # a row is massive if its norm is above this
    numbers = massive_rows(store, hook, limit)           # of the rows, ascending
    print(describe(store, hook, numbers, bound=10).words())
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from winnow.massive.description import Massive
from winnow.shards.dtypes import TORCH
from winnow.shards.layout import RowIndex
from winnow.shards.norms import DEFAULT_BOUND, may_exceed
from winnow.store import ActivationStore

NAMED = 5  # positions and tokens that are named, the most frequent
DIMENSIONS = 3  # that are named, if
SHARE = 0.05  # they have this share of the massive rows' square, at least
CHUNK = 2**14  # rows read at a time
COLUMN_CHUNK = 2**20  # rows whose positions and tokens are read at a time


def norm_limit(store: ActivationStore, hook: str, bound: float | int) -> float:
    """Return the norm above which a row of a hook is massive: `bound` times the median; inf where `bound` is 0.

    It is a float32, as norms are: every comparison with it comes out alike.
    """
    median = store.median_norm(hook) if bound else 0.0
    return float(np.float32(bound * median)) if median else math.inf


def massive_rows(store: ActivationStore, hook: str, limit: float) -> Int64[np.ndarray, " massive"]:
    """List the rows of a hook whose norm is above `limit`; nothing is read where the statistics rule them out."""
    if not may_exceed(store.statistics(hook).norm_histogram, limit):
        return np.zeros(0, np.int64)
    found, at = [np.zeros(0, np.int64)], 0
    for norms in store.norms(hook):
        found.append(at + np.flatnonzero(norms > np.float32(limit)))
        at += len(norms)
    return np.concatenate(found)


def describe(
    store: ActivationStore, hook: str, numbers: Int64[np.ndarray, " massive"], bound: float | int
) -> Massive | None:
    """Describe the rows with these numbers; None where there are none."""
    if not len(numbers):
        return None
    statistics = store.statistics(hook)
    mean = torch.from_numpy(statistics.mean)
    squares, largest = torch.zeros_like(mean), 0.0
    for rows in read_rows(store, hook, numbers):
        rows = rows.double()
        squares += (rows - mean).square_().sum(0)
        largest = max(largest, float(rows.norm(dim=1).amax()))
    index = read_index(store, numbers)
    of_dimensions = squares / squares.sum()
    top = of_dimensions.topk(min(DIMENSIONS, len(mean)))
    return Massive(
        bound=bound,
        median_norm=store.median_norm(hook),
        largest_norm=largest,
        rows=len(numbers),
        all_rows=store.rows,
        share_of_rows=len(numbers) / store.rows,
        share_of_variance=min(1.0, float(squares.sum()) / float(statistics.m2.sum())),
        positions=_most_frequent(index.position),
        tokens=_most_frequent(index.token[index.token >= 0]),
        dimensions=[(d, s) for d, s in zip(top.indices.tolist(), top.values.tolist(), strict=True) if s >= SHARE],
    )


def find(store: ActivationStore, hook: str, bound: float | int) -> Massive | None:
    """Describe the massive rows of a hook; those by the usual bound where `bound` is 0, which takes them in."""
    bound = bound or DEFAULT_BOUND
    return describe(store, hook, massive_rows(store, hook, norm_limit(store, hook, bound)), bound)


def read_rows(
    store: ActivationStore, hook: str, numbers: Int64[np.ndarray, " massive"]
) -> Iterator[Float[Tensor, "row width"]]:
    """Read single rows in parts, as float32; `numbers` ascend."""
    for part in np.split(numbers, range(CHUNK, len(numbers), CHUNK)):
        out = torch.empty(len(part), store.hooks[hook], dtype=TORCH[store.manifest["storage_dtype"]])
        store.read_runs_into(out, hook, part, np.ones_like(part))
        yield out.float()


def read_index(store: ActivationStore, numbers: Int64[np.ndarray, " massive"]) -> RowIndex:
    """Read sequence, position and token of single rows; `numbers` ascend."""
    parts = []
    for start in range(0, store.rows, COLUMN_CHUNK):
        here = numbers[slice(*np.searchsorted(numbers, [start, start + COLUMN_CHUNK]))]
        if len(here):
            index = store.tokens(int(here[0]), int(here[-1]) + 1)
            parts.append([column[here - here[0]] for column in index])
    return RowIndex(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


def _most_frequent(values: Tensor) -> list[tuple[int, int]]:
    found, counts = values.unique(return_counts=True)
    order = counts.argsort(descending=True, stable=True)[:NAMED]
    return list(zip(found[order].tolist(), counts[order].tolist(), strict=True))
