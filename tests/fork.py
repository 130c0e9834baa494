"""Run work in a fork of a process that has everything loaded, and kill it."""

import os
import signal
import time
import warnings
from collections.abc import Callable


def in_child(work: Callable[[], None], kill_after: float | None = None) -> bool:
    """Run `work` in a fork, killing it after some seconds; say whether it was killed.

    Raises RuntimeError where it ended with an error of its own.
    """
    with warnings.catch_warnings():  # Python 3.12 and later warn of any thread; those here wait for work
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        child = os.fork()
    if child == 0:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        try:
            work()
        except BaseException:  # what called this goes on in the parent alone
            os._exit(1)
        os._exit(0)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status not in (0, -signal.SIGKILL):
        raise RuntimeError(f"the work ended with status {status}")
    return status == -signal.SIGKILL
