"""The quick form harvests, trains, prints both tables, and leaves the results file and the run folder as they were."""

from pathlib import Path

import pytest

import bench.quality.__main__ as quality
import bench.table

pytestmark = pytest.mark.slow


def test_quick_form_prints_both_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench.table, "RESULTS", tmp_path / "results.json")
    monkeypatch.setattr(quality, "RUN", tmp_path / "run")
    quality.main(["--quick", "--trainers", "winnow", "--architectures", "topk"])
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "| | L0 | winnow |"
    assert [line.split(" | ")[:2] for line in printed[2:5]] == [["| topk", "12"], ["| topk", "24"], ["| topk", "48"]]
    assert any("quality (quick)" in line for line in printed)
    assert list(tmp_path.iterdir()) == []
