"""Verifying the files of the stage polytopes: records, and the files whose hashes they hold."""

import hashlib
from pathlib import Path

import pytest

from winnow.errors import UserError
from winnow.polytope_files import verify_polytopes
from winnow.runtime.record import Key, write_record

KEY = Key(1, {"tokens": "abc"}, {"rows": 3})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rows.h5").write_bytes(b"rows")
    files = {"rows.h5": hashlib.sha256(b"rows").hexdigest()}
    write_record(tmp_path / "rows.json", KEY, {"rows": 3, "files": files})
    write_record(tmp_path / "codes.json", KEY, {"bits": 0.5})
    return tmp_path


def test_whole_files_are_counted(folder: Path):
    assert verify_polytopes(folder) == 2
    assert verify_polytopes(folder / "none") == 0


def test_every_flipped_byte_is_found(folder: Path):
    for name in ("rows.h5", "codes.json", "rows.json"):
        path = folder / name
        whole = path.read_bytes()
        for place in range(len(whole)):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            if path.suffix == ".json" and whole[place : place + 1] == b"\n":
                continue
            with pytest.raises(UserError, match=str(path.parent)):
                verify_polytopes(folder)
        path.write_bytes(whole)


def test_a_missing_file_is_named(folder: Path):
    (folder / "rows.h5").unlink()
    with pytest.raises(UserError, match=r"rows\.h5: no such file; .*rows\.json names it"):
        verify_polytopes(folder)
