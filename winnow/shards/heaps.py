"""Look at the strings of an HDF5 file before the library does, which can go round for ever in damaged ones.

Attributes that are strings lie in a global heap, `GCOL`: objects one after the other, each with its size. The library
goes from one to the next without a look at where that leads: from a size of zero it never gets on.
"""

from pathlib import Path

from winnow.errors import UserError

SIGNATURE = b"GCOL"
SEARCHED = 2**18  # bytes from the start: the library lays out what describes a file in front of the values
HEADER = 16  # bytes of a heap's header, and of that of an object: index, references, reserved, size


def check_heaps(path: Path) -> None:
    """Raise `UserError` where an object of a heap does not end within it."""
    try:
        with path.open("rb") as file:
            found = file.read(SEARCHED)
    except OSError:  # whoever opens the file says so
        return
    heap = found.find(SIGNATURE)
    while heap >= 0:
        _check(path, found, heap)
        heap = found.find(SIGNATURE, heap + len(SIGNATURE))


def _check(path: Path, found: bytes, heap: int) -> None:
    at, end = heap + HEADER, heap + _number(found, heap + 8, 8)
    while at + HEADER <= min(end, len(found)):
        index, size = _number(found, at, 2), _number(found, at + 8, 8)
        step = HEADER + -(-size // 8) * 8 if index else size  # object 0 is what is free, its header included
        if step == 0 or at + step > end:
            raise UserError(f"{path}: its strings are damaged: the object at byte {at} ends at byte {at + step}")
        at += step


def _number(found: bytes, at: int, length: int) -> int:
    return int.from_bytes(found[at : at + length], "little")
