"""Recognise that the system ran out of disk space or open files, whichever library noticed.

Python says so by the number of an OSError. safetensors and HDF5 say it in words only, each in an exception of its own;
and what arrives may be another exception, raised while this one was handled.
"""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

REASONS = {  # what ran out, and the remedy
    errno.ENOSPC: ("the disk is full", "free some space"),
    errno.EDQUOT: ("the quota of disk space is used up", "free some space"),
    errno.EFBIG: ("a file would be larger than is allowed", "raise the limit (ulimit -f)"),
    errno.EMFILE: ("too many files are open", "raise the limit (ulimit -n)"),
    errno.ENFILE: ("too many files are open on this machine", "wait until there are fewer"),
}
_IN_WORDS = re.compile(r"(?:os error|errno =|Errno) (\d+)\b")  # safetensors' words, HDF5's and Python's


class Exhausted(NamedTuple):
    """What ran out, what to do about it, and the file that was being written, where it is known."""

    what: str
    remedy: str
    file: str

    def __str__(self) -> str:
        return self.what + (f" ({self.file})" if self.file else "") + f"; {self.remedy}"


def exhausted(error: BaseException) -> Exhausted | None:
    """Find in an exception, and in those it came from, that something ran out; None where nothing did."""
    found: Exhausted | None = None
    for one in _origins(error):
        number = _number(one)
        if number in REASONS:
            name = getattr(one, "filename", None)
            found = Exhausted(*REASONS[number], os.fsdecode(name) if isinstance(name, str | bytes) else "")
            if found.file:
                break
    return found


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Raise OSError with number and path, where the block fails since something ran out, and names no file itself."""
    try:
        yield
    except Exception as error:
        number = _number(error)
        if number not in REASONS or getattr(error, "filename", None) is not None:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


def _origins(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    at: BaseException | None = error
    while at is not None and id(at) not in seen:
        seen.add(id(at))
        yield at
        at = at.__cause__ or (None if at.__suppress_context__ else at.__context__)


def _number(error: BaseException) -> int:
    """Find the operating system's number in an exception; 0 where it has none."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    said = _IN_WORDS.search(str(error))
    return int(said[1]) if said else 0
