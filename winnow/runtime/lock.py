"""Keep processes out of each other's way: one run directory, one shard.

The locks are the kernel's (`flock`), so they go with the process that held them, however that one died; a
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
def run_lock(run: Path, shared: bool = False) -> Iterator[None]:
    """Hold the run directory for this process, creating it where it is missing.

    `shared`: together with other processes that hold it so, the ranks of one job. Raises `UserError` with the
    holder's process id and host where another process holds it.
    """
    try:
        run.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(run / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise UserError(f"{run}: cannot write here ({error.strerror}); choose another run directory") from error
    try:
        try:
            _lock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB, run)
        except BlockingIOError:
            raise UserError(f"{run} is in use by {_holder(descriptor)}; wait for it, or stop it") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode(), 0)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def claim(path: Path, wait: bool = False) -> Iterator[bool]:
    """Hold `path`, a file that need not exist, among processes that share a run; yield whether it was free.

    `wait`: until it is.
    """
    folder = path.with_name(".claims")
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / path.name, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            _lock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), path)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def _lock(descriptor: int, how: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, how)
    except BlockingIOError:
        raise
    except OSError as error:  # of network file systems that are mounted so
        raise UserError(
            f"{path}: the file system gives no locks ({error.strerror}); have it mounted with them (Lustre: flock, "
            "NFS: not nolock), or choose another run directory"
        ) from error


def _holder(descriptor: int) -> str:
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:  # taken a moment ago, and not signed yet
        return "another process"
    return f"process {holder['pid']} on {holder['host']}"
