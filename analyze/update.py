"""The flow of every report: is it up to date? If not, measure, publish, write the page; then print the summary."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from analyze.compare.latent_table import is_complete, remove_others
from analyze.polytopes import NO_POLYTOPES, Polytopes
from analyze.report.terminal import print_summary
from analyze.schema.file import read_metrics, write_metrics
from analyze.schema.report import Metrics


def update_report(
    folder: Path,
    inputs: dict[str, Any],
    measure: Callable[[Metrics | None], Metrics],
    done: Callable[[Metrics], str],
    write_more: Callable[[Metrics], bool] = lambda metrics: False,
    polytopes: Polytopes = NO_POLYTOPES,
) -> None:
    """Bring `metrics.json` and `index.html` in `folder` up to date with `inputs`, and print the summary.

    `measure` makes the metrics, with `inputs` among them, from the earlier ones (None: there are none). `write_more`
    writes what lies beside the page and returns whether it did. `polytopes` are shown on the page. `done` says what
    is up to date where nothing is to do.
    The caller holds the run's lock.
    """
    path, page = folder / "metrics.json", folder / "index.html"
    metrics = read_metrics(path)
    if metrics is None or metrics["inputs"] != inputs or not is_complete(metrics, folder):
        folder.mkdir(exist_ok=True)
        metrics = measure(metrics)
        page.unlink(missing_ok=True)  # of other metrics; where it is missing it is written, also after a kill
        write_metrics(metrics, path)
    remove_others(metrics, folder)
    wrote = write_more(metrics)
    if not wrote and page.exists():
        print(f"{path}: {done(metrics)}; nothing to do")
    if not page.exists():
        # imported here: a stage that has nothing to do need not wait for plotly and matplotlib
        from analyze.report.page import write_report

        write_report(metrics, folder, polytopes)
    print_summary(metrics, page)
