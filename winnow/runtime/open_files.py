"""Files that are read again and again, of which a process holds only so many open at once.

    file = FileOnDisk(path)
    with file.opened() as descriptor: …     # opened again where it was closed meanwhile

A store may have more shards than a process may open files. The files used last stay open, of all readers together;
another one closes when nobody reads from it any more.
"""

import os
import resource
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from winnow.errors import UserError

MOST = 256
SHARE = 4  # of the files that this process may open: one in so many


class _Descriptor:
    """An open file, which closes when nobody holds it."""

    def __init__(self, path: Path) -> None:
        self.number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self, close: Callable[[int], None] = os.close) -> None:  # at exit the module may be gone before
        if hasattr(self, "number"):
            close(self.number)


class FileOnDisk:
    """A file that is read while it stays as it is now. Threads and forked processes may share it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._first = _identity(path.stat())
        self._held: _Descriptor | None = None

    @contextmanager
    def opened(self) -> Iterator[int]:
        """Yield a descriptor for reading. Raises `UserError` where the file was replaced or changed meanwhile."""
        held = self._held
        if held is None:
            held = _Descriptor(self.path)
            if _identity(os.fstat(held.number)) != self._first:
                raise UserError(f"{self.path}: changed while it was being read; open it again")
            _RECENT.make_room(most_open())
        _RECENT.used(self, held)
        yield held.number


class _Recent:
    """The files that were used last; older ones are let go."""

    def __init__(self) -> None:
        self._files: dict[int, weakref.ref[FileOnDisk]] = {}  # the one used last stands last
        self._lock = threading.Lock()

    def used(self, file: FileOnDisk, held: _Descriptor) -> None:
        """Keep a file open that is being used."""
        with self._lock:
            file._held = held
            self._files.pop(id(file), None)
            self._files[id(file)] = weakref.ref(file)

    def make_room(self, most: int) -> None:
        """Let go of the files used longest ago, so that one more is no more than `most`."""
        with self._lock:
            while len(self._files) >= most:
                oldest = self._files.pop(next(iter(self._files)))()
                if oldest is not None:
                    oldest._held = None

    def forked(self) -> None:
        """Make a new lock: another thread of the parent may have held this one."""
        self._lock = threading.Lock()


def most_open() -> int:
    """Return how many files this process holds open at most."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if limit == resource.RLIM_INFINITY else max(1, min(MOST, limit // SHARE))


def _identity(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


_RECENT = _Recent()
os.register_at_fork(after_in_child=_RECENT.forked)
