"""Start a stage from the command line, and turn errors into one line and an exit status.

Exit status 0: done, or nothing to do. 2: the user must change something; one line says what.
3: a signal, a full disk or a limit stopped it; a stage that resumes keeps what is done, and the same command continues.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import NoReturn

from winnow.config.command_line import load_experiment
from winnow.config.experiment import Experiment
from winnow.errors import UserError
from winnow.paths import escape
from winnow.runtime.exhausted import exhausted
from winnow.runtime.output import flush_output, open_output

OWN = ("winnow", "data", "harvest", "train", "polytopes", "analyze", "plan")
REFUSED = 2
INTERRUPTED = 3


class Interrupted(Exception):
    """Raised when a stage stops early with its state saved; the message says what is kept."""


def run_stage(
    name: str,
    main: Callable[[Experiment], None],
    flags: Mapping[str, str] | None = None,
    lists: Mapping[str, str] | None = None,
    resumes: bool = True,
) -> NoReturn:
    """Read the configuration from the command line, run `main` with it, and exit.

    `flags` and `lists`: options that only this stage has; see `load_experiment`. resumes: whether it keeps what it has
    done when it is stopped, so that the same command goes on from there.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    before, threading.excepthook = threading.excepthook, _say_unless_exhausted
    open_output()
    try:
        main(load_experiment(f"python -m {name}", sys.argv[1:], flags, lists))
        flush_output()
    except UserError as error:
        _leave_exhausted(name, error, resumes)
        _leave(f"{name}: {error}", REFUSED)
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        if package in OWN:
            raise
        _leave(
            f"{name}: the package {package} is not installed; the stages need more than the library does: "
            "make setup, or pip install '.[stages]' in the repository's root",
            REFUSED,
        )
    except Interrupted as stop:
        _leave(f"{name}: {stop}; the same command continues from there", INTERRUPTED)
    except KeyboardInterrupt:
        kept = "; what was complete is kept, the same command continues" if resumes else ""
        _leave(f"{name}: interrupted{kept}", INTERRUPTED)
    except Exception as error:
        _leave_exhausted(name, error, resumes)
        raise
    finally:
        threading.excepthook = before
        with suppress(OSError):  # said already, where it could be
            flush_output()
    sys.exit(0)


def _leave_exhausted(name: str, error: Exception, resumes: bool) -> None:
    """Leave if disk space or open files ran out."""
    found = exhausted(error)
    if found is not None:
        then = "the same command continues" if resumes else "and run it again"
        _leave(f"{name}: {found}, {then}", INTERRUPTED)


def _say_unless_exhausted(found: threading.ExceptHookArgs) -> None:
    """Say what ended a thread, unless something ran out: what waits for the thread raises that again."""
    if found.exc_value is None or exhausted(found.exc_value) is None:
        threading.__excepthook__(found)


def _leave(message: str, status: int) -> NoReturn:
    with suppress(OSError):
        print(escape(message), file=sys.stderr)
    sys.exit(status)
