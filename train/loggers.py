"""Send curves to TensorBoard and Weights & Biases through their own libraries; metrics.jsonl is always written.

<run>/tensorboard/<hook>/<name>/     event files: tensorboard --logdir <run>/tensorboard
<run>/wandb/                         what W&B keeps locally; the id of each curve is beside the weights, wandb_id.txt

The step of every point is its number of rows. A training that resumes from a checkpoint continues each curve there:
TensorBoard is told to forget later points, W&B ignores steps that it has already seen.
"""

import importlib
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Protocol, runtime_checkable

from train.plan import Planned
from winnow.errors import UserError
from winnow.runtime.exhausted import naming

Point = Mapping[str, int | float]
FLUSH_SECONDS = 10
WANDB_ID = "wandb_id.txt"


@runtime_checkable
class Logger(Protocol):
    """One dictionary's curve in one place."""

    def add(self, point: Point) -> None: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...


class TensorBoard:
    """Event files of one dictionary."""

    def __init__(self, run: Path, planned: Planned, rows: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._folder = run / "tensorboard" / planned.hook / planned.name
        with naming(self._folder):
            self._writer = SummaryWriter(str(self._folder), purge_step=rows + 1, flush_secs=FLUSH_SECONDS)

    def add(self, point: Point) -> None:
        with naming(self._folder):
            for name, value in _quantities(point):
                self._writer.add_scalar(name, value, int(point["rows"]))

    def flush(self) -> None:
        with naming(self._folder):
            self._writer.flush()

    def close(self) -> None:
        with naming(self._folder):
            self._writer.close()


class WeightsAndBiases:
    """One run of W&B for one dictionary; all of a hook are a group."""

    def __init__(self, run: Path, planned: Planned, rows: int) -> None:
        import wandb

        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "winnow"),  # W&B's own variable
            dir=str(run),
            id=_wandb_id(planned.folder),
            name=planned.name,
            group=f"{run.name}/{planned.hook}",
            config=planned.settings.to_json(),
            resume="allow",
            reinit="create_new",
            settings=wandb.Settings(console="off", silent=True),
        )

    def add(self, point: Point) -> None:
        self._run.log(dict(_quantities(point)), step=int(point["rows"]), commit=True)

    def flush(self) -> None:
        """Do nothing: W&B has a process of its own for this."""

    def close(self) -> None:
        self._run.finish()


LOGGERS: dict[str, Callable[[Path, Planned, int], Logger]] = {"tensorboard": TensorBoard, "wandb": WeightsAndBiases}


def check_loggers(names: Iterable[str]) -> None:
    """Raise `UserError` if a library that `train.loggers` names is not installed, or W&B is not logged in."""
    for name in names:
        library = _library(name)
        if name == "wandb":
            online = library.setup().settings.mode in ("online", "shared")
            if online and not library.login(prompt=False):
                raise UserError(
                    "train.loggers: wandb is not logged in; run wandb login, set WANDB_API_KEY or "
                    'WANDB_MODE=offline, or remove "wandb"'
                )


@contextmanager
def open_loggers(names: Iterable[str], run: Path, planned: Iterable[Planned], rows: int) -> Iterator["Loggers"]:
    """Open the curves of dictionaries that resume at `rows`; close them however the block ends."""
    with ExitStack() as stack:
        loggers: dict[Path, list[Logger]] = {}
        for dictionary in planned:
            own = loggers.setdefault(dictionary.folder, [])
            for name in names:
                own.append(LOGGERS[name](run, dictionary, rows))
                stack.callback(own[-1].close)
        yield Loggers(loggers)


class Loggers:
    """The open curves of a sweep."""

    def __init__(self, loggers: Mapping[Path, list[Logger]]) -> None:
        self._loggers = loggers

    def add(self, planned: Planned, point: Point) -> None:
        """Add a point to the curves of one dictionary."""
        for logger in self._loggers[planned.folder]:
            logger.add(point)

    def flush(self) -> None:
        """Write added points to disk, as far as the libraries allow."""
        for loggers in self._loggers.values():
            for logger in loggers:
                logger.flush()


def _quantities(point: Point) -> list[tuple[str, float]]:
    return [(name, value) for name, value in point.items() if name != "rows"]


def _library(name: str) -> ModuleType:
    try:
        return importlib.import_module("torch.utils.tensorboard" if name == "tensorboard" else name)
    except ImportError as error:
        raise UserError(
            f'train.loggers: "{name}" is not installed ({error}); run pip install {name}, or remove it there'
        ) from error


def _wandb_id(folder: Path) -> str:
    """Return the id by which W&B continues a curve; a dictionary that is deleted and trained anew gets a new one."""
    path = folder / WANDB_ID
    if not path.exists():
        path.write_text(secrets.token_hex(8), encoding="utf-8")
    return path.read_text(encoding="utf-8")
