"""A sweep that is killed, again and again, in children of a process that has everything loaded.

    python -m tests.train.doomed CONFIG FOLDER KILLS

First the sweep without an interruption. Then the same sweep, killed at random instants and started again each time,
KILLS times in all, and then left to its end. Prints one JSON object: the rows at which checkpoints were found after
each kill, and every file that differs; of curves and training.json all that does not tell the time is compared.

Loading torch takes seconds, a miniature sweep less: hence the children are forked, from a process that has only ever
computed in one thread.
"""

import argparse
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from tests.fork import in_child
from train import sweep
from train.stage import train as run_train
from winnow.config.command_line import load_experiment

TELL_THE_TIME = ("rows_per_second", "finished", "activations")  # activations: their path


def contents(run: Path) -> dict[str, str]:
    """Read what is left of a sweep, file by file."""
    folder = run / "dictionaries"
    return {str(path.relative_to(folder)): _content(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def _content(path: Path) -> str:
    if path.suffix == ".safetensors":
        return path.read_bytes().hex()
    if path.suffix == ".json":
        return json.dumps(_timeless(json.loads(path.read_text(encoding="utf-8"))))
    return json.dumps([_timeless(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()])


def _timeless(record: dict) -> dict:
    return {key: value for key, value in record.items() if key not in TELL_THE_TIME}


def checkpoints(run: Path) -> list[int]:
    return sorted({int(path.name.split("-")[1].split(".")[0]) for path in run.glob("dictionaries/*/*/checkpoints/*")})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config")
    parser.add_argument("folder", type=Path)
    parser.add_argument("kills", type=int)
    arguments = parser.parse_args()
    assert sweep  # what a training imports late is loaded before the first fork
    torch.set_num_threads(1)
    base = load_experiment("doomed", ["--config", arguments.config])

    def case(name: str) -> tuple[Path, Callable[[], None]]:
        run = arguments.folder / name
        shutil.copytree(Path(base.run) / "activations", run / "activations")
        config = load_experiment("doomed", ["--config", arguments.config, "--run", str(run)])
        return run, lambda: run_train(config)

    whole, work = case("whole")
    started = time.monotonic()
    in_child(work)
    duration = time.monotonic() - started
    expected = contents(whole)
    draw = np.random.default_rng(0)
    found: list[list[int]] = []
    different: list[str] = []
    sweeps = 0
    while len(found) < arguments.kills:  # where one sweep comes to its end before, another one
        sweeps += 1
        run, work = case(f"killed-{sweeps}")
        while len(found) < arguments.kills and in_child(work, kill_after=draw.uniform(0, 0.3 * duration)):
            found.append(checkpoints(run))
        in_child(work)
        got = contents(run)
        different += sorted(name for name in expected.keys() | got.keys() if expected.get(name) != got.get(name))
    print(json.dumps({"sweeps": sweeps, "checkpoints": found, "files": len(expected), "different": different}))


if __name__ == "__main__":
    main()
