"""A full disk, or a limit on the size of files: one line, exit status 3, and nothing half-written is published.

RLIMIT_FSIZE lets each of a process's files grow to so many bytes, so whatever writes fails as it does on a full disk:
Python, numpy, safetensors in Rust, HDF5 in C. Only the number differs, EFBIG for ENOSPC.
"""

import errno
import hashlib
import os
import resource
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from torch import Tensor

from analyze.evaluation.latents import Latents, write_latents
from data.tokens import make_tokens
from data.write_tokens import _write_part
from harvest.write_shard import write_shard
from tests.experiments import write_config
from tests.fork import in_child
from tests.forked import Client, Done
from train.checkpoint import write_checkpoint
from train.curve import append_point
from winnow.dictionary import Dictionary, save_dictionary
from winnow.runtime.exhausted import exhausted
from winnow.runtime.publish import publish_text
from winnow.runtime.publish_hdf5 import publish_hdf5
from winnow.runtime.stage import run_stage
from winnow.shards.layout import RowIndex
from winnow.shards.statistics import HookStatistics, write_statistics

ROOM = 1500  # bytes: less than any of these writes


def _shard(folder: Path) -> None:
    rows = torch.arange(64, dtype=torch.int32)
    with write_shard(folder / "shard-00000.h5", {"h": 8}, RowIndex(rows, rows, rows), (0, 64), "float32", 64) as shard:
        shard.append({"h": torch.ones(64, 8)})


def _dictionary(folder: Path) -> None:
    weights: tuple[Tensor, ...] = (torch.ones(8, 64), torch.ones(64), torch.ones(64, 8), torch.ones(8))
    save_dictionary(Dictionary(*weights, architecture="relu"), folder, {}, {})


def _hdf5(folder: Path) -> None:
    with publish_hdf5(folder / "rows.h5") as file:
        for number in range(40):
            file.create_group(str(number)).attrs["x"] = np.ones(50)  # the library would write it on closing the file


WRITERS: dict[str, Callable[[Path], object]] = {
    "text": lambda folder: publish_text(folder / "a.json", "x" * 5000),
    "tokens": lambda folder: _write_part(folder / "part.npy", np.ones((40, 16), np.int32)),
    "shard": _shard,
    "statistics": lambda folder: write_statistics(
        folder / "s.h5.partial", {"h": HookStatistics.zero(8, 64)}, {"h": 1.0}
    ),
    "dictionary": _dictionary,
    "checkpoint": lambda folder: write_checkpoint(folder, {"W": torch.ones(5000)}, {"rows": 1}),
    "curve": lambda folder: append_point(folder, {str(number): 1.0 for number in range(500)}),
    "latents": lambda folder: write_latents(
        folder / "latents.h5", {"d": Latents("0", torch.ones(900, dtype=torch.int64), torch.ones(900).double(), 5)}
    ),
    "HDF5": _hdf5,
}


@pytest.mark.parametrize("name", WRITERS)
def test_whatever_writes_says_which_file_had_no_room_and_publishes_nothing(name: str, tmp_path: Path) -> None:
    (tmp_path / "said").touch()

    def write() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, ROOM))
        try:
            WRITERS[name](tmp_path)
        except Exception as error:
            (tmp_path / "said").write_text(str(exhausted(error)))

    in_child(write)
    said = (tmp_path / "said").read_text()
    assert said.startswith(f"a file would be larger than is allowed ({tmp_path}/"), said
    kept = {path.name for path in tmp_path.rglob("*") if path.is_file()} - {"said"}
    assert kept <= {"metrics.jsonl", "s.h5.partial"}, kept  # the first is appended to, the second is the caller's


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "a"), "the disk is full (a); free some space"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "the quota of disk space is used up; free some space"),
        (OSError(errno.EMFILE, "Too many open files"), "too many files are open; raise the limit (ulimit -n)"),
        (
            SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
            "the disk is full; free some space",
        ),
        (
            RuntimeError(
                "Can't close file (file write failed: file descriptor = 3, errno = 28, error message = 'No …')"
            ),
            "the disk is full; free some space",
        ),
        (ValueError("28 rows"), "None"),
        (OSError(errno.EACCES, "Permission denied", "a"), "None"),
    ],
)
def test_each_library_s_words_are_understood(error: Exception, said: str) -> None:
    assert str(exhausted(error)) == said


def test_the_error_that_it_came_from_counts_too() -> None:
    def close() -> None:
        try:
            raise OSError(errno.ENOSPC, "No space left on device", "a.h5")
        finally:
            raise RuntimeError("cannot close")

    with pytest.raises(RuntimeError) as raised:
        close()
    assert str(exhausted(raised.value)) == "the disk is full (a.h5); free some space"


def contents(run: Path) -> dict[str, str]:
    """Hash what a stage published, but for what says when and how fast."""
    passing = {"training.json", "metrics.jsonl", "hashes.json", "index.html", "metrics.json", "config.toml"}
    files = [path for path in sorted(run.rglob("*")) if path.is_file() and path.name not in passing]
    return {
        str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if not path.name.startswith((".", "events.")) and path.parent.name != ".claims"
    }


@pytest.mark.slow
def test_every_stage_leaves_with_one_line_and_the_same_command_finishes(
    tmp_path: Path, gpt2: Path, stages: Client
) -> None:
    topk = {"architecture": "topk", "n_latents": [16, 32], "k": 4, "hooks": ["blocks.1.hook_resid_post"]}
    training = {"rows": 2000, "batch_rows": 100, "snapshots": 1, "dictionaries": [topk]}
    config = write_config(tmp_path, gpt2, train=training, analyze={"features": ["none"]})
    whole, limited = tmp_path / "whole", tmp_path / "limited"

    def run(stage: str, folder: Path, room: int = -1) -> Done:
        arguments = [stage, "--config", str(config), "--run", str(folder)]
        return stages.python(
            "import resource, runpy, sys\n"
            f"resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, -1))\n"
            f"sys.argv = {arguments}\n"
            f"runpy.run_module({stage!r}, run_name='__main__', alter_sys=True)"
        )

    for stage, rooms in (
        ("data", (300, 2500)),
        ("harvest", (700, 100_000)),
        ("train", (600, 12_000)),
        ("analyze", (20_000,)),
    ):
        for room in rooms:
            done = run(stage, limited, room)
            assert done.status == 3, (stage, room, done)
            last = done.err.splitlines()[-1]
            assert last.startswith(f"{stage}: a file would be larger than is allowed ({limited}"), (stage, room, last)
            assert last.endswith("; raise the limit (ulimit -f), the same command continues"), last
            assert "Traceback" not in done.err, done.err
            assert not [*limited.rglob("*.partial"), *limited.rglob(".tmp*")], (stage, room)
        if stage == "analyze":  # it takes longest, and publishes as the others do
            continue
        done = run(stage, limited)
        assert done.status == 0, (stage, done)
        if stage in ("harvest", "train"):
            assert run(stage, whole).status == 0
            assert contents(limited) == contents(whole), stage
        elif stage == "data":
            shutil.copytree(limited, whole)


def test_a_disk_that_is_full_before_anything_was_written_is_status_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(path: Path, *rest: object, **more: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    config = write_config(tmp_path, tmp_path)
    monkeypatch.setattr(sys, "argv", ["data", "--config", str(config)])
    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(SystemExit) as left:
        run_stage("data", make_tokens)
    assert left.value.code == 3
    said = capsys.readouterr().err
    assert said == f"data: the disk is full ({tmp_path / 'run'}); free some space, the same command continues\n"
