"""Dictionaries as they were on the way."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import winnow
from tests.train.experiments import HOOK, load, write_run
from train import snapshots
from train.snapshots import most_snapshots, snapshot_due
from train.stage import train
from winnow.dictionary import Dictionary

GRIDS: list[dict[str, Any]] = [
    {"architecture": "topk", "n_latents": 48, "k": 3},
    {"architecture": "batchtopk", "n_latents": 48, "k": 3},
]


@pytest.mark.parametrize(
    ("per_doubling", "expected"),
    [(0, []), (1, [100, 200, 400, 800, 1600]), (2, [100, 200, 300, 400, 600, 800, 1200, 1600])],
)
def test_snapshots_are_log_spaced_in_whole_batches(per_doubling: int, expected: list[int]) -> None:
    due = [rows for rows in range(100, 2001, 100) if snapshot_due(rows - 100, rows, per_doubling, first=100)]
    assert due == expected


def test_snapshots_are_ordinary_dictionaries_but_none_of_the_run(tmp_path: Path) -> None:
    train(load(write_run(tmp_path, GRIDS, snapshots=1)))
    finished = winnow.load_dictionaries(tmp_path / "run")
    assert len(finished) == len(GRIDS)
    for d in finished:
        assert d.path is not None
        folders = sorted((d.path / "snapshots").iterdir())
        assert [folder.name for folder in folders] == [f"rows-{rows:013d}" for rows in (250, 500, 1000, 2000, 4000)]
        cosines = []
        for folder in folders:
            snapshot = winnow.load_dictionary(folder)
            assert (snapshot.architecture, snapshot.hook, snapshot.k) == (d.architecture, HOOK, d.k)
            assert snapshot.provenance["rows"] == int(folder.name.removeprefix("rows-"))
            cosines.append(float(torch.linalg.vecdot(snapshot.W_dec, d.W_dec).mean()))
        assert cosines == sorted(cosines)  # ever nearer to what it became
        assert cosines[0] < 0.999


def test_training_goes_on_where_a_snapshot_is_torn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(load(write_run(tmp_path / "whole", GRIDS, snapshots=1)))
    path = write_run(tmp_path / "torn", GRIDS, snapshots=1)
    original = snapshots.write_snapshot

    def tear(dictionary: Dictionary, folder: Path, rows: int, *arguments: Any) -> None:
        original(dictionary, folder, rows, *arguments)
        if rows == 4000:
            torn = folder / "snapshots" / "rows-0000000004000"
            (torn / "cfg.json").unlink()
            (torn / "sae_weights.safetensors").write_bytes(b"half of")
            raise OSError("pulled the plug")

    monkeypatch.setattr(snapshots, "write_snapshot", tear)
    with pytest.raises(OSError, match="pulled the plug"):
        train(load(path))
    monkeypatch.undo()
    train(load(path))
    whole, torn = tmp_path / "whole" / "run", tmp_path / "torn" / "run"
    files = sorted(file.relative_to(whole) for file in whole.glob("dictionaries/**/*.safetensors"))
    assert len(files) == 2 * 6
    for file in files:
        assert (whole / file).read_bytes() == (torn / file).read_bytes()
    verdicts = [json.loads(file.read_text()) for file in torn.glob("dictionaries/*/*/snapshots/*/training.json")]
    assert all(verdict["settings"]["rows"] == 6000 for verdict in verdicts)


@pytest.mark.parametrize(
    ("rows", "batch", "each"), [(1000, 64, 1), (100_000, 64, 3), (64, 64, 2), (777, 100, 4), (50, 64, 2), (999, 64, 0)]
)
def test_snapshots_are_as_many_as_are_counted(rows: int, batch: int, each: int) -> None:
    ends = [min(start + batch, rows) for start in range(0, rows, batch)]
    due = sum(snapshot_due(start, stop, each, batch) for start, stop in zip([0, *ends], ends, strict=False))
    assert most_snapshots(rows, each, batch) == due
