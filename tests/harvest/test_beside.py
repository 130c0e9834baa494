"""Flushing beside the writing: one at a time, over before the file is closed, its errors raised."""

import os
import threading
from pathlib import Path

import pytest
import torch

from harvest import beside as harvest_beside
from harvest.beside import Flusher, beside
from harvest.write_shard import write_shard
from winnow.runtime.threads import thread_pool
from winnow.shards.layout import RowIndex

ROWS, WIDTH = 64, 8


def write(path: Path, pool) -> None:
    row = torch.arange(ROWS, dtype=torch.int32)
    with write_shard(path, {"h": WIDTH}, RowIndex(row, row, row), (0, ROWS), "float32", ROWS, pool=pool) as shard:
        for start in range(0, ROWS, 4):
            shard.append({"h": torch.full((4, WIDTH), float(start))})


def test_a_shard_reaches_the_disk_while_it_is_written_and_its_bytes_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write(tmp_path / "a.h5", None)
    monkeypatch.setattr(harvest_beside, "FLUSH_BYTES", 3 * 4 * 4 * WIDTH)
    flushed, real = [], os.fdatasync

    def counted(descriptor: int) -> None:
        real(descriptor)  # fails on a file that is closed
        flushed.append(threading.get_ident())

    monkeypatch.setattr(os, "fdatasync", counted)
    with thread_pool(2, torch_threads=1) as pool:
        write(tmp_path / "b.h5", pool)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert 2 <= len(flushed) <= ROWS // 4 // 3 + 1  # and once beside the hash
    assert threading.get_ident() not in flushed


def test_no_second_flush_begins_while_one_runs():
    go, begun = threading.Event(), []

    def flush() -> None:
        begun.append(1)
        go.wait(10)

    with thread_pool(4, torch_threads=1) as pool, Flusher(flush, pool) as flusher:
        for _ in range(5):
            flusher.wrote(harvest_beside.FLUSH_BYTES)
        assert len(begun) <= 1
        go.set()
    assert len(begun) == 1


def test_a_flush_that_fails_is_raised():
    def flush() -> None:
        raise OSError("no space")

    with thread_pool(1, torch_threads=1) as pool, pytest.raises(OSError, match="no space"), Flusher(flush, pool) as one:
        one.wrote(harvest_beside.FLUSH_BYTES)


def test_work_beside_ends_with_the_block_and_its_error_is_raised():
    done = []
    with thread_pool(1, torch_threads=1) as pool:
        with beside(pool, lambda: done.append(1)):
            pass
        assert done == [1]
        with pytest.raises(ZeroDivisionError), beside(pool, lambda: done.append(1 // 0)):
            pass
        with pytest.raises(KeyError), beside(pool, lambda: done.append(2)):
            raise KeyError
        assert done == [1, 2]
