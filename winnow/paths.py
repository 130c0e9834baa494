"""Paths as people write them, and what lies there: `~` is a home folder, and only ordinary files are opened.

Opening a FIFO waits for whoever writes into it, and a device may have no end. Nothing heavy is imported.
"""

import os
import stat
import unicodedata
from pathlib import Path
from typing import Any

from winnow.errors import UserError

_NO_NAME = {"Cc", "Cs", "Zl", "Zp"}  # control characters, bytes that are no text, ends of lines
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def expand(path: str | Path) -> Path:
    """Replace a leading `~` or `~user`; of a user that does not exist it stays."""
    return Path(expand_text(str(path)))


def expand_text(path: str) -> str:
    """Replace a leading `~` or `~user`, and leave all else as it is written."""
    return os.path.expanduser(path)  # noqa: PTH111  Path.expanduser raises where there is no such user


def escape(text: str) -> str:
    """Replace what a terminal would obey instead of showing it, and ends of lines, by Python's escapes."""
    if text.isprintable():
        return text
    return "".join(c.encode("unicode_escape").decode() if unicodedata.category(c) in _NO_NAME else c for c in text)


def as_path(given: Any, what: str) -> Path:
    """Take a path that a user gave, `~` being the home folder; `what` names it in messages.

    Raises `UserError` for what cannot be a path.
    """
    if not isinstance(given, str | os.PathLike) or not isinstance(os.fspath(given), str):
        raise UserError(f"{what}: expected a path, found {type(given).__name__}")
    text = os.fspath(given)
    if not text or "\0" in text:
        raise UserError(f"{what}: expected a path, found {text!r}")
    path = expand(text)
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
