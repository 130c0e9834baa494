"""A process holds a bounded number of files open, however many a store has; at exit nothing is said."""

import os
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.experiments import ROOT
from tests.fork import in_child
from tests.stores import write_store
from train.loader import Loader
from winnow.errors import UserError
from winnow.runtime import open_files
from winnow.runtime.open_files import FileOnDisk, most_open
from winnow.store import ActivationStore

HOOK = "blocks.0.hook"
SHARDS = 72
ROWS = 16  # of a shard


@pytest.fixture(scope="module")
def many_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of more shards than the tests let a process open."""
    folder = tmp_path_factory.mktemp("many") / "activations"
    rows = torch.arange(SHARDS * ROWS * 4, dtype=torch.float32).view(-1, 4)
    write_store(folder, {HOOK: rows}, rows_per_shard=ROWS)
    return folder


def open_now() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no /proc to count open files in")
def test_every_reader_of_a_store_gets_along_with_few_open_files(many_shards: Path) -> None:
    def read() -> None:
        os.closerange(3, 4096)  # what other tests of this process left open is theirs
        most = open_now() + 24
        assert most < SHARDS
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        store = ActivationStore(many_shards)
        store.check()
        store.verify()
        for _, check in store.structure():
            check()
        rows = store.read(HOOK, 0, store.rows)
        assert torch.equal(rows, torch.arange(rows.numel(), dtype=torch.float32).view(rows.shape))
        assert torch.equal(store.tokens(0, store.rows).token, torch.arange(store.rows, dtype=torch.int32))
        assert sum(len(part) for part in store.norms(HOOK)) == store.rows
        assert sum(part.rows for part in store.shard_statistics(HOOK)) == store.rows
        loader = Loader(store, HOOK, seed=0, window_bytes=4096)
        batches = torch.cat(list(loader.batches(0, 2 * store.rows, 64)))  # two epochs, by several threads
        assert torch.equal(batches[:, 0].sort().values, rows[:, 0].repeat(2).sort().values)

    in_child(read)  # raises where an assertion fails


def test_no_more_than_the_bound_are_open_and_each_reads_its_own_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_files, "MOST", 3)
    files = []
    for number in range(12):
        (tmp_path / str(number)).write_bytes(bytes([number]) * 4)
        files.append(FileOnDisk(tmp_path / str(number)))

    def read(number: int) -> int:
        with files[number].opened() as descriptor:
            return os.pread(descriptor, 1, 2)[0]

    asked = np.random.default_rng(0).integers(0, 12, 400).tolist()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(read, asked)) == asked
    assert sum(file._held is not None for file in files) <= 3 + 8  # and one for each thread that was opening one
    for number in range(12):
        read(number)
    assert sum(file._held is not None for file in files) == 3


def test_a_file_that_was_replaced_is_not_read_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_files, "MOST", 1)
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"before")
    file, other = FileOnDisk(tmp_path / "a"), FileOnDisk(tmp_path / "b")
    for one in (file, other):
        with one.opened():
            pass
    (tmp_path / "a").unlink()
    (tmp_path / "a").write_bytes(b"after!!")
    with pytest.raises(UserError, match="a: changed while it was being read"), file.opened():
        pass


def test_the_bound_is_a_share_of_what_the_process_may_open(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, expected in ((1024, 256), (64, 16), (2, 1), (resource.RLIM_INFINITY, 256)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, limit=limit: (limit, limit))
        assert most_open() == expected


def test_a_store_that_lives_until_the_exit_leaves_without_a_word(many_shards: Path) -> None:
    program = f"import winnow; s = winnow.ActivationStore({str(many_shards)!r}); s.read({HOOK!r}, 0, 40)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
