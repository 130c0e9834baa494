"""Harvests that are killed, again and again, in children of a process that has everything loaded.

    python -m tests.harvest.doomed CONFIG FOLDER [--random N]

First an uninterrupted harvest. Then one that dies before the n-th step of publishing (a sync or a rename),
for every n there is, and N that die at a random instant; after each, the same harvest again to the end. A harvest that
was done before its random instant came is not one of the N: another is started.
Prints one JSON object: how many were killed, and each case in which a byte differs.

Loading torch and a model takes seconds, a miniature harvest hundredths: hence the children are forked, from
a process that has only ever computed in one thread.
"""

import argparse
import hashlib
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import harvest.model_source
import winnow.runtime.publish
from harvest.accumulate import statistics_of
from harvest.stage import harvest as run_harvest
from tests.fork import in_child
from winnow.config.command_line import load_experiment
from winnow.model.language_model import open_model


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


def contents(run: Path) -> dict[str, str]:
    files = sorted(path for folder in ("activations", "truth") for path in (run / folder).glob("*") if path.is_file())
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--random", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    # numba takes a second to load what it compiled
    statistics_of(torch.ones(1, 1), torch.zeros(1, dtype=torch.int64), 1)
    base = load_experiment("doomed", ["--config", arguments.config])
    if base.toy is None:
        model = open_model(base.model)
        harvest.model_source.open_model = lambda *_: model

    def case(name: str) -> tuple[Path, Callable[[], None]]:
        run = arguments.folder / name
        run.mkdir(parents=True)
        if base.toy is None:
            shutil.copy(Path(base.run) / "tokens.h5", run)
        config = load_experiment("doomed", ["--config", arguments.config, "--run", str(run)])

        def work() -> None:
            torch.set_num_threads(1 if base.toy is None else 2)  # with two, two shards of toy data take turns
            run_harvest(config)

        return run, work

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
    while number < arguments.random:
        run, work = case(f"random-{number}")
        dead = in_child(work, kill_after=draw.uniform(0, duration))
        number += dead
        finish_and_compare(f"random-{number}", run, work)
    killed += number
    print(json.dumps({"killed": killed, "steps": step - 1, "files": len(expected), "different": different}))


if __name__ == "__main__":
    main()
