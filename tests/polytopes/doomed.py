"""Stages that are killed, again and again, in children of a process that has everything loaded.

    python -m tests.polytopes.doomed CONFIG FOLDER [--random N]

First an uninterrupted stage. Then one that dies before the n-th step of publishing (a sync or a rename), for every n
there is, and N that die at a random instant; after each, the same stage again to the end. Prints one JSON object: how
many were killed, and each case in which a byte differs.
"""

import argparse
import hashlib
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import polytopes.measure
from polytopes.stage import polytopes as run_polytopes
from tests.fork import in_child
from tests.harvest.doomed import die_before_step
from winnow.config.command_line import load_experiment
from winnow.model.language_model import open_model


def contents(run: Path) -> dict[str, str]:
    files = sorted(path for path in (run / "polytopes").iterdir() if path.is_file())
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--random", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    base = load_experiment("doomed", ["--config", arguments.config])
    model = open_model(base.model)
    polytopes.measure.open_model = lambda *_, **__: model

    def case(name: str) -> tuple[Path, Callable[[], None]]:
        run = arguments.folder / name
        run.mkdir(parents=True)
        shutil.copy(Path(base.run) / "tokens.h5", run)
        shutil.copytree(Path(base.run) / "activations", run / "activations")
        config = load_experiment("doomed", ["--config", arguments.config, "--run", str(run)])

        def work() -> None:
            torch.set_num_threads(1)
            run_polytopes(config)

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
    print(json.dumps({"killed": killed, "steps": step - 1, "files": sorted(expected), "different": different}))


if __name__ == "__main__":
    main()
