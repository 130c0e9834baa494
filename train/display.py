"""Show a sweep's progress on standard error: a table on a terminal, lines elsewhere.

The table has a line for each dictionary: loss, FVU, held-out FVU, L0, share of dead latents, rows/s, time left. If
they do not all fit on the screen, pages of them take turns.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

from rich.console import Console, Group
from rich.live import Live
from rich.progress import Progress
from rich.table import Table

from train.learner import Learner
from winnow.runtime.progress import bar_columns

PAGE_SECONDS = 5
OTHER_LINES = 6  # of the screen: the bar, the frame, the heading and the caption
LINES = 10  # progress lines of a whole training, without a terminal
COLUMNS = {
    "loss": "loss",
    "FVU": "fvu",
    "held-out FVU": "eval_fvu",
    "L0": "l0",
    "dead": "dead",
    "rows/s": "rows_per_second",
}
FORMATS = {"L0": ",.1f", "dead": ".1%", "rows/s": ",.0f"}

Point = Mapping[str, int | float]


@runtime_checkable
class Display(Protocol):
    """Shows the progress of a sweep."""

    def advance(self, rows: int) -> None:
        """Show that `rows` rows are done."""

    def show(self, learner: Learner, point: Point) -> None:
        """Show a point of a dictionary's curve."""


@contextmanager
def display(hook: str, learners: Sequence[Learner], total: int, rows: int, is_main: bool = True) -> Iterator[Display]:
    """Show the progress of `learners` at `hook` from `rows` to at most `total`; print nothing unless `is_main`."""
    console = Console(stderr=True, quiet=not is_main)
    if not console.is_terminal:
        yield Lines(console, hook, len(learners), total, rows)
        return
    shown = Screen(console, hook, learners, total, rows)
    with Live(get_renderable=shown.render, console=console, refresh_per_second=2):
        yield shown


class Screen:
    """A progress bar and a table of dictionaries."""

    def __init__(self, console: Console, hook: str, learners: Sequence[Learner], total: int, rows: int) -> None:
        self._console = console
        self._learners = list(learners)
        self._points: dict[Learner, dict[str, int | float]] = {learner: {} for learner in learners}
        self._progress = Progress(*bar_columns("rows"), console=console)
        self._task = self._progress.add_task(f"train {hook}", total=total, completed=rows, note="")

    def advance(self, rows: int) -> None:
        self._progress.update(self._task, completed=rows)

    def show(self, learner: Learner, point: Point) -> None:
        self._points[learner].update(point)  # the last evaluation stays until the next

    def render(self) -> Group:
        """Compose the bar and the current page of the table."""
        page = visible(len(self._learners), self._console.height - OTHER_LINES, time.monotonic())
        table = Table("dictionary", *COLUMNS, "time left", box=None, pad_edge=False)
        for column in table.columns[1:]:
            column.justify = "right"
        for learner in self._learners[page.start : page.stop]:
            point = self._points[learner]
            table.add_row(learner.planned.name, *_cells(point), time_left(learner, point))
        if len(page) < len(self._learners):
            table.caption = f"{page.start + 1}-{page.stop} of {len(self._learners)}"
        return Group(self._progress, table)


class Lines:
    """A progress line now and then, and one for each finished dictionary."""

    def __init__(self, console: Console, hook: str, count: int, total: int, rows: int) -> None:
        self._console = console
        self._hook = hook
        self._count = count
        self._total = total
        self._rows = rows
        self._latest: dict[Learner, Point] = {}

    def advance(self, rows: int) -> None:
        before, self._rows = self._rows, rows
        if self._latest and rows * LINES // self._total > before * LINES // self._total:
            fvu = [point["fvu"] for point in self._latest.values()]
            speed = next(iter(self._latest.values()))["rows_per_second"]
            self._say(
                f"row {rows:,} of {self._total:,}, {len(fvu)} dictionaries, FVU {min(fvu):.3f} to {max(fvu):.3f}, "
                f"{speed:,.0f} rows/s"
            )

    def show(self, learner: Learner, point: Point) -> None:
        self._latest[learner] = point
        if learner.ended:
            del self._latest[learner]
            values = ", ".join(f"{name} {cell}" for name, cell in zip(COLUMNS, _cells(point), strict=True))
            self._say(f"{learner.planned.name} done at row {learner.rows:,}: {values}")

    def _say(self, text: str) -> None:
        self._console.print(f"train {self._hook}: {text}", highlight=False, soft_wrap=True, markup=False)


def visible(count: int, lines: int, seconds: float) -> range:
    """Choose which of `count` items to show on `lines` lines: pages take turns."""
    lines = max(1, lines)
    page = int(seconds / PAGE_SECONDS) % max(1, -(-count // lines))
    return range(page * lines, min(count, (page + 1) * lines))


def time_left(learner: Learner, point: Point) -> str:
    """Format how long a dictionary still trains, with "≤" as long as its end is not decided."""
    if learner.ended:
        return "done"
    speed = point.get("rows_per_second")
    if not speed:
        return ""
    minutes, seconds = divmod(round((learner.schedule.rows - learner.rows) / speed), 60)
    at_most = "≤ " if learner.convergence.asked and learner.convergence.ends is None else ""
    return f"{at_most}{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"


def _cells(point: Point) -> list[str]:
    return [format(point[key], FORMATS.get(name, ".3f")) if key in point else "" for name, key in COLUMNS.items()]
