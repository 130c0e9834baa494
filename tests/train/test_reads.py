"""Many places of a file are read in one call, and what is cut short is said."""

import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from train.reads import read_many


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "bytes"
    path.write_bytes(np.random.default_rng(0).bytes(100_000))
    return path


def test_what_is_read_is_what_is_there(file: Path) -> None:
    content, generator = np.frombuffer(file.read_bytes(), np.uint8), np.random.default_rng(1)
    sizes = generator.integers(0, 50, 300)
    offsets = generator.integers(0, len(content) - 50, 300)
    places = np.cumsum(sizes) - sizes
    out = np.zeros(sizes.sum(), np.uint8)
    descriptor = os.open(file, os.O_RDONLY)
    assert read_many(descriptor, out, places, sizes, offsets) == 300
    os.close(descriptor)
    expected = np.concatenate([content[at : at + size] for at, size in zip(offsets, sizes, strict=True)])
    assert np.array_equal(out, expected)


def test_reads_up_to_the_first_that_is_not_whole(file: Path) -> None:
    descriptor, out = os.open(file, os.O_RDONLY), np.zeros(30, np.uint8)
    places, sizes, offsets = np.array([0, 10, 20]), np.array([10, 10, 10]), np.array([0, 99_995, 0])
    assert read_many(descriptor, out, places, sizes, offsets) == 1
    os.close(descriptor)
    assert read_many(descriptor, out, places, sizes, offsets) == 0  # closed


def test_nothing_is_written_beyond_the_memory(file: Path) -> None:
    for place in (-1, 25):
        with pytest.raises(IndexError, match="of 30"):
            read_many(0, np.zeros(30, np.uint8), np.array([place]), np.array([10]), np.array([0]))


def test_another_thread_goes_on_meanwhile(file: Path) -> None:
    count = 2_000_000
    zeros, descriptor = np.zeros(count, np.int64), os.open(file, os.O_RDONLY)
    read_many(descriptor, np.zeros(1, np.uint8), zeros[:1], zeros[:1] + 1, zeros[:1])  # compiled before it is timed
    reading = threading.Thread(target=read_many, args=(descriptor, np.zeros(1, np.uint8), zeros, zeros + 1, zeros))
    reading.start()
    turns = 0
    while reading.is_alive():
        turns += 1
        time.sleep(0)
    os.close(descriptor)
    assert turns > 100
