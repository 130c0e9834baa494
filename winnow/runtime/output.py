"""Standard output and error that a stage can always write to, whoever reads them, in whatever encoding.

What nobody reads any more (`python -m analyze … | head -1`) is dropped, and the work goes on: the exit status is that
of the work. A character that the encoding does not have is written as its escape. A full disk behind a redirection is
an error, once.
"""

import io
import sys
from contextlib import suppress
from typing import Any

_BEFORE: list[Any] = []  # the streams that were replaced: they would close their files if nobody held them


class _Patient(io.FileIO):
    """A descriptor to write to, which takes everything and drops what can no longer be written."""

    lost = False

    def write(self, data: Any, /) -> int:
        size = memoryview(data).nbytes
        if self.lost:
            return size
        try:
            return super().write(data)
        except BrokenPipeError:
            self.lost = True
            return size
        except OSError as error:
            self.lost = True
            error.filename = "standard output" if self.fileno() == 1 else "standard error"
            raise


def open_output() -> None:
    """Replace sys.stdout and sys.stderr, where they are Python's own."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if type(stream) is not io.TextIOWrapper:  # there is none, or a test or a notebook has put its own there
            continue
        with suppress(OSError, ValueError):  # without a descriptor it stays
            raw = _Patient(stream.fileno(), "wb", closefd=False)
            stream.flush()
            _BEFORE.append(stream)
            replaced = io.TextIOWrapper(
                io.BufferedWriter(raw),
                encoding=stream.encoding,
                errors="backslashreplace",
                line_buffering=stream.line_buffering or name == "stderr",
            )
            setattr(sys, name, replaced)


def flush_output() -> None:
    """Write out what was printed. Raises OSError where the disk is full."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
