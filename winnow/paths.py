"""Paths as users give them, and what lies there: only ordinary files are opened.

Opening a FIFO waits for whoever writes into it, and a device may have no end. Nothing heavy is imported.
"""

import os
import stat
from pathlib import Path
from typing import Any

from winnow.errors import UserError

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def as_path(given: Any, what: str) -> Path:
    """Take a path that a user gave, `~` being the home folder; `what` names it in messages.

    Raises `UserError` for what cannot be a path.
    """
    if not isinstance(given, str | os.PathLike) or not isinstance(os.fspath(given), str):
        raise UserError(f"{what}: expected a path, found {type(given).__name__}")
    text = os.fspath(given)
    if not text or "\0" in text:
        raise UserError(f"{what}: expected a path, found {text!r}")
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:  # no such user, or no home
        raise UserError(f"{what}: expected a path, found {text!r} ({error})") from error
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):  # whoever opens it says what is missing
        pass
    except OSError as error:  # too long, links in a circle, not allowed
        raise UserError(f"{what}: {text:.300}: {error.strerror}") from error
    return path


def kind_of(path: Path) -> str | None:
    """Say what lies at a path that is no ordinary file; None for such a file, and where there is nothing."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # opening it says why
        return None
    return None if stat.S_ISREG(mode) else KINDS.get(stat.S_IFMT(mode), "something else")


def refuse_special(path: Path, remedy: str = "") -> None:
    """Raise `UserError` where something lies at `path` that is no ordinary file; nothing is opened."""
    found = kind_of(path)
    if found is not None:
        raise UserError(f"{path}: expected a file, found {found}{f'; {remedy}' if remedy else ''}")
