"""Harvests that are killed, again and again: `tests.doomed` says how.

python -m tests.harvest.doomed CONFIG FOLDER [--random N]

Prints one JSON object.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import torch

import harvest.model_source
from harvest.accumulate import statistics_of
from harvest.stage import harvest as run_harvest
from tests.doomed import arguments_of, hashes_of, kill_again_and_again
from winnow.config.command_line import load_experiment
from winnow.model.language_model import open_model


def main() -> None:
    arguments = arguments_of(__doc__)
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

    print(
        json.dumps(
            kill_again_and_again(case, lambda run: hashes_of(run / "activations", run / "truth"), arguments.random)
        )
    )


if __name__ == "__main__":
    main()
