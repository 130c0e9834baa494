"""The report of data with a known answer says the answer, draws it in a browser, and leaves out what is not known."""

import re
from pathlib import Path
from typing import Any

import pytest

from analyze.report.draw.chart import HeatMap
from analyze.report.draw.files import write_figures
from analyze.report.page import render_page, report_sections
from analyze.report.section import Section
from tests.analyze.sample_truth import truth_metrics
from tests.analyze.typed import typed
from tests.browser import console_errors, open_browser, set_width, wait_until_drawn


def section(metrics: dict[str, Any], name: str) -> Section:
    return next(section for section in report_sections(typed(metrics)) if section.name == name)


def tables(metrics: dict[str, Any], name: str) -> dict[str, Any]:
    found = section(metrics, name)
    return {table.title: table for table in (*found.tables, *found.more_tables)}


def test_the_regime_and_the_answer_are_said_in_words() -> None:
    regime, *answers = section(truth_metrics(), "truth").paragraphs
    assert "32 true features in 128 dimensions, 0.25 for each. The regime is mild" in regime
    assert "look as if they were drawn at random from the sphere" in regime
    assert len(answers) == 2  # a grid for each seed
    assert "Too few dictionaries had converged" in answers[0]
    assert "Does agreement with the next larger size find size and sparsity without the truth?" in answers[0]


def test_an_answer_names_what_is_picked_and_what_is_best() -> None:
    metrics = truth_metrics(seeds=(0,))
    (grid,) = metrics["choosing"]
    for gate in ("converged", "all"):
        said = grid["verdict"][gate]["criteria"]["mmcs_next_corrected"]
        said |= {"cells": 3, "regret": 0.01, "regret_alike": 0.2, "rank_correlation": 0.5}
        said["picked"] = {**grid["verdict"]["best"]["found"], "n_latents": 64, "size_ratio": 2.0, "found": 0.89}
    answer = section(metrics, "truth").paragraphs[1]
    assert "Half: it finds most of the features" in answer
    assert "picks 64 latents (2 per feature) at l1_coefficient 0.5" in answer
    assert "the corrected MMCS of the true features is 0.89; the best is 0.90 at 32 latents (1 per feature)" in answer
    assert "rank correlation of agreement and truth is 0.5." in answer
    assert "Too few" not in answer


def test_cells_that_had_not_converged_are_marked() -> None:
    (chart,) = [c for c in section(truth_metrics(seeds=(0,)), "sizes").charts if c.name == "choosing-00"]
    marks = {
        panel.title: [[note.endswith("*") for note in row] for row in panel.notes]
        for panel in chart.panels
        if isinstance(panel, HeatMap)
    }
    assert marks["FVU"] == [[False, True]] * 3  # columns are l1 0.5 and 2
    assert marks["Corrected MMCS with the next larger size"][:2] == [[False, True]] * 2


def test_seeds_are_tabled_with_intervals_and_kinds_compared() -> None:
    metrics = truth_metrics(sizes=(16, 32))
    rows = tables(metrics, "seeds")["Means over seeds"].groups["toy"]
    assert len(rows) == 4
    assert re.fullmatch(r"3,550 \[\d,\d{3}, \d,\d{3}\]", rows[0][3])
    metrics["groups"][0]["rows_to_half"] = {"known": 1, "mean": None, "low": None, "high": None}
    assert tables(metrics, "seeds")["Means over seeds"].groups["toy"][0][3] == "1 of 2 got there"
    one = {"from": 0, "to": 1, "option": "initialisation", "p": 0.001, "p_adjusted": 0.004}
    metrics["differences"] = [
        {**one, "of": "rows_to_half", "factor": True, "mean": 0.5, "low": 0.4, "high": 0.6},
        {**one, "of": "fvu", "factor": False, "mean": -0.01, "low": -0.03, "high": 0.01, "p_adjusted": 0.4},
    ]
    groups = tables(metrics, "seeds")["Which kinds differ"].groups
    ((_, *rows_said),), ((_, *fvu_said),) = groups.values()
    assert rows_said == ["× 0.5", "[× 0.4, × 0.6]", "0.001", "0.004", "differ"]
    assert fvu_said == ["−0.0100", "[−0.0300, +0.0100]", "0.001", "0.4", "may be equal"]


def test_the_rule_of_convergence_is_held_against_recovery() -> None:
    table = tables(truth_metrics(seeds=(0,)), "training")["Did training stop when recovery had?"]
    first = table.groups[""][0]
    assert first[1:3] == ("6,000", "1,200,000")
    assert first[-2] == "100.0%"


def test_assumptions_of_the_toy_that_fail_are_named() -> None:
    metrics = truth_metrics()
    table = tables(metrics, "activations")["Toy and real activations, side by side"]
    ((label, rows),) = table.groups.items()
    assert label.endswith("(runs/demo)")
    by_name = {row[0]: row for row in rows}
    assert "few features at a time" not in by_name  # no dictionary was trained there
    assert by_name["no special basis"][-1] == "✗ fails"
    said = section(metrics, "activations").paragraphs[-1]
    assert "break" in said
    assert "no special basis" in said


@pytest.mark.parametrize(
    "part",
    [
        *("truth", "groups", "differences", "stopping", "choosing", "dictionaries.truth", "pairs.snapshots"),
        *("truth.by_firing_rate", "truth.recovery", "truth.snapshots", "truth.rows_to_half", "truth.steepest"),
        *("truth.mmcs_corrected", "truth.matched_mean"),
    ],
)
def test_what_is_not_known_is_left_out(part: str) -> None:
    metrics = truth_metrics()
    whole = {chart.name for one in report_sections(typed(metrics)) for chart in one.charts}
    first, _, key = part.partition(".")
    within = [d["truth"] for d in metrics["dictionaries"]] if first == "truth" else metrics[first]
    for record in within if key else [metrics]:
        record[key or first] = None
    sections = report_sections(typed(metrics))
    page = render_page(metrics, sections).split("plotly.js v")[0]
    assert {chart.name for one in sections for chart in one.charts} <= whole
    assert not re.search(r"\b(None|nan|Undefined)\b", page)


def test_figures_are_files_too(tmp_path: Path) -> None:
    wanted = ("true-recovery-00", "true-sparsity-00", "criterion-00", "seeds-00", "undertraining-00", "true-grid-00")
    charts = [c for one in report_sections(typed(truth_metrics())) for c in one.charts if c.name in wanted]
    assert sorted(c.name for c in charts) == sorted(wanted)
    write_figures(charts, tmp_path)
    assert len(list(tmp_path.glob("*.svg"))) == len(wanted)
    assert "initialisation" not in (tmp_path / "true-recovery-00.csv").read_text()


@pytest.mark.browser
@pytest.mark.parametrize("width", [1440, 390])
def test_the_page_is_drawn_without_errors_and_fits(tmp_path: Path, width: int) -> None:
    metrics = truth_metrics()
    page = tmp_path / "index.html"
    page.write_text(render_page(metrics, report_sections(typed(metrics))), encoding="utf-8")
    with open_browser(tmp_path / "profile") as browser:
        set_width(browser, width)
        browser.get(page.as_uri())
        wait_until_drawn(browser)
        assert browser.execute_script("return document.documentElement.scrollWidth") == width
        assert console_errors(browser) == []
