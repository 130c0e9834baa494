"""Write a finished dictionary's files, its snapshots among them, into the record of its run, hashes.json."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from train.curve import CURVE
from train.snapshots import SNAPSHOTS
from winnow.dictionary import TRAINING
from winnow.formats.saelens import CONFIG, WEIGHTS
from winnow.runtime.hashes import change_hashes, note_all

OWN = (CONFIG, WEIGHTS, TRAINING, CURVE)


def record_dictionaries(run: Path, folders: Iterable[Path]) -> None:
    """Hash the files of finished dictionaries, and write that down."""
    files, gone = {}, []
    for folder in folders:
        names = [path.relative_to(run).as_posix() for path in _files(folder)]
        files |= note_all(run, names)
        gone.append(f"{folder.relative_to(run).as_posix()}/")
    change_hashes(run, files, forget=gone)


def _files(folder: Path) -> Iterator[Path]:
    yield from (folder / name for name in OWN if (folder / name).exists())
    for snapshot in sorted((folder / SNAPSHOTS).glob("rows-*")):
        if (snapshot / CONFIG).exists():
            yield from (snapshot / name for name in OWN if (snapshot / name).exists())
