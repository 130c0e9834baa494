"""Which rows are massive, how many there are, and what they do."""

import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from harvest.make_shards import merge_statistics
from tests.massive import DIMENSION, MASSIVE, ROWS, TIMES, before_norms, rows_with_massive, stores
from tests.stores import write_store
from tests.train.experiments import HOOK
from winnow.massive.rows import find, massive_rows, norm_limit
from winnow.shards.norms import estimated_median, median_norm


@pytest.mark.parametrize("count", [1, 2, 999, 1000])
@pytest.mark.parametrize("zeros", [0, 300])
def test_median_is_that_of_the_norms_above_zero(count: int, zeros: int) -> None:
    norms = np.random.default_rng(count).lognormal(2, 3, count).astype(np.float32)
    parts = np.array_split(np.concatenate([norms, np.zeros(zeros, np.float32)]), 3)
    assert median_norm(lambda: parts) == np.sort(norms)[(count - 1) // 2]


def test_median_of_zeros_is_zero_and_nothing_is_massive(tmp_path: Path) -> None:
    store = write_store(tmp_path, {HOOK: torch.zeros(64, 4)})
    assert store.median_norm(HOOK) == 0
    assert norm_limit(store, HOOK, 10) == math.inf
    assert find(store, HOOK, 10) is None


def test_norms_and_their_median_are_stored(tmp_path: Path) -> None:
    x = rows_with_massive()
    store = write_store(tmp_path, {HOOK: x}, dtype="bfloat16")
    norms = np.concatenate(list(store.norms(HOOK)))
    np.testing.assert_allclose(norms, x.norm(dim=1), rtol=1e-6)  # of the rows before they were rounded
    assert store.median_norm(HOOK) == median_norm(partial(store.norms, HOOK)) == np.sort(norms)[(ROWS - 1) // 2]


def test_massive_rows_are_found_and_named(tmp_path: Path) -> None:
    store, without = stores(tmp_path)
    found = find(store, HOOK, 10)
    assert found is not None
    assert massive_rows(store, HOOK, norm_limit(store, HOOK, 10)).tolist() == list(MASSIVE)
    x = rows_with_massive().double()
    squares = (x - x.mean(0)).square()
    assert (found.rows, found.share_of_rows, found.median_norm) == (2, 2 / ROWS, store.median_norm(HOOK))
    assert found.share_of_variance == pytest.approx(float(squares[list(MASSIVE)].sum() / squares.sum()), rel=1e-5)
    assert found.positions == [(1, 1), (8, 1)]  # 7777 and 3000 in sequences of 16
    assert found.tokens == [(MASSIVE[0], 1), (MASSIVE[1], 1)]
    assert [dimension for dimension, _ in found.dimensions] == [DIMENSION]
    assert found.words().startswith("2 of 10,000 rows are massive (norm above 10 times the median")
    assert find(without, HOOK, 10) is None
    assert find(store, HOOK, 0) == found  # taken in, they are named all the same
    assert find(store, HOOK, 2 * TIMES) is None


def test_decision_is_strict_and_exact(tmp_path: Path) -> None:
    """Of norms 1, 10 and the next number above 10, the last alone is massive."""
    x = torch.ones(101, 1)
    x[7], x[8] = 10, float(np.nextafter(np.float32(10), np.float32(11)))
    store = write_store(tmp_path, {HOOK: x})
    assert massive_rows(store, HOOK, norm_limit(store, HOOK, 10)).tolist() == [8]


def test_older_store_has_its_rows_named_from_the_rows_themselves(tmp_path: Path) -> None:
    store, _ = stores(tmp_path)
    known = find(store, HOOK, 10)
    (store.path / "statistics.h5").unlink()
    older = before_norms(store)
    merge_statistics(older.path)
    median = estimated_median(older.statistics(HOOK).norm_histogram)
    assert older.median_norm(HOOK) == median == pytest.approx(store.median_norm(HOOK), rel=0.15)
    assert known is not None
    assert find(older, HOOK, 10) == known._replace(median_norm=median)
