"""Shards and the store that reads them: round trip, refusals, damage."""

import json
import multiprocessing
import os
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from harvest.make_shards import merge_statistics
from harvest.write_shard import write_shard
from tests.untyped import untyped
from winnow.errors import UserError
from winnow.shards.layout import RowIndex, read_sidecar, shard_path
from winnow.shards.manifest import write_manifest
from winnow.store import ActivationStore

HOOKS = {"blocks.0.hook_resid_post": 5, "blocks.0.mlp.hook_post": 7}
CONTEXT = 4


def rows(start: int, stop: int, width: int) -> torch.Tensor:
    return torch.arange(start * width, stop * width, dtype=torch.float32).view(-1, width) / 256 - 1


def index(start: int, stop: int) -> RowIndex:
    row = torch.arange(start, stop, dtype=torch.int32)
    return RowIndex(row // CONTEXT, row % CONTEXT, row + 100)


def make_store(folder: Path, shard_rows: Sequence[int] = (12, 12, 4), dtype: str = "float32") -> ActivationStore:
    folder.mkdir(exist_ok=True)
    write_manifest(
        folder,
        made_from={"toy": {"directions_sha256": "0" * 64}},
        hooks=HOOKS,
        context=CONTEXT,
        storage_dtype=dtype,
        rows_per_shard=max(shard_rows),
        shards=len(shard_rows),
        settings={},
    )
    start = 0
    for number, count in enumerate(shard_rows):
        stop = start + count
        with write_shard(
            shard_path(folder, number), HOOKS, index(start, stop), (start // CONTEXT, stop // CONTEXT), dtype, CONTEXT
        ) as shard:
            for first in range(start, stop, 5):
                last = min(first + 5, stop)
                shard.append({hook: rows(first, last, width) for hook, width in HOOKS.items()})
        start = stop
    return ActivationStore(folder)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_what_is_written_is_read_across_shards(tmp_path: Path, dtype: str):
    store = make_store(tmp_path, dtype=dtype)
    assert (store.rows, store.hooks, store.complete) == (28, HOOKS, True)
    for hook, width in HOOKS.items():
        expected = rows(0, 28, width).to(getattr(torch, dtype)).float()
        for start, stop in [(0, 28), (11, 13), (5, 5), (20, 28)]:
            assert torch.equal(store.read(hook, start, stop), expected[start:stop])
    for found, expected in zip(store.tokens(3, 27), index(3, 27), strict=True):
        assert torch.equal(found, expected)


def test_bfloat16_lies_on_disk_as_its_sixteen_bits(tmp_path: Path):
    store = make_store(tmp_path, dtype="bfloat16")
    with h5py.File(tmp_path / "shard-00000.h5") as file:
        stored = file["activations/blocks.0.hook_resid_post"]
        assert isinstance(stored, h5py.Dataset)
        assert (stored.dtype, stored.attrs["dtype"], stored.chunks) == (np.dtype("<u2"), "bfloat16", None)
    out = torch.empty(12, 5, dtype=torch.bfloat16)
    store.read_into(out, "blocks.0.hook_resid_post", 0)
    assert torch.equal(out, rows(0, 12, 5).bfloat16())


def test_an_unfinished_harvest_reads_as_far_as_it_has_come(tmp_path: Path):
    make_store(tmp_path)
    (tmp_path / "shard-00001.json").unlink()
    store = ActivationStore(tmp_path)
    assert (store.rows, store.complete) == (16, False)
    assert torch.equal(store.read("blocks.0.hook_resid_post", 12, 16), rows(24, 28, 5))


WIDER = "does not fit {}; set harvest.storage_dtype to {} in a new run"


@pytest.mark.parametrize(
    ("bad", "dtype", "said"),
    [
        (70000.0, "float16", " " + WIDER.format("float16", "bfloat16 or float32")),
        (3.4e38, "bfloat16", " " + WIDER.format("bfloat16", "float32")),
        # no storage dtype mends these
        (float("inf"), "float16", ", before it is stored: its weights are too large"),
        (float("nan"), "bfloat16", ", before it is stored: its weights are too large"),
        (float("-inf"), "float32", ", before it is stored: its weights are too large"),
    ],
)
def test_a_value_that_does_not_fit_is_named_and_no_shard_appears(tmp_path: Path, bad: float, dtype: str, said: str):
    path = shard_path(tmp_path, 0)
    values = rows(0, 8, 5)
    values[6, 3] = bad
    why = lambda: "its weights are too large"  # noqa: E731
    with (
        pytest.raises(UserError) as refused,
        write_shard(path, {"hook": 5}, index(0, 8), (0, 2), dtype, CONTEXT, why_not_finite=why) as shard,
    ):
        shard.append({"hook": values})
    assert str(refused.value) == f"hook: {bad:g} at sequence 1, position 2, dimension 3{said}"
    assert not path.exists()
    assert read_sidecar(path) is None


def test_a_shard_is_the_same_bytes_each_time(tmp_path: Path):
    make_store(tmp_path / "a")
    make_store(tmp_path / "b")
    for name in ("shard-00000.h5", "shard-00002.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_verify_passes_and_finds_one_flipped_bit(tmp_path: Path):
    store = make_store(tmp_path)
    store.verify()
    path = tmp_path / "shard-00001.h5"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        UserError, match=r"shard-00001\.h5: sha256 is .*, its sidecar says .*; python -m harvest --repair"
    ):
        store.verify()


def test_a_truncated_shard_is_named_by_reader_and_verify(tmp_path: Path):
    store = make_store(tmp_path)
    path = tmp_path / "shard-00001.h5"
    whole = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(whole - 100)
    message = rf"shard-00001\.h5: {whole - 100} bytes, its sidecar says {whole}"
    with pytest.raises(UserError, match=message):
        store.read("blocks.0.hook_resid_post", 0, 28)
    with pytest.raises(UserError, match=message):
        store.verify()


def test_a_missing_shard_is_named(tmp_path: Path):
    store = make_store(tmp_path)
    (tmp_path / "shard-00002.h5").unlink()
    with pytest.raises(UserError, match=r"shard-00002\.h5: missing"):
        store.verify()


def test_unknown_hook_names_the_nearest(tmp_path: Path):
    store = make_store(tmp_path)
    with pytest.raises(UserError, match=r"no hook blocks\.0\.hook_resid_pos; did you mean blocks\.0\.hook_resid_post"):
        store.read("blocks.0.hook_resid_pos", 0, 1)


@pytest.mark.parametrize(("start", "stop"), [(20, 29), (10, 5), (0, 10**12), (-3, 2), (29, 29)])
def test_rows_that_do_not_exist_are_refused_before_room_is_made_for_them(tmp_path: Path, start: int, stop: int):
    store, hook = make_store(tmp_path), "blocks.0.hook_resid_post"
    said = rf"{tmp_path}: rows {start} to {stop} of 28: expected 0 <= start <= stop <= 28"
    for read in (lambda: store.read(hook, start, stop), lambda: store.tokens(start, stop)):
        with pytest.raises(IndexError, match=said):
            read()
    with pytest.raises(IndexError, match="of 28"):
        store.place(hook, 28)
    with pytest.raises(IndexError, match="rows 27 to 29 of 28"):
        store.read_into(torch.empty(2, 5), hook, 27)


@pytest.mark.parametrize("width", [1, 4, 7, 10])
def test_rows_are_never_read_into_another_width(tmp_path: Path, width: int):
    """A file knows rows by their bytes, so this would read without an error, and wrongly."""
    store, hook = make_store(tmp_path), "blocks.0.hook_resid_post"
    one = np.ones(1, np.int64)
    for read in (
        lambda out: store.read_into(out, hook, 0),
        lambda out: store.read_runs_into(out, hook, one, one),
    ):
        with pytest.raises(UserError, match=rf"out: expected \[row, 5\] on the CPU, found \[1, {width}\]"):
            read(torch.empty(1, width))


def test_runs_that_do_not_exist_or_do_not_fill_are_refused(tmp_path: Path):
    """Rows that no run reads would stay as memory was."""
    store, hook = make_store(tmp_path), "blocks.0.hook_resid_post"

    def read(starts: list[int], counts: list[int], total: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        out = torch.full((total, 5), torch.nan, dtype=dtype)
        store.read_runs_into(out, hook, np.array(starts), np.array(counts))
        return out

    assert torch.equal(read([20, 0, 11], [2, 1, 3], 6), rows(0, 28, 5)[[20, 21, 0, 11, 12, 13]])
    with pytest.raises(IndexError, match="3 rows from row 26 on: expected rows of 28"):
        read([0, 26], [1, 3], 4)
    with pytest.raises(UserError, match="out: expected 4 rows, as the runs have, found 5"):
        read([0, 8], [1, 3], 5)
    with pytest.raises(UserError, match=r"out: expected torch\.float32 as stored"):
        read([0], [1], 1, torch.float16)


def test_what_is_no_folder_of_activations_says_what_it_is(tmp_path: Path):
    store = make_store(tmp_path / "activations")
    with pytest.raises(
        UserError, match=rf"^{tmp_path}: expected a folder of activations, found a run; give {store.path}$"
    ):
        ActivationStore(tmp_path)
    shard = store.path / "shard-00000.h5"
    with pytest.raises(
        UserError, match=rf"^{shard}: expected a folder of activations, found a file; give {store.path}$"
    ):
        ActivationStore(shard)
    (alone := tmp_path / "alone").touch()
    with pytest.raises(UserError, match=r"alone: expected a folder of activations, found a file$"):
        ActivationStore(alone)
    os.mkfifo(fifo := tmp_path / "fifo")
    with pytest.raises(UserError, match="fifo: expected a folder of activations, found a FIFO"):
        ActivationStore(fifo)
    with pytest.raises(UserError, match=r"manifest\.json: no such file; is .*none a folder of activations"):
        ActivationStore(tmp_path / "none")


@pytest.mark.parametrize("name", ["manifest.json", "shard-00000.json", "shard-00000.h5", "statistics.h5"])
def test_a_fifo_in_place_of_a_file_of_the_store_is_not_waited_for(tmp_path: Path, name: str):
    make_store(tmp_path)
    merge_statistics(tmp_path)
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)

    def read() -> None:
        store = ActivationStore(tmp_path)
        store.read("blocks.0.hook_resid_post", 0, 1)
        store.statistics("blocks.0.hook_resid_post")

    with pytest.raises(UserError, match=rf"{name}: (expected a file, found a FIFO|missing)"):
        read()


def test_untyped_calls_are_refused_in_one_line(tmp_path: Path):
    """As users call, without the tests' own checks of types."""
    make_store(tmp_path)
    (plain,) = untyped("winnow.store")
    store, hook = plain.ActivationStore(str(tmp_path)), "blocks.0.hook_resid_post"
    calls = {
        "start: expected an integer, found float 1.5": lambda: store.read(hook, 1.5, 3),
        "stop: expected an integer, found str '3'": lambda: store.tokens(0, "3"),
        "start: expected an integer, found bool True": lambda: store.read_into(torch.empty(1, 5), hook, True),
        r"out: expected a tensor \[row, 5\], found ndarray": lambda: store.read_into(np.empty((1, 5)), hook, 0),
        "expected the name of a hook, found slice": lambda: store[0:10],
        "expected the name of a hook, found list": lambda: store.read(["a"], 0, 1),
        "expected the name of a hook, found int": lambda: store.statistics(3),
        "starts: expected an array of integers": lambda: store.read_runs_into(torch.empty(1, 5), hook, [0], [1]),
        "ActivationStore: expected a path, found NoneType": lambda: plain.ActivationStore(None),
    }
    for said, call in calls.items():
        with pytest.raises(ValueError, match=said) as refused:
            call()
        assert "\n" not in str(refused.value)


def _sum(store: ActivationStore) -> float:
    return store.read("blocks.0.hook_resid_post", 0, 28).sum().item()


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_store_may_be_handed_to_workers_after_it_was_read(tmp_path: Path, method: str):
    store = make_store(tmp_path)
    expected = _sum(store)
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(_sum, [store, store]) == [expected, expected]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rows": 11}, r"activations/blocks.0.hook_resid_post: expected float32 \[11, 5\], found float32 \[12, 5\]"),
        ({"rows": "x"}, 'rows: expected an integer of at least 0, found "x"'),
        ({"rows": None}, "rows: expected an integer of at least 0, found null"),
        ({"rows": 999}, "rows: expected at most 4 for each of 3 sequences, found 999"),
        ({"sequences": [4, 6]}, r"sequences: expected them from 3 on, found \[4, 6\)"),
        ({"sequences": [3]}, r"sequences: expected a list of 2, found \[3\]"),
        ({"sequences": [6, 3]}, "sequences: expected a first sequence, and a later one behind the last"),
        ({"bytes": 1.5}, "bytes: expected an integer of at least 0, found 1.5"),
        ({"sha256": "abc"}, "sha256: expected a sha256 of 64 hexadecimal digits"),
        ({"layout": {"values": [[5, 1], [2, 1]], "sha256": "0" * 64}}, "layout.values: expected spans"),
        ({"layout": {"values": [], "sha256": "0" * 64}}, "what it says of its data sets is not what its sidecar says"),
        ({"manifest": "0" * 16}, "made by another manifest"),
    ],
)
def test_a_sidecar_that_does_not_agree_is_refused_by_name(tmp_path: Path, change: dict, said: str):
    make_store(tmp_path)
    path = tmp_path / "shard-00001.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=rf"shard-00001\.(h5|json): .*{said}.*; (python -m harvest --repair|restore)"):
        ActivationStore(tmp_path).read("blocks.0.hook_resid_post", 12, 24)


@pytest.mark.parametrize(
    ("dtype", "attribute", "said"),
    [
        ("<f8", "float32", r"expected float32 \[12, 5\], found float64 \[12, 5\]"),
        (">f4", "float32", "found values of type >f4"),
        ("<f4", None, "expected the attribute dtype = float32, found none"),
        ("<f4", "bfloat16", "expected the attribute dtype = float32, found 'bfloat16'"),
    ],
)
def test_a_data_set_of_another_type_is_refused_by_name(tmp_path: Path, dtype: str, attribute: str | None, said: str):
    """As a store made before, whose sidecars say nothing of the layout."""
    make_store(tmp_path)
    path = tmp_path / "shard-00000.h5"
    name = "activations/blocks.0.hook_resid_post"
    with h5py.File(path, "r+") as file:
        values = np.asarray(file[name])
        del file[name]
        file[name] = values.astype(dtype)
        if attribute:
            file[name].attrs["dtype"] = attribute
    sidecar = json.loads(path.with_suffix(".json").read_text())
    del sidecar["layout"]
    path.with_suffix(".json").write_text(json.dumps(sidecar | {"bytes": path.stat().st_size}))
    with pytest.raises(UserError, match=said):
        ActivationStore(tmp_path).read("blocks.0.hook_resid_post", 0, 12)


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("mean", np.full(5, np.nan), "mean: expected finite numbers, found others"),
        ("mean", np.zeros(4), r"mean: expected float64 \[5\], found float64 \[4\]"),
        ("rows", np.array([27]), "rows: expected 28, found 27"),
        ("norm_histogram", np.zeros(160, np.int64), "norm_histogram: expected 28 in all, found 0"),
        ("m2", None, "m2: no such data set"),
    ],
)
def test_statistics_of_other_rows_are_refused_by_name(tmp_path: Path, name: str, values: np.ndarray | None, said: str):
    store = make_store(tmp_path)
    merge_statistics(tmp_path)
    assert store.statistics("blocks.0.hook_resid_post").rows == 28
    with h5py.File(tmp_path / "statistics.h5", "r+") as file:
        del file[f"blocks.0.hook_resid_post/{name}"]
        if values is not None:
            file[f"blocks.0.hook_resid_post/{name}"] = values
    with pytest.raises(UserError, match=rf"statistics\.h5: /blocks.0.hook_resid_post/{said}"):
        store.statistics("blocks.0.hook_resid_post")
