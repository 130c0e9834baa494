from pathlib import Path

import numpy as np
import pytest
import torch

from tests.stores import write_store
from train.loader import BLOCK_ROWS, Loader, Order
from winnow.config.experiment import TrainSettings
from winnow.errors import UserError
from winnow.store import ActivationStore

ROWS, WIDTH = 1000, 8
WINDOW_BYTES = 5000  # 7 windows of 17 or 18 blocks of 8 rows


@pytest.fixture
def store(tmp_path: Path) -> ActivationStore:
    """Rows that hold their own number."""
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


BATCH = 4096
LENGTH = 128  # rows of a sequence


def pairs_in_batches(stream: np.ndarray) -> np.ndarray:
    """Count the pairs of rows of one sequence in each batch of a stream of row numbers."""
    batches = stream[: len(stream) // BATCH * BATCH].reshape(-1, BATCH) // LENGTH
    counts = [np.unique(batch, return_counts=True)[1] for batch in batches]
    return np.array([(count * (count - 1) // 2).sum() for count in counts])


def window_of(order: Order, window: int) -> np.ndarray:
    """List the numbers of a window's rows in the order in which they are used."""
    blocks = order.blocks_of(0, window)
    numbers = (blocks[:, None] * order.block_rows + np.arange(order.block_rows)).ravel()
    return numbers[numbers < order.rows][order.places(0, window, blocks)]


@pytest.mark.parametrize("rows", [300_000, 1_000_000, 20_000_000])
def test_batch_has_as_many_rows_of_a_sequence_as_a_uniform_sample(rows: int) -> None:
    """Stores of 768 dimensions in float16, smaller than the window that is the default, three and 57 times as large."""
    width, window_bytes = 768 * 2, TrainSettings().window_mib * 2**20
    order = Order(rows, BLOCK_ROWS, window_bytes // (width * BLOCK_ROWS), seed=5)
    assert order.windows == -(-rows * width // window_bytes)
    stream = np.concatenate([window_of(order, window) for window in range(min(order.windows, 3))])
    pairs = pairs_in_batches(stream)
    expected = BATCH * (BATCH - 1) / 2 * (LENGTH - 1) / (rows - 1)
    if order.windows > 1:  # rows of one block never meet
        expected *= (LENGTH - BLOCK_ROWS) / (LENGTH - 1)
    error = np.sqrt(expected / len(pairs))  # pairs are nearly independent: their number is nearly Poisson
    assert abs(pairs.mean() - expected) < 4 * error
    assert pairs.max() < expected + 6 * np.sqrt(expected)  # no batch is much worse than the others
    # the test can fail: a plain shuffle of the window brings together what happens to be in it
    if order.windows > 1:
        plain = pairs_in_batches(np.random.default_rng(0).permutation(np.sort(window_of(order, 0))))
        assert plain.mean() > expected + 10 * error


def test_rows_of_a_block_never_meet_in_a_batch() -> None:
    order = Order(1_000_000, BLOCK_ROWS, 2 * BATCH, seed=5)
    for window in (0, order.windows - 1):
        stream = window_of(order, window)
        last = np.full(order.blocks, -BATCH)
        for at, block in enumerate((stream // BLOCK_ROWS).tolist()):
            assert at - last[block] >= BATCH * 0.95
            last[block] = at


def test_damaged_shard_stops_the_stream_and_is_named(store: ActivationStore) -> None:
    (shard,) = store.path.glob("shard-00003.h5")
    shard.write_bytes(shard.read_bytes()[:-2000])
    with pytest.raises(UserError, match=r"shard-00003\.h5: \d+ bytes, its sidecar says"):
        stream(store, 0, ROWS)
