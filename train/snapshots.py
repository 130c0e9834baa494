"""Snapshots of dictionaries during training, at log-spaced rows, so that phase transitions can be plotted.

dictionaries/<hook>/<name>/snapshots/rows-0000000131072/   an ordinary dictionary, `winnow.load_dictionary` opens it

They do not count among the run's dictionaries: `winnow.load_dictionaries` finds only the finished ones.

They are written in the background: a disk takes a tenth of a second to write one, and small dictionaries train on
hundreds of rows meanwhile. All snapshots of one moment are on disk before the next are begun, and before a checkpoint.
"""

import math
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from winnow.dictionary import Dictionary, save_dictionary

SNAPSHOTS = "snapshots"
WRITERS = 4  # threads that wait for the disk


class SnapshotWriter:
    """Snapshots on their way to the disk."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self.pool = pool
        self.writing: list[Future[None]] = []

    def write(
        self, dictionary: Dictionary, folder: Path, rows: int, metadata: dict[str, Any], record: dict[str, Any]
    ) -> None:
        """Begin to write a snapshot of a dictionary; its tensors must not change any more."""
        self.writing.append(self.pool.submit(write_snapshot, dictionary, folder, rows, metadata, record))

    def wait(self) -> None:
        """Wait until all begun snapshots are on disk. Raises the error of one that could not be written."""
        for future in self.writing:
            future.result()
        self.writing.clear()


@contextmanager
def snapshot_writer() -> Iterator[SnapshotWriter]:
    """Write snapshots while the training goes on."""
    with ThreadPoolExecutor(WRITERS, "snapshots") as pool:
        yield SnapshotWriter(pool)


def snapshot_due(before: int, rows: int, per_doubling: int, first: int) -> bool:
    """Tell whether the step from `before` to `rows` reaches one of first · 2^(i / per_doubling), i = 0, 1, …"""
    return per_doubling > 0 and _passed(rows, per_doubling, first) > _passed(before, per_doubling, first)


def most_snapshots(rows: int, per_doubling: int, batch_rows: int) -> int:
    """Count the snapshots of a training of `rows` rows: one at the first batch, then `per_doubling` a doubling."""
    if not per_doubling:
        return 0
    steps = -(-rows // batch_rows)
    points = range(_passed(rows, per_doubling, batch_rows))
    due = {math.ceil(2 ** (point / per_doubling) - 1e-9) for point in points}  # a step takes one at most
    return len({min(step, steps) for step in due})


def snapshot_path(folder: Path, rows: int) -> Path:
    """Return the folder of a dictionary's snapshot after `rows` rows."""
    return folder / SNAPSHOTS / f"rows-{rows:013d}"


def write_snapshot(
    dictionary: Dictionary, folder: Path, rows: int, metadata: dict[str, Any], record: dict[str, Any]
) -> None:
    """Save a dictionary as it is after `rows` rows; a training that resumes before them writes the same again."""
    save_dictionary(dictionary, snapshot_path(folder, rows), metadata, record)


def _passed(rows: int, per_doubling: int, first: int) -> int:
    """Count the points of the series up to `rows`."""
    return 0 if rows < first else 1 + math.floor(per_doubling * math.log2(rows / first) + 1e-9)
