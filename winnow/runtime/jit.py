"""Compile loops with numba, and keep their machine code where only the user can write, or nowhere.

numba's cache files are pickles, which can run anything when they are read. Left alone, numba reads them from beside the
source, where a shared installation may let others write, and refuses to be imported where nothing can be written.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba.core import config

from winnow.runtime.user_cache import own_folder, user_cache

CONFIG: Any = config  # its values are set when it is imported


def compiled(**options: Any) -> Callable[[Callable], Any]:
    """Return numba's decorator `njit` with these options, and with a cache where there is a safe place for one."""

    def decorate(function: Callable) -> Any:
        folder = cache_folder()
        if folder is None:
            return numba.njit(**options)(function)
        before = CONFIG.CACHE_DIR
        CONFIG.CACHE_DIR = str(folder)  # numba looks at it here, and never again for this function
        try:
            return numba.njit(cache=True, **options)(function)
        finally:
            CONFIG.CACHE_DIR = before

    return decorate


@cache
def cache_folder() -> Path | None:
    """Return $NUMBA_CACHE_DIR or a folder in the user's cache; None where others may write to it, or nobody."""
    return own_folder(Path(CONFIG.CACHE_DIR)) if CONFIG.CACHE_DIR else user_cache("numba")
