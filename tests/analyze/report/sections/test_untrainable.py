"""Hooks on which nothing can be trained are named by the page and in the terminal, and drawn without what they lack."""

from pathlib import Path

import pytest
import torch

from analyze.activations.distributions import describe
from analyze.activations.spectrum import covariance, spectrum
from analyze.report.sections.activations import activations_section
from analyze.report.sections.untrainable import untrainable_words
from analyze.report.terminal import print_summary
from harvest.accumulate import statistics_of
from tests.analyze.sample import sample_metrics
from tests.analyze.typed import typed

ZERO = torch.zeros(64, 8)
EQUAL = torch.arange(8.0).expand(64, 8) / 7


def described(hook: str, rows: torch.Tensor) -> dict:
    found = statistics_of(rows.contiguous(), torch.zeros(len(rows), dtype=torch.int64), 1)
    return {**describe(hook, found), "spectrum": spectrum(covariance(rows))}


@pytest.mark.parametrize(
    ("rows", "reason"), [(ZERO, "its activations are all zero"), (EQUAL, "its rows are all equal")]
)
def test_the_hook_is_named_with_the_reason(
    rows: torch.Tensor, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    sample = sample_metrics()
    metrics = typed({**sample, "activations": [*sample["activations"], described("blocks.0.hook_mlp_out", rows)]})
    line = f"blocks.0.hook_mlp_out: {reason}. No dictionary can be trained there: training leaves it out."
    assert untrainable_words(metrics.activations or []) == [line]
    print_summary(metrics, tmp_path / "index.html")
    assert line in " ".join(capsys.readouterr().out.split())
    assert line in activations_section(metrics).paragraphs


def test_where_rows_differ_nothing_is_said():
    assert untrainable_words(typed(sample_metrics()).activations or []) == []


def test_without_variance_there_are_no_shares_of_it():
    found = spectrum(covariance(EQUAL))
    assert found == {"shares": [], "participation_ratio": None, "participation_ratio_standardised": None}


def test_shares_that_an_earlier_report_has_as_nulls_are_not_drawn():
    sample = sample_metrics()
    old = described("blocks.0.hook_mlp_out", EQUAL)
    old["spectrum"] = {**old["spectrum"], "shares": [None] * 8}
    section = activations_section(typed({**sample, "activations": [*sample["activations"], old]}))
    assert "spectrum" not in [chart.name for chart in section.charts]
