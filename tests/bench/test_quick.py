"""Every benchmark's `--quick` form runs through, prints its table and leaves `bench/results.json` as it was."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import bench.table
from bench.peers import Match, measure
from tests.experiments import ROOT

pytestmark = pytest.mark.bench

IN_PROCESS = ("read", "toy", "train", "analyze", "features", "mixing", "digits")
OWN_PROCESS = ("harvest", "gpt2_size")  # one compiles without the tests' checks of types, one starts stages anyway
ELSEWHERE = ("peers", "gpu_check")  # below and in tests/interop; test_gpu_check.py
PARTS = ("peer_step",)  # what peers starts


def test_every_benchmark_is_listed_here() -> None:
    found = {path.stem for path in (ROOT / "bench").glob("*.py") if '__name__ == "__main__"' in path.read_text()}
    assert found == {*IN_PROCESS, *OWN_PROCESS, *ELSEWHERE, *PARTS}


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the results file would be, in the folder that the benchmark is run in."""
    monkeypatch.setattr(bench.table, "RESULTS", tmp_path / "results.json")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "results.json"


@pytest.mark.parametrize("name", IN_PROCESS)
def test_quick_form_prints_its_table(name: str, results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    importlib.import_module(f"bench.{name}").main(["--quick"])
    assert f"{name} (quick)" in capsys.readouterr().out
    assert not results.exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", OWN_PROCESS)
def test_quick_form_runs_as_a_command(name: str) -> None:
    kept = ROOT / "bench" / "results.json"
    before = kept.read_bytes() if kept.exists() else None
    done = subprocess.run(
        [sys.executable, "-m", f"bench.{name}", "--quick"], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"^ *\S+ \(quick\) *$", done.stdout, flags=re.MULTILINE)
    assert (kept.read_bytes() if kept.exists() else None) == before


def test_quick_form_of_the_peers_measures_our_own_trainer(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The peers are not installed here; our trainer in both places goes the same way."""
    measure([Match("winnow/topk/float32", "winnow/topk/float32", 1.0)], 1, quick=True)
    printed = capsys.readouterr().out
    assert "peers (quick)" in printed
    assert "winnow/topk/float32" in printed
    assert not results.exists()


def test_measured_rows_are_kept(results: Path) -> None:
    """Without `--quick` they are, beside what other benchmarks kept."""
    row = bench.table.Row("a speed", 3.0, 2.0, "rows/s", 1.0)
    bench.table.publish_rows("one", "a floor", [row])
    bench.table.publish_rows("two", "a floor", [row])
    bench.table.publish_rows("three", "a floor", [row], quick=True)
    text = results.read_text(encoding="utf-8")
    assert ['"one"' in text, '"two"' in text, '"three"' in text] == [True, True, False]
