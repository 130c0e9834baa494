"""The error that a user can mend, and helpers for its message."""

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


class UserError(ValueError):
    """An error that the user can mend; the message is one line: file, expected, found, remedy.

    A stage prints the message without a traceback and exits with status 2.
    """


def nearest(name: str, known: Iterable[str]) -> str:
    """Suggest the names that look like `name`: `; did you mean a, b?`, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)
    return f"; did you mean {', '.join(close)}?" if close else ""


def refuse_changed(path: Path, made_with: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise `UserError` naming the first setting whose value on disk differs from the one asked for."""
    for key in wanted:
        if made_with.get(key) != wanted[key]:
            raise UserError(
                f"{path} was made with {key} = {made_with.get(key)!r}, now {key} = {wanted[key]!r} is asked for; "
                f"choose a new run, or delete {path}"
            )
