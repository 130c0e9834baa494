"""The benchmarks against the peers, in their quick form, with the peers' own trainers."""

from pathlib import Path

import pytest

import bench.quality.__main__ as quality
import bench.table
from bench.peers import MATCHES, main
from bench.quality.plan import TRAINERS


def test_every_match_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench.table, "RESULTS", tmp_path / "results.json")
    main(["--quick"])
    printed = capsys.readouterr().out.replace(" ", "")
    assert "peers(quick)" in printed
    assert printed.count("winnow/") == len(MATCHES)
    assert not (tmp_path / "results.json").exists()


def test_every_trainer_has_a_quality(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench.table, "RESULTS", tmp_path / "results.json")
    quality.main(["--quick", "--architectures", "topk", "batchtopk"])
    head, _, *lines = capsys.readouterr().out.splitlines()
    assert head == f"| | L0 | {' | '.join(TRAINERS)} |"
    topk = [line for line in lines if line.startswith("| topk")]
    assert topk
    assert not [line for line in topk if "–" in line]
    assert not (tmp_path / "results.json").exists()
