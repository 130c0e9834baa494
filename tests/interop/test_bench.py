"""The benchmark against the peers, in its quick form, with the peers' own trainers."""

from pathlib import Path

import pytest

import bench.table
from bench.peers import MATCHES, main


def test_every_match_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench.table, "RESULTS", tmp_path / "results.json")
    main(["--quick"])
    printed = capsys.readouterr().out.replace(" ", "")
    assert "peers(quick)" in printed
    assert printed.count("winnow/") == len(MATCHES)
    assert not (tmp_path / "results.json").exists()
