"""python -m train --config FILE: activation shards -> dictionaries. With --push OWNER/NAME: push them to the hub."""

from train.stage import train
from winnow.config.experiment import Experiment
from winnow.errors import UserError
from winnow.runtime.stage import run_stage


def main(config: Experiment) -> None:
    """Do what the command line asks for."""
    repositories = vars(config)["push"]
    if len(repositories) > 1:
        raise UserError(f"--push {' '.join(repositories)}: name one repository, OWNER/NAME")
    if repositories:
        from train.hub.push import push

        push(config, repositories[0])
    else:
        train(config)


if __name__ == "__main__":
    run_stage(
        "train",
        main,
        lists={"push": "train nothing; upload every finished dictionary to this repository on the hub, OWNER/NAME"},
    )
