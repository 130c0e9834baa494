"""The flow of every report: is it up to date? If not, measure, publish, write the page; then print the summary."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from analyze.compare.latent_table import is_complete, remove_others
from analyze.polytopes import NO_POLYTOPES, Polytopes
from analyze.report.terminal import print_summary
from analyze.schema.file import is_later, read_metrics, write_metrics
from analyze.schema.report import Metrics
from winnow.errors import UserError
from winnow.runtime.hashes import change_hashes, check_file, note_all, read_hashes

DATA = ("features", "data")  # below the report: folders that are made whole
DRAWN = ("index.html", "figures", "features")  # made from the metrics; all else is measured


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
    is up to date where nothing is to do. Files that are missing, or are not as they were written, are made again. The
    caller holds the run's lock.
    """
    path, page = folder / "metrics.json", folder / "index.html"
    measured = _drop_changed(folder)
    metrics = read_metrics(path)
    if metrics is None or measured or metrics["inputs"] != inputs or not is_complete(metrics, folder):
        folder.mkdir(exist_ok=True)
        change_hashes(folder.parent, forget=[f"{folder.name}/"])
        metrics = measure(metrics)
        page.unlink(missing_ok=True)  # of other metrics; where it is missing it is written, also after a kill
        write_metrics(metrics, path)
    remove_others(metrics, folder)
    wrote = write_more(metrics)
    if not wrote and page.exists():
        print(f"{path}: {done(metrics)}; nothing to do")
    drawn = not page.exists()
    if drawn:
        # imported here: a stage that has nothing to do need not wait for plotly and matplotlib
        from analyze.report.page import write_report

        write_report(metrics, folder, polytopes)
    if wrote or drawn:
        names = [f"{folder.name}/{name}" for name in _files(folder)]
        change_hashes(folder.parent, note_all(folder.parent, names), forget=[f"{folder.name}/"])
    print_summary(metrics, page)


def changed_files(folder: Path) -> list[str] | None:
    """List the files of a report that are missing or not as they were written; None where nothing is known of them."""
    prefix, changed = f"{folder.name}/", []
    listed = {name: said for name, said in read_hashes(folder.parent).items() if name.startswith(prefix)}
    for name, said in listed.items():
        try:
            check_file(folder.parent / name, said, "made again")
        except UserError as found:
            print(found, file=sys.stderr)
            changed.append(name.removeprefix(prefix))
    return changed if listed else None


def _drop_changed(folder: Path) -> bool:
    """Delete the files of a report that are not as they were written; return whether one was measured, not drawn.

    Where any is missing or changed, or nothing is known of them, the page goes too, so that it is drawn again.
    """
    if is_later(folder / "metrics.json"):
        return False
    changed = changed_files(folder)
    if changed is None:
        if (folder / "metrics.json").exists() and os.access(folder, os.W_OK):
            (folder / "index.html").unlink(missing_ok=True)
        return False
    if not changed:
        return False
    change_hashes(folder.parent, forget=[f"{folder.name}/"])
    for name in changed:
        parts = Path(name).parts
        if parts[:2] == DATA and len(parts) > 2:
            shutil.rmtree(folder.joinpath(*parts[:3]), ignore_errors=True)
        else:
            (folder / name).unlink(missing_ok=True)
    (folder / "index.html").unlink(missing_ok=True)
    return any(Path(name).parts[0] not in DRAWN for name in changed)


def _files(folder: Path) -> list[str]:
    """List what a report consists of, by names below its folder."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in found if not any(part.endswith(".partial") for part in path.parts))
