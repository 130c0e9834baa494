"""Lock a run directory or a shard, so that two processes do not write it at once.

The locks are the kernel's (`flock`): they end with the process that holds them, even if it is killed. The text
in a lock file only says who holds it.
"""

import errno
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from winnow.errors import UserError
from winnow.fields import Fields, parse_json

READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


@contextmanager
def run_lock(run: Path, shared: bool = False) -> Iterator[None]:
    """Lock the run directory for this process, creating it if it is missing.

    `shared`: the other ranks of one job may hold it too. A run on a read-only disk needs no lock, and whoever finds
    nothing to do there need not write. Raises `UserError` with the holder's process id and host if another process
    holds it, and where something is to be written and cannot be.
    """
    try:
        run.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(run / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        if error.errno not in READ_ONLY or not run.is_dir():
            raise _no_writing(run, error) from error
        try:
            yield
        except OSError as refused:
            elsewhere = refused.filename is not None and not Path(os.fsdecode(refused.filename)).is_relative_to(run)
            if refused.errno not in READ_ONLY or elsewhere:
                raise
            raise _no_writing(run, refused) from refused
        return
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
    """Lock `path`, which need not exist, among processes that share a run; yield whether it was free.

    `wait`: wait until it is free.
    """
    folder = path.with_name(".claims")
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / path.name, os.O_RDWR | os.O_CREAT, 0o666)
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
    except OSError as error:  # network file systems mounted without locks
        raise UserError(
            f"{path}: the file system has no locks ({error.strerror}); have it mounted with locks (Lustre: flock, "
            "NFS: not nolock), or choose another run directory"
        ) from error


def _no_writing(run: Path, error: OSError) -> UserError:
    return UserError(f"{run}: cannot write here ({error.strerror}); choose another run directory")


def _holder(descriptor: int) -> str:
    try:
        holder = Fields(".lock", parse_json(os.pread(descriptor, 4096, 0), ".lock"))
        return f"process {holder.integer('pid', 0)} on {holder.text('host')}"
    except UserError:  # it has only just locked the file, and has not written its name yet
        return "another process"
