from pathlib import Path

import numpy as np
import pytest
import torch

from tests.stores import write_store
from train import loader
from train.loader import Loader, Order
from winnow.store import ActivationStore

ROWS, WIDTH = 1000, 8
WINDOW_BYTES = 5000  # 156 rows in a window, 31 in a block


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ActivationStore:
    """Rows that hold their own number; blocks so small that there are several windows."""
    monkeypatch.setattr(loader, "BLOCK_BYTES", 1000)
    numbers = torch.arange(1.0, ROWS + 1)[:, None].expand(ROWS, WIDTH).contiguous()
    return write_store(tmp_path, {"h": numbers}, rows_per_shard=96)


def stream(store: ActivationStore, start: int, stop: int, batch_rows: int = 64, seed: int = 0) -> list[int]:
    batches = list(Loader(store, "h", seed, WINDOW_BYTES).batches(start, stop, batch_rows))
    assert all(len(batch) == batch_rows for batch in batches[:-1])
    for batch in batches:
        assert (batch == batch[:, :1]).all()
    return [int(number) - 1 for batch in batches for number in batch[:, 0]]


def test_every_epoch_holds_every_row_once(store: ActivationStore) -> None:
    order = stream(store, 0, 2 * ROWS)
    assert sorted(order[:ROWS]) == list(range(ROWS))
    assert sorted(order[ROWS:]) == list(range(ROWS))
    assert order[:ROWS] != order[ROWS:]


def test_order_is_a_pure_function_of_seed_and_epoch(store: ActivationStore) -> None:
    assert stream(store, 0, 300) == stream(store, 0, 300)
    assert stream(store, 0, 300) != stream(store, 0, 300, seed=1)
    # seed 0, epoch 1 and seed 1, epoch 0 are not one order
    assert stream(store, ROWS, ROWS + 300) != stream(store, 0, 300, seed=1)


@pytest.mark.parametrize("start", [1, 155, 156, 640, ROWS - 1, ROWS, ROWS + 313])
def test_stream_goes_on_from_any_row(store: ActivationStore, start: int) -> None:
    assert stream(store, start, 2 * ROWS) == stream(store, 0, 2 * ROWS)[start:]


def test_batch_size_does_not_change_the_order(store: ActivationStore) -> None:
    assert stream(store, 0, ROWS, batch_rows=7) == stream(store, 0, ROWS, batch_rows=400)


def test_one_window_for_all_is_reshuffled_every_epoch(tmp_path: Path) -> None:
    store = write_store(tmp_path, {"h": torch.arange(90.0).view(90, 1)})
    batches = torch.cat(list(Loader(store, "h", 0, 2**20).batches(0, 180, 32))).flatten()
    assert sorted(batches[:90].tolist()) == sorted(batches[90:].tolist()) == list(range(90))
    assert not torch.equal(batches[:90], batches[90:])


def test_stored_dtype_is_kept(tmp_path: Path) -> None:
    store = write_store(tmp_path, {"h": torch.linspace(-3, 3, 64).view(32, 2)}, dtype="bfloat16")
    batch = next(Loader(store, "h", 0, 2**20).batches(0, 32, 32))
    assert batch.dtype == torch.bfloat16
    assert set(batch.flatten().tolist()) == set(torch.linspace(-3, 3, 64).bfloat16().tolist())


def test_windows_mix_blocks_from_everywhere() -> None:
    order = Order(rows=100_000, block_rows=100, blocks_per_window=100, seed=3)
    blocks = order.blocks_of(0, 0)
    assert len(set(blocks.tolist())) == 100
    # of 100 out of 1000 blocks drawn at random, the mean lies within 4 standard errors
    assert abs(blocks.mean() - 499.5) < 4 * 1000 / np.sqrt(12 * 100)
    everything = np.concatenate([order.blocks_of(0, window) for window in range(order.windows)])
    assert sorted(everything.tolist()) == list(range(order.blocks))


@pytest.mark.parametrize("windows", [1, 4])
def test_rows_of_a_sequence_meet_in_a_batch_as_often_as_in_uniform_samples_of_the_window(windows: int) -> None:
    """Count pairs of rows of one sequence in each batch; their mean is known exactly for a shuffled window."""
    length, batch = 64, 1000
    order = Order(rows=400 * length, block_rows=4 * length, blocks_per_window=100 // windows, seed=5)
    assert order.windows == windows
    pairs = []
    for window in range(windows):
        blocks = order.blocks_of(0, window)
        size = order.size(blocks)
        numbers = (blocks[:, None] * order.block_rows + np.arange(order.block_rows)).ravel()
        stream = numbers[order.places(0, window, size)] // length
        for start in range(0, size - batch + 1, batch):
            counts = np.bincount(stream[start : start + batch])
            pairs.append((counts * (counts - 1) // 2).sum())
    size = order.rows // windows
    expected = batch * (batch - 1) / 2 * (length - 1) / (size - 1)
    error = np.sqrt(expected / len(pairs))  # pairs are nearly independent: their number is nearly Poisson
    assert abs(np.mean(pairs) - expected) < 4 * error
