"""Publish a file or a folder complete or not at all, whenever the process dies.

Bytes go to `NAME.partial`, are synced to disk, and only then take the final name by `os.replace`, which is
atomic within one folder. The next run overwrites a `.partial` that an interrupted run left. Whatever wrote a file, it
can be read by those to whom the umask gives new files. A full disk is an OSError that names the file.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from winnow.runtime.exhausted import naming


@contextmanager
def publish_file(path: Path) -> Iterator[Path]:
    """Yield `path` with `.partial` added, an empty file; rename it to `path` when the block succeeds."""
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    try:
        with naming(path):
            partial.touch(exist_ok=False)
            usual = partial.stat().st_mode
            yield partial
            _allow(partial, usual)
            sync(partial)
    except BaseException:
        partial.unlink(missing_ok=True)  # make room again on a full disk
        raise
    partial.replace(path)
    sync(path.parent)


@contextmanager
def publish_directory(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path`; rename it to `path` when the block succeeds.

    If another process was first, its result stays and this one is dropped.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        with naming(path):
            usual = partial.stat().st_mode
            yield partial
            for folder, _, names in os.walk(partial):
                _allow(Path(folder), usual)
                for name in names:
                    _allow(Path(folder, name), usual & 0o666)
                    sync(Path(folder, name))
                sync(Path(folder))
        try:
            partial.replace(path)
        except OSError:
            if not path.is_dir():
                raise
        sync(path.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def publish_text(path: Path, text: str) -> None:
    """Write `text` to `path`, complete or not at all."""
    with publish_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _allow(path: Path, usual: int) -> None:
    """Give a file the permissions of a new one, which those of `tempfile`, and so safetensors', lack."""
    mode = path.stat().st_mode
    if mode | (usual & 0o777) != mode:
        path.chmod((mode | usual) & 0o7777)


def sync(path: Path) -> None:
    """Flush a file or folder to disk (fsync)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
