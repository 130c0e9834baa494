"""Write and read contiguous HDF5 data sets with `pwrite` and `pread`, bypassing the HDF5 library.

The bytes of a contiguous data set start at a fixed offset. So the library only lays out an empty file; its
space is reserved on the disk, and `pwrite` puts rows in place. Three reasons: a full disk raises an ordinary
OSError before anything is written (inside the library it leaves a file that cannot be closed, and the process
crashes when Python collects it); `pwrite` lets other threads run; and it is as fast as the disk. Forked
processes may read through one descriptor; `winnow.runtime.open_files` bounds how many a process holds.
"""

import hashlib
import math
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import h5py
import numpy as np

from winnow.errors import UserError, nearest
from winnow.paths import refuse_special
from winnow.runtime.open_files import FileOnDisk
from winnow.shards.heaps import check_heaps

LAYOUT_BYTES = 1 << 20  # more than the library's own part of a file needs
META_BLOCK = 2048  # bytes in which the library lays out a file, where it is not told otherwise


@runtime_checkable
class ReadMany(Protocol):
    """Reads many places of a file in one call."""

    def __call__(
        self, descriptor: int, out: np.ndarray, places: np.ndarray, sizes: np.ndarray, offsets: np.ndarray
    ) -> int:
        """Read `sizes[i]` bytes from byte `offsets[i]` on into `out` from byte `places[i]` on; how many reads it made.

        Those that it did not make are the last ones.
        """
        ...


class DataSet(NamedTuple):
    """Shape, little-endian dtype and attributes of a data set to write."""

    shape: tuple[int, ...]
    dtype: np.dtype
    attributes: Mapping[str, Any]

    @property
    def bytes(self) -> int:
        return int(np.prod(self.shape)) * self.dtype.itemsize


class ContiguousFile:
    """An HDF5 file of fixed layout, open for writing rows."""

    def __init__(self, descriptor: int, sets: Mapping[str, DataSet], offsets: Mapping[str, int]) -> None:
        self._descriptor = descriptor
        self._sets = sets
        self._offsets = offsets

    def write(self, name: str, values: np.ndarray, row: int = 0) -> None:
        """Write `values` [row, …] into the data set `name` from `row` on."""
        spec = self._sets[name]
        assert values.dtype == spec.dtype, (name, values.dtype)
        assert values.shape[1:] == spec.shape[1:], (name, values.shape)
        assert row + len(values) <= spec.shape[0], (name, row, len(values))
        if values.size == 0:
            return
        left = np.ascontiguousarray(values).data.cast("B")
        at = self._offsets[name] + row * (spec.bytes // spec.shape[0])
        while left:
            written = os.pwrite(self._descriptor, left, at)
            left = left[written:]
            at += written

    def flush(self) -> None:
        """Wait until what has been written so far is on the disk; other threads may write meanwhile."""
        getattr(os, "fdatasync", os.fsync)(self._descriptor)


@contextmanager
def create_contiguous(
    path: Path, sets: Mapping[str, DataSet], attributes: Mapping[str, Any] | None = None
) -> Iterator[ContiguousFile]:
    """Lay out a file of `sets` (name -> layout), reserve its space, and yield it for writing.

    Raises OSError with ENOSPC if the disk has no room for all of it.
    """
    total = sum(spec.bytes for spec in sets.values())
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        os.posix_fallocate(descriptor, 0, total + LAYOUT_BYTES)
        os.ftruncate(descriptor, 0)
        offsets = _lay_out(path, sets, attributes or {})
        os.posix_fallocate(descriptor, 0, os.fstat(descriptor).st_size)
        yield ContiguousFile(descriptor, sets, offsets)
    except OSError as error:
        if error.filename is None:  # of calls that only know a number
            error.filename = str(path)
        raise
    finally:
        os.close(descriptor)


def layout_bytes(sets: Mapping[str, DataSet], attributes: Mapping[str, Any] | None = None) -> int:
    """Return the size in bytes of a file of `sets`, from an empty file that takes no space on the disk."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "layout.h5")
        _lay_out(path, sets, attributes or {})
        return path.stat().st_size


def _lay_out(path: Path, sets: Mapping[str, DataSet], attributes: Mapping[str, Any]) -> dict[str, int]:
    early = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    early.set_layout(h5py.h5d.CONTIGUOUS)
    early.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    early.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    early.set_obj_track_times(False)  # equal contents, equal bytes
    offsets = {}
    # attributes have room in front of the values, which end the file
    room = META_BLOCK + 2 * sum(len(name) + len(str(value)) for name, value in attributes.items())
    with h5py.File(path, "w", meta_block_size=room) as file:
        file.attrs.update(attributes)
        for name, spec in sets.items():
            parent, _, leaf = name.rpartition("/")
            group = file.require_group(parent) if parent else file
            kind = h5py.h5t.py_create(spec.dtype, logical=True)
            space = h5py.h5s.create_simple(spec.shape)
            created = h5py.Dataset(h5py.h5d.create(group.id, leaf.encode(), kind, space, early))
            created.attrs.update(spec.attributes)
            offsets[name] = created.id.get_offset() or 0  # None for one without rows
    return offsets


class StoredSet(NamedTuple):
    """Offset, shape, dtype and attributes of a data set in its file."""

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype
    attributes: Mapping[str, Any]

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


class ContiguousReader:
    """Read rows of the data sets of one file, whose structure is read once.

    Only what lies contiguous and whole in this very file is read. Raises `UserError` where a file is not HDF5, and
    where a data set that is asked for is stored in any other way.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._sets = find_sets(path)
        self._file = FileOnDisk(path)

    def __getitem__(self, name: str) -> StoredSet:
        if name not in self._sets:
            raise UserError(f"{self.path}: no contiguous data set {name}{nearest(name, self._sets)}")
        found = self._sets[name]
        if isinstance(found, str):
            raise UserError(f"{self.path}: {name}: expected a contiguous data set, found {found}")
        return found

    def expect(
        self, name: str, shape: tuple[int, ...], dtype: np.dtype, remedy: str, stored_as: str | None = None
    ) -> None:
        """Raise `UserError` where a data set has another shape or dtype, or an attribute `dtype` not `stored_as`."""
        found = self[name]
        if found.shape != shape or found.dtype != dtype:
            raise UserError(
                f"{self.path}: {name}: expected {_kind(shape, dtype)}, "
                f"found {_kind(found.shape, found.dtype)}; {remedy}"
            )
        said = found.attributes.get("dtype")
        if stored_as is not None and said != stored_as:
            what = "none" if said is None else repr(str(said))
            raise UserError(f"{self.path}: {name}: expected the attribute dtype = {stored_as}, found {what}; {remedy}")

    def read_into(self, out: np.ndarray, name: str, row: int) -> None:
        """Fill `out` [row, …], contiguous and of the stored dtype, with the rows from `row` on."""
        stored = self[name]
        assert out.dtype == stored.dtype, (name, out.dtype)
        if out.size == 0:
            return
        with self._file.opened() as descriptor:
            self._fill(descriptor, out.data.cast("B"), name, stored.offset + row * (out.nbytes // len(out)))

    def read_runs(
        self,
        out: np.ndarray,
        name: str,
        rows: np.ndarray,
        counts: np.ndarray,
        places: np.ndarray,
        read_many: ReadMany | None = None,
    ) -> None:
        """Read runs of rows into `out` [row, …], contiguous and of the stored dtype.

        Run i is the `counts[i]` rows from `rows[i]` on; it goes to `places[i]` in `out`. read_many: makes the reads;
        those that it does not make are made here, one by one.
        """
        stored = self[name]
        assert out.dtype == stored.dtype, (name, out.dtype)
        size = out.nbytes // max(1, len(out))
        view = out.data.cast("B")
        with self._file.opened() as descriptor:
            made = 0
            if read_many is not None:
                made = read_many(descriptor, out, places * size, counts * size, stored.offset + rows * size)
            left = (numbers[made:].tolist() for numbers in (rows, counts, places))
            for row, count, place in zip(*left, strict=True):
                self._fill(descriptor, view[place * size : (place + count) * size], name, stored.offset + row * size)

    def _fill(self, descriptor: int, left: memoryview, name: str, at: int) -> None:
        """Read from byte `at` on until `left` is full."""
        while left:
            count = os.preadv(descriptor, [left], at)
            if count == 0:
                raise UserError(f"{self.path}: ends at byte {at}, within {name}")
            if count == len(left):
                return
            left = left[count:]
            at += count


def find_sets(path: Path) -> dict[str, StoredSet | str]:
    """List the data sets of a file: where each lies, or why it cannot be read.

    Raises `UserError` where the file is no HDF5, or its structure is damaged.
    """
    found: dict[str, StoredSet | str] = {}
    refuse_special(path)
    size = path.stat().st_size if path.exists() else 0

    def visit(name: str, thing: Any) -> None:
        if isinstance(thing, h5py.Dataset):
            found[name] = _stored(thing, size)

    check_heaps(path)
    try:
        with h5py.File(path) as file:
            file.visititems(visit)
    except Exception as error:  # on damaged files the library raises whatever its parts raise
        raise UserError(f"{path}: not an HDF5 file ({' '.join(str(error).split())})") from error
    return found


class Layout(NamedTuple):
    """Where the values of a file's data sets lie, [start, bytes] in rising order, and the sha256 of its other bytes.

    The other bytes say what the data sets are called, and their shapes and types.
    """

    values: Sequence[Sequence[int]]
    sha256: str


def layout_of(path: Path) -> Layout:
    """Find where the values of a file lie, and hash the rest."""
    spans = sorted([found.offset, found.bytes] for found in find_sets(path).values() if isinstance(found, StoredSet))
    joined: list[list[int]] = []
    for start, size in spans:
        if joined and start == sum(joined[-1]):
            joined[-1][1] += size
        elif size:
            joined.append([start, size])
    return Layout(joined, rest_hash(path, joined))


def rest_hash(path: Path, values: Sequence[Sequence[int]]) -> str:
    """Compute the sha256 of the bytes of a file outside of the spans `values`, [start, bytes] in rising order."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for start, size in values:
            digest.update(file.read(max(0, start - file.tell())))
            file.seek(start + size)
        digest.update(file.read())
    return digest.hexdigest()


def _stored(thing: h5py.Dataset, size: int) -> StoredSet | str:
    """Say where a data set lies in its file of `size` bytes, or in a few words why that cannot be said."""
    layout = thing.id.get_create_plist().get_layout()
    if thing.is_virtual:
        return "a virtual one"
    if thing.external:
        return "one in another file"
    if layout != h5py.h5d.CONTIGUOUS:
        return {h5py.h5d.CHUNKED: "a chunked one", h5py.h5d.COMPACT: "a compact one"}.get(layout, "another layout")
    if thing.shape is None:
        return "an empty one"
    if thing.dtype.kind not in "iuf" or thing.dtype.byteorder == ">":
        return f"values of type {thing.dtype.str}"
    stored = StoredSet(0, thing.shape, thing.dtype, dict(thing.attrs))
    if not stored.bytes:
        return stored
    offset = thing.id.get_offset()
    if offset is None:
        return "one whose values were never written"
    if offset + stored.bytes > size:
        return f"one that ends at byte {offset + stored.bytes} of a file of {size}"
    return stored._replace(offset=offset)


def _kind(shape: tuple[int, ...], dtype: np.dtype) -> str:
    order = " of the other byte order" if dtype.byteorder == ">" else ""
    return f"{dtype.name}{order} [{', '.join(map(str, shape))}]"
