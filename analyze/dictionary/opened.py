"""Open a run's dictionaries on demand, and keep only the last few in memory."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from winnow.dictionary import Dictionary, load_dictionary

HELD = 4


class OpenedDictionaries(Mapping[str, Dictionary]):
    """Path -> dictionary; the most recently used stay open."""

    def __init__(self, folders: Mapping[str, Path], held: int = HELD) -> None:
        self.folders = dict(folders)
        self._open = lru_cache(held)(load_dictionary)

    def __getitem__(self, path: str) -> Dictionary:
        return self._open(self.folders[path])

    def __iter__(self) -> Iterator[str]:
        return iter(self.folders)

    def __len__(self) -> int:
        return len(self.folders)
