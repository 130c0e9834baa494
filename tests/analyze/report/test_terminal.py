"""The summary names every dictionary and comparison, and ends with the report's path."""

from itertools import pairwise
from pathlib import Path

import pytest

from analyze.report.terminal import print_summary
from tests.analyze.sample import sample_metrics
from tests.analyze.typed import typed

REPORT = Path("runs/a-[red]-run") / ("long" * 30) / "index.html"


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", "100")
    print_summary(typed(sample_metrics()), REPORT)
    return capsys.readouterr().out


def test_last_line_is_the_reports_path_however_long(printed: str) -> None:
    assert printed.splitlines()[-1] == str(REPORT)


def test_every_dictionary_has_a_row_with_its_scores(printed: str) -> None:
    words = [line.split() for line in printed.splitlines()]
    names = [line[0] if line else "" for line in words]
    for d in sample_metrics()["dictionaries"]:
        numbers = [f"{d['n_latents']:,}", f"{d['l0']:,.3g}", f"{d['fvu']:.3f}", f"{100 * d['ce']['recovered']:.1f}%"]
        assert any(line[-5:-1] == numbers for line in words), numbers
        assert (d["hook"], d["architecture"]) in pairwise(names)


def test_every_mmcs_stands_beside_its_chance_level_and_the_corrected_value(printed: str) -> None:
    words = [line.split() for line in printed.splitlines()]
    for pair in sample_metrics()["pairs"]:
        numbers = [f"{pair[key]:.3f}" for key in ("mmcs", "mmcs_null", "mmcs_corrected")]
        assert any(line[-3:] == numbers for line in words), numbers


def test_what_was_not_measured_is_a_dash(capsys: pytest.CaptureFixture[str]) -> None:
    dictionary = {"path": "a", "hook": "h", "architecture": "topk", "n_latents": 8, "seed": 0, "ce": None}
    print_summary(typed({"dictionaries": [dictionary], "pairs": None}), Path("index.html"))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["h", "8", "–", "–", "–", "–"] in lines


def test_nothing_measured_prints_the_path_alone(capsys: pytest.CaptureFixture[str]) -> None:
    print_summary(typed({}), Path("index.html"))
    assert capsys.readouterr().out == "index.html\n"
