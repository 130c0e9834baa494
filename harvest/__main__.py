"""python -m harvest --config FILE: turn tokens into activation shards."""

from harvest.stage import harvest
from winnow.config.experiment import Experiment
from winnow.errors import UserError
from winnow.runtime.stage import run_stage


def main(config: Experiment) -> None:
    """Do what the command line asks for."""
    if vars(config)["plan"]:
        raise UserError(f"--plan is a command of its own: python -m plan --config {config.config}")
    harvest(config, repair=vars(config)["repair"])


if __name__ == "__main__":
    run_stage(
        "harvest",
        main,
        {
            "repair": "hash every shard first, and make the damaged ones again",
            "plan": "prints the command that replaced it: python -m plan",
        },
    )
