"""A stage that is killed, again and again, in children of a process that has everything loaded.

Loading torch and a model takes seconds, a miniature stage hundredths: hence the children are forked, from a process
that has only ever computed in one thread.
"""

import argparse
import hashlib
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import winnow.runtime.publish
from tests.fork import in_child

Case = Callable[[str], tuple[Path, Callable[[], None]]]  # name -> a run of its own, and the work on it


def arguments_of(doc: str | None) -> argparse.Namespace:
    """Parse CONFIG FOLDER [--random N]."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("config")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--random", type=int, default=0)
    return parser.parse_args()


def hashes_of(*folders: Path) -> dict[str, str]:
    """Hash the files of folders, by name."""
    files = (path for folder in folders for path in sorted(folder.glob("*")) if path.is_file())
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def kill_again_and_again(case: Case, contents: Callable[[Path], dict[str, str]], random: int) -> dict[str, Any]:
    """Kill the work of a case before each step of publishing, and `random` times at a random instant.

    First it is left alone. After each kill the same work runs again to the end. Work that was done before its random
    instant came does not count: another is started. Returns how many were killed, how many steps there are, the
    names of the files, and each case in which a byte differs.
    """
    run, work = case("whole")
    started = time.monotonic()
    in_child(work)
    duration = time.monotonic() - started
    expected = contents(run)
    killed = 0
    different: list[str] = []

    def finish_and_compare(name: str, run: Path, work: Callable[[], None]) -> None:
        in_child(work)
        if contents(run) != expected:
            different.append(name)
        shutil.rmtree(run)

    step = 0
    alive = False
    while not alive:
        step += 1
        run, work = case(f"step-{step}")

        def doomed(work: Callable[[], None] = work, step: int = step) -> None:
            die_before_step(step)
            work()

        alive = not in_child(doomed)
        killed += not alive
        finish_and_compare(f"step-{step}", run, work)
    draw = np.random.default_rng(0)
    number = 0
    while number < random:
        run, work = case(f"random-{number}")
        dead = in_child(work, kill_after=draw.uniform(0, duration))
        number += dead
        finish_and_compare(f"random-{number}", run, work)
    return {"killed": killed + number, "steps": step - 1, "files": sorted(expected), "different": different}


def die_before_step(step: int) -> None:
    """Kill this process before its `step`-th sync or rename."""
    steps = 0

    def counted(inner: Callable) -> Callable:
        def call(*arguments):
            nonlocal steps
            steps += 1
            if steps == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return inner(*arguments)

        return call

    winnow.runtime.publish.sync = counted(winnow.runtime.publish.sync)
    Path.replace = counted(Path.replace)
