"""Massive rows are the first thing that the report says, where there are any, and not a word where there are none."""

from pathlib import Path
from typing import Any

import pytest

from analyze.report.page import render_page, report_sections
from analyze.report.section import Overview
from analyze.report.terminal import print_summary
from analyze.schema.report import Metrics
from tests.analyze.sample import RESIDUAL, sample_metrics
from tests.analyze.typed import typed

MASSIVE: dict[str, Any] = {
    "bound": 10,
    "median_norm": 168.25,
    "largest_norm": 24_000.0,
    "rows": 9,
    "all_rows": 51_308,
    "share_of_rows": 9 / 51_308,
    "share_of_variance": 0.8812,
    "positions": [[1, 9]],
    "tokens": [[198, 8], [284, 1]],
    "dimensions": [[507, 0.99]],
    "left_out": True,
    "token_texts": ["\n", " to"],
}
WORDS = (
    "9 of 51,308 rows are massive (norm above 10 times the median 168, up to 24,000) and make up 88.1% of the "
    "variance. Most frequent: position 1 (9); token 198 '\\n' (8), 284 ' to' (1); dimension 507 (99%)."
)


def with_massive(**changes: Any) -> Metrics:
    metrics = sample_metrics()
    for hook in metrics["activations"]:
        hook["massive"] = None
        hook["largest_dimension"] = {"dimension": 507, "share": 0.87, "kept_dimension": 3, "kept_share": 0.02}
    metrics["activations"][0]["massive"] = MASSIVE | changes
    for dictionary in metrics["dictionaries"]:
        dictionary |= {"fvu_all_rows": 0.0495, "rows_left_out": 2 if dictionary["hook"] == RESIDUAL else 0}
    return typed(metrics)


def overview(metrics: Metrics) -> Overview:
    section = report_sections(metrics)[0]
    assert isinstance(section, Overview)
    return section


def test_overview_begins_with_them() -> None:
    first = overview(with_massive())
    assert first.line.startswith(f"9 massive rows of 51,308 make up 88.1% of the variance at {RESIDUAL}: left out · ")
    assert first.caveats[0].label == f"Massive rows: 9 at {RESIDUAL}"
    assert first.caveats[0].text.startswith(f"{WORDS} They are left out of training")
    assert "taken in" in overview(with_massive(left_out=False)).line


def test_figures_over_all_rows_stand_beside() -> None:
    sections = {section.name: section for section in report_sections(with_massive())}
    table = sections["quality"].tables[0]
    place = table.columns.index("FVU")
    assert table.columns[place + 1 : place + 3] == ("FVU, all rows", "rows left out")
    assert all(row[place + 1] == "0.049" or row[place + 1] == "0.050" for rows in table.groups.values() for row in rows)
    activations = sections["activations"].tables
    assert activations[0].title == "Massive rows"
    assert activations[1].groups["Residual stream"][0][-1] == "507: 87.0%; without massive rows 3: 2.0%"
    assert "FVU, all rows" in render_page(with_massive(), list(sections.values()))


def test_without_them_nothing_is_said() -> None:
    metrics = typed(sample_metrics())
    first = overview(metrics)
    assert "massive" not in first.line + " ".join(note.label for note in first.caveats)
    tables = {table.title: table for section in report_sections(metrics) for table in section.tables}
    assert "Massive rows" not in tables
    assert "FVU, all rows" not in tables["Dictionaries"].columns


def test_terminal_begins_with_them(capsys: pytest.CaptureFixture[str]) -> None:
    print_summary(with_massive(), Path("report/index.html"))
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith(f"{RESIDUAL}: {' '.join(WORDS.split())}")
