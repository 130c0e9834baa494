import itertools

import h5py
import numpy as np
import pytest

from harvest.accumulate import statistics_of
from tests.harvest.test_accumulate import CONTEXT, sample
from winnow.shards.statistics import HookStatistics, merge_all, write_statistics


@pytest.mark.parametrize("cuts", [[1], [250], [1, 2, 3, 499], [100, 100, 300]])
def test_merged_parts_equal_the_whole(cuts: list[int]):
    x, positions = sample()
    whole = statistics_of(x, positions, CONTEXT)
    bounds = [0, *cuts, len(x)]
    parts = [statistics_of(x[a:b], positions[a:b], CONTEXT) for a, b in itertools.pairwise(bounds) if a < b]
    merged = merge_all(parts, x.shape[1], CONTEXT)
    assert merged.rows == whole.rows
    for name in ("mean", "m2", "m3", "m4", "norm_sum"):
        np.testing.assert_allclose(getattr(merged, name), getattr(whole, name), rtol=1e-4, err_msg=name)
    for name in ("norm_histogram", "position_rows"):
        np.testing.assert_array_equal(getattr(merged, name), getattr(whole, name), err_msg=name)


def test_written_and_read_back(tmp_path):
    x, positions = sample()
    found = statistics_of(x, positions, CONTEXT)
    write_statistics(tmp_path / "s.h5", {"a.hook": found}, {"a.hook": 1.5})
    with h5py.File(tmp_path / "s.h5") as file:
        read = HookStatistics.read(file["a.hook"])
        assert np.asarray(file["a.hook/median_norm"]) == 1.5
    for name in HookStatistics._fields:
        np.testing.assert_array_equal(getattr(read, name), getattr(found, name), err_msg=name)
