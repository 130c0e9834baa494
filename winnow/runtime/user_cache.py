"""winnow's folder in the user's cache, for what is made once a machine: $XDG_CACHE_HOME/winnow, or ~/.cache/winnow."""

import os
import tempfile
from pathlib import Path

from winnow.paths import expand


def user_cache(name: str) -> Path | None:
    """Make a folder in the user's cache, and return it; None where that cannot be, or others may write to it."""
    base = expand(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    return own_folder(base / "winnow" / name)


def own_folder(folder: Path) -> Path | None:
    """Make a folder, and return it; None where only others, or others too, may write to it."""
    if not folder.is_absolute():  # there is no home
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        tempfile.TemporaryFile(dir=folder).close()
        found = folder.stat()
    except OSError:
        return None
    return folder if found.st_uid == os.geteuid() and not found.st_mode & 0o022 else None
