"""Keep two processes from writing into one run directory.

The lock is the kernel's (`flock`), so it goes with the process that held it, however that one died; the
file's text only says who holds it.
"""

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from winnow.errors import UserError


@contextmanager
def run_lock(run: Path) -> Iterator[None]:
    """Hold the run directory for this process, creating it where it is missing.

    Raises `UserError` with the holder's process id and host where another process holds it.
    """
    try:
        run.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(run / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise UserError(f"{run}: cannot write here ({error.strerror}); choose another run directory") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{run} is in use by {_holder(descriptor)}; wait for it, or stop it") from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())
        yield
    finally:
        os.close(descriptor)


def _holder(descriptor: int) -> str:
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:  # taken a moment ago, and not signed yet
        return "another process"
    return f"process {holder['pid']} on {holder['host']}"
