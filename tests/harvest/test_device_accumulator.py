"""Counting where rows are computed: the statistics, bytes and refusals of counting on the CPU."""

from contextlib import ExitStack
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.stats
import torch

from harvest import device_accumulator
from harvest.accumulate import Accumulator
from harvest.background_writer import BackgroundShard, DeviceCounting
from harvest.device_accumulator import DeviceAccumulator
from harvest.host_buffers import HostBuffers
from harvest.write_shard import write_shard
from winnow.errors import UserError
from winnow.runtime.threads import thread_pool
from winnow.shards.layout import RowIndex
from winnow.shards.statistics import HookStatistics

CPU = torch.device("cpu")
CONTEXT = 5
COUNTS = ("rows", "histogram", "norm_histogram", "position_rows")
SUMS = ("mean", "m2", "m3", "m4", "norm_sum")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a batch takes several."""
    monkeypatch.setattr(device_accumulator, "BLOCK_VALUES", 200)


def sample(rows: int, width: int, seed: int = 0) -> torch.Tensor:
    x = torch.randn(rows, width, generator=torch.Generator().manual_seed(seed)) ** 3 + 100 * torch.arange(width)
    x[::7, 0] = 0
    x[1::7, 1] = -1e-30
    return x


def both(parts: list[torch.Tensor]) -> tuple[HookStatistics, HookStatistics]:
    """Count the same batches by both; position = row, modulo the context."""
    width, at = parts[0].shape[1], 0
    here, there = Accumulator(width, CONTEXT), DeviceAccumulator(width, CONTEXT, CPU)
    for part in parts:
        positions = torch.arange(at, at + len(part), dtype=torch.int32) % CONTEXT
        one, two = here.add(part, positions), there.add(part, positions)
        torch.testing.assert_close(two, one, rtol=1e-6, atol=0)
        at += len(part)
    return here.result(), there.result()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_both_accumulators_agree_with_each_other_and_with_float64(dtype: torch.dtype):
    x = sample(500, 9).to(dtype)
    here, there = both([x[:0], x[:111], x[111:111], x[111:]])
    for name in COUNTS:
        np.testing.assert_array_equal(getattr(there, name), getattr(here, name), err_msg=name)
    for name in SUMS:
        np.testing.assert_allclose(getattr(there, name), getattr(here, name), rtol=1e-5, err_msg=name)
    exact = x.double().numpy()
    np.testing.assert_allclose(there.mean, exact.mean(0), rtol=1e-9)
    np.testing.assert_allclose(there.variance, exact.var(0), rtol=1e-9)
    np.testing.assert_allclose(there.skewness, scipy.stats.skew(exact), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(there.excess_kurtosis, scipy.stats.kurtosis(exact), rtol=1e-6, atol=1e-9)
    assert there.mean_norm == pytest.approx(np.linalg.norm(exact, axis=1).mean(), rel=1e-6)


def test_no_rows_are_no_statistics():
    for found in both([torch.empty(0, 4)]):
        for name, zero in HookStatistics.zero(4, CONTEXT)._asdict().items():
            np.testing.assert_array_equal(getattr(found, name), zero, err_msg=name)


def test_the_same_rows_give_the_same_bits():
    x = sample(300, 9)
    for name, first in both([x])[1]._asdict().items():
        np.testing.assert_array_equal(getattr(both([x])[1], name), first, err_msg=name)


WIDTHS = {"wide": 40, "narrow": 3}


def rows_of(count: int, seed: int = 0) -> dict[str, torch.Tensor]:
    return {hook: sample(count, width, seed) for hook, width in WIDTHS.items()}


def write_both(
    folder: Path, batches: list[dict[str, torch.Tensor]], dtype: str, buffers: HostBuffers, name: str = "shard"
) -> tuple[Path, Path]:
    """Write batches as two shards, counted in the writer's thread and where the rows are."""
    row = torch.arange(sum(len(batch["wide"]) for batch in batches), dtype=torch.int32)
    index = RowIndex(row // CONTEXT, row % CONTEXT, row)
    accumulators = {hook: DeviceAccumulator(width, CONTEXT, CPU) for hook, width in WIDTHS.items()}
    counting = DeviceCounting(accumulators, index.position, dtype, buffers, None)
    paths = folder / f"{name}-here.h5", folder / f"{name}-there.h5"
    with thread_pool(1, torch_threads=1) as pool:
        for path, way in zip(paths, (None, counting), strict=True):
            counted = way and accumulators
            opened = write_shard(path, WIDTHS, index, (0, len(row)), dtype, CONTEXT, counted=counted)
            with BackgroundShard(pool, opened, ExitStack(), way) as shard:
                for batch in batches:
                    shard.append(batch)
            shard.wait()
    return paths


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("block", [64, 256, 2**12])
def test_what_is_counted_there_is_stored_as_if_counted_here(tmp_path: Path, dtype: str, block: int):
    buffers = HostBuffers(pinned=False, batches=2, block_bytes=block)
    for number in range(3):  # shards share the buffers
        batches = [rows_of(count, number) for count in (13, 0, 61, 8, 20, 33)]
        here, there = write_both(tmp_path, batches, dtype, buffers, str(number))
        with h5py.File(here) as one, h5py.File(there) as two:
            for hook in WIDTHS:
                for name in (f"activations/{hook}", f"norms/{hook}", *(f"statistics/{hook}/{c}" for c in COUNTS)):
                    np.testing.assert_array_equal(np.asarray(two[name]), np.asarray(one[name]), err_msg=name)
                for name in (f"statistics/{hook}/{c}" for c in SUMS):
                    np.testing.assert_allclose(np.asarray(two[name]), np.asarray(one[name]), rtol=1e-5, err_msg=name)
    bytes_of_batch = 61 * (43 * (4 if dtype == "float32" else 2) + 2 * 4)
    assert buffers.made <= 2 * (2 * bytes_of_batch // block + 6)  # two batches on their way, blocks mostly filled


@pytest.mark.parametrize(
    ("bad", "dtype"),
    [(70000.0, "float16"), (3.4e38, "bfloat16"), (float("inf"), "float16"), (float("nan"), "float32")],
)
def test_a_value_that_is_not_finite_is_refused_in_the_same_words(tmp_path: Path, bad: float, dtype: str):
    batches = [rows_of(30), rows_of(50)]
    batches[1]["narrow"][44, 2] = bad
    batches[1]["narrow"][47, 1] = float("nan")
    said = [refusal(tmp_path / way, batches, dtype, way == "there") for way in ("here", "there")]
    assert said[0].startswith(f"narrow: {bad:g} at sequence 14, position 4, dimension 2")
    assert said[0] == said[1]


def refusal(path: Path, batches: list[dict[str, torch.Tensor]], dtype: str, there: bool) -> str:
    """Write the batches, and more than there is room for; return the refusal."""
    row = torch.arange(160, dtype=torch.int32)
    index = RowIndex(row // CONTEXT, row % CONTEXT, row)
    accumulators = {hook: DeviceAccumulator(width, CONTEXT, CPU) for hook, width in WIDTHS.items()}
    counting = DeviceCounting(accumulators, index.position, dtype, HostBuffers(False, batches=2), None)
    opened = write_shard(path, WIDTHS, index, (0, 80), dtype, CONTEXT, counted=accumulators if there else None)

    def write() -> None:
        with thread_pool(1, torch_threads=1) as pool:
            with BackgroundShard(pool, opened, ExitStack(), counting if there else None) as shard:
                for batch in [*batches, *[rows_of(10)] * 8]:
                    shard.append(batch)
            shard.wait()

    with pytest.raises(UserError) as refused:
        write()
    assert not path.exists()
    return str(refused.value)
