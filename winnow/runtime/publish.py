"""Publish a file or a folder complete or not at all, whenever the process dies.

Bytes go to `NAME.partial`, are synced to disk, and only then take the final name by `os.replace`, which is
atomic within one folder. The next run overwrites a `.partial` that an interrupted run left.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def publish_file(path: Path) -> Iterator[Path]:
    """Yield `path` with `.partial` added; rename it to `path` when the block succeeds."""
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    try:
        yield partial
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
        yield partial
        for folder, _, names in os.walk(partial):
            for name in names:
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


def sync(path: Path) -> None:
    """Flush a file or folder to disk (fsync)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
