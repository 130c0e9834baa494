"""Rows that a device holds and gathers are those of the host, in the same order."""

from pathlib import Path

import pytest
import torch

from tests.stores import write_store
from tests.train.links import LateLink
from train.device_windows import DeviceWindows, batches_on, device_bytes
from train.loader import Loader
from winnow.massive.kept import KeptRows, kept_rows
from winnow.store import ActivationStore

ROWS, WIDTH = 1003, 4  # the last block of all has three rows
ROW_BYTES = 2 * WIDTH
PIECE = 3 * 8 * ROW_BYTES  # bytes of three blocks


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ActivationStore:
    """Rows that hold their own number."""
    numbers = torch.arange(1.0, ROWS + 1)[:, None].expand(ROWS, WIDTH).contiguous()
    return write_store(tmp_path_factory.mktemp("rows"), {"h": numbers}, rows_per_shard=96, dtype="float16")


def loader_of(store: ActivationStore, window_rows: int, kept: KeptRows | None = None) -> Loader:
    return Loader(store, "h", 0, window_rows * ROW_BYTES, kept=kept)


def assert_the_same(loader: Loader, start: int, stop: int, batch_rows: int) -> None:
    expected = list(loader.batches(start, stop, batch_rows))
    found = list(DeviceWindows(loader, LateLink(), PIECE).batches(start, stop, batch_rows))
    assert len(found) == len(expected)
    for batch, other in zip(found, expected, strict=True):
        assert batch.dtype == other.dtype == torch.float16
        assert torch.equal(batch, other)


@pytest.mark.parametrize("window_rows", [8, 144, ROWS // 2, 2 * ROWS], ids=lambda rows: f"window of {rows}")
@pytest.mark.parametrize("batch_rows", [7, 64, 400], ids=lambda rows: f"batch of {rows}")
def test_batches_of_a_device_are_those_of_the_host(store: ActivationStore, window_rows: int, batch_rows: int):
    """Across the borders of windows and epochs; the last batch is short."""
    assert_the_same(loader_of(store, window_rows), 0, 2 * ROWS + 5, batch_rows)


@pytest.mark.parametrize("start", [1, 143, 144, 640, ROWS - 1, ROWS, ROWS + 313])
@pytest.mark.parametrize("window_rows", [144, 2 * ROWS])
def test_stream_of_a_device_goes_on_from_any_row(store: ActivationStore, start: int, window_rows: int):
    assert_the_same(loader_of(store, window_rows), start, 2 * ROWS, 64)


def test_rows_that_are_left_out_are_not_sent(tmp_path: Path):
    x = torch.ones(200, WIDTH)
    x[::9] = 1000
    store = write_store(tmp_path, {"h": x})
    kept = kept_rows(store, "h", 100.0)
    assert kept.rows == 200 - len(x[::9])
    loader = Loader(store, "h", 0, 40 * 4 * WIDTH, kept=kept)
    batches = torch.cat(list(DeviceWindows(loader, LateLink(), PIECE).batches(0, 300, 32)))
    assert torch.equal(batches, torch.cat(list(loader.batches(0, 300, 32))))
    assert batches.max() == 1


@pytest.mark.parametrize("window_rows", [144, 2 * ROWS])
def test_a_device_holds_the_bytes_that_are_counted(store: ActivationStore, window_rows: int):
    loader, link = loader_of(store, window_rows), LateLink()
    list(DeviceWindows(loader, link, PIECE).batches(0, 3 * ROWS, 64))
    assert link.device_bytes == device_bytes(loader)
    assert link.pinned_bytes <= 2 * PIECE + 8 * loader.order.window_rows


def test_where_windows_do_not_fit_the_order_is_the_same(store: ActivationStore, capsys: pytest.CaptureFixture[str]):
    loader, link = loader_of(store, 144), LateLink()
    needed = device_bytes(loader)
    expected = torch.cat(list(loader.batches(5, 2 * ROWS, 64)))
    there = torch.cat(list(batches_on(loader, link, needed, 5, 2 * ROWS, 64)))
    assert torch.equal(there, expected)
    assert link.device_bytes == needed
    assert not capsys.readouterr().err
    here = torch.cat(list(batches_on(loader, LateLink(), needed - 1, 5, 2 * ROWS, 64)))
    assert torch.equal(here, expected)
    assert (
        "h: the GPU has 4.6e-06 GB left, and its windows of rows take 4.6e-06 GB; rows are" in capsys.readouterr().err
    )
    assert torch.equal(torch.cat(list(batches_on(loader, None, 0, 5, 2 * ROWS, 64))), expected)
