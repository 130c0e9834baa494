"""Paths as people write them: `~` stands for a home folder, also where no shell has replaced it."""

import os
import unicodedata
from pathlib import Path

_NO_NAME = {"Cc", "Cs", "Zl", "Zp"}  # control characters, bytes that are no text, ends of lines


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
