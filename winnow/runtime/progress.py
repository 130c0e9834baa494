"""The progress bar of every stage: share done, speed in the stage's own unit, time left."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text


class Bar:
    """A progress bar; `note` is a few words shown after it."""

    def __init__(self, progress: Progress, task: int) -> None:
        self._progress = progress
        self._task = progress.tasks[task].id

    def advance(self, count: int, note: str = "") -> None:
        self._progress.update(self._task, advance=count, note=note)


class _Rate(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if not speed and task.completed and task.elapsed:  # a single step has no interval to measure
            speed = task.completed / task.elapsed
        return Text(f"{speed:,.0f} {self.unit}/s" if speed else f"- {self.unit}/s", style="cyan")


@contextmanager
def progress_bar(title: str, total: int, unit: str, done: int = 0) -> Iterator[Bar]:
    """Show a bar on standard error while the block runs; without a terminal, print one line at the end."""
    with Progress(*bar_columns(unit), console=Console(stderr=True)) as progress:
        progress.add_task(title, total=total, completed=done, note="")
        yield Bar(progress, 0)


def bar_columns(unit: str) -> list[ProgressColumn]:
    """List the columns of a bar that counts `unit`s."""
    return [
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        _Rate(unit),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        TextColumn("{task.fields[note]}"),
    ]
