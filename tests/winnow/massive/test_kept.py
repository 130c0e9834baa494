"""Rows numbered without the massive ones are those of a store that never held them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.massive import MASSIVE, ROWS, before_norms, stores
from tests.stores import write_store
from tests.train.experiments import HOOK
from winnow.massive.kept import KeptRows, kept_rows

RUNS = [(0, 8), (8, 40), (90, 10)]


@pytest.mark.parametrize(
    "massive", [[], [0], [99], [3, 4, 5], [7, 8, 9, 47], [0, 1, 50, 98, 99], [*range(0, 100, 2)], [*range(60)]]
)
def test_rows_by_number_are_those_left(massive: list[int], tmp_path: Path) -> None:
    store = write_store(tmp_path, {"h": torch.arange(1.0, 101)[:, None]}, rows_per_shard=32)
    kept = KeptRows(store, "h", np.array(massive, np.int64), 10)
    left = torch.tensor([number for number in range(100) if number not in massive])
    assert kept.rows == len(left)
    for start, stop in ((0, kept.rows), (0, 0), (3, 17), (kept.rows - 1, kept.rows)):
        assert kept.read(start, stop).flatten().tolist() == (left[start:stop] + 1).tolist()
        assert kept.tokens(start, stop).token.tolist() == left[start:stop].tolist()
    starts, counts = (np.array(column) for column in zip(*RUNS, strict=True))
    inside = starts + counts <= kept.rows
    starts, counts = starts[inside], counts[inside]
    out = torch.empty(int(counts.sum()), 1)
    kept.read_runs_into(out, starts, counts)
    expected = torch.cat([left[s : s + c] for s, c in zip(starts, counts, strict=True)]) + 1
    assert out.flatten().tolist() == expected.tolist()


def test_means_are_those_of_a_store_without_them(tmp_path: Path) -> None:
    whole, less = (kept_rows(store, HOOK, 10) for store in stores(tmp_path))
    assert (whole.rows, less.rows) == (ROWS - len(MASSIVE),) * 2
    np.testing.assert_allclose(whole.mean, less.mean, rtol=1e-6, atol=1e-9)
    assert whole.mean_norm == pytest.approx(less.mean_norm, rel=1e-9)
    assert whole.left_out is not None
    assert less.left_out is None


def test_zero_and_older_stores_take_them_in(tmp_path: Path) -> None:
    store, _ = stores(tmp_path)
    for kept in (kept_rows(store, HOOK, 0), kept_rows(before_norms(store), HOOK, 10)):
        assert (kept.rows, kept.bound, kept.left_out) == (ROWS, 0, None)
        assert kept.mean_norm == store.statistics(HOOK).mean_norm


def test_rows_beyond_the_kept_ones_are_refused(tmp_path: Path) -> None:
    kept = kept_rows(stores(tmp_path)[0], HOOK, 10)
    with pytest.raises(IndexError, match="of 9998"):
        kept.read(9990, 9999)
