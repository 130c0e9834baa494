"""Damaged strings in an HDF5 file are refused before the library, which they can stop for ever, sees them."""

from pathlib import Path

import h5py
import pytest

from winnow.errors import UserError
from winnow.shards.contiguous import find_sets
from winnow.shards.heaps import HEADER, SIGNATURE, check_heaps


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "a.h5"
    with h5py.File(found, "w") as file:
        file.attrs.update({"one": "some text", "other": "x" * 5000, "empty": ""})
    return found


def test_whole_strings_pass(path: Path) -> None:
    assert SIGNATURE in path.read_bytes()
    check_heaps(path)
    check_heaps(path.with_name("none.h5"))


@pytest.mark.parametrize("size", [0, 1, 2**63, 2**64 - 16])
@pytest.mark.parametrize("free", [False, True])
def test_a_size_that_leads_nowhere_is_refused(path: Path, size: int, free: bool) -> None:
    content = bytearray(path.read_bytes())
    at = content.find(SIGNATURE) + HEADER
    while free and int.from_bytes(content[at : at + 2], "little"):
        at += HEADER + -(-int.from_bytes(content[at + 8 : at + 16], "little") // 8) * 8
    content[at + 8 : at + 16] = size.to_bytes(8, "little")
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.h5: its strings are damaged: the object at byte \d+ ends at byte \d+"):
        find_sets(path)
