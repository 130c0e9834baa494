"""Write charts as files: SVG and PDF for a paper, and the numbers as CSV.

Charts are written one after another: on two cores, starting worker processes takes as long as they would save.
"""

from collections.abc import Sequence
from pathlib import Path

from analyze.report.draw.chart import Chart
from analyze.report.draw.csv import to_csv
from analyze.report.draw.paper.figure import paper_figure, save_paper
from winnow.runtime.publish import publish_file, publish_text

FORMATS = ("svg", "pdf", "csv")


def write_figures(charts: Sequence[Chart], folder: Path) -> None:
    """Write every chart's files into `folder`; each file is published atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    for chart in charts:
        publish_text(folder / f"{chart.name}.csv", to_csv(chart))
        with paper_figure(chart) as figure:
            for kind in ("svg", "pdf"):
                with publish_file(folder / f"{chart.name}.{kind}") as partial:
                    save_paper(figure, partial, kind)
