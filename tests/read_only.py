"""A folder as on a read-only disk: whatever Python is asked to write below it ends in EROFS, also for root."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {  # audit events -> which of their arguments are paths
    **dict.fromkeys(
        ("os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.utime", "os.chmod", "shutil.rmtree"), (0,)
    ),
    **dict.fromkeys(("os.rename", "os.link", "os.symlink"), (0, 1)),
}
_folders: list[Path] = []
_is_watching = False


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Refuse to write below a folder until the block ends. The HDF5 library writes past this: compare its files."""
    global _is_watching
    if not _is_watching:  # a hook stays for good
        sys.addaudithook(_refuse)
        _is_watching = True
    access = os.access

    def no_writing(path: Any, mode: int, **options: Any) -> bool:
        return access(path, mode, **options) and not (mode & os.W_OK and _is_below(path))

    _folders.append(folder.resolve())
    try:
        with patch("os.access", no_writing):
            yield
    finally:
        _folders.pop()


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if not _folders:
        return
    if event == "open":
        path, _, flags = arguments
        paths = [path] if flags & WRITING else []
    else:
        paths = [arguments[place] for place in CHANGES.get(event, ())]
    for path in paths:
        exists_already = event == "os.mkdir" and _is_below(path) and Path(os.fsdecode(path)).is_dir()
        if _is_below(path) and not exists_already:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), os.fsdecode(path))


def _is_below(path: Any) -> bool:
    if isinstance(path, int) or path is None:
        return False
    absolute = Path(os.path.abspath(os.fsdecode(path)))  # noqa: PTH100  resolve() opens nothing, but may follow links
    return any(absolute.is_relative_to(folder) for folder in _folders)
