"""What is not contiguous, whole and in this very file is refused by name."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from winnow.errors import UserError
from winnow.shards.contiguous import ContiguousReader, layout_of, rest_hash

VALUES = np.arange(12, dtype="<f4").reshape(4, 3)


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((4, 3), "<f4")
    layout[:] = h5py.VirtualSource("elsewhere.h5", "x", (4, 3))
    file.create_virtual_dataset("x", layout)


def compact(file: h5py.File) -> None:
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_layout(h5py.h5d.COMPACT)
    h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_FLOAT, h5py.h5s.create_simple((4, 3)), plist)


@pytest.mark.parametrize(
    ("create", "said"),
    [
        (virtual, "found a virtual one"),
        (lambda f: f.create_dataset("x", (4, 3), "<f4", external=[("x.raw", 0, 48)]), "found one in another file"),
        (compact, "found a compact one"),
        (lambda f: f.create_dataset("x", data=VALUES, chunks=(2, 3)), "found a chunked one"),
        (lambda f: f.create_dataset("x", data=h5py.Empty("<f4")), "found an? (empty|compact) one"),
        (lambda f: f.create_dataset("x", (4, 3), "<f4"), "found one whose values were never written"),
        (lambda f: f.create_dataset("x", data=VALUES.astype(">f4")), "found values of type >f4"),
        (lambda f: f.create_dataset("x", data=[b"a"] * 4), r"found values of type \|O"),
        (lambda f: f.create_dataset("y", data=VALUES), "no contiguous data set x"),
    ],
)
def test_other_ways_of_storing_are_refused(tmp_path: Path, create: Callable, said: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        create(file)
    with pytest.raises(UserError, match=said):
        ContiguousReader(tmp_path / "a.h5")["x"]


@pytest.mark.parametrize(
    ("values", "attribute", "said"),
    [
        (VALUES.astype("<f8"), "float32", r"expected float32 \[4, 3\], found float64 \[4, 3\]; mend it"),
        (VALUES[:3], "float32", r"expected float32 \[4, 3\], found float32 \[3, 3\]; mend it"),
        (VALUES, None, "expected the attribute dtype = float32, found none; mend it"),
        (VALUES, "float16", "expected the attribute dtype = float32, found 'float16'; mend it"),
    ],
)
def test_another_type_than_was_said_is_refused(tmp_path: Path, values: np.ndarray, attribute: str, said: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        made = file.create_dataset("x", data=values)
        if attribute:
            made.attrs["dtype"] = attribute
    with pytest.raises(UserError, match=said):
        ContiguousReader(tmp_path / "a.h5").expect("x", (4, 3), np.dtype("<f4"), "mend it", stored_as="float32")


def test_what_is_no_hdf5_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(500))
    with pytest.raises(UserError, match=r"a\.h5: not an HDF5 file \([^\n]*\)$"):
        ContiguousReader(tmp_path / "a.h5")


def test_the_layout_hashes_every_byte_but_the_values(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["x"], file["y"] = VALUES, VALUES[:2]
    layout, content = layout_of(path), path.read_bytes()
    assert sum(size for _, size in layout.values) == VALUES.nbytes + VALUES[:2].nbytes
    inside = {place for start, size in layout.values for place in range(start, start + size)}
    for place in range(0, len(content), 7):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        assert (rest_hash(path, layout.values) == layout.sha256) == (place in inside)
