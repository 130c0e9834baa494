"""python -m harvest --config FILE: tokens to activation shards. With --plan: what that takes, and the training too."""

from harvest.stage import harvest
from winnow.config.experiment import Experiment
from winnow.runtime.stage import run_stage


def main(config: Experiment) -> None:
    """Do what the command line asks for."""
    if vars(config)["plan"]:
        from harvest.estimate_table import print_plan

        print_plan(config)
    else:
        harvest(config, repair=vars(config)["repair"])


if __name__ == "__main__":
    run_stage(
        "harvest",
        main,
        {
            "repair": "hash every shard first, and make those again that are damaged",
            "plan": "print what this and the training take of disk, memory and time; run nothing",
        },
    )
