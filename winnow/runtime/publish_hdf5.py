"""Publish a small HDF5 file. What is large is written by `winnow.shards.contiguous`.

The library builds the file in memory, and Python writes it: when the library itself meets a full disk, the file cannot
be closed, and each of its objects prints a traceback when it is collected.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from winnow.runtime.publish import publish_file


@contextmanager
def publish_hdf5(path: Path) -> Iterator[h5py.File]:
    """Yield an empty file in memory; publish it at `path` when the block succeeds."""
    with (
        publish_file(path) as partial,
        h5py.File(str(partial), "w", driver="core", backing_store=False) as file,
    ):
        yield file
        file.flush()
        partial.write_bytes(file.id.get_file_image())
