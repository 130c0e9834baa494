"""Stages `polytopes` that are killed, again and again: `tests.doomed` says how.

python -m tests.polytopes.doomed CONFIG FOLDER [--random N]

Prints one JSON object.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import torch

import polytopes.measure
from polytopes.stage import polytopes as run_polytopes
from tests.doomed import arguments_of, hashes_of, kill_again_and_again
from winnow.config.command_line import load_experiment
from winnow.model.language_model import open_model


def main() -> None:
    arguments = arguments_of(__doc__)
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

    print(json.dumps(kill_again_and_again(case, lambda run: hashes_of(run / "polytopes"), arguments.random)))


if __name__ == "__main__":
    main()
